use core::fmt;

use rustix::fd::BorrowedFd;
use rustix::fs::{Mode, fchmod};
use rustix::io;
use rustix::net::SocketFlags;
use rustix::net::sockopt::{
    set_ip_freebind, set_ipv6_freebind, set_ipv6_v6only, set_socket_keepalive,
    set_socket_recv_buffer_size, set_socket_reuseaddr, set_socket_reuseport,
    set_socket_send_buffer_size, set_tcp_nodelay,
};

use super::errno::system_error;
use crate::address::{BindAddress, Family};
use crate::capability::NetBind;
use crate::context::Context;
use crate::error::SocketOption::{
    FreeBind, KeepAlive, NoDelay, ReceiveBuffer, ReuseAddress, ReusePort, SendBuffer, V6Only,
};
use crate::error::{SocketError, SocketOption, Step};

bitflags::bitflags! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Flags: u16 {
        const REUSE_ADDRESS = 1;
        const V6_ONLY = 1 << 1;
        const DUAL_STACK = 1 << 2;
        const REUSE_PORT = 1 << 3;
        const FREE_BIND = 1 << 4;
        const KEEP_ALIVE = 1 << 5;
        const NO_DELAY = 1 << 6;
        const RECEIVE_BUFFER = 1 << 7;
        const SEND_BUFFER = 1 << 8;
        const MODE = 1 << 9;
        const NONBLOCKING = 1 << 10;
        /// Set without being asked for, so they are skipped if they do not apply to an address.
        const DEFAULTS = Self::REUSE_ADDRESS.bits() | Self::V6_ONLY.bits();
    }
}

/// An option that is set by a system call between `socket` and `bind`.
struct Row {
    option: SocketOption,
    flag: Flags,
    applies_to: fn(&BindAddress) -> bool,
    set: Set,
}

type Set = fn(&ListenOptions<'_>, BorrowedFd<'_>, Family) -> io::Result<()>;

/// Every such option, in the order of the calls. To add one, add a row, its flag, its setter and
/// its [`SocketOption`].
const TABLE: [Row; 10] = [
    row(ReuseAddress, Flags::REUSE_ADDRESS, is_ip, |_, fd, _| set_socket_reuseaddr(fd, true)),
    row(V6Only, Flags::V6_ONLY, is_ipv6, |_, fd, _| set_ipv6_v6only(fd, true)),
    row(V6Only, Flags::DUAL_STACK, is_ipv6, |_, fd, _| set_ipv6_v6only(fd, false)),
    row(ReusePort, Flags::REUSE_PORT, is_ip, |_, fd, _| set_socket_reuseport(fd, true)),
    row(FreeBind, Flags::FREE_BIND, is_ip, |_, fd, family| match family {
        Family::Ipv6 => set_ipv6_freebind(fd, true),
        _ => set_ip_freebind(fd, true),
    }),
    row(KeepAlive, Flags::KEEP_ALIVE, is_ip, |_, fd, _| set_socket_keepalive(fd, true)),
    row(NoDelay, Flags::NO_DELAY, is_ip, |_, fd, _| set_tcp_nodelay(fd, true)),
    row(ReceiveBuffer, Flags::RECEIVE_BUFFER, is_ip, |options, fd, _| {
        set_socket_recv_buffer_size(fd, options.receive_buffer as usize)
    }),
    row(SendBuffer, Flags::SEND_BUFFER, is_ip, |options, fd, _| {
        set_socket_send_buffer_size(fd, options.send_buffer as usize)
    }),
    row(SocketOption::Mode, Flags::MODE, is_path, |options, fd, _| {
        fchmod(fd, Mode::from_raw_mode(options.mode.into()))
    }),
];

const fn row(
    option: SocketOption,
    flag: Flags,
    applies_to: fn(&BindAddress) -> bool,
    set: Set,
) -> Row {
    Row { option, flag, applies_to, set }
}

fn is_ip(address: &BindAddress) -> bool {
    address.family().is_ip()
}

fn is_ipv6(address: &BindAddress) -> bool {
    address.family() == Family::Ipv6
}

fn is_path(address: &BindAddress) -> bool {
    matches!(address, BindAddress::Path(_))
}

/// Options of a listening socket: a context, a capability, and socket options.
///
/// The three entry points use it. An option adds one system call, unless its documentation says
/// otherwise. An
/// option that does not apply to the kind of address is [`SocketError::InvalidOption`], and nothing
/// is opened.
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
///     .no_delay(true)
///     .listen("127.0.0.1:0", &memory)?;
/// assert_ne!(listener.local_address()?.port(), Some(0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ListenOptions<'a> {
    pub(super) context: Option<&'a Context<'a>>,
    pub(super) capability: Option<&'a NetBind<'a>>,
    pub(super) flags: Flags,
    pub(super) backlog: i32,
    receive_buffer: u32,
    send_buffer: u32,
    mode: u16,
}

impl<'a> ListenOptions<'a> {
    /// Makes the default options, those of [`listen`](crate::listen): no context, no capability,
    /// `SO_REUSEADDR` and `IPV6_V6ONLY` on, blocking, and the longest backlog that the kernel
    /// allows.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            context: None,
            capability: None,
            flags: Flags::DEFAULTS,
            backlog: i32::MAX,
            receive_buffer: 0,
            send_buffer: 0,
            mode: 0,
        }
    }

    /// Sets the context that is checked before each of the five steps.
    #[must_use]
    pub const fn context(mut self, context: &'a Context<'a>) -> Self {
        self.context = Some(context);
        self
    }

    /// Sets the capability that is asked before any system call.
    #[must_use]
    pub const fn capability(mut self, capability: &'a NetBind<'a>) -> Self {
        self.capability = Some(capability);
        self
    }

    /// Sets how many connections may wait to be accepted:
    /// [listen(2)](https://man7.org/linux/man-pages/man2/listen.2.html).
    ///
    /// The kernel limits it to `net.core.somaxconn`, which is also the default. The queue holds one
    /// connection more, so 0 lets one wait. It adds no call.
    #[must_use]
    #[allow(clippy::cast_possible_wrap)] // limited to what fits
    pub const fn backlog(mut self, connections: u32) -> Self {
        self.backlog = min(connections, i32::MAX as u32) as i32;
        self
    }

    /// Sets `SO_REUSEADDR`, on by default. A bind succeeds although connections of an earlier
    /// listener are in `TIME_WAIT`.
    ///
    /// Two sockets with the option can both bind; then the second `listen` fails. If it is off, no
    /// call is made. It applies to IP addresses, and Unix sockets ignore it.
    #[must_use]
    pub const fn reuse_address(self, on: bool) -> Self {
        self.with(Flags::REUSE_ADDRESS, on)
    }

    /// Sets `SO_REUSEPORT`: several listeners of one user share a port, and the kernel distributes
    /// the connections. It applies to IP addresses.
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
    pub const fn reuse_port(self, on: bool) -> Self {
        self.with(Flags::REUSE_PORT, on)
    }

    /// Sets dual stack: `IPV6_V6ONLY` off, so that the wildcard `[::]` also accepts IPv4
    /// connections.
    ///
    /// An IPv4-mapped address (`::ffff:a.b.c.d`) cannot be bound without it. It applies to IPv6
    /// addresses and adds no call, because `IPV6_V6ONLY` is always set explicitly.
    ///
    /// ```no_run
    /// # let memory = bumpalo::Bump::new();
    /// let options = netbind::ListenOptions::new().dual_stack(true);
    /// let listener = options.listen("[::]:8080", &memory)?; // reached by 127.0.0.1:8080 too
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub const fn dual_stack(self, on: bool) -> Self {
        self.with(Flags::V6_ONLY, !on).with(Flags::DUAL_STACK, on)
    }

    /// Sets `SOCK_NONBLOCK`: `accept` returns `EAGAIN` instead of waiting. It adds no call.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let options = netbind::ListenOptions::new().nonblocking(true);
    /// let listener = options.listen("127.0.0.1:0", &memory)?;
    /// assert!(listener.accept().unwrap_err().is_would_block());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub const fn nonblocking(self, on: bool) -> Self {
        self.with(Flags::NONBLOCKING, on)
    }

    /// Sets `IP_FREEBIND` or `IPV6_FREEBIND`, so that an address can be bound that this machine
    /// does not have yet. It applies to IP addresses.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// // 192.0.2.1 is reserved for documentation, so no machine has it.
    /// let options = netbind::ListenOptions::new().free_bind(true);
    /// assert!(options.listen("192.0.2.1:0", &memory).is_ok());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub const fn free_bind(self, on: bool) -> Self {
        self.with(Flags::FREE_BIND, on)
    }

    /// Sets `SO_KEEPALIVE`. Accepted connections inherit it. It applies to IP addresses.
    #[must_use]
    pub const fn keep_alive(self, on: bool) -> Self {
        self.with(Flags::KEEP_ALIVE, on)
    }

    /// Sets `TCP_NODELAY`. Accepted connections inherit it. It applies to IP addresses.
    #[must_use]
    pub const fn no_delay(self, on: bool) -> Self {
        self.with(Flags::NO_DELAY, on)
    }

    /// Sets `SO_RCVBUF` in bytes. It applies to IP addresses.
    ///
    /// It is set before `listen`, so that the window of accepted connections can scale to it. The
    /// kernel doubles the number and limits it to twice `net.core.rmem_max`:
    /// [socket(7)](https://man7.org/linux/man-pages/man7/socket.7.html).
    #[must_use]
    pub const fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = min(bytes, i32::MAX as u32);
        self.with(Flags::RECEIVE_BUFFER, true)
    }

    /// Sets `SO_SNDBUF` in bytes. It applies to IP addresses.
    ///
    /// The kernel doubles the number and limits it to twice `net.core.wmem_max`.
    #[must_use]
    pub const fn send_buffer(mut self, bytes: u32) -> Self {
        self.send_buffer = min(bytes, i32::MAX as u32);
        self.with(Flags::SEND_BUFFER, true)
    }

    /// Sets the permission bits of a Unix path, such as `0o600`. The umask of the process applies.
    ///
    /// Clients need the write permission:
    /// [unix(7)](https://man7.org/linux/man-pages/man7/unix.7.html). The call is `fchmod` of the
    /// socket before `bind`, so the path never has wider permissions. Bits beyond `0o777` are
    /// ignored.
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// # let memory = bumpalo::Bump::new();
    /// # let name = format!("netbind-doc-mode-{}.sock", std::process::id());
    /// # let path = std::path::Path::new("/tmp").join(name);
    /// let options = netbind::ListenOptions::new().mode(0o600);
    /// let listener = options.listen(format!("unix:{}", path.display()), &memory)?;
    /// assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub const fn mode(mut self, mode: u16) -> Self {
        self.mode = mode & 0o777;
        self.with(Flags::MODE, true)
    }

    const fn with(mut self, flag: Flags, on: bool) -> Self {
        self.flags = if on { self.flags.union(flag) } else { self.flags.difference(flag) };
        self
    }

    /// Returns an error if an option was asked for that does not apply to the address.
    pub(super) fn validate(&self, address: &BindAddress) -> Result<(), SocketError> {
        let asked = self.flags.difference(Flags::DEFAULTS);
        for Row { option, flag, applies_to, .. } in &TABLE {
            if asked.contains(*flag) && !applies_to(address) {
                return Err(SocketError::InvalidOption(*option));
            }
        }
        Ok(())
    }

    /// Sets the options, before `bind`: most have no effect after it.
    pub(super) fn apply(
        &self,
        socket: BorrowedFd<'_>,
        address: &BindAddress,
    ) -> Result<(), SocketError> {
        for Row { option, flag, applies_to, set } in &TABLE {
            if self.flags.contains(*flag) && applies_to(address) {
                set(self, socket, address.family()).map_err(system_error(Step::Option(*option)))?;
            }
        }
        Ok(())
    }

    /// Returns the flags of the call `socket`.
    pub(super) const fn socket_flags(&self) -> SocketFlags {
        if self.flags.contains(Flags::NONBLOCKING) {
            SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK)
        } else {
            SocketFlags::CLOEXEC
        }
    }
}

const fn min(a: u32, b: u32) -> u32 {
    if a < b { a } else { b }
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
