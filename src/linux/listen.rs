//! The one path from an address to a listening socket. [`ListenOptions::open`] has its steps.

use allocator_api2::alloc::Allocator;

use super::calls;
use super::descriptor::borrow;
use super::listener::Listener;
use super::options::{Flags, ListenOptions};
use crate::address::BindAddress;
use crate::capability::{NetBind, Permit};
use crate::context::Context;
use crate::error::SocketError;
use crate::sockaddr::SockAddr;

/// Opens a listening socket, without a context and without a capability.
///
/// System calls, in this order:
///
/// | address | calls |
/// |---|---|
/// | IPv4 | `socket(AF_INET, …, IPPROTO_TCP)`, `setsockopt(SO_REUSEADDR)`, `bind`, `listen` |
/// | IPv6 | the same with `AF_INET6`, and `setsockopt(IPV6_V6ONLY)` after `SO_REUSEADDR` |
/// | absolute Unix path | `socket(AF_UNIX, …, 0)`, `bind`, `lstat` of the path, `listen` |
/// | relative Unix path | `socket(AF_UNIX, …, 0)`, `openat(".", O_PATH)`, `lstat`, `bind`, `lstat`, `close` of the directory, `listen` |
/// | abstract name | `socket(AF_UNIX, …, 0)`, `bind`, `listen` |
///
/// The type of every socket is `SOCK_STREAM|SOCK_CLOEXEC`. The kernel's name of `lstat` is
/// `newfstatat`, or `statx` on 32-bit processors. The extra calls for a relative path keep it apart
/// from a file of the same name in another directory, even if another thread calls `chdir` at the
/// same time.
///
/// The socket address is allocated from `allocator` at its exact size, and freed when the listener
/// is dropped.
///
/// # Errors
///
/// - [`SocketError::InvalidAddress`] or [`SocketError::InvalidPort`], before any system call.
/// - [`SocketError::OutOfMemory`] if the allocator returns an error.
/// - [`SocketError::System`] with the step and the errno: `EADDRINUSE`, `EADDRNOTAVAIL`, `EACCES`
///   (a port below `net.ipv4.ip_unprivileged_port_start`, a directory), `ENOENT`, `EMFILE`,
///   `EAFNOSUPPORT` and others. `bind` returns `EINVAL` for an IPv6 link-local address without a
///   scope id, an IPv6 multicast address, and an IPv4-mapped address without [dual
///   stack](ListenOptions::dual_stack).
///
/// A call that fails closes its descriptor and removes its socket file, with the exceptions that
/// SECURITY.md describes. If the `lstat` after `bind` fails with an error other than `ENOENT`, the
/// path is removed without a comparison, because this bind has just created it.
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
pub fn listen<A: Allocator>(
    address: impl AsRef<[u8]>,
    allocator: A,
) -> Result<Listener<A>, SocketError> {
    ListenOptions::new().listen(address, allocator)
}

/// Opens a listening socket like [`listen`], under a context that can stop it.
///
/// The context is checked five times: before each of the steps socket, options, sockaddr, bind and
/// listen. If it stops the opening, everything done so far is undone: the descriptor is closed, and
/// a path that this call's bind created is removed.
///
/// # Errors
///
/// Those of [`listen`], and [`SocketError::Timeout`] for a cancelled context or an expired
/// deadline. If the context has already stopped, no system call is made,
/// except the `ppoll` that asks a [`CancelEvent`](crate::CancelEvent).
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

/// Opens a listening socket like [`listen`], if the capability allows the address.
///
/// The decision is made on the parsed address, before any system call. If the capability has a
/// sink, the decision is recorded as `check_bind_address`, and a successful `bind` as
/// `bind_socket`. For port 0, one `getsockname` then finds the port for the record.
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
/// # Ok::<(), netbind::capability::CapabilityError>(())
/// ```
pub fn listen_with_capability<A: Allocator>(
    address: impl AsRef<[u8]>,
    capability: &NetBind<'_>,
    allocator: A,
) -> Result<Listener<A>, SocketError> {
    ListenOptions::new().capability(capability).listen(address, allocator)
}

impl ListenOptions<'_> {
    /// Parses the address and opens a listening socket with these options.
    ///
    /// # Errors
    ///
    /// Those of [`listen`], [`listen_with_context`] and [`listen_with_capability`], and
    /// [`SocketError::InvalidOption`] before any system call. A malformed address leaves no audit
    /// record.
    pub fn listen<A: Allocator>(
        &self,
        address: impl AsRef<[u8]>,
        allocator: A,
    ) -> Result<Listener<A>, SocketError> {
        self.listen_on(&BindAddress::parse(address)?, allocator)
    }

    /// Opens a listening socket like [`listen`](Self::listen), for a parsed address.
    ///
    /// # Errors
    ///
    /// Those of [`listen`](Self::listen), except those of the parser.
    ///
    /// ```
    /// use core::net::{Ipv4Addr, SocketAddrV4};
    /// use netbind::{BindAddress, ListenOptions};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let address = BindAddress::from(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    /// let listener = ListenOptions::new().listen_on(&address, &memory)?;
    /// assert_eq!(listener.local_address()?.ip(), address.ip());
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    pub fn listen_on<A: Allocator>(
        &self,
        address: &BindAddress,
        allocator: A,
    ) -> Result<Listener<A>, SocketError> {
        let dual_stack = self.flags.contains(Flags::DUAL_STACK);
        self.open(self.permit(address, dual_stack)?, allocator)
    }

    /// Opens a listening socket for a permit. The capability of these options, if any, is not
    /// asked.
    ///
    /// # Errors
    ///
    /// Those of [`listen_on`](Self::listen_on). [`SocketError::CapabilityDenied`] if dual stack is
    /// asked for and the permit does not cover it.
    ///
    /// ```
    /// use netbind::{BindAddress, ListenOptions, NetBind};
    ///
    /// let memory = bumpalo::Bump::new();
    /// let mut capability = NetBind::new("web")?;
    /// capability.allow_port(0)?;
    /// let address = BindAddress::parse("127.0.0.1:0")?;
    ///
    /// let permit = capability.check(&address)?; // decided here, by a broker
    /// let listener = ListenOptions::new().open(permit, &memory)?; // opened there
    /// # drop(listener);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open<A: Allocator>(
        &self,
        permit: Permit<'_>,
        allocator: A,
    ) -> Result<Listener<A>, SocketError> {
        let address = permit.address();
        self.validate(address)?;
        if self.flags.contains(Flags::DUAL_STACK) {
            permit.require_dual_stack()?;
        }

        self.check_context()?;
        let socket = calls::socket(address.family(), self.socket_flags())?;
        self.call_hook(borrow(&socket))?;
        self.check_context()?;
        self.apply(borrow(&socket), address)?;
        self.check_context()?;
        let sockaddr = SockAddr::new_in(address, allocator)?;
        let mut listener = Listener::new(socket, sockaddr, self.is_nonblocking());
        self.check_context()?;
        if self.is_staged() {
            return self.open_staged(listener, permit);
        }
        listener.bind(permit)?;
        self.check_context()?;
        listener.listen(self.backlog)?;
        Ok(listener)
    }
}
