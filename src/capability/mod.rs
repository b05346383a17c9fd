//! Capabilities: the authority to open listening sockets, its decision, and the permit that it
//! makes.

mod permit;
mod rights;
mod table;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::RangeInclusive;

use crate::address::BindAddress;
use crate::audit::{AuditResult, AuditSink, Operation, Record};
use crate::error::SocketError;
use crate::rule::{Rule, Subject};

pub use crate::error::capability::CapabilityError;
pub use crate::error::rule::{RuleError, RuleReason};
pub use crate::id::CapabilityId;
pub use permit::Permit;
pub use rights::Rights;
use table::Table;

/// The authority to open listening sockets: rights and rules.
///
/// A right opens a kind of address: [`Rights::NET_BIND`] IP addresses and Unix paths,
/// [`Rights::NET_BIND_ABSTRACT`] abstract names. A [`Rule`] says which addresses of that kind. Both
/// are needed, and an empty set of either allows nothing. There are no rules that deny.
///
/// The decision is made on the parsed address, by one function, in time linear in the number of
/// rules. An IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) is judged as the IPv4 address that it
/// reaches, and the IPv6 wildcard with dual stack as both wildcards. Port 0 is a port like any
/// other. Scope ids are not compared.
///
/// A capability cannot be copied or changed through a reference, so code that is given a reference
/// can ask it but not widen it. It can make a [`child`](Self::child), which never allows more.
///
/// The check is made in user space. It does not stop code in the same process that makes its own
/// system calls.
///
/// ```
/// use netbind::{BindAddress, NetBind, Rights};
///
/// let mut capability = NetBind::empty("janus")?;
/// capability.grant(Rights::NET_BIND);
/// capability.allow("host 127.0.0.0/8 port 8000-8999".parse()?)?;
/// capability.allow("beneath /run/janus".parse()?)?;
///
/// assert!(capability.check(&BindAddress::parse("127.0.0.1:8080")?).is_ok());
/// assert!(capability.check(&BindAddress::parse(":8080")?).is_err()); // every address
/// assert!(capability.check(&BindAddress::parse("/run/janus/web.sock")?).is_ok());
/// assert!(capability.check(&BindAddress::parse("/run/janus/../x.sock")?).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct NetBind<'s> {
    id: CapabilityId,
    rights: Rights,
    own_rules: Table,
    more_rules: &'s [Rule],
    sink: Option<&'s dyn AuditSink>,
    parent: Option<&'s NetBind<'s>>,
}

// Small enough for a stack of a few kilobytes.
const _: () = assert!(size_of::<NetBind<'_>>() < 1024);

impl<'s> NetBind<'s> {
    /// Makes a capability with the right `net.bind`, the ports 8080, 3000 and 8000 on every IP
    /// address, and every Unix path.
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
                capability.own_rules = Table::with_defaults();
                Ok(capability)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a capability without rights and rules, which allows nothing.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::InvalidId`] if `id` is not a [`CapabilityId`].
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind, Rights};
    ///
    /// let mut tcp_only = NetBind::empty("tcp-only")?;
    /// tcp_only.grant(Rights::NET_BIND).allow_port(80)?;
    /// assert!(tcp_only.check(&BindAddress::parse(":80")?).is_ok());
    /// assert!(tcp_only.check(&BindAddress::parse("/run/x.sock")?).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn empty(id: &str) -> Result<Self, CapabilityError> {
        match CapabilityId::new(id) {
            Ok(id) => Ok(Self {
                id,
                rights: Rights::empty(),
                own_rules: Table::new(),
                more_rules: &[],
                sink: None,
                parent: None,
            }),
            Err(error) => Err(error),
        }
    }

    /// Makes a capability that never allows an address that this one does not allow.
    ///
    /// It starts without rights and rules. It records under its own id, to its own sink if it has
    /// one, and to the sinks of all its ancestors. A sink that two of them have gets each record
    /// twice. The depth is not limited.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::InvalidId`] if `id` is not a [`CapabilityId`].
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind, Rights};
    ///
    /// let service = NetBind::new("service")?;
    /// let mut plugin = service.child("plugin")?;
    /// plugin.grant(Rights::NET_BIND).allow_port(8080)?.allow_port(22)?;
    /// assert!(plugin.check(&BindAddress::parse(":8080")?).is_ok());
    /// assert!(plugin.check(&BindAddress::parse(":22")?).is_err()); // the service may not
    /// assert!(plugin.check(&BindAddress::parse(":3000")?).is_err()); // the plugin may not
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A child cannot outlive its parent:
    ///
    /// ```compile_fail,E0597
    /// # use netbind::NetBind;
    /// let child = {
    ///     let parent = NetBind::new("parent").unwrap();
    ///     parent.child("child").unwrap()
    /// };
    /// ```
    ///
    /// and a parent cannot change while it has children:
    ///
    /// ```compile_fail,E0502
    /// # use netbind::{NetBind, Rights};
    /// let mut parent = NetBind::new("parent").unwrap();
    /// let child = parent.child("child").unwrap();
    /// parent.revoke(Rights::NET_BIND);
    /// drop(child);
    /// ```
    pub const fn child<'c>(&'c self, id: &str) -> Result<NetBind<'c>, CapabilityError> {
        match NetBind::empty(id) {
            Ok(mut child) => {
                child.parent = Some(self);
                Ok(child)
            }
            Err(error) => Err(error),
        }
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

    /// Adds a rule. A rule that is already there is not added again.
    ///
    /// # Errors
    ///
    /// [`CapabilityError::TooManyRules`] for the 17th rule, counting the four of
    /// [`new`](Self::new), or if the paths and names of all rules, and 16 bytes for each
    /// `host` rule, take more than 640 bytes.
    /// [`with_rules`](Self::with_rules) has no limit.
    pub fn allow(&mut self, rule: Rule) -> Result<&mut Self, CapabilityError> {
        if self.own_rules.add(&rule) { Ok(self) } else { Err(CapabilityError::TooManyRules) }
    }

    /// Adds the rule `port PORT`: this port on every IP address.
    ///
    /// # Errors
    ///
    /// Those of [`allow`](Self::allow).
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
        self.allow(Rule::port(port))
    }

    /// Adds the rule `port FIRST-LAST`: these ports on every IP address.
    ///
    /// # Errors
    ///
    /// Those of [`allow`](Self::allow) and [`Rule::ports`].
    pub fn allow_ports(
        &mut self,
        ports: RangeInclusive<u16>,
    ) -> Result<&mut Self, CapabilityError> {
        self.allow(Rule::ports(ports)?)
    }

    /// Adds the rule `host IP port PORT`: this port on one IP address.
    ///
    /// # Errors
    ///
    /// Those of [`allow`](Self::allow).
    pub fn allow_host(&mut self, ip: IpAddr, port: u16) -> Result<&mut Self, CapabilityError> {
        let prefix_length = if ip.is_ipv4() { 32 } else { 128 };
        self.allow(Rule::host(ip, prefix_length, port..=port)?)
    }

    /// Adds the rule `host IP/LENGTH port FIRST-LAST`: these ports on the addresses of a network.
    ///
    /// # Errors
    ///
    /// Those of [`allow`](Self::allow) and [`Rule::host`].
    pub fn allow_network(
        &mut self,
        ip: IpAddr,
        prefix_length: u8,
        ports: RangeInclusive<u16>,
    ) -> Result<&mut Self, CapabilityError> {
        self.allow(Rule::host(ip, prefix_length, ports)?)
    }

    /// Adds the rule `path PATH`: exactly this Unix path.
    ///
    /// # Errors
    ///
    /// Those of [`allow`](Self::allow) and [`Rule::path`].
    pub fn allow_path(&mut self, path: &[u8]) -> Result<&mut Self, CapabilityError> {
        self.allow(Rule::path(path)?)
    }

    /// Adds the rule `beneath DIRECTORY`: every absolute Unix path below this directory.
    ///
    /// # Errors
    ///
    /// Those of [`allow`](Self::allow) and [`Rule::beneath`].
    pub fn allow_beneath(&mut self, directory: &[u8]) -> Result<&mut Self, CapabilityError> {
        self.allow(Rule::beneath(directory)?)
    }

    /// Adds the rule `abstract NAME`: exactly this abstract name.
    ///
    /// # Errors
    ///
    /// Those of [`allow`](Self::allow) and [`Rule::abstract_name`].
    pub fn allow_abstract(&mut self, name: &[u8]) -> Result<&mut Self, CapabilityError> {
        self.allow(Rule::abstract_name(name)?)
    }

    /// Sets a table of rules of any length, in addition to the rules of the value itself. It
    /// replaces an earlier one.
    ///
    /// ```
    /// use netbind::{BindAddress, NetBind, Rights, Rule};
    ///
    /// static RULES: [Rule; 2] = [Rule::port(80), Rule::any_abstract()];
    ///
    /// let mut capability = NetBind::empty("web")?.with_rules(&RULES);
    /// capability.grant(Rights::NET_BIND);
    /// assert!(capability.check(&BindAddress::parse(":80")?).is_ok());
    /// assert!(capability.check(&BindAddress::parse("unix:@web")?).is_err()); // no right
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn with_rules(mut self, rules: &'s [Rule]) -> Self {
        self.more_rules = rules;
        self
    }

    /// Returns the rules of this capability: those of the value itself, then those of
    /// [`with_rules`](Self::with_rules).
    ///
    /// Those of its ancestors are not included. A child allows an address only if its own rules
    /// and those of each ancestor allow it.
    pub fn rules(&self) -> impl Iterator<Item = Rule> {
        let own = self.own_rules.iter().map(Rule::from_parts);
        own.chain(self.more_rules.iter().copied())
    }

    /// Sets the sink that gets a record of every decision and every successful bind.
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
    /// It makes no system call. Pass the permit to `ListenOptions::open`.
    ///
    /// # Errors
    ///
    /// [`SocketError::CapabilityDenied`] if the rights and rules do not allow the address.
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
    /// [`SocketError::CapabilityDenied`] if the rights and rules do not allow the address, or the
    /// IPv4 wildcard.
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
            self.record(Operation::CheckBindAddress, address, AuditResult::Allowed);
            Ok(Permit::new(address, dual_stack, self))
        } else {
            self.record(Operation::CheckBindAddress, address, AuditResult::Denied);
            Err(SocketError::CapabilityDenied)
        }
    }

    /// Records a refusal that was not decided by the rules alone.
    #[cfg(feature = "enforce")]
    pub(crate) fn record_denial(&self, address: &BindAddress) {
        self.record(Operation::CheckBindAddress, address, AuditResult::Denied);
    }

    /// Returns true if this capability and all its ancestors allow the address. Every decision is
    /// made here.
    pub(crate) fn allows(&self, address: &BindAddress, dual_stack: bool) -> bool {
        let (right, subject) = match address {
            BindAddress::Ipv4 { ip, port } => {
                (Rights::NET_BIND, Subject::ip(IpAddr::V4(*ip), *port))
            }
            BindAddress::Ipv6 { ip, port, .. } => {
                (Rights::NET_BIND, Subject::ip(IpAddr::V6(*ip), *port))
            }
            BindAddress::Path(path) => (Rights::NET_BIND, Subject::Path(path.as_bytes())),
            BindAddress::Abstract(name) => {
                (Rights::NET_BIND_ABSTRACT, Subject::Abstract(name.as_bytes()))
            }
        };
        let ipv4_too = match address {
            BindAddress::Ipv6 { ip, port, .. } if dual_stack && ip.is_unspecified() => {
                Some(Subject::ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED), *port))
            }
            _ => None,
        };
        self.with_ancestors().all(|capability| {
            capability.rights.contains(right)
                && capability.has_rule_for(subject)
                && ipv4_too.is_none_or(|subject| capability.has_rule_for(subject))
        })
    }

    /// Returns true if a rule of this capability, without its ancestors, allows the address.
    fn has_rule_for(&self, subject: Subject<'_>) -> bool {
        self.own_rules.allows(subject) || self.more_rules.iter().any(|rule| rule.allows(subject))
    }

    /// Returns this capability, its parent, and so on.
    pub(crate) fn with_ancestors(&self) -> impl Iterator<Item = &NetBind<'_>> {
        core::iter::successors(Some(self), |capability| capability.parent)
    }

    fn is_audited(&self) -> bool {
        self.with_ancestors().any(|capability| capability.sink.is_some())
    }

    /// Sends a record to the sinks of this capability and of its ancestors.
    fn record(&self, operation: Operation, address: &BindAddress, result: AuditResult) {
        for sink in self.with_ancestors().filter_map(|capability| capability.sink) {
            sink.record(&Record::new(self.id, operation, address, result));
        }
    }
}

impl fmt::Debug for NetBind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetBind")
            .field("id", &self.id)
            .field("rights", &self.rights)
            .field("rules", &RulesOf(self))
            .field("parent", &self.parent.map(Self::id))
            .field("is_audited", &self.is_audited())
            .finish()
    }
}

struct RulesOf<'a, 's>(&'a NetBind<'s>);

impl fmt::Debug for RulesOf<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.rules()).finish()
    }
}
