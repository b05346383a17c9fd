//! Descriptors without rustix's assertions that they are not -1, which are panic paths.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Borrows a descriptor, without the assertion of `as_fd`.
pub(crate) fn borrow(socket: &OwnedFd) -> BorrowedFd<'_> {
    // SAFETY: an `OwnedFd` is never -1.
    #[allow(unsafe_code)]
    unsafe {
        core::hint::assert_unchecked(socket.as_raw_fd() != -1);
    };
    socket.as_fd()
}

/// Borrows a descriptor by its number, without the assertion of `BorrowedFd::borrow_raw`.
///
/// # Safety
///
/// The descriptor must be open, and stay open for the lifetime. So its number is not -1.
#[allow(unsafe_code)]
pub(super) unsafe fn borrow_raw<'fd>(fd: RawFd) -> BorrowedFd<'fd> {
    // SAFETY: the caller's responsibility.
    unsafe { core::hint::assert_unchecked(fd != -1) };
    // SAFETY: the caller's responsibility.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Owns a descriptor by its number, without the assertion of `OwnedFd::from_raw_fd`.
///
/// # Safety
///
/// The number must not be -1, and nothing else may own the descriptor. It may be closed only if the
/// value is never dropped.
#[allow(unsafe_code)]
pub(crate) unsafe fn own_raw(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller's responsibility.
    unsafe { core::hint::assert_unchecked(fd != -1) };
    // SAFETY: the caller's responsibility.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
