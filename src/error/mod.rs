//! What can go wrong, as one small `Copy` value: which step failed, with which errno, and what that means.

mod errno;

use core::fmt;

pub use errno::Errno;

/// Why no listening socket was opened, or why an operation on one failed.
///
/// A refusal by a capability is [`CapabilityDenied`](Self::CapabilityDenied) and can never be mistaken for the kernel's
/// `EACCES`, which is a [`System`](Self::System) error: see [`is_permission_denied`](Self::is_permission_denied).
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
    /// The text is no address of any form. [`ParseError`](crate::ParseError) tells the byte at which it stopped being one.
    InvalidAddress,
    /// The host is well formed and its `:` is there, but what follows is no port (1 to 5 digits, 0 to 65535).
    InvalidPort,
    /// An option was asked for that means nothing for this kind of address, such as dual stack for IPv4. Nothing was
    /// opened: an option is given or refused, never silently dropped. (Address reuse, on by default, is for IP alone.)
    InvalidOption(SocketOption),
    /// The context was cancelled or its deadline has passed: [`Context::cause`](crate::Context::cause) tells which.
    Timeout,
    /// The capability does not allow this address. No system call was made.
    CapabilityDenied,
    /// The caller's allocator refused the memory.
    OutOfMemory,
    /// A system call failed.
    System {
        /// The call that failed.
        step: Step,
        /// What the kernel answered.
        errno: Errno,
    },
}

/// The system call that failed, in the order in which a listening socket meets them.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use netbind::{SocketOption, Step};
///
/// # let memory = bumpalo::Bump::new();
/// let _first = netbind::listen("unix:@netbind-doc-step", &memory)?;
/// let error = netbind::listen("unix:@netbind-doc-step", &memory).unwrap_err();
/// assert_eq!(error.step(), Some(Step::Bind));
/// assert_eq!(Step::Option(SocketOption::NoDelay).to_string(), "setsockopt(TCP_NODELAY)");
/// # }
/// # Ok::<(), netbind::SocketError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html)
    Socket,
    /// [setsockopt(2)](https://man7.org/linux/man-pages/man2/setsockopt.2.html) for the option named, or
    /// [fchmod(2)](https://man7.org/linux/man-pages/man2/fchmod.2.html) for [`SocketOption::Mode`].
    Option(SocketOption),
    /// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html)
    Bind,
    /// [getsockname(2)](https://man7.org/linux/man-pages/man2/getsockname.2.html), which tells the port chosen for port 0.
    LocalAddress,
    /// [lstat(2)](https://man7.org/linux/man-pages/man2/lstat.2.html) of a Unix path: which file is ours.
    Stat,
    /// [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html)
    Listen,
    /// [accept4(2)](https://man7.org/linux/man-pages/man2/accept4.2.html)
    Accept,
    /// [unlink(2)](https://man7.org/linux/man-pages/man2/unlink.2.html) of a Unix path that this socket's bind created.
    Unlink,
    /// [close(2)](https://man7.org/linux/man-pages/man2/close.2.html)
    Close,
}

/// A socket option that can be asked for, or that failed.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// use netbind::{ListenOptions, SocketError, SocketOption};
///
/// # let memory = bumpalo::Bump::new();
/// let error = ListenOptions::new().no_delay(true).listen("unix:@netbind-doc-option", &memory).unwrap_err();
/// assert_eq!(error, SocketError::InvalidOption(SocketOption::NoDelay));
/// # }
/// assert_eq!(netbind::SocketOption::NoDelay.to_string(), "TCP_NODELAY");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketOption {
    /// `SO_REUSEADDR`
    ReuseAddress,
    /// `IPV6_V6ONLY`: on by default, off for dual stack.
    V6Only,
    /// `SO_REUSEPORT`
    ReusePort,
    /// `IP_FREEBIND` or `IPV6_FREEBIND`
    FreeBind,
    /// `SO_KEEPALIVE`
    KeepAlive,
    /// `TCP_NODELAY`
    NoDelay,
    /// `SO_RCVBUF`
    ReceiveBuffer,
    /// `SO_SNDBUF`
    SendBuffer,
    /// The permission bits of a Unix path.
    Mode,
}

impl SocketError {
    /// The system error of `step`.
    #[cfg(target_os = "linux")]
    pub(crate) const fn system(step: Step, errno: Errno) -> Self {
        Self::System { step, errno }
    }

    /// What the kernel answered, where a system call failed.
    ///
    /// ```
    /// assert_eq!(netbind::SocketError::Timeout.errno(), None);
    /// ```
    #[must_use]
    pub const fn errno(self) -> Option<Errno> {
        match self {
            Self::System { errno, .. } => Some(errno),
            _ => None,
        }
    }

    /// The system call that failed, where one did.
    ///
    /// ```
    /// assert_eq!(netbind::SocketError::CapabilityDenied.step(), None);
    /// ```
    #[must_use]
    pub const fn step(self) -> Option<Step> {
        match self {
            Self::System { step, .. } => Some(step),
            _ => None,
        }
    }

    fn has(self, meant: &[Errno]) -> bool {
        self.errno().is_some_and(|errno| meant.contains(&errno))
    }

    /// Somebody else holds the address (`EADDRINUSE`): another socket, or, for a Unix path, any existing entry of that
    /// name, a dangling link included. `listen` can say it too, when two `SO_REUSEADDR` sockets were both bound.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// let bump = bumpalo::Bump::new();
    /// let first = netbind::listen("127.0.0.1:0", &bump)?;
    /// let taken = first.local_address()?;
    /// let error = netbind::ListenOptions::new().listen_on(&taken, &bump).unwrap_err();
    /// assert!(error.is_address_in_use());
    /// # }
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn is_address_in_use(self) -> bool {
        self.has(&[Errno::ADDRINUSE])
    }

    /// The address is not one of this machine (`EADDRNOTAVAIL`), its interface does not exist (`ENODEV`), or the directory
    /// of the Unix path does not (`ENOENT`, `ENOTDIR`).
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// let memory = bumpalo::Bump::new();
    /// let path = std::env::temp_dir().join("netbind-doc-no-such-directory/web.sock");
    /// let error = netbind::listen(format!("unix:{}", path.display()), &memory).unwrap_err();
    /// assert!(error.is_address_not_available());
    /// # }
    /// ```
    #[must_use]
    pub fn is_address_not_available(self) -> bool {
        self.has(&[Errno::ADDRNOTAVAIL, Errno::NODEV, Errno::NOENT, Errno::NOTDIR])
    }

    /// The kernel refused for want of permission (`EACCES`, `EPERM`, `EROFS`): a port below 1024, a directory that may not
    /// be written, a security module, or for `accept` a firewall's `EPERM`, which is of one connection alone
    /// ([`is_connection_lost`](Self::is_connection_lost)). Never a capability's refusal.
    ///
    /// ```
    /// use netbind::{Errno, SocketError, Step};
    ///
    /// assert!(SocketError::System { step: Step::Bind, errno: Errno::ACCESS }.is_permission_denied());
    /// assert!(!SocketError::CapabilityDenied.is_permission_denied());
    /// ```
    #[must_use]
    pub fn is_permission_denied(self) -> bool {
        self.has(&[Errno::ACCESS, Errno::PERM, Errno::ROFS])
    }

    /// Descriptors or memory ran out: `EMFILE`, `ENFILE`, `ENOMEM`, `ENOBUFS`, `ENOSPC`, `EDQUOT`, or the caller's
    /// allocator refused. An accept loop that meets it backs off: the connection stays in the queue.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// let memory = bumpalo::Bump::new();
    /// memory.set_allocation_limit(Some(0));
    /// assert!(netbind::listen("127.0.0.1:0", &memory).unwrap_err().is_exhausted());
    /// # }
    /// # use netbind::{Errno, SocketError, Step};
    /// assert!(SocketError::System { step: Step::Accept, errno: Errno::MFILE }.is_exhausted());
    /// ```
    #[must_use]
    pub fn is_exhausted(self) -> bool {
        const MEANT: &[Errno] = &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::NOSPC, Errno::DQUOT];
        matches!(self, Self::OutOfMemory) || self.has(MEANT)
    }

    /// The kernel does not have what was asked for (`EAFNOSUPPORT`, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`, `EOPNOTSUPP`,
    /// `ENOPROTOOPT`, `ENOSYS`), or the option means nothing for this address.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// let memory = bumpalo::Bump::new();
    /// let error = netbind::ListenOptions::new().dual_stack(true).listen("127.0.0.1:0", &memory).unwrap_err();
    /// assert!(error.is_not_supported());
    /// # }
    /// ```
    #[must_use]
    pub fn is_not_supported(self) -> bool {
        const MEANT: &[Errno] = &[
            Errno::AFNOSUPPORT,
            Errno::PROTONOSUPPORT,
            Errno::SOCKTNOSUPPORT,
            Errno::OPNOTSUPP,
            Errno::NOPROTOOPT,
            Errno::NOSYS,
        ];
        matches!(self, Self::InvalidOption(_)) || (self.has(MEANT) && !self.is_connection_lost())
    }

    /// A non-blocking accept found nobody waiting (`EAGAIN`).
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().nonblocking(true).listen("127.0.0.1:0", &memory)?;
    /// assert!(listener.accept().unwrap_err().is_would_block());
    /// # }
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn is_would_block(self) -> bool {
        self.has(&[Errno::AGAIN])
    }

    /// A signal came first (`EINTR`): look at the context, then call again, unless the step was [`Step::Close`], which has
    /// closed all the same.
    ///
    /// ```
    /// use netbind::{Errno, SocketError, Step};
    ///
    /// assert!(SocketError::System { step: Step::Accept, errno: Errno::INTR }.is_interrupted());
    /// assert!(!SocketError::Timeout.is_interrupted());
    /// ```
    #[must_use]
    pub fn is_interrupted(self) -> bool {
        self.has(&[Errno::INTR])
    }

    /// Accept failed for one connection only, and the next may be fine: the peer went away, or the network reported an
    /// error that was pending on the new socket. An accept loop goes on.
    ///
    /// The errors are those that [accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html) lists for it:
    /// `ECONNABORTED`, `EPROTO`, `ENETDOWN`, `ENOPROTOOPT`, `EHOSTDOWN`, `ENONET`, `EHOSTUNREACH`, `EOPNOTSUPP`,
    /// `ENETUNREACH`, `ETIMEDOUT`, and `EPERM` where a firewall forbids the connection.
    ///
    /// ```
    /// use netbind::{Errno, SocketError, Step};
    ///
    /// // Of one connection in `accept`, of the whole listener in `bind`.
    /// assert!(SocketError::System { step: Step::Accept, errno: Errno::PERM }.is_connection_lost());
    /// assert!(!SocketError::System { step: Step::Bind, errno: Errno::PERM }.is_connection_lost());
    /// ```
    #[must_use]
    pub fn is_connection_lost(self) -> bool {
        const MEANT: &[Errno] = &[
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
        self.step() == Some(Step::Accept) && self.has(MEANT)
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAddress => {
                f.write_str("not an address: expected :PORT, IPV4:PORT, [IPV6]:PORT, unix:PATH, unix:@NAME or /PATH")
            }
            Self::InvalidPort => f.write_str("not a port: expected 1 to 5 digits, 0 to 65535"),
            Self::InvalidOption(option) => write!(f, "{option} does not apply to this kind of address"),
            Self::Timeout => f.write_str("cancelled or past the deadline"),
            Self::CapabilityDenied => f.write_str("denied by the capability"),
            Self::OutOfMemory => f.write_str("the allocator refused the memory"),
            Self::System { step, errno } => write!(f, "{step} failed: {errno}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "socket",
            Self::Option(SocketOption::Mode) => "fchmod",
            Self::Option(option) => return write!(f, "setsockopt({option})"),
            Self::Bind => "bind",
            Self::LocalAddress => "getsockname",
            Self::Stat => "lstat",
            Self::Listen => "listen",
            Self::Accept => "accept4",
            Self::Unlink => "unlink",
            Self::Close => "close",
        })
    }
}

impl fmt::Display for SocketOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReuseAddress => "SO_REUSEADDR",
            Self::V6Only => "IPV6_V6ONLY",
            Self::ReusePort => "SO_REUSEPORT",
            Self::FreeBind => "IP_FREEBIND or IPV6_FREEBIND",
            Self::KeepAlive => "SO_KEEPALIVE",
            Self::NoDelay => "TCP_NODELAY",
            Self::ReceiveBuffer => "SO_RCVBUF",
            Self::SendBuffer => "SO_SNDBUF",
            Self::Mode => "a file mode",
        })
    }
}

impl core::error::Error for SocketError {}

#[cfg(feature = "std")]
impl From<SocketError> for std::io::Error {
    /// A failed system call keeps its errno, and so its `ErrorKind`; every other error is carried whole, but for
    /// [`OutOfMemory`](SocketError::OutOfMemory), for which nothing is allocated. A denial by a capability is
    /// [`ErrorKind::Other`](std::io::ErrorKind::Other), unlike the kernel's `EACCES`.
    ///
    /// ```
    /// use std::io::{Error, ErrorKind};
    /// use netbind::{Errno, SocketError, Step};
    ///
    /// assert_eq!(Error::from(SocketError::Timeout).kind(), ErrorKind::TimedOut);
    /// let refused = Error::from(SocketError::System { step: Step::Bind, errno: Errno::ADDRINUSE });
    /// assert_eq!(refused.kind(), ErrorKind::AddrInUse);
    /// ```
    fn from(error: SocketError) -> Self {
        use std::io::ErrorKind;
        let kind = match error {
            SocketError::System { errno, .. } => return Self::from_raw_os_error(errno.raw_os_error()),
            SocketError::InvalidAddress | SocketError::InvalidPort => ErrorKind::InvalidInput,
            SocketError::InvalidOption(_) => ErrorKind::Unsupported,
            SocketError::Timeout => ErrorKind::TimedOut,
            // Not `PermissionDenied`, which is what the kernel's `EACCES` is.
            SocketError::CapabilityDenied => ErrorKind::Other,
            // Without the box that every other one is carried in.
            SocketError::OutOfMemory => return ErrorKind::OutOfMemory.into(),
        };
        Self::new(kind, error)
    }
}
