//! The audit trail: one line a record, each written by one call.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

use netbind::audit::{AuditSink, Record};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::failure::Failure;
use crate::report::{printable, report};

/// A sink that writes to a file or to standard error. A record that cannot be written is lost; the
/// first loss is reported.
pub(crate) struct Trail {
    /// Standard error if there is none.
    file: Option<OwnedFd>,
    name: String,
    json: bool,
    has_failed: AtomicBool,
    /// The last line has no end.
    is_torn: AtomicBool,
}

impl Trail {
    /// Opens the file for appending, or uses standard error.
    ///
    /// The file is non-blocking. Otherwise a full pipe would stop the program.
    pub(crate) fn open(file: Option<&OsStr>, json: bool) -> Result<Self, Failure> {
        let name = file.map_or("standard error".into(), |file| printable(file.as_bytes()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let open = |file| rustix::fs::open(file, flags, Mode::from_raw_mode(0o666));
        let file = file.map(open).transpose().map_err(|error| Failure::about(&name, error))?;
        let (has_failed, is_torn) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { file, name, json, has_failed, is_torn })
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_ref().map_or(rustix::stdio::stderr(), AsFd::as_fd)
    }

    fn write(&self, line: &str) {
        let is_torn = self.is_torn.load(Ordering::Relaxed);
        let line = if is_torn { format!("\n{line}") } else { line.into() };
        let written = retry_on_intr(|| rustix::io::write(self.descriptor(), line.as_bytes()));
        match written {
            Ok(length) if length == line.len() => self.is_torn.store(false, Ordering::Relaxed),
            Ok(_) => {
                self.is_torn.store(true, Ordering::Relaxed);
                self.report_loss(Errno::NOSPC);
            }
            Err(error) => self.report_loss(error),
        }
    }

    fn report_loss(&self, error: Errno) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            report(&format!("{}: an audit record is lost: {error}", self.name));
        }
    }
}

impl AuditSink for Trail {
    fn record(&self, record: &Record<'_>) {
        if self.json {
            self.write(&format!("{}\n", record.json()));
        } else {
            self.write(&format!("{record}\n"));
        }
    }
}
