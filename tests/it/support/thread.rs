//! Threads that share only memory with the other tests. A test can count its descriptors there, and
//! no other test holds its sockets open.
#![allow(unsafe_code)]

use std::os::fd::RawFd;
use std::panic::resume_unwind;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::kernel::check_return;
use super::machine::skip;

/// Runs `body` in a thread with its own descriptor table, working directory and umask. Only the
/// descriptors 0, 1 and 2 are open there.
pub(crate) fn isolated<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| join(spawn(scope, || in_isolation(body))))
}

/// Runs `body` like [`isolated`], with a network of its own if the tests run as root.
///
/// `body` gets false if the network is shared, or if it has no link-local address.
pub(crate) fn isolated_network<T: Send>(body: impl FnOnce(bool) -> T + Send) -> T {
    isolated(|| body(private_network()))
}

/// Starts a thread with the name of this one, which is the name of the test.
pub(crate) fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    body: impl FnOnce() -> T + Send + 'scope,
) -> ScopedJoinHandle<'scope, T> {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    Builder::new().name(name).spawn_scoped(scope, body).expect("a thread")
}

/// Returns the value of a thread, or panics as it did.
pub(crate) fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Gives this thread its own descriptor table, working directory and umask, and runs `body`. Closes
/// every descriptor that is left open: the kernel does so only some time after the thread ends.
pub(crate) fn in_isolation<T>(body: impl FnOnce() -> T) -> T {
    close_from_3(libc::CLOSE_RANGE_UNSHARE);
    // SAFETY: the call takes only a number.
    let unshared = unsafe { libc::unshare(libc::CLONE_FS) };
    check_return(unshared.into()).expect("unshare");
    let value = body();
    close_from_3(0);
    value
}

fn close_from_3(flags: libc::c_uint) {
    // SAFETY: the call takes only numbers. It closes this thread's copies, and descriptors that a
    // test left open without an owner.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, flags) };
    check_return(closed).expect("close_range");
}

/// Returns the open descriptors of this thread's table.
pub(crate) fn descriptors() -> Vec<RawFd> {
    descriptors_below(64)
}

/// Returns the open descriptors below this number. Each number takes a system call, which is slow
/// under the supervisor.
pub(crate) fn descriptors_below(number: RawFd) -> Vec<RawFd> {
    (0..number).filter(|fd| is_open(*fd)).collect()
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: `F_GETFD` takes no pointer and accepts any number.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}

/// Closes an open descriptor that has no owner any more.
#[cfg(target_pointer_width = "64")] // for `faults`, which needs the supervisor
pub(crate) fn close(fd: RawFd) {
    // SAFETY: the call takes only a number. The owner of the descriptor has given it up.
    let closed = unsafe { libc::close(fd) };
    check_return(closed.into()).expect("close");
}

/// Makes this thread an ordinary user. If the tests run as root, it becomes `nobody`; the other
/// threads stay root.
///
/// Returns false, and prints a line, in a user namespace that has no such user.
pub(crate) fn become_ordinary_user() -> bool {
    const NOBODY: libc::uid_t = 65534;
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    // SAFETY: the call takes only numbers. Made directly, it changes this thread and not the
    // process.
    let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    if changed == -1 {
        skip("the refusals to an ordinary user, because root cannot become one");
    }
    changed == 0
}

/// Gives this thread a network of its own, in which no other program can take a port. Returns false
/// if that needs root, or if the network has no link-local address, as under some emulators.
pub(crate) fn private_network() -> bool {
    // SAFETY: the call takes only a number.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    if unshared == -1 {
        return false;
    }
    super::kernel::bring_up_loopback().expect("the loopback of a new network");
    super::kernel::add_link_local_address().is_ok()
}
