//! The trace: what is recorded of each decision and each bind, and the sink that takes the records.

mod record;
mod ring;

pub use record::{AuditResult, CapabilityId, InvalidId, Operation, Record};
pub use ring::{AuditRing, Entry, Reader};

/// Takes audit records, in the order in which things happen.
///
/// `record` is called from inside the entry points, from wherever the caller calls them: it should not block. It cannot
/// fail; a sink that loses records has to count them, as [`AuditRing`] does.
///
/// ```
/// use std::sync::Mutex;
/// use netbind::{AuditSink, BindAddress, NetBind, Record};
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
    /// Takes one record.
    ///
    /// ```
    /// use netbind::{AuditResult, AuditRing, AuditSink, CapabilityId, Operation, Record};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let ring = AuditRing::new_in(8, &memory)?;
    /// ring.record(&Record {
    ///     capability: CapabilityId::new("web")?,
    ///     operation: Operation::BindSocket,
    ///     port: Some(443),
    ///     result: AuditResult::Allowed,
    /// });
    /// assert_eq!(ring.written(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn record(&self, record: &Record);
}
