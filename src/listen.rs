//! The one path from an address to a listening socket. [`ListenOptions::open`] is the five steps, top to bottom.

use allocator_api2::alloc::Allocator;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, fchmod};
use rustix::io;
use rustix::net::{AddressFamily, SocketFlags, ipproto, sockopt};

use crate::address::BindAddress;
use crate::capability::{NetBind, Permit};
use crate::context::Context;
use crate::error::{SocketError, SocketOption, Step};
use crate::listener::Listener;
use crate::options::{Flags, ListenOptions};
use crate::sockaddr::SockAddr;
use crate::sys;

/// Opens a listening socket: parse, socket, options, sockaddr, bind, listen. No authority is asked and no time is kept.
///
/// System calls, in this order:
///
/// | address | calls |
/// |---|---|
/// | IPv4 | `socket(AF_INET, SOCK_STREAM\|SOCK_CLOEXEC, IPPROTO_TCP)`, `setsockopt(SO_REUSEADDR)`, `bind`, `listen` |
/// | IPv6 | the same with `AF_INET6`, and `setsockopt(IPV6_V6ONLY)` behind `SO_REUSEADDR` |
/// | Unix path | `socket(AF_UNIX, SOCK_STREAM\|SOCK_CLOEXEC, 0)`, `bind`, `lstat` of the path, `listen` |
/// | abstract name | the same without the `lstat` |
///
/// `lstat` is what the kernel calls `newfstatat`, or `statx` on 32-bit processors.
///
/// The owned socket address is allocated by `allocator`, at its exact size (for a path with 16 bytes more, which tell the
/// file), and given back when the listener is dropped.
///
/// # Errors
///
/// [`SocketError::InvalidAddress`] or [`SocketError::InvalidPort`] before any call; [`SocketError::OutOfMemory`];
/// [`SocketError::System`] with the step and the errno: `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES` (a port below
/// `net.ipv4.ip_unprivileged_port_start`, a directory), `ENOENT`, `EMFILE`, `EAFNOSUPPORT`, … `EINVAL` from `bind` is a
/// link-local address without its scope id, or an IPv4-mapped one without [dual stack](ListenOptions::dual_stack). A call
/// that fails leaves no descriptor and no socket file: a path is removed even where its `lstat` fails, as it is this call's
/// bind that has just made it.
///
/// ```
/// use std::net::TcpStream;
///
/// let memory = bumpalo::Bump::new();
/// let listener = netbind::listen("127.0.0.1:0", &memory)?;
///
/// let address = listener.local_address()?.to_socket_addr().unwrap();
/// let client = TcpStream::connect(address).unwrap();
/// let (_connection, peer) = listener.accept()?;
/// assert_eq!(peer.unwrap().to_socket_addr(), client.local_addr().ok());
/// # Ok::<(), netbind::SocketError>(())
/// ```
pub fn listen<A: Allocator>(address: impl AsRef<[u8]>, allocator: A) -> Result<Listener<A>, SocketError> {
    ListenOptions::new().listen(address, allocator)
}

/// The same as [`listen`], under a context that can stop it.
///
/// The context is checked before the first step and between every two: five checks. What was made so far is undone: the
/// descriptor is closed, and a path that this call's own bind created is removed.
///
/// # Errors
///
/// Those of [`listen`], and [`SocketError::Timeout`] for a cancelled context or an expired deadline;
/// [`Context::cause`] tells which. An already cancelled or expired context makes no system call.
///
/// ```
/// use netbind::{CancelFlag, Context, MonotonicClock, SocketError};
///
/// let memory = bumpalo::Bump::new();
/// let clock = MonotonicClock::new();
/// let stop = CancelFlag::new();
/// let context = Context::new(&clock).with_cancel(&stop);
/// assert!(netbind::listen_with_context("127.0.0.1:0", &context, &memory).is_ok());
///
/// stop.cancel();
/// let error = netbind::listen_with_context("127.0.0.1:0", &context, &memory).unwrap_err();
/// assert_eq!(error, SocketError::Timeout);
/// ```
pub fn listen_with_context<A: Allocator>(
    address: impl AsRef<[u8]>,
    context: &Context<'_>,
    allocator: A,
) -> Result<Listener<A>, SocketError> {
    ListenOptions::new().context(context).listen(address, allocator)
}

/// The same as [`listen`], where the capability allows the address.
///
/// The decision is made on the parsed address, before any system call, and recorded as `check_bind_address`; behind a
/// successful `bind` comes the record `bind_socket`. Where the capability has a sink and the port is 0, one `getsockname`
/// tells the record the port.
///
/// # Errors
///
/// Those of [`listen`], and [`SocketError::CapabilityDenied`], for which no system call is made.
///
/// ```
/// use netbind::{NetBind, SocketError};
///
/// let memory = bumpalo::Bump::new();
/// let capability = NetBind::new("web")?;
/// let error = netbind::listen_with_capability("127.0.0.1:22", &capability, &memory).unwrap_err();
/// assert_eq!(error, SocketError::CapabilityDenied);
/// # Ok::<(), netbind::CapabilityError>(())
/// ```
pub fn listen_with_capability<A: Allocator>(
    address: impl AsRef<[u8]>,
    capability: &NetBind<'_>,
    allocator: A,
) -> Result<Listener<A>, SocketError> {
    ListenOptions::new().capability(capability).listen(address, allocator)
}

impl ListenOptions<'_> {
    /// Parses, asks the capability where there is one, and opens.
    ///
    /// # Errors
    ///
    /// Those of [`listen`], [`listen_with_context`] and [`listen_with_capability`], and [`SocketError::InvalidOption`]
    /// before any system call. An address that is malformed is not asked about, and leaves no audit record.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// let listener = netbind::ListenOptions::new().listen("unix:@netbind-doc-options-listen", &memory)?;
    /// assert_eq!(listener.local_address()?.to_string(), "unix:@netbind-doc-options-listen");
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    pub fn listen<A: Allocator>(&self, address: impl AsRef<[u8]>, allocator: A) -> Result<Listener<A>, SocketError> {
        // By reference: the value is large, and `?` would move it.
        match BindAddress::parse(address) {
            Ok(ref address) => self.listen_on(address, allocator),
            Err(error) => Err(error.into()),
        }
    }

    /// The same, for an address that was parsed already.
    ///
    /// # Errors
    ///
    /// Those of [`listen`](Self::listen), without those of the parser.
    ///
    /// ```
    /// use core::net::{Ipv6Addr, SocketAddrV6};
    /// use netbind::{BindAddress, ListenOptions};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let address = BindAddress::try_from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0))?;
    /// let listener = ListenOptions::new().listen_on(&address, &memory)?;
    /// assert_eq!(listener.local_address()?.ip(), address.ip());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    pub fn listen_on<A: Allocator>(&self, address: &BindAddress, allocator: A) -> Result<Listener<A>, SocketError> {
        let dual_stack = self.flags.contains(Flags::DUAL_STACK);
        let permit = match self.capability {
            Some(capability) => capability.permit(address, dual_stack)?,
            None => Permit::ambient(address, dual_stack),
        };
        self.open(permit, allocator)
    }

    /// The steps: socket, options, sockaddr, bind, listen. The authority is the permit's; the builder's own capability, if
    /// it has one, is not asked.
    ///
    /// # Errors
    ///
    /// Those of [`listen_on`](Self::listen_on). [`SocketError::CapabilityDenied`] where dual stack is asked for and the
    /// permit was given for one stack.
    ///
    /// ```
    /// use netbind::{BindAddress, ListenOptions, NetBind};
    ///
    /// let memory = bumpalo::Bump::new();
    /// let mut capability = NetBind::new("web")?;
    /// capability.allow_port(0)?;
    /// let address = BindAddress::parse("127.0.0.1:0")?;
    ///
    /// let permit = capability.check(&address)?; // decided here, by the broker
    /// let listener = ListenOptions::new().open(permit, &memory)?; // opened there
    /// # drop(listener);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open<A: Allocator>(&self, permit: Permit<'_>, allocator: A) -> Result<Listener<A>, SocketError> {
        let address = permit.address();
        self.validate(&permit)?;

        self.check()?;
        let socket = self.socket(address)?;
        self.check()?;
        self.set_options(sys::borrow(&socket), address)?;
        self.check()?;
        let mut listener = Listener::new(socket, SockAddr::new_in(address, allocator)?);
        self.check()?;
        listener.bind()?;
        listener.record_bind(permit)?;
        self.check()?;
        listener.listen(self.backlog)?;
        Ok(listener)
    }

    /// One of the context's five checks.
    #[inline]
    fn check(&self) -> Result<(), SocketError> {
        match self.context {
            Some(context) => context.check(),
            None => Ok(()),
        }
    }

    /// `IPPROTO_TCP` is passed explicitly: the default could be made MPTCP, which port rules do not see.
    #[inline]
    fn socket(&self, address: &BindAddress) -> Result<OwnedFd, SocketError> {
        let family = match address {
            BindAddress::Ipv4 { .. } => AddressFamily::INET,
            BindAddress::Ipv6 { .. } => AddressFamily::INET6,
            BindAddress::Path(_) | BindAddress::Abstract(_) => AddressFamily::UNIX,
        };
        let protocol = address.port().map(|_| ipproto::TCP);
        let nonblocking = self.flags.contains(Flags::NONBLOCKING);
        let flags = SocketFlags::CLOEXEC | if nonblocking { SocketFlags::NONBLOCK } else { SocketFlags::empty() };
        sys::socket(family, flags, protocol).map_err(|errno| SocketError::system(Step::Socket, errno))
    }

    /// All of it before `bind`: later is too late for most.
    #[inline(always)] // one caller
    #[allow(clippy::inline_always)]
    fn set_options(&self, socket: BorrowedFd<'_>, address: &BindAddress) -> Result<(), SocketError> {
        let is_ipv6 = matches!(address, BindAddress::Ipv6 { .. });
        if address.port().is_some() && self.flags.contains(Flags::REUSE_ADDRESS) {
            done(SocketOption::ReuseAddress, sockopt::set_socket_reuseaddr(socket, true))?;
        }
        if is_ipv6 {
            let alone = !self.flags.contains(Flags::DUAL_STACK);
            done(SocketOption::V6Only, sockopt::set_ipv6_v6only(socket, alone))?;
        }
        if self.flags.is_plain() { Ok(()) } else { self.set_asked_options(socket, is_ipv6) }
    }

    /// What was asked for beyond that: one call each.
    #[cold]
    fn set_asked_options(&self, socket: BorrowedFd<'_>, is_ipv6: bool) -> Result<(), SocketError> {
        let asked = |flag| self.flags.contains(flag);
        if asked(Flags::REUSE_PORT) {
            done(SocketOption::ReusePort, sockopt::set_socket_reuseport(socket, true))?;
        }
        if asked(Flags::FREE_BIND) && is_ipv6 {
            done(SocketOption::FreeBind, sockopt::set_ipv6_freebind(socket, true))?;
        } else if asked(Flags::FREE_BIND) {
            done(SocketOption::FreeBind, sockopt::set_ip_freebind(socket, true))?;
        }
        if asked(Flags::KEEP_ALIVE) {
            done(SocketOption::KeepAlive, sockopt::set_socket_keepalive(socket, true))?;
        }
        if asked(Flags::NO_DELAY) {
            done(SocketOption::NoDelay, sockopt::set_tcp_nodelay(socket, true))?;
        }
        if asked(Flags::RECEIVE_BUFFER) {
            let bytes = self.receive_buffer as usize;
            done(SocketOption::ReceiveBuffer, sockopt::set_socket_recv_buffer_size(socket, bytes))?;
        }
        if asked(Flags::SEND_BUFFER) {
            let bytes = self.send_buffer as usize;
            done(SocketOption::SendBuffer, sockopt::set_socket_send_buffer_size(socket, bytes))?;
        }
        if asked(Flags::MODE) {
            done(SocketOption::Mode, fchmod(socket, Mode::from_raw_mode(self.mode.into())))?;
        }
        Ok(())
    }
}

fn done(option: SocketOption, answer: io::Result<()>) -> Result<(), SocketError> {
    answer.map_err(|errno| SocketError::system(Step::Option(option), errno.into()))
}
