//! Threads that share nothing with the other tests but memory. Descriptors can be counted there without a lock, and no
//! other test's socket is held open by a copy.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::panic::resume_unwind;

use super::kernel::answer;

/// Runs `body` in a thread with its own descriptor table (0, 1 and 2 alone are open), working directory and umask.
pub(crate) fn isolated<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let joined = std::thread::scope(|scope| scope.spawn(|| in_isolation(body)).join());
    joined.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Parts the calling thread from the process's descriptor table, working directory and umask, and runs `body` there.
///
/// What `body` leaves open is closed before this returns: the kernel closes it only after others have seen the thread end.
pub(crate) fn in_isolation<T>(body: impl FnOnce() -> T) -> T {
    close_from_3(libc::CLOSE_RANGE_UNSHARE);
    // SAFETY: the call takes a number alone.
    let unshared = unsafe { libc::unshare(libc::CLONE_FS) };
    answer(unshared.into()).expect("unshare");
    let value = body();
    close_from_3(0);
    value
}

fn close_from_3(flags: libc::c_uint) {
    // SAFETY: the call takes numbers alone. The descriptors that it closes are copies of this thread, whose originals and
    // owners are other threads', or what a test left open without an owner.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, flags) };
    answer(closed).expect("close_range");
}

/// The open descriptors of the calling thread's table.
pub(crate) fn descriptors() -> Vec<RawFd> {
    (0..64).filter(|fd| is_open(*fd)).collect()
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: `F_GETFD` takes no pointer, and any number will do.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

/// Closes a number whose owner is gone; it has to be open.
#[cfg(target_pointer_width = "64")] // for the faults, which need the supervisor
pub(crate) fn close(fd: RawFd) {
    // SAFETY: the call takes a number alone; whoever owned it has been made to believe that it is closed.
    let closed = unsafe { libc::close(fd) };
    answer(closed.into()).expect("close");
}

/// Makes the calling thread alone the user `nobody`. False where the tests do not run as root.
pub(crate) fn become_nobody() -> bool {
    const NOBODY: libc::uid_t = 65534;
    if !rustix::process::geteuid().is_root() {
        return false;
    }
    // SAFETY: the call takes numbers alone, and made directly it changes this thread, not the process.
    let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    changed == 0
}

/// Gives the calling thread a network of its own, so that no other test or program can take a port between two steps.
/// Whether its loopback has `fe80::1` too: false where the tests do not run as root, and the network is the shared one, and
/// under an emulator that does not know how to add an address.
pub(crate) fn private_network() -> bool {
    // SAFETY: the call takes a number alone.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if unshared == -1 {
        return false;
    }
    super::kernel::bring_up_loopback().expect("the loopback of a new network");
    super::kernel::add_link_local_address().is_ok()
}

/// [`isolated`], in a network of its own where that can be had.
pub(crate) fn isolated_network<T: Send>(body: impl FnOnce(bool) -> T + Send) -> T {
    isolated(|| body(private_network()))
}
