mod table;

use core::fmt;

use rustix::fd::BorrowedFd;
use rustix::net::SocketFlags;

use super::existing::Existing;
use crate::address::BindAddress;
use crate::capability::{NetBind, Permit};
use crate::context::Context;
use crate::error::{Errno, SocketError, Step};
pub(super) use table::Flags;
use table::Values;

type Hook<'a> = dyn Fn(BorrowedFd<'_>) -> Result<(), Errno> + Sync + 'a;

/// Options of a listening socket: a context, a capability, and socket options.
///
/// The three entry points use it. A socket option adds one system call, unless its documentation
/// says otherwise. A context and a capability add none, except that a capability with a sink adds
/// `getsockname` for port 0. An option that does not apply to the kind of address is
/// [`SocketError::InvalidOption`], and nothing is opened.
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
    hook: Option<&'a Hook<'a>>,
    pub(super) existing: Existing,
    /// The user and the group, if the flag is set.
    pub(super) owner: (u32, u32),
    values: Values,
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
            hook: None,
            existing: Existing::Refuse,
            owner: (u32::MAX, u32::MAX),
            values: Values { receive_buffer: 0, send_buffer: 0, mode: 0 },
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
        self.with(Flags::BACKLOG, true)
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
        self.values.receive_buffer = min(bytes, i32::MAX as u32);
        self.with(Flags::RECEIVE_BUFFER, true)
    }

    /// Sets `SO_SNDBUF` in bytes. It applies to IP addresses.
    ///
    /// The kernel doubles the number and limits it to twice `net.core.wmem_max`.
    #[must_use]
    pub const fn send_buffer(mut self, bytes: u32) -> Self {
        self.values.send_buffer = min(bytes, i32::MAX as u32);
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
        self.values.mode = mode & 0o777;
        self.with(Flags::MODE, true)
    }

    /// Sets a function that gets the socket directly after the call `socket`, for socket options
    /// that this crate does not have.
    ///
    /// It runs before the options of this value, so it cannot undo them. It must not change the
    /// descriptor itself: non-blocking mode and close-on-exec are set by the call `socket`. The
    /// errno that it returns is reported with [`Step::BeforeBind`], and nothing is bound.
    ///
    /// ```
    /// use netbind::ListenOptions;
    /// use netbind::error::Errno;
    /// use netbind::fd::BorrowedFd;
    /// use rustix::net::sockopt::set_ip_tos;
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let low_delay = |socket: BorrowedFd<'_>| {
    ///     let set = set_ip_tos(socket, 0x10);
    ///     set.map_err(|error| Errno::from_raw_os_error(error.raw_os_error()).unwrap_or(Errno::IO))
    /// };
    /// let listener = ListenOptions::new().before_bind(&low_delay).listen("127.0.0.1:0", &memory)?;
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub const fn before_bind(mut self, hook: &'a Hook<'a>) -> Self {
        self.hook = Some(hook);
        self.with(Flags::BEFORE_BIND, true)
    }

    /// Sets what happens to an entry that is already at a Unix path. The default is
    /// [`Existing::Refuse`].
    ///
    /// Replacing takes these calls: `socket`, `openat` of the directory, `getpid` and `bind` of a
    /// temporary name, `lstat`, `listen`, `flock`, `renameat2(RENAME_NOREPLACE)`; if there is an
    /// entry also `lstat`, with [`ReplaceStale`](Existing::ReplaceStale) `socket`, `connect` and
    /// `close`, `renameat2(RENAME_EXCHANGE)`, `lstat`, again these three, and `unlink`; and at the
    /// end `flock(LOCK_UN)`, `lstat` of the temporary name, and `close` of the directory. While
    /// another process has the lock, `flock` is repeated after a `ppoll` of 10 milliseconds. At its
    /// end, such a listener takes the lock too, so that it never removes the path of its successor.
    ///
    /// The temporary name is `.netbind-` and ten digits, in the same directory. A process that is
    /// killed leaves it there. The socket keeps this name for its clients (`getpeername`);
    /// [`local_address`](crate::Listener::local_address) returns its path. The directory must be
    /// readable, because it is opened for `flock`.
    ///
    /// # Errors
    ///
    /// Those of [`listen`](crate::listen), [`SocketError::Timeout`] if the context is cancelled
    /// while it waits for the lock, and [`SocketError::System`] with
    ///
    /// - [`Step::Bind`] and `EADDRINUSE`: an entry that must stay is there, or another process has
    ///   locked the directory until the deadline (a second without one).
    /// - [`Step::Bind`] and `ENAMETOOLONG`: the temporary path has more than 107 bytes.
    /// - [`Step::Rename`]: `EINVAL` if the file system cannot exchange two files.
    /// - [`Step::OpenDirectory`], [`Step::Lock`], [`Step::Poll`], [`Step::Probe`], [`Step::Stat`]
    ///   or [`Step::Unlink`].
    ///
    /// ```
    /// use netbind::{Existing, ListenOptions};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// # let name = format!("netbind-doc-existing-{}.sock", std::process::id());
    /// # let path = std::path::Path::new("/tmp").join(name);
    /// # let address = format!("unix:{}", path.display());
    /// let mut killed = netbind::listen(&address, &memory)?;
    /// killed.keep_path();
    /// drop(killed);
    /// assert!(netbind::listen(&address, &memory).unwrap_err().is_address_in_use());
    ///
    /// let options = ListenOptions::new().existing(Existing::ReplaceStale);
    /// let listener = options.listen(&address, &memory)?;
    /// assert!(options.listen(&address, &memory).unwrap_err().is_address_in_use()); // it is alive
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub const fn existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self.with(Flags::EXISTING, !matches!(existing, Existing::Refuse))
    }

    /// Sets the owner of a Unix path by number. `u32::MAX` leaves the user or the group as it is.
    ///
    /// The calls are those of [`existing`](Self::existing), with `fchownat` of the temporary name
    /// before `listen`, so the path never has another owner. With [`Existing::Refuse`] there is no
    /// lock. To give a file away, a process needs `CAP_CHOWN`:
    /// [chown(2)](https://man7.org/linux/man-pages/man2/chown.2.html).
    ///
    /// # Errors
    ///
    /// Those of [`existing`](Self::existing), and [`SocketError::System`] with [`Step::Option`] and
    /// [`SocketOption::Owner`](crate::error::SocketOption::Owner), such as `EPERM`.
    #[must_use]
    pub const fn owner(mut self, user: u32, group: u32) -> Self {
        self.owner = (user, group);
        self.with(Flags::OWNER, true)
    }

    const fn with(mut self, flag: Flags, on: bool) -> Self {
        self.flags = if on { self.flags.union(flag) } else { self.flags.difference(flag) };
        self
    }

    /// Returns an error if an option was asked for that does not apply to the address.
    pub(super) fn validate(&self, address: &BindAddress) -> Result<(), SocketError> {
        table::validate(self.flags.difference(Flags::DEFAULTS), address)
    }

    /// Returns true if the socket is bound under a temporary name first.
    pub(super) const fn is_staged(&self) -> bool {
        self.flags.intersects(Flags::OWNER.union(Flags::EXISTING))
    }

    /// Returns an error if an option was asked for that cannot be set on an adopted socket.
    pub(super) fn validate_adoption(&self) -> Result<(), SocketError> {
        table::refuse_all(self.flags.symmetric_difference(Flags::DEFAULTS))
    }

    /// Asks the capability of these options, if there is one.
    pub(super) fn permit<'p>(
        &'p self,
        address: &'p BindAddress,
        dual_stack: bool,
    ) -> Result<Permit<'p>, SocketError> {
        match self.capability {
            Some(capability) => capability.permit(address, dual_stack),
            None => Ok(Permit::ambient(address, dual_stack)),
        }
    }

    /// Checks the context, if there is one.
    pub(super) fn check_context(&self) -> Result<(), SocketError> {
        self.context.map_or(Ok(()), Context::check)
    }

    /// Calls the function of [`before_bind`](Self::before_bind).
    pub(super) fn call_hook(&self, socket: BorrowedFd<'_>) -> Result<(), SocketError> {
        let result = self.hook.map_or(Ok(()), |hook| hook(socket));
        result.map_err(|errno| SocketError::system(Step::BeforeBind, errno))
    }

    /// Sets the options, before `bind`: most have no effect after it.
    pub(super) fn apply(
        &self,
        socket: BorrowedFd<'_>,
        address: &BindAddress,
    ) -> Result<(), SocketError> {
        table::apply(self.flags, &self.values, socket, address)
    }

    pub(super) const fn is_nonblocking(&self) -> bool {
        self.flags.contains(Flags::NONBLOCKING)
    }

    /// Returns the flags of the call `socket`.
    pub(super) const fn socket_flags(&self) -> SocketFlags {
        if self.is_nonblocking() {
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
