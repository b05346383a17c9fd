//! Lines to standard output and standard error, each with one `write`. They are put together without `core::fmt`, which
//! alone would take more room than the rest of the server.

use netbind::{AuditResult, Entry, Operation};
use rustix::fd::BorrowedFd;
use rustix::io::write;

/// A line that is collected, and written when it is dropped; what is longer comes in pieces.
pub struct Line {
    to: BorrowedFd<'static>,
    bytes: [u8; 256],
    length: usize,
}

impl Line {
    pub fn out() -> Self {
        // SAFETY: whoever starts the program leaves the descriptor open; if not, writing to it fails.
        Self::new(unsafe { rustix::stdio::stdout() })
    }

    pub fn err() -> Self {
        // SAFETY: as above.
        Self::new(unsafe { rustix::stdio::stderr() })
    }

    #[inline(never)]
    fn new(to: BorrowedFd<'static>) -> Self {
        Self { to, bytes: [0; 256], length: 0 }
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for byte in bytes {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
            if self.length == self.bytes.len() {
                self.flush();
            }
        }
        self
    }

    /// The number, in decimal digits.
    pub fn number(&mut self, number: u64) -> &mut Self {
        if number >= 10 {
            self.number(number / 10);
        }
        self.bytes(&[b'0' + (number % 10) as u8])
    }

    /// The same text as the `Display` of [`Entry`].
    pub fn entry(&mut self, entry: &Entry) -> &mut Self {
        self.bytes(b"sequence=").number(entry.sequence);
        if let Some(time) = entry.time {
            self.bytes(b" time=").number(time.as_nanos());
        }
        self.bytes(b" capability=").bytes(entry.record.capability.as_str().as_bytes());
        self.bytes(match entry.record.operation {
            Operation::CheckBindAddress => b" operation=check_bind_address port=",
            Operation::BindSocket => b" operation=bind_socket port=",
        });
        match entry.record.port {
            Some(port) => self.number(port.into()),
            None => self.bytes(b"none"),
        };
        self.bytes(match entry.record.result {
            AuditResult::Allowed => b" result=allowed",
            AuditResult::Denied => b" result=denied",
        })
    }

    fn flush(&mut self) {
        // So short a piece is written whole, or there is nobody to read it.
        let _ = write(self.to, self.bytes.get(..self.length).unwrap_or_default());
        self.length = 0;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bytes(b"\n");
        self.flush();
    }
}
