use core::fmt;

use super::text::{Escaped, Json, Value};
use crate::address::BindAddress;
use crate::id::CapabilityId;

/// The operation that a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `check_bind_address`: the decision, recorded before any system call.
    CheckBindAddress,
    /// `bind_socket`: the kernel's bind, recorded after it succeeded.
    BindSocket,
    /// `adopt_socket`: a socket that another process opened was taken over.
    AdoptSocket,
}

/// The result of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuditResult {
    /// The capability allowed the address. With `bind_socket`, the socket is bound; a later step of
    /// the same opening can still fail.
    Allowed,
    /// The capability denied the address, and nothing was opened.
    Denied,
}

impl Operation {
    /// Returns the name, such as `"bind_socket"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CheckBindAddress => "check_bind_address",
            Self::BindSocket => "bind_socket",
            Self::AdoptSocket => "adopt_socket",
        }
    }
}

impl AuditResult {
    /// Returns `"allowed"` or `"denied"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for AuditResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One record of the audit trail.
///
/// It prints as one line of logfmt, and [`json`](Self::json) as one line of JSON. A value with a
/// space, a quote, `=`, a backslash or a byte that is not printable ASCII is quoted and escaped, so
/// that no address and no id can break the line.
///
/// If the kernel refuses a bind, its allowed `check_bind_address` has no `bind_socket` after it.
/// For port 0 the check has port 0, and `bind_socket` has the port that the kernel chose. If
/// `getsockname` does not return that port, `bind_socket` has port 0 and the opening fails.
///
/// ```
/// use netbind::BindAddress;
/// use netbind::audit::{AuditResult, Operation, Record};
/// use netbind::capability::CapabilityId;
///
/// let id = CapabilityId::new("janus")?;
/// let address = BindAddress::parse("unix:/a b")?;
/// let record = Record::new(id, Operation::BindSocket, &address, AuditResult::Allowed);
/// assert_eq!(
///     record.to_string(),
///     r#"capability=janus operation=bind_socket address="unix:/a b" port=none result=allowed"#
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The capability that decided.
    pub capability: CapabilityId,
    /// The operation.
    pub operation: Operation,
    /// The address. A sink that keeps it must clone it.
    pub address: &'a BindAddress,
    /// The port of the address, or `None` for a Unix socket.
    pub port: Option<u16>,
    /// The result.
    pub result: AuditResult,
}

impl<'a> Record<'a> {
    /// Makes a record, for tests and for sinks that pass records on.
    #[must_use]
    pub const fn new(
        capability: CapabilityId,
        operation: Operation,
        address: &'a BindAddress,
        result: AuditResult,
    ) -> Self {
        Self { capability, operation, address, port: address.port(), result }
    }

    /// Returns a value that prints the record as one line of JSON.
    ///
    /// ```
    /// # use netbind::BindAddress;
    /// # use netbind::audit::{AuditResult, Operation, Record};
    /// # use netbind::capability::CapabilityId;
    /// # let id = CapabilityId::new("web")?;
    /// # let address = BindAddress::parse(":8080")?;
    /// let record = Record::new(id, Operation::BindSocket, &address, AuditResult::Allowed);
    /// assert_eq!(
    ///     record.json().to_string(),
    ///     concat!(
    ///         r#"{"capability":"web","operation":"bind_socket","#,
    ///         r#""address":"0.0.0.0:8080","port":8080,"result":"allowed"}"#,
    ///     )
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn json(&self) -> impl fmt::Display + use<'a> {
        RecordJson(*self)
    }

    pub(super) fn write_json_fields(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capability, operation, address, port, result } = self;
        let address = address.to_bytes();
        let (capability, address) = (Escaped(capability.as_str().as_bytes()), Json(&address));
        write!(f, "\"capability\":\"{capability}\",\"operation\":\"{operation}\",")?;
        write!(f, "\"address\":\"{address}\",\"port\":")?;
        match port {
            Some(port) => write!(f, "{port}")?,
            None => f.write_str("null")?,
        }
        write!(f, ",\"result\":\"{result}\"")
    }
}

struct RecordJson<'a>(Record<'a>);

impl fmt::Display for RecordJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        self.0.write_json_fields(f)?;
        f.write_str("}")
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capability, operation, address, port, result } = self;
        let address = address.to_bytes();
        let (capability, address) = (Value(capability.as_str().as_bytes()), Value(&address));
        write!(f, "capability={capability} operation={operation} address={address} port=")?;
        match port {
            Some(port) => write!(f, "{port}")?,
            None => f.write_str("none")?,
        }
        write!(f, " result={result}")
    }
}
