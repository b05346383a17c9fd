//! One record, and how it prints.

use core::fmt;

use heapless::String;

/// The longest id, in bytes.
pub(super) const ID_CAPACITY: usize = 32;

/// The name by which a capability is known in the audit trail: 1 to 32 printable ASCII characters and no space, so that a
/// record stays one line of `key=value` text.
///
/// ```
/// use netbind::CapabilityId;
///
/// assert_eq!(CapabilityId::new("web/frontend-1")?.as_str(), "web/frontend-1");
/// assert!(CapabilityId::new("").is_err());
/// assert!(CapabilityId::new("two words").is_err());
/// assert!(CapabilityId::new("line\nbreak").is_err());
/// # Ok::<(), netbind::InvalidId>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CapabilityId(String<ID_CAPACITY, u8>);

/// The text is no [`CapabilityId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidId;

impl CapabilityId {
    /// The id of this text.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] when it is empty, longer than 32 bytes, or holds anything but printable ASCII without the space.
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidId);
        }
        String::try_from(id).map(Self).map_err(|_| InvalidId)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that [`as_str`](Self::as_str) was copied from, out of storage that holds nothing but ids.
    pub(super) fn restore(bytes: &[u8]) -> Self {
        let text = core::str::from_utf8(bytes).unwrap_or_default();
        Self(String::try_from(text).unwrap_or_default())
    }
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a capability id: expected 1 to 32 printable ASCII characters without a space")
    }
}

impl core::error::Error for InvalidId {}

impl fmt::Debug for CapabilityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for CapabilityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// What was decided or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `check_bind_address`: the decision, recorded before any system call.
    CheckBindAddress,
    /// `bind_socket`: the kernel's bind, recorded after it succeeded.
    BindSocket,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditResult {
    /// The capability allowed it; for `bind_socket`, it is done.
    Allowed,
    /// The capability refused, and nothing was opened.
    Denied,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CheckBindAddress => "check_bind_address",
            Self::BindSocket => "bind_socket",
        })
    }
}

impl fmt::Display for AuditResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        })
    }
}

/// One line of the audit trail.
///
/// A bind that the kernel refuses leaves its allowed `check_bind_address` without a `bind_socket`. For port 0 the check
/// shows 0, and `bind_socket` shows the port that the kernel chose.
///
/// ```
/// use netbind::{AuditResult, CapabilityId, Operation, Record};
///
/// let record = Record {
///     capability: CapabilityId::new("janus")?,
///     operation: Operation::BindSocket,
///     port: None,
///     result: AuditResult::Allowed,
/// };
/// assert_eq!(record.to_string(), "capability=janus operation=bind_socket port=none result=allowed");
/// # Ok::<(), netbind::InvalidId>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Whose decision it was.
    pub capability: CapabilityId,
    /// What was decided or done.
    pub operation: Operation,
    /// The port; `None` for a Unix socket.
    pub port: Option<u16>,
    /// How it went.
    pub result: AuditResult,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "capability={} operation={} port=", self.capability, self.operation)?;
        match self.port {
            Some(port) => write!(f, "{port}")?,
            None => f.write_str("none")?,
        }
        write!(f, " result={}", self.result)
    }
}
