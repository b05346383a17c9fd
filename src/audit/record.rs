//! One record, and how it prints.

use core::fmt;

/// The longest id, in bytes.
#[cfg(not(loom))]
pub(super) const ID_CAPACITY: usize = 32;
/// One word: with four of them, the interleavings are more than can be tried.
#[cfg(loom)]
pub(super) const ID_CAPACITY: usize = 8;

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
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CapabilityId {
    /// Padded with NULs. Not a `heapless::String`: an id goes into every record, and 32 bytes of a length that is known
    /// before are copied by two moves.
    padded: [u8; ID_CAPACITY],
}

/// The text is no [`CapabilityId`].
///
/// ```
/// use netbind::{CapabilityId, InvalidId};
///
/// assert_eq!(CapabilityId::new("two words"), Err(InvalidId));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvalidId;

impl CapabilityId {
    /// The id of this text.
    ///
    /// # Errors
    ///
    /// [`InvalidId`] when it is empty, longer than 32 bytes, or holds anything but printable ASCII without the space.
    ///
    /// ```
    /// use netbind::{CapabilityId, InvalidId};
    ///
    /// assert!(CapabilityId::new(&"x".repeat(32)).is_ok());
    /// assert_eq!(CapabilityId::new(&"x".repeat(33)), Err(InvalidId));
    /// ```
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        let mut padded = [0; ID_CAPACITY];
        if id.is_empty() || id.len() > ID_CAPACITY {
            return Err(InvalidId);
        }
        for (to, from) in padded.iter_mut().zip(id.bytes()) {
            if !from.is_ascii_graphic() {
                return Err(InvalidId);
            }
            *to = from;
        }
        Ok(Self { padded })
    }

    /// The text.
    ///
    /// ```
    /// assert_eq!(netbind::CapabilityId::new("web")?.as_str(), "web");
    /// # Ok::<(), netbind::InvalidId>(())
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.padded.iter().position(|byte| *byte == 0).unwrap_or(ID_CAPACITY);
        let text = self.padded.get(..length).unwrap_or_default();
        // SAFETY: `new` has seen that every byte is ASCII, and `from_padded` is given what `padded` gave.
        #[allow(unsafe_code)]
        unsafe {
            core::str::from_utf8_unchecked(text)
        }
    }

    /// The bytes, padded with NULs.
    pub(super) const fn padded(&self) -> &[u8; ID_CAPACITY] {
        &self.padded
    }

    /// The id whose [`padded`](Self::padded) these are.
    pub(super) const fn from_padded(padded: [u8; ID_CAPACITY]) -> Self {
        Self { padded }
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
///
/// ```
/// use netbind::Operation;
///
/// assert_eq!(Operation::CheckBindAddress.to_string(), "check_bind_address");
/// assert_eq!(Operation::BindSocket.to_string(), "bind_socket");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `check_bind_address`: the decision, recorded before any system call.
    CheckBindAddress,
    /// `bind_socket`: the kernel's bind, recorded after it succeeded.
    BindSocket,
}

/// How it went.
///
/// ```
/// use netbind::AuditResult;
///
/// assert_eq!(AuditResult::Allowed.to_string(), "allowed");
/// assert_eq!(AuditResult::Denied.to_string(), "denied");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditResult {
    /// The capability allowed it; for `bind_socket`, it is done. An opening can still fail: what fails up to its bind leaves
    /// no `bind_socket`, what fails behind it has left one.
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
/// shows 0, and `bind_socket` shows the port that the kernel chose; it shows 0 only where the kernel would not tell it, and
/// then the opening fails.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
