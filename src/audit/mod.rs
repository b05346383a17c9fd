//! The audit trail: records of decisions and binds, and the sinks that take them.

mod record;
#[cfg(audit_ring)]
mod ring;
mod text;

pub use record::{AuditResult, Operation, Record};
#[cfg(audit_ring)]
pub use ring::{AuditRing, Entry, Reader};

/// A destination for audit records.
///
/// `NetBind::check` and the entry points call `record`, so it should not block. It cannot fail:
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
///     fn record(&self, record: &Record<'_>) {
///         self.0.lock().unwrap().push(record.to_string());
///     }
/// }
///
/// let lines = Lines::default();
/// let capability = NetBind::new("web")?.with_sink(&lines);
/// let _ = capability.check(&BindAddress::parse(":22")?);
/// assert_eq!(
///     *lines.0.lock().unwrap(),
///     ["capability=web operation=check_bind_address address=0.0.0.0:22 port=22 result=denied"]
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A sink that passes records to another logger is short. For the crate `log`:
///
/// ```
/// # use netbind::audit::{AuditSink, Record};
/// struct Log;
///
/// impl AuditSink for Log {
///     fn record(&self, record: &Record<'_>) {
///         log::info!(target: "audit", "{record}");
///     }
/// }
/// ```
///
/// For the crate `tracing`, with fields:
///
/// ```
/// # use netbind::audit::{AuditSink, Record};
/// struct Tracing;
///
/// impl AuditSink for Tracing {
///     fn record(&self, record: &Record<'_>) {
///         tracing::info!(
///             capability = record.capability.as_str(),
///             operation = %record.operation,
///             address = %record.address,
///             result = %record.result,
///         );
///     }
/// }
/// ```
///
/// For `defmt`, on a board:
///
/// ```ignore
/// impl AuditSink for Defmt {
///     fn record(&self, record: &Record<'_>) {
///         defmt::info!("{}", defmt::Display2Format(record));
///     }
/// }
/// ```
pub trait AuditSink: Sync {
    /// Takes one record. Records of one opening come in the order of the operations.
    fn record(&self, record: &Record<'_>);
}
