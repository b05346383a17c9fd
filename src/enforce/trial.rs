//! A trial of Landlock's layers in a process of its own, which restricts only that process.

use super::error::EnforceError;
use super::landlock::Ruleset;
use super::sys::{call, number, set_no_new_privs, system};
use crate::error::Errno;

/// `E2BIG`: there is no layer left.
const E2BIG: i32 = 7;

/// A trial that failed for another reason exits with this plus the errno.
const FAILED: i32 = 100;

/// Returns how many of the rulesets Landlock still accepts here. A process has at most 16 layers,
/// of which some can be in use. A child process (`clone`, `wait4`) tries them and exits.
pub(super) fn count_layers(rulesets: &[Ruleset]) -> Result<usize, EnforceError> {
    /// Waits also for a child that sends no signal at its end.
    const WALL: usize = 0x4000_0000;
    /// The signals of faults: SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV and SIGSYS.
    const FAULTS: u64 = 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 30;
    // The caller's signal handlers must not run in the child.
    let signals = block_signals(!FAULTS);
    // SAFETY: without flags the child is a copy, as after `fork`. It makes system calls only, and
    // ends.
    #[allow(unsafe_code)]
    let child = unsafe { call(number::CLONE, [0; 5]) };
    if child != Ok(0) {
        block_signals(signals);
    }
    let child = child.map_err(system("clone"))?;
    if child == 0 {
        run(rulesets);
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
    let (signal, code) = (status & 0x7f, status >> 8 & 0xff);
    let count = usize::try_from(code).ok().filter(|count| *count <= rulesets.len());
    if let (0, Some(count)) = (signal, count) {
        return Ok(count);
    }
    let errno = Errno::from_raw_os_error(code - FAILED);
    Err(system("landlock_restrict_self")(errno.unwrap_or(Errno::INTR)))
}

/// Tries the rulesets, and ends the process with their number or [`FAILED`] plus the errno.
fn run(rulesets: &[Ruleset]) -> ! {
    let code = match set_no_new_privs().and_then(|()| try_layers(rulesets)) {
        Ok(count) => count,
        Err(EnforceError::System { errno, .. }) => {
            (FAILED + errno.raw_os_error()).unsigned_abs() as usize
        }
        Err(_) => FAILED.unsigned_abs() as usize,
    };
    loop {
        // SAFETY: the call does not return.
        #[allow(unsafe_code)]
        let _ = unsafe { call(number::EXIT_GROUP, [code, 0, 0, 0, 0]) };
    }
}

/// Sets the blocked signals of this thread, and returns the former ones.
fn block_signals(blocked: u64) -> u64 {
    const SIG_SETMASK: usize = 2;
    let mut former = 0_u64;
    let (new, old) = (&raw const blocked as usize, &raw mut former as usize);
    // SAFETY: the kernel reads and writes 8 bytes, which both sets have.
    #[allow(unsafe_code)]
    let _ = unsafe { call(number::RT_SIGPROCMASK, [SIG_SETMASK, new, old, 8, 0]) };
    former
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
