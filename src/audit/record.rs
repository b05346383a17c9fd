use core::fmt;

use crate::id::CapabilityId;

/// The operation that a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// `check_bind_address`: the decision, recorded before any system call.
    CheckBindAddress,
    /// `bind_socket`: the kernel's bind, recorded after it succeeded.
    BindSocket,
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

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::CheckBindAddress => "check_bind_address",
            Self::BindSocket => "bind_socket",
        })
    }
}

impl fmt::Display for AuditResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        })
    }
}

/// One record of the audit trail. It prints as one line of logfmt.
///
/// If the kernel refuses a bind, its allowed `check_bind_address` has no `bind_socket` after it.
/// For port 0 the check has port 0, and `bind_socket` has the port that the kernel chose. If
/// `getsockname` does not return that port, `bind_socket` has port 0 and the opening fails.
///
/// ```
/// use netbind::audit::{AuditResult, Operation, Record};
/// use netbind::capability::CapabilityId;
///
/// let id = CapabilityId::new("janus")?;
/// let record = Record::new(id, Operation::BindSocket, None, AuditResult::Allowed);
/// assert_eq!(
///     record.to_string(),
///     "capability=janus operation=bind_socket port=none result=allowed"
/// );
/// # Ok::<(), netbind::capability::CapabilityError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Record {
    /// The capability that decided.
    pub capability: CapabilityId,
    /// The operation.
    pub operation: Operation,
    /// The port, or `None` for a Unix socket.
    pub port: Option<u16>,
    /// The result.
    pub result: AuditResult,
}

impl Record {
    /// Makes a record, for tests and for sinks that pass records on.
    #[must_use]
    pub const fn new(
        capability: CapabilityId,
        operation: Operation,
        port: Option<u16>,
        result: AuditResult,
    ) -> Self {
        Self { capability, operation, port, result }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { capability, operation, port, result } = self;
        write!(f, "capability={capability} operation={operation} port=")?;
        match port {
            Some(port) => write!(f, "{port}")?,
            None => f.write_str("none")?,
        }
        write!(f, " result={result}")
    }
}
