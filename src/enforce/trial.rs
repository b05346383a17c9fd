//! A trial of Landlock's layers in a process of its own, which restricts only that process.

use super::error::EnforceError;
use super::landlock::Ruleset;
use super::sys::{call, number, set_no_new_privs, system};

/// Returns how many of the rulesets can be put in force here: the kernel has 16 layers, and some
/// can be in use. It makes a process (`clone`, `wait4`) that tries, and ends.
pub(super) fn count_layers(rulesets: &[Ruleset]) -> Result<usize, EnforceError> {
    /// Waits also for a child that sends no signal at its end.
    const WALL: usize = 0x4000_0000;
    // SAFETY: without flags the child is a copy, as after `fork`. It only makes system calls, and
    // ends without running code of the caller. It sends no SIGCHLD.
    #[allow(unsafe_code)]
    let child = unsafe { call(number::CLONE, [0; 5]) }.map_err(system("clone"))?;
    if child == 0 {
        let count = match set_no_new_privs() {
            Ok(()) => rulesets.iter().take_while(|ruleset| ruleset.restrict_self().is_ok()).count(),
            Err(_) => 0,
        };
        loop {
            // SAFETY: the call does not return.
            #[allow(unsafe_code)]
            let _ = unsafe { call(number::EXIT_GROUP, [count, 0, 0, 0, 0]) };
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
            Err(crate::error::Errno::INTR) => {}
            Err(errno) => return Err(system("wait4")(errno)),
        }
    }
    let signal = status & 0x7f;
    let count = usize::try_from(status >> 8 & 0xff).unwrap_or(0);
    Ok(if signal == 0 { count } else { 0 })
}
