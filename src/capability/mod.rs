//! Capabilities: the authority to open listening sockets, its decision, and the permit that it
//! makes.

mod permit;
mod rights;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::address::BindAddress;
use crate::audit::{AuditResult, AuditSink, Operation, Record};
use crate::error::SocketError;

pub use crate::error::capability::CapabilityError;
pub use crate::id::CapabilityId;
pub use permit::Permit;
pub use rights::Rights;

/// The maximum number of port rules, and of host rules.
const RULES: usize = 16;

/// One port on one address.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Host {
    /// An IPv4 address is stored as its IPv4-mapped IPv6 address.
    ip: Ipv6Addr,
    port: u16,
}

/// A table of rules with a fixed capacity.
struct Table<T> {
    rules: [T; RULES],
    length: usize,
}

impl<T: Copy + PartialEq> Table<T> {
    fn as_slice(&self) -> &[T] {
        self.rules.get(..self.length).unwrap_or_default()
    }

    /// Adds a rule, unless it is already there.
    fn add(&mut self, rule: T) -> Result<(), CapabilityError> {
        if self.as_slice().contains(&rule) {
            return Ok(());
        }
        *self.rules.get_mut(self.length).ok_or(CapabilityError::TooManyRules)? = rule;
        self.length += 1;
        Ok(())
    }
}

/// The authority to open listening sockets.
///
/// | address | allowed by |
/// |---|---|
/// | IP address and port | [`Rights::NET_BIND`], and `allow_port` or `allow_host` |
/// | Unix path | [`Rights::NET_BIND`] |
/// | abstract name | [`Rights::NET_BIND_ABSTRACT`] |
///
/// Everything else is denied; there are no rules that deny. The decision is made on the parsed
/// address. An IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) is judged as the IPv4 address that it
/// reaches, and the IPv6 wildcard with dual stack as both wildcards. Port 0 is a port like any
/// other.
///
/// A capability cannot be copied or changed through a reference, so code that is given a reference
/// can ask it but not widen it.
///
/// The check is made in user space. It does not stop code in the same process that makes its own
/// system calls.
///
/// ```
/// use netbind::{BindAddress, NetBind};
///
/// let mut capability = NetBind::new("janus")?;
/// capability.allow_port(443)?;
/// assert!(capability.check(&BindAddress::parse("[::1]:443")?).is_ok());
/// assert!(capability.check(&BindAddress::parse(":8080")?).is_ok());
/// assert!(capability.check(&BindAddress::parse(":22")?).is_err());
/// assert!(capability.check(&BindAddress::parse("/run/janus.sock")?).is_ok());
/// assert!(capability.check(&BindAddress::parse("unix:@janus")?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NetBind<'s> {
    id: CapabilityId,
    rights: Rights,
    ports: Table<u16>,
    hosts: Table<Host>,
    sink: Option<&'s dyn AuditSink>,
}

impl<'s> NetBind<'s> {
    /// Makes a capability with the right `net.bind` and the ports 8080, 3000 and 8000 on every IP
    /// address.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::InvalidId`] if `id` is not a [`CapabilityId`].
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind};
    ///
    /// static WEB: NetBind = match NetBind::new("web") {
    ///     Ok(capability) => capability,
    ///     Err(_) => panic!("a malformed id"),
    /// };
    /// for address in [":8080", "127.0.0.1:3000", "[::1]:8000", "/run/web.sock"] {
    ///     assert!(WEB.check(&BindAddress::parse(address)?).is_ok());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn new(id: &str) -> Result<Self, CapabilityError> {
        match Self::empty(id) {
            Ok(mut capability) => {
                capability.rights = Rights::NET_BIND;
                let [a, b, c, ..] = &mut capability.ports.rules;
                [*a, *b, *c] = [8080, 3000, 8000];
                capability.ports.length = 3;
                Ok(capability)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a capability that allows nothing.
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind, Rights};
    ///
    /// let mut unix = NetBind::empty("unix-only")?;
    /// unix.grant(Rights::NET_BIND);
    /// assert!(unix.check(&BindAddress::parse("/run/x.sock")?).is_ok());
    /// assert!(unix.check(&BindAddress::parse(":8080")?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CapabilityError::InvalidId`] if `id` is not a [`CapabilityId`].
    pub const fn empty(id: &str) -> Result<Self, CapabilityError> {
        let id = match CapabilityId::new(id) {
            Ok(id) => id,
            Err(error) => return Err(error),
        };
        let no_host = Host { ip: Ipv6Addr::UNSPECIFIED, port: 0 };
        Ok(Self {
            id,
            rights: Rights::empty(),
            ports: Table { rules: [0; RULES], length: 0 },
            hosts: Table { rules: [no_host; RULES], length: 0 },
            sink: None,
        })
    }

    /// Adds rights.
    pub fn grant(&mut self, rights: Rights) -> &mut Self {
        self.rights |= rights;
        self
    }

    /// Removes rights. The rules stay.
    pub fn revoke(&mut self, rights: Rights) -> &mut Self {
        self.rights &= !rights;
        self
    }

    /// Allows a port on every IP address. Adding a port twice is adding it once.
    ///
    /// Port 0, for which the kernel chooses a port, allows only port 0.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::TooManyRules`] for the 17th port, counting the three of
    /// [`new`](Self::new).
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind};
    ///
    /// let mut capability = NetBind::new("web")?;
    /// capability.allow_port(80)?.allow_port(443)?;
    /// assert!(capability.check(&BindAddress::parse("[::]:443")?).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_port(&mut self, port: u16) -> Result<&mut Self, CapabilityError> {
        self.ports.add(port)?;
        Ok(self)
    }

    /// Allows a port on one IP address, with any scope id.
    ///
    /// The wildcards `0.0.0.0` and `::` are addresses like any other here: neither includes the
    /// addresses of this machine, or the other wildcard.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::TooManyRules`] for the 17th host.
    ///
    /// ```
    /// use core::net::Ipv4Addr;
    /// use netbind::{BindAddress, NetBind, Rights};
    ///
    /// let mut local = NetBind::empty("local")?;
    /// local.grant(Rights::NET_BIND).allow_host(Ipv4Addr::LOCALHOST.into(), 53)?;
    /// assert!(local.check(&BindAddress::parse("127.0.0.1:53")?).is_ok());
    /// assert!(local.check(&BindAddress::parse("[::ffff:127.0.0.1]:53")?).is_ok());
    /// assert!(local.check(&BindAddress::parse(":53")?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_host(&mut self, ip: IpAddr, port: u16) -> Result<&mut Self, CapabilityError> {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        self.hosts.add(Host { ip, port })?;
        Ok(self)
    }

    /// Sets the sink that gets a record of every decision and bind.
    ///
    /// ```
    /// use netbind::{AuditRing, BindAddress, NetBind};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let ring = AuditRing::new_in(8, &memory)?;
    /// let capability = NetBind::new("web")?.with_sink(&ring);
    /// let _ = capability.check(&BindAddress::parse(":8080")?);
    /// assert_eq!(ring.written(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn with_sink(mut self, sink: &'s dyn AuditSink) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Returns the id, under which decisions and binds are recorded.
    #[must_use]
    pub const fn id(&self) -> &CapabilityId {
        &self.id
    }

    /// Returns the rights.
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// Decides whether the address may be opened, and records `check_bind_address`.
    ///
    /// It makes no system call. `ListenOptions::open` takes the permit.
    ///
    /// # Errors
    ///
    /// [`SocketError::CapabilityDenied`] if no rule allows the address.
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind, SocketError};
    ///
    /// let capability = NetBind::new("web")?;
    /// assert!(capability.check(&BindAddress::parse(":8080")?).is_ok());
    /// let error = capability.check(&BindAddress::parse(":22")?).unwrap_err();
    /// assert_eq!(error, SocketError::CapabilityDenied);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check<'p>(&'p self, address: &'p BindAddress) -> Result<Permit<'p>, SocketError> {
        self.permit(address, false)
    }

    /// Decides like [`check`](Self::check), for a dual-stack socket.
    ///
    /// On the IPv6 wildcard such a socket takes IPv4 connections too, so both wildcards must be
    /// allowed.
    ///
    /// # Errors
    ///
    /// [`SocketError::CapabilityDenied`] if no rule allows the address, or the IPv4 wildcard.
    ///
    /// ```
    /// use core::net::Ipv6Addr;
    /// use netbind::{BindAddress, NetBind, Rights};
    ///
    /// let mut ipv6 = NetBind::empty("ipv6-only")?;
    /// ipv6.grant(Rights::NET_BIND).allow_host(Ipv6Addr::UNSPECIFIED.into(), 80)?;
    /// let address = BindAddress::parse("[::]:80")?;
    /// assert!(ipv6.check(&address).is_ok());
    /// assert!(ipv6.check_dual_stack(&address).is_err()); // it would also reach 0.0.0.0:80
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_dual_stack<'p>(
        &'p self,
        address: &'p BindAddress,
    ) -> Result<Permit<'p>, SocketError> {
        self.permit(address, true)
    }

    /// Decides, records, and makes the permit. Every permit of a capability is made here.
    pub(crate) fn permit<'p>(
        &'p self,
        address: &'p BindAddress,
        dual_stack: bool,
    ) -> Result<Permit<'p>, SocketError> {
        if self.allows(address, dual_stack) {
            self.record(Operation::CheckBindAddress, address.port(), AuditResult::Allowed);
            Ok(Permit::new(address, dual_stack, self))
        } else {
            self.record(Operation::CheckBindAddress, address.port(), AuditResult::Denied);
            Err(SocketError::CapabilityDenied)
        }
    }

    /// The decision. There is no other.
    fn allows(&self, address: &BindAddress, dual_stack: bool) -> bool {
        let right = match address {
            BindAddress::Abstract(_) => Rights::NET_BIND_ABSTRACT,
            _ => Rights::NET_BIND,
        };
        let by_rule = match address {
            BindAddress::Path(_) | BindAddress::Abstract(_) => true,
            BindAddress::Ipv4 { ip, port } => self.allows_host(ip.to_ipv6_mapped(), *port),
            BindAddress::Ipv6 { ip, port, .. } => {
                let reaches_ipv4 = dual_stack && ip.is_unspecified();
                let ipv4_wildcard = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
                self.allows_host(*ip, *port)
                    && (!reaches_ipv4 || self.allows_host(ipv4_wildcard, *port))
            }
        };
        self.rights.contains(right) && by_rule
    }

    /// Returns true if a rule allows this port of this address. An IPv4 address is mapped.
    fn allows_host(&self, ip: Ipv6Addr, port: u16) -> bool {
        self.ports.as_slice().contains(&port) || self.hosts.as_slice().contains(&Host { ip, port })
    }

    fn record(&self, operation: Operation, port: Option<u16>, result: AuditResult) {
        if let Some(sink) = self.sink {
            sink.record(&Record::new(self.id, operation, port, result));
        }
    }
}

impl fmt::Debug for NetBind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetBind")
            .field("id", &self.id)
            .field("rights", &self.rights)
            .field("ports", &self.ports.as_slice())
            .field("hosts", &self.hosts.as_slice())
            .field("is_audited", &self.sink.is_some())
            .finish()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&core::net::SocketAddr::new(self.ip.to_canonical(), self.port), f)
    }
}
