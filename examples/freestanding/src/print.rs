//! Lines for standard output and standard error, without `core::fmt`, which is too large.

use core::sync::atomic::{AtomicU32, Ordering};

use netbind::SocketError;
use netbind::audit::{AuditSink, Record};
use netbind::time::Clock;
use rustix::fd::BorrowedFd;
use rustix::io::write;

use crate::server::{CAPABILITY, Failure};

/// A line that is written when it is dropped. One of more than 256 bytes is written in pieces.
pub struct Line {
    to: BorrowedFd<'static>,
    bytes: [u8; 256],
    length: usize,
}

impl Line {
    pub fn out() -> Self {
        // SAFETY: `epoll_above_stdio` made sure that no other file has this number, and nothing
        // closes it.
        Self::new(unsafe { rustix::stdio::stdout() })
    }

    pub fn err() -> Self {
        // SAFETY: the same.
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

    /// Adds a number in decimal digits.
    pub fn number(&mut self, number: u64) -> &mut Self {
        if number >= 10 {
            self.number(number / 10);
        }
        self.bytes(&[b'0' + (number % 10) as u8])
    }

    fn flush(&mut self) {
        // The server goes on if its output cannot be written.
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

/// The audit sink: prints each record to standard error.
pub struct Trail<'c> {
    clock: &'c dyn Clock,
    sequence: AtomicU32,
    /// The port of the last record, or a larger number for none.
    port: AtomicU32,
}

impl<'c> Trail<'c> {
    pub fn new(clock: &'c dyn Clock) -> Self {
        Self { clock, sequence: AtomicU32::new(0), port: AtomicU32::new(u32::MAX) }
    }

    /// Returns the port of the last record, which the kernel chose for port 0.
    pub fn last_port(&self) -> Option<u16> {
        u16::try_from(self.port.load(Ordering::Relaxed)).ok()
    }
}

impl AuditSink for Trail<'_> {
    /// Prints the text of the record without the address: printing one would link `core::fmt`.
    fn record(&self, record: &Record<'_>) {
        self.port.store(record.port.map_or(u32::MAX, u32::from), Ordering::Relaxed);
        let mut line = Line::err();
        line.bytes(b"sequence=").number(self.sequence.fetch_add(1, Ordering::Relaxed).into());
        line.bytes(b" time=").number(self.clock.now().as_nanos());
        // The program has one capability, so its id is known.
        line.bytes(b" capability=").bytes(CAPABILITY.as_bytes());
        line.bytes(b" operation=").bytes(record.operation.as_str().as_bytes());
        line.bytes(b" port=");
        match record.port {
            Some(port) => line.number(port.into()),
            None => line.bytes(b"none"),
        };
        line.bytes(b" result=").bytes(record.result.as_str().as_bytes());
    }
}

/// Prints the reason why the server does not run.
#[inline(never)]
pub fn failure(failure: &Failure) {
    let mut line = Line::err();
    let errno = match failure {
        Failure::Usage => {
            line.bytes(b"usage: freestanding [--allow-port N]... ADDRESS..., at most 8");
            return;
        }
        Failure::System(errno) => errno.raw_os_error(),
        Failure::Open(address, error) => {
            line.bytes(address).bytes(b": ").bytes(match error {
                SocketError::InvalidAddress => b"not an address",
                SocketError::InvalidPort => b"not a port",
                SocketError::Timeout => b"cancelled or past the deadline",
                SocketError::CapabilityDenied => b"denied by the capability",
                SocketError::OutOfMemory => b"out of memory",
                _ => b"",
            });
            error.errno().map_or(0, |errno| errno.raw_os_error())
        }
    };
    if errno != 0 {
        line.bytes(b"errno ").number(errno.unsigned_abs().into());
    }
}
