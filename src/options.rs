//! What can be asked of a listening socket: plain data, decided before anything is opened.

use core::fmt;

use crate::address::BindAddress;
use crate::capability::{NetBind, Permit};
use crate::context::Context;
use crate::error::{SocketError, SocketOption};

bitflags::bitflags! {
    /// The options that were asked for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Flags: u16 {
        const REUSE_ADDRESS = 1;
        const DUAL_STACK = 4;
        const REUSE_PORT = 8;
        const FREE_BIND = 16;
        const KEEP_ALIVE = 32;
        const NO_DELAY = 64;
        const RECEIVE_BUFFER = 128;
        const SEND_BUFFER = 256;
        const MODE = 512;
        /// Where most processors have `SOCK_NONBLOCK`, so that it is taken over as it is.
        const NONBLOCKING = 2048;
    }
}

impl Flags {
    /// Those that cost no call, or change one that is made anyway; every other one is a call of its own.
    pub(crate) const PLAIN: Self = Self::REUSE_ADDRESS.union(Self::NONBLOCKING).union(Self::DUAL_STACK);

    /// Whether there is nothing beyond the plain ones, as in most calls.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub(crate) const fn is_plain(self) -> bool {
        Self::PLAIN.contains(self)
    }
}

/// Everything an opening can be given: a context, a capability and the socket options. The three entry points are thin
/// faces of it.
///
/// Each option that is asked for adds its one system call, unless it says otherwise. One that means nothing for the kind of
/// address is [`SocketError::InvalidOption`] and opens nothing.
///
/// ```
/// use core::time::Duration;
/// use netbind::{Context, ListenOptions, MonotonicClock, NetBind};
///
/// let memory = bumpalo::Bump::new();
/// let clock = MonotonicClock::new();
/// let context = Context::new(&clock).with_timeout(Duration::from_secs(1));
/// let mut capability = NetBind::new("web")?;
/// capability.allow_port(0)?;
///
/// let listener = ListenOptions::new()
///     .context(&context)
///     .capability(&capability)
///     .backlog(64)
///     .dual_stack(true)
///     .listen("[::]:0", &memory)?;
/// assert_ne!(listener.local_address()?.port(), Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ListenOptions<'a> {
    pub(crate) context: Option<&'a Context<'a>>,
    pub(crate) capability: Option<&'a NetBind<'a>>,
    pub(crate) flags: Flags,
    pub(crate) backlog: i32,
    /// Read where the flag of the same name is set.
    pub(crate) receive_buffer: u32,
    pub(crate) send_buffer: u32,
    pub(crate) mode: u16,
}

impl<'a> ListenOptions<'a> {
    /// No context, no capability, and what [`listen`](crate::listen) does: `SO_REUSEADDR` on, IPv6 alone on IPv6 sockets,
    /// blocking, and the longest backlog that the kernel allows.
    ///
    /// ```
    /// let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().listen("127.0.0.1:0", &memory)?;
    /// assert!(rustix::net::sockopt::socket_acceptconn(&listener).unwrap());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self {
            context: None,
            capability: None,
            flags: Flags::REUSE_ADDRESS,
            backlog: i32::MAX,
            receive_buffer: 0,
            send_buffer: 0,
            mode: 0,
        }
    }

    /// Checks this context before the first step and between every two.
    ///
    /// ```
    /// use netbind::{CancelFlag, Context, ListenOptions, MonotonicClock, SocketError};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let (clock, stop) = (MonotonicClock::new(), CancelFlag::new());
    /// let context = Context::new(&clock).with_cancel(&stop);
    /// stop.cancel();
    /// let error = ListenOptions::new().context(&context).listen("127.0.0.1:0", &memory).unwrap_err();
    /// assert_eq!(error, SocketError::Timeout);
    /// ```
    #[must_use]
    pub const fn context(mut self, context: &'a Context<'a>) -> Self {
        self.context = Some(context);
        self
    }

    /// Asks this capability before any system call.
    ///
    /// ```
    /// use netbind::{ListenOptions, NetBind, SocketError};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let capability = NetBind::new("web")?;
    /// let error = ListenOptions::new().capability(&capability).listen("127.0.0.1:22", &memory).unwrap_err();
    /// assert_eq!(error, SocketError::CapabilityDenied);
    /// # Ok::<(), netbind::CapabilityError>(())
    /// ```
    #[must_use]
    pub const fn capability(mut self, capability: &'a NetBind<'a>) -> Self {
        self.capability = Some(capability);
        self
    }

    /// How many connections may wait to be accepted: [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html).
    ///
    /// The kernel cuts it to `net.core.somaxconn`, which is also the default here; anything above 2147483647 is that. The
    /// queue holds one more than the number says, so 0 lets a single connection wait.
    ///
    /// ```
    /// use std::net::TcpStream;
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().backlog(0).listen("127.0.0.1:0", &memory)?;
    /// let _waiting = TcpStream::connect(listener.local_address()?.to_socket_addr().unwrap()).unwrap();
    /// assert!(listener.accept().is_ok());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    #[allow(clippy::cast_possible_wrap)] // it is cut to what fits first
    pub const fn backlog(mut self, connections: u32) -> Self {
        self.backlog = if connections > i32::MAX as u32 { i32::MAX } else { connections as i32 };
        self
    }

    /// `SO_REUSEADDR` for IP addresses, on by default: bind although connections of an earlier listener linger in
    /// `TIME_WAIT`. Two sockets that both have it can both bind; the second `listen` then fails. Off makes no call. Unix
    /// sockets have no use for it and never get it.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().reuse_address(false).listen("127.0.0.1:0", &memory)?;
    /// assert!(!rustix::net::sockopt::socket_reuseaddr(&listener).unwrap());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn reuse_address(self, on: bool) -> Self {
        self.set(Flags::REUSE_ADDRESS, on)
    }

    /// `SO_REUSEPORT`, for IP addresses: several listeners of one user share a port, and the kernel spreads the connections.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let shared = netbind::ListenOptions::new().reuse_port(true);
    /// let first = shared.listen("127.0.0.1:0", &memory)?;
    /// let second = shared.listen_on(&first.local_address()?, &memory)?;
    /// assert_eq!(first.local_address()?, second.local_address()?);
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn reuse_port(self, on: bool) -> Self {
        self.set(Flags::REUSE_PORT, on)
    }

    /// Takes IPv4 connections on an IPv6 socket too (`IPV6_V6ONLY` off). It changes the value of a call that is made anyway.
    /// A mapped address (`::ffff:a.b.c.d`) cannot be bound without it.
    ///
    /// ```
    /// use std::net::{Ipv4Addr, TcpStream};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().dual_stack(true).listen("[::]:0", &memory)?;
    /// let port = listener.local_address()?.port().unwrap();
    /// assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn dual_stack(self, on: bool) -> Self {
        self.set(Flags::DUAL_STACK, on)
    }

    /// `accept` answers `EAGAIN` instead of waiting (`SOCK_NONBLOCK` at the creation: no call of its own).
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().nonblocking(true).listen("127.0.0.1:0", &memory)?;
    /// assert!(listener.accept().unwrap_err().is_would_block());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn nonblocking(self, on: bool) -> Self {
        self.set(Flags::NONBLOCKING, on)
    }

    /// `IP_FREEBIND` or `IPV6_FREEBIND`, for IP addresses: bind an address that this machine does not have yet.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// // An address for documentation, which no machine has.
    /// let listener = netbind::ListenOptions::new().free_bind(true).listen("192.0.2.1:0", &memory)?;
    /// assert!(listener.local_address()?.to_string().starts_with("192.0.2.1:"));
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn free_bind(self, on: bool) -> Self {
        self.set(Flags::FREE_BIND, on)
    }

    /// `SO_KEEPALIVE`, for IP addresses; accepted connections inherit it.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().keep_alive(true).listen("127.0.0.1:0", &memory)?;
    /// assert!(rustix::net::sockopt::socket_keepalive(&listener).unwrap());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn keep_alive(self, on: bool) -> Self {
        self.set(Flags::KEEP_ALIVE, on)
    }

    /// `TCP_NODELAY`, for IP addresses; accepted connections inherit it.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().no_delay(true).listen("127.0.0.1:0", &memory)?;
    /// assert!(rustix::net::sockopt::tcp_nodelay(&listener).unwrap());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn no_delay(self, on: bool) -> Self {
        self.set(Flags::NO_DELAY, on)
    }

    /// `SO_RCVBUF` in bytes, for IP addresses, set before `listen` so that the window of accepted connections can scale to
    /// it. The kernel doubles the number and cuts it to twice `net.core.rmem_max`:
    /// [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html).
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().receive_buffer(16_384).listen("127.0.0.1:0", &memory)?;
    /// assert_eq!(rustix::net::sockopt::socket_recv_buffer_size(&listener), Ok(32_768));
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = bytes.min(i32::MAX as u32);
        self.set(Flags::RECEIVE_BUFFER, true)
    }

    /// `SO_SNDBUF` in bytes, for IP addresses, doubled and cut in the same way to twice `net.core.wmem_max`.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().send_buffer(16_384).listen("127.0.0.1:0", &memory)?;
    /// assert_eq!(rustix::net::sockopt::socket_send_buffer_size(&listener), Ok(32_768));
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = bytes.min(i32::MAX as u32);
        self.set(Flags::SEND_BUFFER, true)
    }

    /// The permission bits of a Unix path from the moment it exists, such as `0o600`, less those of the process's umask. To
    /// connect, others need the write permission: [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html).
    ///
    /// One `fchmod` of the socket before `bind`, so there is no moment at which the path has wider permissions. Bits beyond
    /// `0o777` are ignored.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// # let memory = bumpalo::Bump::new();
    /// # let path = std::env::temp_dir().join(format!("netbind-doc-mode-{}.sock", std::process::id()));
    /// let address = format!("unix:{}", path.display());
    /// let listener = netbind::ListenOptions::new().mode(0o600).listen(address, &memory)?;
    /// assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn mode(mut self, mode: u16) -> Self {
        self.mode = mode & 0o777;
        self.set(Flags::MODE, true)
    }

    fn set(mut self, flag: Flags, on: bool) -> Self {
        self.flags.set(flag, on);
        self
    }

    /// Whether every option that was asked for means something for the address, and is permitted.
    #[inline]
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub(crate) fn validate(&self, permit: &Permit<'_>) -> Result<(), SocketError> {
        if self.flags.is_plain() && !self.flags.contains(Flags::DUAL_STACK) {
            return Ok(());
        }
        self.validate_asked(permit)
    }

    fn validate_asked(&self, permit: &Permit<'_>) -> Result<(), SocketError> {
        const FOR_IP: [(Flags, SocketOption); 6] = [
            (Flags::REUSE_PORT, SocketOption::ReusePort),
            (Flags::FREE_BIND, SocketOption::FreeBind),
            (Flags::KEEP_ALIVE, SocketOption::KeepAlive),
            (Flags::NO_DELAY, SocketOption::NoDelay),
            (Flags::RECEIVE_BUFFER, SocketOption::ReceiveBuffer),
            (Flags::SEND_BUFFER, SocketOption::SendBuffer),
        ];
        const FOR_PATHS: [(Flags, SocketOption); 1] = [(Flags::MODE, SocketOption::Mode)];
        let address = permit.address();
        if self.flags.contains(Flags::DUAL_STACK) {
            if !matches!(address, BindAddress::Ipv6 { .. }) {
                return Err(SocketError::InvalidOption(SocketOption::V6Only));
            }
            permit.require_dual_stack()?;
        }
        let strangers: &[_] = match address {
            BindAddress::Ipv4 { .. } | BindAddress::Ipv6 { .. } => &FOR_PATHS,
            BindAddress::Abstract(_) if self.flags.contains(Flags::MODE) => &FOR_PATHS,
            BindAddress::Path(_) | BindAddress::Abstract(_) => &FOR_IP,
        };
        match strangers.iter().find(|(flag, _)| self.flags.contains(*flag)) {
            Some((_, option)) => Err(SocketError::InvalidOption(*option)),
            None => Ok(()),
        }
    }
}

impl Default for ListenOptions<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ListenOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenOptions")
            .field("context", &self.context)
            .field("capability", &self.capability)
            .field("flags", &self.flags)
            .field("backlog", &self.backlog)
            .finish_non_exhaustive()
    }
}
