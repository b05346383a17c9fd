//! Who may bind what: the capability, its one decision, and the permit that the decision gives.

mod permit;
mod rights;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use heapless::Vec;

use crate::address::BindAddress;
use crate::audit::{AuditResult, AuditSink, CapabilityId, Operation, Record};
use crate::error::SocketError;

pub use permit::Permit;
pub use rights::{CapabilityError, Rights};

/// How many ports can be allowed on any address.
const PORTS: usize = 16;
/// How many ports can be allowed on one address.
const HOSTS: usize = 16;

/// The ports that [`NetBind::new`] allows, and how many they are: the places behind them repeat the first.
const DEFAULT_PORTS: ([u16; PORTS], usize) = {
    let mut ports = [8080; PORTS];
    ports[1] = 3000;
    ports[2] = 8000;
    (ports, 3)
};

/// One port on one address.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Host {
    /// An IPv4 address as the IPv6 address that it is mapped to.
    ip: Ipv6Addr,
    port: u16,
}

/// The authority to open listening sockets.
///
/// | address | allowed by |
/// |---|---|
/// | IP address and port | [`Rights::NET_BIND`], and a rule: [`allow_port`](Self::allow_port) or [`allow_host`](Self::allow_host) |
/// | Unix path | [`Rights::NET_BIND`] |
/// | abstract name | [`Rights::NET_BIND_ABSTRACT`] |
///
/// What no rule allows is denied; there are no rules that deny. The decision is made on the parsed address. An IPv4-mapped
/// IPv6 address (`::ffff:a.b.c.d`) is judged as the IPv4 address that it reaches, and the IPv6 wildcard with dual stack as
/// both wildcards. Port 0 is a port like any other.
///
/// It cannot be copied, so whoever is handed a reference can ask it but not widen it.
///
/// It is a check in user space: code in the same process that makes its own system calls is not stopped by it. See the
/// crate's front page.
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
    /// Full or empty: the places behind `port_count` repeat the first port, so that all are compared at once.
    ports: Vec<u16, PORTS>,
    port_count: usize,
    hosts: Vec<Host, HOSTS>,
    sink: Option<&'s dyn AuditSink>,
}

impl<'s> NetBind<'s> {
    /// A capability with the right `net.bind` and the ports 8080, 3000 and 8000 on any IP address.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::InvalidId`] when `id` is no [`CapabilityId`].
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind};
    ///
    /// let capability = NetBind::new("web")?;
    /// for address in [":8080", "127.0.0.1:3000", "[::1]:8000", "/run/web.sock"] {
    ///     assert!(capability.check(&BindAddress::parse(address)?).is_ok());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(id: &str) -> Result<Self, CapabilityError> {
        let (ports, port_count) = DEFAULT_PORTS;
        Self::of(id, Rights::NET_BIND, Vec::from(ports), port_count)
    }

    /// A capability that allows nothing, for those who start from zero.
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
    /// [`CapabilityError::InvalidId`] when `id` is no [`CapabilityId`].
    pub fn empty(id: &str) -> Result<Self, CapabilityError> {
        Self::of(id, Rights::empty(), Vec::new(), 0)
    }

    #[inline]
    fn of(id: &str, rights: Rights, ports: Vec<u16, PORTS>, port_count: usize) -> Result<Self, CapabilityError> {
        match CapabilityId::new(id) {
            Ok(id) => Ok(Self { id, rights, ports, port_count, hosts: Vec::new(), sink: None }),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds rights.
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind, Rights};
    ///
    /// let mut capability = NetBind::new("web")?;
    /// capability.grant(Rights::NET_BIND_ABSTRACT);
    /// assert!(capability.check(&BindAddress::parse("unix:@web")?).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn grant(&mut self, rights: Rights) -> &mut Self {
        self.rights |= rights;
        self
    }

    /// Takes rights away; the rules stay.
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind, Rights};
    ///
    /// let mut capability = NetBind::new("web")?;
    /// capability.revoke(Rights::NET_BIND);
    /// assert!(capability.check(&BindAddress::parse(":8080")?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn revoke(&mut self, rights: Rights) -> &mut Self {
        self.rights &= !rights;
        self
    }

    /// Allows a port on any IP address. Port 0, which lets the kernel choose, allows 0 alone. Adding a port twice is adding
    /// it once.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::TooManyRules`] behind 16 ports, the three of [`new`](Self::new) included.
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
        if self.ports.is_empty() {
            self.ports = Vec::from([port; PORTS]);
            self.port_count = 1;
        } else if !self.ports.contains(&port) {
            *self.ports.get_mut(self.port_count).ok_or(CapabilityError::TooManyRules)? = port;
            self.port_count += 1;
        }
        Ok(self)
    }

    /// Allows a port on one IP address, whatever its scope id. The wildcards `0.0.0.0` and `::` are addresses like any
    /// other here: neither stands for the rest.
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
    ///
    /// # Errors
    ///
    /// [`CapabilityError::TooManyRules`] behind 16 of them.
    pub fn allow_host(&mut self, ip: IpAddr, port: u16) -> Result<&mut Self, CapabilityError> {
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let host = Host { ip, port };
        if !self.hosts.contains(&host) {
            self.hosts.push(host).map_err(|_| CapabilityError::TooManyRules)?;
        }
        Ok(self)
    }

    /// Sends a record of every decision and bind to this sink.
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
    pub fn with_sink(mut self, sink: &'s dyn AuditSink) -> Self {
        self.sink = Some(sink);
        self
    }

    /// The name under which the decisions are recorded.
    ///
    /// ```
    /// assert_eq!(netbind::NetBind::new("web")?.id().as_str(), "web");
    /// # Ok::<(), netbind::CapabilityError>(())
    /// ```
    #[must_use]
    pub const fn id(&self) -> &CapabilityId {
        &self.id
    }

    /// The rights.
    ///
    /// ```
    /// use netbind::{NetBind, Rights};
    ///
    /// assert_eq!(NetBind::new("web")?.rights(), Rights::NET_BIND);
    /// assert_eq!(NetBind::empty("none")?.rights(), Rights::empty());
    /// # Ok::<(), netbind::CapabilityError>(())
    /// ```
    #[must_use]
    pub const fn rights(&self) -> Rights {
        self.rights
    }

    /// Decides, records `check_bind_address`, and gives the permit to open this address.
    ///
    /// No system call is made. [`ListenOptions::open`](crate::ListenOptions::open) uses the permit.
    ///
    /// # Errors
    ///
    /// [`SocketError::CapabilityDenied`].
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind, SocketError};
    ///
    /// let capability = NetBind::new("web")?;
    /// assert!(capability.check(&BindAddress::parse(":8080")?).is_ok());
    /// assert_eq!(capability.check(&BindAddress::parse(":22")?).unwrap_err(), SocketError::CapabilityDenied);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check<'p>(&'p self, address: &'p BindAddress) -> Result<Permit<'p>, SocketError> {
        self.permit(address, false)
    }

    /// The same for a dual-stack socket, which takes IPv4 connections on an IPv6 wildcard as well: both wildcards have to
    /// be allowed.
    ///
    /// # Errors
    ///
    /// [`SocketError::CapabilityDenied`].
    ///
    /// ```
    /// use core::net::Ipv6Addr;
    /// use netbind::{BindAddress, NetBind, Rights};
    ///
    /// let mut ipv6 = NetBind::empty("ipv6-only")?;
    /// ipv6.grant(Rights::NET_BIND).allow_host(Ipv6Addr::UNSPECIFIED.into(), 80)?;
    /// let address = BindAddress::parse("[::]:80")?;
    /// assert!(ipv6.check(&address).is_ok());
    /// assert!(ipv6.check_dual_stack(&address).is_err()); // it would reach 0.0.0.0:80 too
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_dual_stack<'p>(&'p self, address: &'p BindAddress) -> Result<Permit<'p>, SocketError> {
        self.permit(address, true)
    }

    /// Every permit of a capability comes from here, with its record.
    #[inline]
    pub(crate) fn permit<'p>(&'p self, address: &'p BindAddress, dual_stack: bool) -> Result<Permit<'p>, SocketError> {
        let (allowed, port) = self.decide(address, dual_stack);
        if !allowed {
            self.record(Operation::CheckBindAddress, port, AuditResult::Denied);
            return Err(SocketError::CapabilityDenied);
        }
        self.record(Operation::CheckBindAddress, port, AuditResult::Allowed);
        Ok(Permit::new(address, dual_stack, self))
    }

    /// The decision: the only one there is. With it comes the port that it was about, which is known where it is made.
    #[inline]
    fn decide(&self, address: &BindAddress, dual_stack: bool) -> (bool, Option<u16>) {
        let has = |right| self.rights.contains(right);
        match address {
            BindAddress::Ipv4 { ip, port } => {
                let allowed = has(Rights::NET_BIND) && self.allows_host(ip.to_ipv6_mapped(), *port);
                (allowed, Some(*port))
            }
            BindAddress::Ipv6 { ip, port, .. } => {
                let reaches_ipv4 = dual_stack && ip.is_unspecified();
                let allowed = has(Rights::NET_BIND)
                    && self.allows_host(*ip, *port)
                    && (!reaches_ipv4 || self.allows_host(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), *port));
                (allowed, Some(*port))
            }
            // In a function of their own: four cases here would be a jump through a table.
            _ => (self.allows_unix(address), None),
        }
    }

    /// Paths and names have no rules; what is neither is allowed nothing.
    #[inline(never)]
    fn allows_unix(&self, address: &BindAddress) -> bool {
        match address {
            BindAddress::Path(_) => self.rights.contains(Rights::NET_BIND),
            BindAddress::Abstract(_) => self.rights.contains(Rights::NET_BIND_ABSTRACT),
            BindAddress::Ipv4 { .. } | BindAddress::Ipv6 { .. } => false,
        }
    }

    /// Whether a rule allows this port of this address; an IPv4 address is mapped by now.
    #[inline]
    fn allows_host(&self, ip: Ipv6Addr, port: u16) -> bool {
        self.allows_port(port) || self.hosts.iter().any(|host| host.port == port && host.ip == ip)
    }

    /// Whether a rule allows this port of any address: every place is compared, without a branch between them.
    #[inline]
    #[allow(clippy::needless_bitwise_bool)] // a lazy `||` would be that branch
    fn allows_port(&self, port: u16) -> bool {
        match self.ports.first_chunk::<PORTS>() {
            Some(ports) => ports.iter().fold(false, |found, allowed| found | (*allowed == port)),
            None => false,
        }
    }

    #[inline]
    fn record(&self, operation: Operation, port: Option<u16>, result: AuditResult) {
        if let Some(sink) = self.sink {
            sink.record(&Record { capability: self.id, operation, port, result });
        }
    }
}

impl fmt::Debug for NetBind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetBind")
            .field("id", &self.id)
            .field("rights", &self.rights)
            .field("ports", &self.ports.get(..self.port_count).unwrap_or_default())
            .field("hosts", &self.hosts)
            .field("audited", &self.sink.is_some())
            .finish()
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&core::net::SocketAddr::new(self.ip.to_canonical(), self.port), f)
    }
}
