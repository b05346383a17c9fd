//! Errors: the failed step, the kernel's errno, and predicates such as `is_address_in_use`.

#[cfg(target_os = "linux")]
mod adopt;
pub(crate) mod capability;
mod errno;
pub(crate) mod rule;
mod step;
#[cfg(feature = "std")]
mod wrong_family;

use core::fmt;

#[cfg(target_os = "linux")]
pub use adopt::AdoptError;
pub use errno::Errno;
pub use step::{SocketOption, Step};
#[cfg(feature = "std")]
pub use wrong_family::WrongFamily;

/// The reason why a listening socket was not opened, or why an operation on one failed.
///
/// A refusal by a capability is [`CapabilityDenied`](Self::CapabilityDenied). It is never mistaken
/// for the kernel's `EACCES`, which is a [`System`](Self::System) error.
///
/// The value is small and `Copy`, so it does not hold the address. [`at`](Self::at) adds it for a
/// message that a person can act on: `127.0.0.1:80: bind failed: permission denied (EACCES)`.
///
/// ```
/// use netbind::{BindAddress, SocketError};
///
/// let error: SocketError = BindAddress::parse("127.0.0.1:http").unwrap_err().into();
/// assert_eq!(error, SocketError::InvalidPort);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketError {
    /// The text is not an address of any form. [`ParseError`](crate::address::ParseError) has the
    /// reason and the byte offset.
    InvalidAddress,
    /// The host is well formed and followed by `:`, but what follows is not a port (1 to 5 digits,
    /// 0 to 65535).
    InvalidPort,
    /// The option does not apply to this kind of address, such as dual stack to IPv4, or to this
    /// call, such as a backlog to `adopt`. Nothing was opened. Exception: Unix sockets ignore
    /// `reuse_address`.
    InvalidOption(SocketOption),
    /// The context was cancelled or its deadline has passed.
    /// [`Context::cause`](crate::Context::cause) returns the cause at the time of that call.
    Timeout,
    /// The capability does not allow this address. No system call was made.
    CapabilityDenied,
    /// The caller's allocator returned an error.
    OutOfMemory,
    /// A system call failed.
    System {
        /// The call that failed.
        step: Step,
        /// The kernel's error number.
        errno: Errno,
    },
}

impl SocketError {
    pub(crate) const fn system(step: Step, errno: Errno) -> Self {
        Self::System { step, errno }
    }

    /// Returns the kernel's error number if a system call failed.
    #[must_use]
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::System { errno, .. } => Some(errno),
            _ => None,
        }
    }

    /// Returns the system call that failed, if one did.
    #[must_use]
    pub const fn step(self) -> Option<Step> {
        match self {
            Self::System { step, .. } => Some(step),
            _ => None,
        }
    }

    fn errno_is_any(self, errnos: &[Errno]) -> bool {
        self.errno().is_some_and(|errno| errnos.contains(&errno))
    }

    /// Returns true if the address is already taken (`EADDRINUSE`).
    ///
    /// For a Unix path, any existing directory entry of that name counts, including a dangling
    /// link. `listen` can also return it, if two sockets with `SO_REUSEADDR` were both bound.
    #[must_use]
    pub fn is_address_in_use(self) -> bool {
        self.errno_is_any(&[Errno::ADDRINUSE])
    }

    /// Returns true if the address does not exist on this machine.
    ///
    /// That is an IP address of another machine (`EADDRNOTAVAIL`), an interface that does not
    /// exist (`ENODEV`), or a Unix path whose directory does not exist (`ENOENT`, `ENOTDIR`).
    #[must_use]
    pub fn is_address_not_available(self) -> bool {
        self.errno_is_any(&[Errno::ADDRNOTAVAIL, Errno::NODEV, Errno::NOENT, Errno::NOTDIR])
    }

    /// Returns true if the kernel denied permission (`EACCES`, `EPERM`, `EROFS`).
    ///
    /// Causes are a port below `net.ipv4.ip_unprivileged_port_start`, a directory that is not
    /// writable, and a security module. A firewall can make `accept` return `EPERM` for a single
    /// connection, see [`is_connection_lost`](Self::is_connection_lost). A refusal by a capability
    /// is never included.
    #[must_use]
    pub fn is_permission_denied(self) -> bool {
        self.errno_is_any(&[Errno::ACCESS, Errno::PERM, Errno::ROFS])
    }

    /// Returns true if descriptors or memory ran out.
    ///
    /// These are `EMFILE`, `ENFILE`, `ENOMEM`, `ENOBUFS`, `ENOSPC`, `EDQUOT` and
    /// [`OutOfMemory`](Self::OutOfMemory). An accept loop must pause before it tries again, because
    /// the connection stays in the queue.
    #[must_use]
    pub fn is_exhausted(self) -> bool {
        const ERRNOS: &[Errno] =
            &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::NOSPC, Errno::DQUOT];
        self == Self::OutOfMemory || self.errno_is_any(ERRNOS)
    }

    /// Returns true if the kernel lacks support, or if the option does not apply to the address.
    ///
    /// The errnos are `EAFNOSUPPORT`, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`, `EOPNOTSUPP`,
    /// `ENOPROTOOPT` and `ENOSYS`.
    #[must_use]
    pub fn is_not_supported(self) -> bool {
        const ERRNOS: &[Errno] = &[
            Errno::AFNOSUPPORT,
            Errno::PROTONOSUPPORT,
            Errno::SOCKTNOSUPPORT,
            Errno::OPNOTSUPP,
            Errno::NOPROTOOPT,
            Errno::NOSYS,
        ];
        let by_kernel = self.errno_is_any(ERRNOS) && !self.is_connection_lost();
        by_kernel || matches!(self, Self::InvalidOption(_))
    }

    /// Returns true if a non-blocking accept found no waiting client (`EAGAIN`).
    #[must_use]
    pub fn is_would_block(self) -> bool {
        self.errno_is_any(&[Errno::AGAIN])
    }

    /// Returns true if a signal interrupted the call (`EINTR`).
    ///
    /// Check the context, then call again. [`Step::Close`] is the exception: the descriptor is
    /// closed all the same, and closing it again could close another one.
    #[must_use]
    pub fn is_interrupted(self) -> bool {
        self.errno_is_any(&[Errno::INTR])
    }

    /// Returns true if accept failed for one connection only, so that an accept loop can go on.
    ///
    /// The client went away, or the network reported an error that was pending on the new socket:
    /// `ECONNABORTED`, `EPROTO`, `ENETDOWN`, `ENOPROTOOPT`, `EHOSTDOWN`, `ENONET`, `EHOSTUNREACH`,
    /// `EOPNOTSUPP`, `ENETUNREACH`, `ETIMEDOUT`, and `EPERM` if a firewall forbids the connection.
    /// [accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html) lists them.
    ///
    /// A security module can return `EPERM` for every connection. A loop that sees it many times
    /// in a row must pause.
    ///
    /// ```
    /// use netbind::SocketError;
    /// use netbind::error::{Errno, Step};
    ///
    /// let of_accept = SocketError::System { step: Step::Accept, errno: Errno::PERM };
    /// assert!(of_accept.is_connection_lost());
    /// let of_bind = SocketError::System { step: Step::Bind, errno: Errno::PERM };
    /// assert!(!of_bind.is_connection_lost());
    /// ```
    #[must_use]
    pub fn is_connection_lost(self) -> bool {
        const ERRNOS: &[Errno] = &[
            Errno::CONNABORTED,
            Errno::PROTO,
            Errno::NETDOWN,
            Errno::NOPROTOOPT,
            Errno::HOSTDOWN,
            Errno::NONET,
            Errno::HOSTUNREACH,
            Errno::OPNOTSUPP,
            Errno::NETUNREACH,
            Errno::TIMEDOUT,
            Errno::PERM,
        ];
        self.step() == Some(Step::Accept) && self.errno_is_any(ERRNOS)
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAddress => f.write_str(
                "not an address: expected :PORT, IPV4:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME \
                 or /PATH",
            ),
            Self::InvalidPort => f.write_str("not a port: expected 0 to 65535 in 1 to 5 digits"),
            Self::InvalidOption(SocketOption::Nonblocking) => {
                f.write_str("the listener must be non-blocking to wait under a context")
            }
            Self::InvalidOption(SocketOption::CancelEvent) => {
                f.write_str("more than eight cancellation events in a chain of contexts")
            }
            Self::InvalidOption(option) => {
                write!(f, "{option} does not apply to this kind of address or call")
            }
            Self::Timeout => f.write_str("cancelled or past the deadline"),
            Self::CapabilityDenied => f.write_str("denied by the capability"),
            Self::OutOfMemory => f.write_str("out of memory: the allocator returned an error"),
            Self::System { step, errno } => write!(f, "{step} failed: {errno}"),
        }
    }
}

impl core::error::Error for SocketError {}

#[cfg(feature = "std")]
impl From<SocketError> for std::io::Error {
    /// Converts the error; a failed system call keeps its errno and so its `ErrorKind`.
    ///
    /// Every other error is stored inside the `io::Error`, except
    /// [`OutOfMemory`](SocketError::OutOfMemory), for which nothing is allocated. A denial by a
    /// capability is [`ErrorKind::Other`](std::io::ErrorKind::Other), because
    /// `PermissionDenied` is the kernel's `EACCES`.
    fn from(error: SocketError) -> Self {
        use std::io::ErrorKind;
        let kind = match error {
            SocketError::System { errno, .. } => {
                return Self::from_raw_os_error(errno.raw_os_error());
            }
            SocketError::OutOfMemory => return ErrorKind::OutOfMemory.into(),
            SocketError::InvalidAddress | SocketError::InvalidPort => ErrorKind::InvalidInput,
            SocketError::InvalidOption(_) => ErrorKind::Unsupported,
            SocketError::Timeout => ErrorKind::TimedOut,
            SocketError::CapabilityDenied => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
