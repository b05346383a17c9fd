//! Adopting a listening socket that another process opened.

use allocator_api2::alloc::Allocator;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_setfd};

use super::backend;
use super::calls;
use super::descriptor::borrow;
use super::errno::system_error;
use super::listener::Listener;
use super::options::ListenOptions;
use super::query::Query;
use super::unix_file;
use crate::address::{BindAddress, Family};
use crate::error::{AdoptError, Errno, SocketError, Step};
use crate::sockaddr::SockAddr;

type Result<T> = core::result::Result<T, SocketError>;

impl ListenOptions<'_> {
    /// Makes a listener of a socket that another process opened: one that was inherited, or
    /// received over a Unix socket.
    ///
    /// The socket must be a listening TCP or Unix stream socket. Its address and `IPV6_V6ONLY` are
    /// read from the kernel, and the capability decides about them. If `IPV6_V6ONLY` is off, the
    /// socket is judged as dual-stack. Then `check_bind_address` and `adopt_socket` are recorded,
    /// and the descriptor is set close-on-exec.
    ///
    /// With [`nonblocking`](Self::nonblocking), the socket is also set non-blocking, for all
    /// processes that have it; each of them can set it blocking again. Without, it stays as it is.
    /// No other option can be set.
    ///
    /// System calls: `getsockopt` of `SO_DOMAIN`, `SO_TYPE`, `SO_PROTOCOL` (TCP) and
    /// `SO_ACCEPTCONN`, `getsockname`, `getsockopt` of `IPV6_V6ONLY` (IPv6), `fcntl(F_GETFL)`,
    /// `fcntl(F_SETFL)` (to set it non-blocking) and `fcntl(F_SETFD)`.
    ///
    /// Dropping the listener does not remove the path of a Unix socket, unless
    /// [`Listener::remove_path`] says so.
    ///
    /// # Errors
    ///
    /// The error gives the descriptor back, open and unchanged. It is one of
    ///
    /// - [`SocketError::InvalidOption`], before any call.
    /// - [`SocketError::System`] with [`Step::Adopt`]: `ENOTSOCK`, `EBADF`, `EAFNOSUPPORT` (neither
    ///   TCP nor Unix), `ESOCKTNOSUPPORT` (not a stream), `EPROTONOSUPPORT` (MPTCP, SCTP), `EINVAL`
    ///   (it does not listen).
    /// - [`SocketError::System`] with [`Step::LocalAddress`] and `EINVAL`: [`BindAddress`] has no
    ///   form for its address, such as a path of 108 bytes.
    /// - [`SocketError::CapabilityDenied`], [`SocketError::Timeout`] if the context is cancelled or
    ///   expired, and [`SocketError::OutOfMemory`].
    ///
    /// ```
    /// use netbind::{ListenOptions, NetBind};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// // Inherited or received in a real program.
    /// let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    /// let mut capability = NetBind::new("web")?;
    /// capability.allow("host 127.0.0.0/8 port 0-65535".parse()?)?;
    ///
    /// let options = ListenOptions::new().capability(&capability);
    /// # #[cfg(feature = "std")]
    /// let listener = options.adopt(socket, &memory)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn adopt<A: Allocator>(
        &self,
        fd: impl Into<OwnedFd>,
        allocator: A,
    ) -> core::result::Result<Listener<A>, AdoptError> {
        self.adopt_or_return(fd.into(), None, allocator)
    }

    /// Adopts like [`adopt`](Self::adopt) a Unix socket whose path was renamed after its bind.
    ///
    /// The kernel goes on reporting the old path. So this verifies that the file at `address` is
    /// this very socket, by device and inode: `fstat`, `socket(AF_NETLINK)`, `sendto`, `recvfrom`
    /// and `close` ask [sock_diag(7)](https://man7.org/linux/man-pages/man7/sock_diag.7.html), and
    /// `lstat` finds the file. These calls replace `getsockname`. The capability decides about
    /// `address`.
    ///
    /// On btrfs, and on an overlay of two file systems, the kernel reports two devices for one
    /// file, and the socket is refused.
    ///
    /// # Errors
    ///
    /// Those of [`adopt`](Self::adopt), [`SocketError::InvalidAddress`] if the address or the
    /// socket has no Unix path, and [`SocketError::System`] with [`Step::Adopt`] and
    /// `EADDRNOTAVAIL` if the file is another one, with [`Step::Diag`], or with [`Step::Stat`].
    pub fn adopt_as<A: Allocator>(
        &self,
        fd: impl Into<OwnedFd>,
        address: &BindAddress,
        allocator: A,
    ) -> core::result::Result<Listener<A>, AdoptError> {
        self.adopt_or_return(fd.into(), Some(address), allocator)
    }

    fn adopt_or_return<A: Allocator>(
        &self,
        fd: OwnedFd,
        address: Option<&BindAddress>,
        allocator: A,
    ) -> core::result::Result<Listener<A>, AdoptError> {
        match self.adopt_borrowed(borrow(&fd), address, allocator) {
            Ok((sockaddr, nonblocking)) => Ok(Listener::new(fd, sockaddr, nonblocking)),
            Err(error) => Err(AdoptError::new(error, fd)),
        }
    }

    /// Does everything that can fail. Returns the address, and true if the socket is non-blocking.
    fn adopt_borrowed<A: Allocator>(
        &self,
        fd: BorrowedFd<'_>,
        renamed: Option<&BindAddress>,
        allocator: A,
    ) -> Result<(SockAddr<A>, bool)> {
        self.validate_adoption()?;
        self.check_context()?;
        let family = listening_family(fd)?;
        let reported = match renamed {
            None => Some(calls::getsockname(fd)?),
            Some(_) => None,
        };
        let address = reported.as_ref().or(renamed).ok_or(SocketError::InvalidAddress)?;
        let dual_stack = family == Family::Ipv6 && query(fd, Query::V6Only)? == 0;
        let sockaddr = SockAddr::new_in(address, allocator)?;
        if renamed.is_some() {
            verify_path(fd, family, &sockaddr)?;
        }
        let permit = self.permit(address, dual_stack)?;
        self.check_context()?;
        let nonblocking = take_over(fd, self.is_nonblocking())?;
        permit.record_adoption();
        Ok((sockaddr, nonblocking))
    }
}

/// Returns the family of a listening TCP or Unix stream socket, and an error for anything else.
fn listening_family(fd: BorrowedFd<'_>) -> Result<Family> {
    const AF_UNIX: i32 = 1;
    const AF_INET: i32 = 2;
    const AF_INET6: i32 = 10;
    const SOCK_STREAM: i32 = 1;
    const IPPROTO_TCP: i32 = 6;
    let refuse = |errno| Err(SocketError::system(Step::Adopt, errno));
    let family = match query(fd, Query::Domain)? {
        AF_INET => Family::Ipv4,
        AF_INET6 => Family::Ipv6,
        AF_UNIX => Family::Unix,
        _ => return refuse(Errno::AFNOSUPPORT),
    };
    if query(fd, Query::Type)? != SOCK_STREAM {
        return refuse(Errno::SOCKTNOSUPPORT);
    }
    if family.is_ip() && query(fd, Query::Protocol)? != IPPROTO_TCP {
        return refuse(Errno::PROTONOSUPPORT);
    }
    if query(fd, Query::Listening)? == 0 {
        return refuse(Errno::INVAL);
    }
    Ok(family)
}

fn query(fd: BorrowedFd<'_>, query: Query) -> Result<i32> {
    backend::getsockopt(fd, query).map_err(|errno| SocketError::system(Step::Adopt, errno))
}

/// Returns an error unless the path of `sockaddr` leads to this Unix socket.
fn verify_path<A: Allocator>(
    fd: BorrowedFd<'_>,
    family: Family,
    sockaddr: &SockAddr<A>,
) -> Result<()> {
    match sockaddr.path() {
        Some(path) if family == Family::Unix => unix_file::verify(fd, path).map(drop),
        _ => Err(SocketError::InvalidAddress),
    }
}

/// Sets close-on-exec, and non-blocking mode if that is asked for. Returns true if the socket is
/// non-blocking. If it fails, nothing has changed.
fn take_over(fd: BorrowedFd<'_>, nonblocking: bool) -> Result<bool> {
    let error = system_error(Step::Adopt);
    let before = fcntl_getfl(fd).map_err(&error)?;
    let is_nonblocking = before.contains(OFlags::NONBLOCK);
    let changes = nonblocking && !is_nonblocking;
    if changes {
        fcntl_setfl(fd, before | OFlags::NONBLOCK).map_err(&error)?;
    }
    fcntl_setfd(fd, FdFlags::CLOEXEC).map_err(|errno| {
        if changes {
            let _ = fcntl_setfl(fd, before);
        }
        error(errno)
    })?;
    Ok(nonblocking || is_nonblocking)
}
