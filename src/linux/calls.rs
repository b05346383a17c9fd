//! One function for each system call of a socket. An error has the step and the errno.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};
use rustix::{io, net};

use super::backend;
use super::errno::system_error;
use crate::address::{BindAddress, Family};
use crate::error::{Errno, SocketError, Step};

type Result<T> = core::result::Result<T, SocketError>;

/// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html) of the type `SOCK_STREAM`.
pub(super) fn socket(family: Family, flags: SocketFlags) -> Result<OwnedFd> {
    let (family, protocol) = match family {
        // Explicit, so that a policy that looks at the protocol sees TCP.
        Family::Ipv4 => (AddressFamily::INET, Some(ipproto::TCP)),
        Family::Ipv6 => (AddressFamily::INET6, Some(ipproto::TCP)),
        Family::Unix => (AddressFamily::UNIX, None),
    };
    net::socket_with(family, SocketType::STREAM, flags, protocol)
        .map_err(system_error(Step::Socket))
}

/// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html)
pub(super) fn bind(socket: BorrowedFd<'_>, sockaddr: &[u8]) -> Result<()> {
    net::bind(socket, &Bytes(sockaddr)).map_err(system_error(Step::Bind))
}

/// [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html)
pub(super) fn listen(socket: BorrowedFd<'_>, backlog: i32) -> Result<()> {
    net::listen(socket, backlog).map_err(system_error(Step::Listen))
}

/// [accept4(2)](https://man7.org/linux/man-pages/man2/accept4.2.html). The peer is `None` if
/// [`BindAddress`] has no form for it.
pub(super) fn accept4(
    socket: BorrowedFd<'_>,
    flags: SocketFlags,
) -> Result<(OwnedFd, Option<BindAddress>)> {
    backend::accept4(socket, flags).map_err(|errno| SocketError::system(Step::Accept, errno))
}

/// [getsockname(2)](https://man7.org/linux/man-pages/man2/getsockname.2.html). An address that
/// [`BindAddress`] cannot represent is `EINVAL`.
pub(super) fn getsockname(socket: BorrowedFd<'_>) -> Result<BindAddress> {
    backend::getsockname(socket)
        .and_then(|address| address.ok_or(Errno::INVAL))
        .map_err(|errno| SocketError::system(Step::LocalAddress, errno))
}

/// [close(2)](https://man7.org/linux/man-pages/man2/close.2.html)
pub(super) fn close(socket: OwnedFd) -> Result<()> {
    // SAFETY: the descriptor was owned and is not used after this call, even if it fails.
    #[allow(unsafe_code)]
    let closed = unsafe { io::try_close(socket.into_raw_fd()) };
    closed.map_err(system_error(Step::Close))
}

/// Borrows a descriptor, without the assertion of `as_fd`, which is a panic path without std.
pub(super) fn borrow(socket: &OwnedFd) -> BorrowedFd<'_> {
    // SAFETY: an `OwnedFd` is never -1.
    #[allow(unsafe_code)]
    unsafe {
        core::hint::assert_unchecked(socket.as_raw_fd() != -1);
    };
    socket.as_fd()
}

/// The bytes of a socket address, as rustix takes it.
struct Bytes<'a>(&'a [u8]);

// SAFETY: `f` gets a pointer to the bytes and their number, and they outlive the call. They are a
// socket address; for an invalid one the kernel would return an error.
#[allow(unsafe_code)]
unsafe impl SocketAddrArg for Bytes<'_> {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const SocketAddrOpaque, SocketAddrLen) -> R,
    ) -> R {
        #[allow(clippy::cast_possible_truncation)] // 110 bytes at most
        f(self.0.as_ptr().cast(), self.0.len() as SocketAddrLen)
    }
}
