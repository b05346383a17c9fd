//! Sockets by the protocol of socket activation. The descriptors from 3 on are those of an isolated
//! thread or of another process, so no test touches those of the harness.
#![allow(unsafe_code)]

#[cfg(target_pointer_width = "64")] // it needs the supervisor
mod faults;
mod malformed;
mod pass;
mod process;
#[cfg(target_pointer_width = "64")]
mod syscalls;

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use netbind::inherit::{InheritError, Inherited, NamedFd, Variables};
use rustix::fs::fstat;
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::support::thread::descriptors;

/// Returns the entry of `LISTEN_PID` for this process.
fn own_pid() -> String {
    format!("LISTEN_PID={}", std::process::id())
}

/// Takes the sockets of these entries.
///
/// The thread must be isolated, and own none of the descriptors from 3 on.
fn take_from<'e>(entries: &[&'e str]) -> Result<Inherited<'e>, InheritError> {
    take_from_bytes(&entries.iter().map(|entry| entry.as_bytes()).collect::<Vec<_>>())
}

/// Does the same as [`take_from`].
fn take_from_bytes<'e>(entries: &[&'e [u8]]) -> Result<Inherited<'e>, InheritError> {
    // SAFETY: the callers have given up the descriptors from 3 on by `open_at_3`.
    unsafe { netbind::inherit::take_from(entries.iter().copied()) }
}

/// Opens this number of TCP listeners, at 3 and up, without close-on-exec and without an owner.
fn open_at_3(count: RawFd) {
    assert_eq!(descriptors(), [0, 1, 2], "the thread is isolated");
    for expected in 3..3 + count {
        let fd = OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        fcntl_setfd(&fd, FdFlags::empty()).unwrap();
        assert_eq!(fd.into_raw_fd(), expected);
    }
}

/// Borrows an open descriptor without an owner.
fn at(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: nothing closes the descriptor while it is used.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Owns an open descriptor without an owner.
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: nothing else owns the descriptor.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Returns true if a descriptor has close-on-exec.
fn is_close_on_exec(fd: RawFd) -> bool {
    fcntl_getfd(at(fd)).unwrap().contains(FdFlags::CLOEXEC)
}

/// Returns the inode of a socket, by which it is known under every number.
fn identity(fd: impl AsFd) -> u64 {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // differs by processor
    let inode = fstat(fd).unwrap().st_ino as u64;
    inode
}

/// Returns the inode of this process's pidfd, or `None` if the kernel has no file system of pidfds,
/// so that all have the same.
fn pidfd_id() -> Option<u64> {
    const PID_FS_MAGIC: u64 = 0x5049_4446;
    let own = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)] // differs by processor
    let is_unique = rustix::fs::fstatfs(&own).unwrap().f_type as u64 == PID_FS_MAGIC;
    is_unique.then(|| identity(&own))
}

/// Passes descriptors on.
///
/// The thread must be isolated, and own none of the descriptors that are replaced.
fn pass<'s>(sockets: &'s mut [NamedFd<'_>]) -> Result<Variables<'s>, InheritError> {
    // SAFETY: the callers have given up the descriptors that are replaced.
    unsafe { netbind::inherit::pass(sockets) }
}

/// Opens this number of close-on-exec listeners, at 3 and up, without an owner.
fn open_close_on_exec_at_3(count: RawFd) {
    open_at_3(count);
    for fd in 3..3 + count {
        fcntl_setfd(at(fd), FdFlags::CLOEXEC).unwrap();
    }
}

/// Asserts that a listening socket accepts a client.
fn assert_listens(fd: OwnedFd) {
    let listener = TcpListener::from(fd);
    let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    drop(listener.accept().unwrap());
}
