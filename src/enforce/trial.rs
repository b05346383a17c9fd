//! A trial of Landlock's layers in a process of its own, which restricts only that process.

use super::error::EnforceError;
use super::landlock::Ruleset;
use super::sys::{call, number, set_no_new_privs, system};
use crate::error::Errno;

/// `E2BIG`: there is no layer left.
const E2BIG: i32 = 7;

/// The exit status of a trial that failed for another reason.
const FAILED: usize = 255;

/// Returns how many of the rulesets can be put in force here: the kernel has 16 layers, and some
/// can be in use. It makes a process (`clone`, `wait4`) that tries, and ends.
pub(super) fn count_layers(rulesets: &[Ruleset]) -> Result<usize, EnforceError> {
    /// Waits also for a child that sends no signal at its end.
    const WALL: usize = 0x4000_0000;
    // SAFETY: without flags the child is a copy, as after `fork`. It makes system calls only, and
    // ends. A signal handler of the caller can run in it, as in any child of `fork`.
    #[allow(unsafe_code)]
    let child = unsafe { call(number::CLONE, [0; 5]) }.map_err(system("clone"))?;
    if child == 0 {
        let code = match set_no_new_privs().and_then(|()| try_layers(rulesets)) {
            Ok(count) => count,
            Err(_) => FAILED,
        };
        loop {
            // SAFETY: the call does not return.
            #[allow(unsafe_code)]
            let _ = unsafe { call(number::EXIT_GROUP, [code, 0, 0, 0, 0]) };
        }
    }
    let mut status = 0_i32;
    #[allow(clippy::cast_sign_loss)] // the id of a process
    let arguments = [child as usize, &raw mut status as usize, WALL, 0, 0];
    loop {
        // SAFETY: the call writes one `int` to `status`, which outlives it.
        #[allow(unsafe_code)]
        match unsafe { call(number::WAIT4, arguments) } {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(system("wait4")(errno)),
        }
    }
    let (signal, code) = (status & 0x7f, usize::try_from(status >> 8 & 0xff));
    match code {
        Ok(count) if signal == 0 && count != FAILED => Ok(count),
        _ => Err(system("landlock_restrict_self")(Errno::INVAL)),
    }
}

/// Puts the rulesets in force, as far as there are layers, and returns their number.
fn try_layers(rulesets: &[Ruleset]) -> Result<usize, EnforceError> {
    for (count, ruleset) in rulesets.iter().enumerate() {
        match ruleset.restrict_self() {
            Ok(()) => {}
            Err(errno) if errno.raw_os_error() == E2BIG => return Ok(count),
            Err(errno) => return Err(system("landlock_restrict_self")(errno)),
        }
    }
    Ok(rulesets.len())
}
