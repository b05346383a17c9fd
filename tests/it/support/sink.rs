//! An audit sink that keeps the text of every record.

use std::sync::Mutex;

use netbind::audit::{AuditSink, Record};

#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<String>>);

impl Lines {
    /// Returns the records since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl AuditSink for Lines {
    fn record(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.to_string());
    }
}
