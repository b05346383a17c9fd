//! The value without which no socket is opened.

use super::NetBind;
use crate::address::BindAddress;
use crate::audit::{AuditResult, Operation};
use crate::error::SocketError;

/// A positive decision about one address: the value without which no socket is opened.
///
/// It cannot be made by hand:
///
/// ```compile_fail,E0451
/// # let address = netbind::BindAddress::parse(":22").unwrap();
/// let permit = netbind::Permit { address: &address, dual_stack: true, authority: None };
/// ```
///
/// and it is good for one opening:
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
/// Each decision gives a new one:
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
#[must_use = "a permit that is not used opens nothing"]
pub struct Permit<'p> {
    address: &'p BindAddress,
    dual_stack: bool,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    authority: Option<&'p NetBind<'p>>,
}

impl<'p> Permit<'p> {
    /// The decision's: nobody else makes one, but those who ask no capability.
    pub(super) const fn new(address: &'p BindAddress, dual_stack: bool, capability: &'p NetBind<'p>) -> Self {
        Self { address, dual_stack, authority: Some(capability) }
    }

    /// The permit of those who ask no capability.
    #[cfg(target_os = "linux")]
    pub(crate) const fn ambient(address: &'p BindAddress, dual_stack: bool) -> Self {
        Self { address, dual_stack, authority: None }
    }

    /// The address that may be opened.
    ///
    /// ```
    /// # use netbind::{BindAddress, NetBind};
    /// let capability = NetBind::new("web")?;
    /// let address = BindAddress::parse(":8080")?;
    /// assert_eq!(capability.check(&address)?.address(), &address);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn address(&self) -> &'p BindAddress {
        self.address
    }

    /// Whether the decision covers IPv4 connections on an IPv6 socket.
    ///
    /// ```
    /// # use netbind::{BindAddress, NetBind};
    /// let capability = NetBind::new("web")?;
    /// let address = BindAddress::parse("[::]:8080")?;
    /// assert!(!capability.check(&address)?.covers_dual_stack());
    /// assert!(capability.check_dual_stack(&address)?.covers_dual_stack());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn covers_dual_stack(&self) -> bool {
        self.dual_stack
    }

    /// Refuses, with a denied check on record, what the decision did not cover.
    pub(crate) fn require_dual_stack(&self) -> Result<(), SocketError> {
        if self.dual_stack {
            return Ok(());
        }
        if let Some(capability) = self.authority {
            capability.record(Operation::CheckBindAddress, self.address.port(), AuditResult::Denied);
        }
        Err(SocketError::CapabilityDenied)
    }

    /// Whether somebody wants to know the port that the kernel chose.
    #[cfg(target_os = "linux")]
    #[inline]
    pub(crate) fn is_audited(&self) -> bool {
        self.authority.is_some_and(|capability| capability.sink.is_some())
    }

    /// Records that the kernel's bind succeeded, which the permit was good for.
    #[cfg(target_os = "linux")]
    #[inline]
    pub(crate) fn record_bind(self, port: Option<u16>) {
        if let Some(capability) = self.authority {
            capability.record(Operation::BindSocket, port, AuditResult::Allowed);
        }
    }
}
