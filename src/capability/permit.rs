use super::NetBind;
use crate::address::BindAddress;
use crate::audit::{AuditResult, Operation};
use crate::error::SocketError;

/// The permission to open one listening socket at one address.
///
/// [`NetBind::check`] and [`NetBind::check_dual_stack`] return it. Code outside of this crate
/// cannot make one:
///
/// ```compile_fail,E0451
/// # let address = netbind::BindAddress::parse(":22").unwrap();
/// let permit = netbind::Permit { address: &address, dual_stack: true, capability: None };
/// ```
///
/// It opens one socket only:
///
/// ```compile_fail,E0382
/// # let capability = netbind::NetBind::new("web").unwrap();
/// # let address = netbind::BindAddress::parse(":8080").unwrap();
/// # let memory = bumpalo::Bump::new();
/// let permit = capability.check(&address).unwrap();
/// let first = netbind::ListenOptions::new().open(permit, &memory);
/// let second = netbind::ListenOptions::new().open(permit, &memory);
/// ```
///
/// ```
/// use netbind::{BindAddress, ListenOptions, NetBind};
///
/// # let memory = bumpalo::Bump::new();
/// let mut capability = NetBind::new("web")?;
/// capability.allow_port(0)?;
/// let address = BindAddress::parse("127.0.0.1:0")?;
/// let first = ListenOptions::new().open(capability.check(&address)?, &memory)?;
/// let second = ListenOptions::new().open(capability.check(&address)?, &memory)?;
/// assert_ne!(first.local_address()?, second.local_address()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "an unused permit opens nothing"]
pub struct Permit<'p> {
    address: &'p BindAddress,
    dual_stack: bool,
    capability: Option<&'p NetBind<'p>>,
}

impl<'p> Permit<'p> {
    /// Makes the permit of a positive decision.
    pub(super) const fn new(
        address: &'p BindAddress,
        dual_stack: bool,
        capability: &'p NetBind<'p>,
    ) -> Self {
        Self { address, dual_stack, capability: Some(capability) }
    }

    /// Makes the permit of a caller without a capability.
    pub(crate) const fn ambient(address: &'p BindAddress, dual_stack: bool) -> Self {
        Self { address, dual_stack, capability: None }
    }

    /// Returns the address that may be opened.
    #[must_use]
    pub const fn address(&self) -> &'p BindAddress {
        self.address
    }

    /// Returns true if the decision covers IPv4 connections on an IPv6 socket.
    #[must_use]
    pub const fn covers_dual_stack(&self) -> bool {
        self.dual_stack
    }

    /// Returns an error, and records a denial, if the decision does not cover dual stack.
    pub(crate) fn require_dual_stack(&self) -> Result<(), SocketError> {
        if self.dual_stack {
            return Ok(());
        }
        self.record(Operation::CheckBindAddress, self.address, AuditResult::Denied);
        Err(SocketError::CapabilityDenied)
    }

    /// Returns true if a sink records what is done with this permit.
    pub(crate) fn is_audited(&self) -> bool {
        self.capability.is_some_and(NetBind::is_audited)
    }

    /// Records the bind that this permit allowed, and uses the permit up. The address has the port
    /// that the kernel chose.
    pub(crate) fn record_bind(self, address: &BindAddress) {
        self.record(Operation::BindSocket, address, AuditResult::Allowed);
    }

    /// Records that the socket was adopted, and uses the permit up.
    pub(crate) fn record_adoption(self) {
        self.record(Operation::AdoptSocket, self.address, AuditResult::Allowed);
    }

    fn record(&self, operation: Operation, address: &BindAddress, result: AuditResult) {
        if let Some(capability) = self.capability {
            capability.record(operation, address, result);
        }
    }
}
