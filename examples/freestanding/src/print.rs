//! Lines for standard output and standard error, without `core::fmt`, which is too large.

use netbind::SocketError;
use netbind::audit::{AuditResult, Entry, Operation};
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
        // SAFETY: `epoll_above_stdio` keeps the number from other uses, and nothing closes it.
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

    /// Adds the same text as the `Display` of [`Entry`].
    pub fn entry(&mut self, entry: &Entry) -> &mut Self {
        self.bytes(b"sequence=").number(entry.sequence);
        if let Some(time) = entry.time {
            self.bytes(b" time=").number(time.as_nanos());
        }
        // The program has one capability, so its id is known.
        self.bytes(b" capability=").bytes(CAPABILITY.as_bytes());
        self.bytes(b" operation=").bytes(match entry.record.operation {
            Operation::CheckBindAddress => b"check_bind_address",
            Operation::BindSocket => b"bind_socket",
            _ => b"unknown",
        });
        self.bytes(b" port=");
        match entry.record.port {
            Some(port) => self.number(port.into()),
            None => self.bytes(b"none"),
        };
        self.bytes(b" result=").bytes(match entry.record.result {
            AuditResult::Allowed => b"allowed",
            AuditResult::Denied => b"denied",
            _ => b"unknown",
        })
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
