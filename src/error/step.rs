use core::fmt;

/// The system call that failed.
///
/// ```
/// use netbind::error::{SocketOption, Step};
///
/// assert_eq!(Step::Bind.to_string(), "bind");
/// assert_eq!(Step::Option(SocketOption::NoDelay).to_string(), "setsockopt(TCP_NODELAY)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// [socket(2)](https://man7.org/linux/man-pages/man2/socket.2.html)
    Socket,
    /// [setsockopt(2)](https://man7.org/linux/man-pages/man2/setsockopt.2.html) of this option, or
    /// [fchmod(2)](https://man7.org/linux/man-pages/man2/fchmod.2.html) for [`SocketOption::Mode`].
    Option(SocketOption),
    /// [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html). `EADDRINUSE` is also returned
    /// if a relative Unix path already exists; `bind` is then not called.
    Bind,
    /// [getsockname(2)](https://man7.org/linux/man-pages/man2/getsockname.2.html). `EINVAL` also
    /// means an address that [`BindAddress`](crate::BindAddress) cannot represent.
    LocalAddress,
    /// [openat(2)](https://man7.org/linux/man-pages/man2/openat.2.html) of the working directory,
    /// from which a relative Unix path is looked up, or of the directory that is locked for a
    /// replacement.
    OpenDirectory,
    /// [lstat(2)](https://man7.org/linux/man-pages/man2/lstat.2.html) of a Unix path.
    Stat,
    /// [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html)
    Listen,
    /// [accept4(2)](https://man7.org/linux/man-pages/man2/accept4.2.html)
    Accept,
    /// [unlink(2)](https://man7.org/linux/man-pages/man2/unlink.2.html) of a Unix path that this
    /// socket's bind created.
    Unlink,
    /// [close(2)](https://man7.org/linux/man-pages/man2/close.2.html)
    Close,
    /// [ppoll(2)](https://man7.org/linux/man-pages/man2/ppoll.2.html), which waits for a client.
    Poll,
    /// [eventfd2(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html)
    CancelEvent,
    /// [flock(2)](https://man7.org/linux/man-pages/man2/flock.2.html) of the directory of a Unix
    /// path whose socket is to be replaced.
    Lock,
    /// [renameat2(2)](https://man7.org/linux/man-pages/man2/rename.2.html), which moves a finished
    /// Unix socket to its path. `EINVAL`: the file system cannot exchange two files.
    Rename,
    /// [connect(2)](https://man7.org/linux/man-pages/man2/connect.2.html) of a new socket, which
    /// finds out whether a process listens at a Unix path.
    Probe,
    /// The inspection of a socket that is to be adopted:
    /// [getsockopt(2)](https://man7.org/linux/man-pages/man2/getsockopt.2.html) and
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html). `ListenOptions::adopt` lists
    /// the errnos of sockets that cannot be adopted.
    Adopt,
    /// [sock_diag(7)](https://man7.org/linux/man-pages/man7/sock_diag.7.html), which finds the file
    /// of a Unix socket.
    Diag,
    /// The function of `ListenOptions::before_bind`. The errno is the one that it returned.
    BeforeBind,
}

/// An option of `ListenOptions`.
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
    /// The owner of a Unix path.
    Owner,
    /// The treatment of an entry that is already at a Unix path.
    Existing,
    /// `SOCK_NONBLOCK`
    Nonblocking,
    /// The backlog of `listen`.
    Backlog,
    /// The function of `ListenOptions::before_bind`.
    BeforeBind,
    /// More events in a chain of contexts than one call can wait for.
    CancelEvent,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "socket",
            Self::Option(SocketOption::Mode) => "fchmod",
            Self::Option(SocketOption::Owner) => "fchownat",
            Self::Option(option) => return write!(f, "setsockopt({option})"),
            Self::Bind => "bind",
            Self::LocalAddress => "getsockname",
            Self::OpenDirectory => "openat",
            Self::Stat => "lstat",
            Self::Listen => "listen",
            Self::Accept => "accept4",
            Self::Unlink => "unlink",
            Self::Close => "close",
            Self::Poll => "ppoll",
            Self::CancelEvent => "eventfd",
            Self::Lock => "flock",
            Self::Rename => "renameat2",
            Self::Probe => "connect",
            Self::Adopt => "adopt",
            Self::Diag => "sock_diag",
            Self::BeforeBind => "the hook before bind",
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
            Self::Owner => "a file owner",
            Self::Existing => "the replacement of a socket",
            Self::Nonblocking => "SOCK_NONBLOCK",
            Self::Backlog => "a backlog",
            Self::BeforeBind => "a hook before bind",
            Self::CancelEvent => "a cancellation event",
        })
    }
}
