//! The audit trail: records of decisions and binds, and the sinks that take them.

mod record;
#[cfg(audit_ring)]
mod ring;

pub use record::{AuditResult, Operation, Record};
#[cfg(audit_ring)]
pub use ring::{AuditRing, Entry, Reader};

/// Takes audit records.
///
/// The entry points call `record` while they open a socket, so it should not block. It cannot fail:
/// a sink that loses records must count them, as [`AuditRing`] does.
///
/// ```
/// use std::sync::Mutex;
/// use netbind::audit::{AuditSink, Record};
/// use netbind::{BindAddress, NetBind};
///
/// #[derive(Default)]
/// struct Lines(Mutex<Vec<String>>);
///
/// impl AuditSink for Lines {
///     fn record(&self, record: &Record) {
///         self.0.lock().unwrap().push(record.to_string());
///     }
/// }
///
/// let lines = Lines::default();
/// let capability = NetBind::new("web")?.with_sink(&lines);
/// let _ = capability.check(&BindAddress::parse(":22")?);
/// assert_eq!(
///     *lines.0.lock().unwrap(),
///     ["capability=web operation=check_bind_address port=22 result=denied"]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait AuditSink: Sync {
    /// Takes one record. Records of one opening come in the order in which things happen.
    fn record(&self, record: &Record);
}
