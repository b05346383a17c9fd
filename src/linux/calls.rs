//! One function for each system call of a socket. An error has the step and the errno.

use rustix::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use rustix::net::addr::{SocketAddrArg, SocketAddrLen, SocketAddrOpaque};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, ipproto};
use rustix::{io, net};

use super::backend;
use super::descriptor::borrow;
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
    create(family, SocketType::STREAM, flags, protocol).map_err(system_error(Step::Socket))
}

/// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html)
#[inline(never)] // so that the one assertion of rustix, see proofs/no-panic, is in one place
pub(super) fn create(
    family: AddressFamily,
    kind: SocketType,
    flags: SocketFlags,
    protocol: Option<Protocol>,
) -> io::Result<OwnedFd> {
    net::socket_with(family, kind, flags, protocol)
}

/// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html)
pub(crate) fn bind(socket: BorrowedFd<'_>, sockaddr: &[u8]) -> Result<()> {
    net::bind(socket, &Bytes(sockaddr)).map_err(system_error(Step::Bind))
}

/// [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html)
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: i32) -> Result<()> {
    net::listen(socket, backlog).map_err(system_error(Step::Listen))
}

/// Connects a new Unix socket to the address, and closes it:
/// [connect(2)](https://man7.org/linux/man-pages/man2/connect.2.html).
pub(super) fn probe(sockaddr: &[u8]) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = create(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::connect(borrow(&socket), &Bytes(sockaddr))
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
