use core::fmt;

use super::head::Head;
use super::slot::{LoadResult, Slot, StoredRecord};
use super::{Record, slot_of};
use crate::clock::Instant;

/// A record that was read from a ring. It owns the address.
///
/// It prints as the record does, with its sequence number and, if the ring has a clock, its time in
/// nanoseconds: `sequence=7 time=1000 capability=web ...`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Entry {
    /// The number of the record among all records of the ring, counted from 0.
    pub sequence: u64,
    /// The time of the ring's clock, if it has one.
    pub time: Option<Instant>,
    record: StoredRecord,
}

impl Entry {
    /// Returns the record.
    #[must_use]
    pub const fn record(&self) -> Record<'_> {
        let StoredRecord { capability, operation, address, result } = &self.record;
        Record::new(*capability, *operation, address, *result)
    }

    /// Returns a value that prints the entry as one line of JSON:
    /// `{"sequence":7,"time":1000,"capability":"web",...}`.
    #[must_use]
    pub fn json(&self) -> impl fmt::Display {
        EntryJson(self)
    }
}

struct EntryJson<'e>(&'e Entry);

impl fmt::Display for EntryJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"sequence\":{},", self.0.sequence)?;
        if let Some(time) = self.0.time {
            write!(f, "\"time\":{time},")?;
        }
        self.0.record().write_json_fields(f)?;
        f.write_str("}")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sequence={} ", self.sequence)?;
        if let Some(time) = self.time {
            write!(f, "time={time} ")?;
        }
        self.record().fmt(f)
    }
}

/// Reads a ring in the order of the sequence numbers, while others write and read.
///
/// `next` returns `None` if there is nothing to read now; a later call can return a record. It
/// never waits: a record that is still being written is read, or counted as missed, by a later
/// call.
///
/// ```
/// # use netbind::{AuditRing, BindAddress, NetBind};
/// # let memory = bumpalo::Bump::new();
/// # let ring = AuditRing::new_in(8, &memory)?;
/// # let capability = NetBind::new("web")?.with_sink(&ring);
/// let mut reader = ring.reader();
/// assert_eq!(reader.next(), None);
/// let _ = capability.check(&BindAddress::parse(":8080")?);
/// assert_eq!(reader.next().unwrap().sequence, 0);
/// assert_eq!(reader.next(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Reader<'r> {
    slots: &'r [Slot],
    head: &'r Head,
    next: u64,
    /// The head when it was last read. Reading it slows the writers down, so it is read again only
    /// when all records before this value are read.
    known_head: u64,
    missed: u64,
}

impl<'r> Reader<'r> {
    pub(super) fn new(slots: &'r [Slot], head: &'r Head, next: u64) -> Self {
        Self { slots, head, next, known_head: next, missed: 0 }
    }

    /// Returns how many records this reader has missed so far.
    ///
    /// ```
    /// # use netbind::{AuditRing, BindAddress, NetBind};
    /// # let memory = bumpalo::Bump::new();
    /// let ring = AuditRing::new_in(2, &memory)?;
    /// let capability = NetBind::new("web")?.with_sink(&ring);
    /// for address in [":8080", ":22", "/run/web.sock"] {
    ///     let _ = capability.check(&BindAddress::parse(address)?);
    /// }
    /// let mut reader = ring.reader();
    /// assert_eq!(reader.by_ref().count(), 2);
    /// assert_eq!(reader.missed(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }

    /// Reads the head and skips what is overwritten. Returns true if there is anything to read.
    fn reload_head(&mut self) -> bool {
        self.known_head = self.head.written();
        let unread = self.known_head.saturating_sub(self.next);
        self.skip(unread.saturating_sub(self.slots.len() as u64));
        unread > 0
    }

    fn skip(&mut self, records: u64) {
        self.missed += records;
        self.next += records;
    }
}

impl Iterator for Reader<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if self.next >= self.known_head && !self.reload_head() {
                return None;
            }
            let sequence = self.next;
            match slot_of(self.slots, sequence)?.load(sequence) {
                LoadResult::Complete(record, time) => {
                    self.next += 1;
                    return Some(Entry { sequence, time, record });
                }
                LoadResult::Missed => {
                    self.skip(1);
                    // Writers have overtaken this reader, perhaps by many records.
                    self.known_head = self.next;
                }
                LoadResult::NotYet => {
                    // Read the head again: with 32-bit stamps, a record of a much later lap looks
                    // like one that is not written yet.
                    self.reload_head();
                    if self.next == sequence {
                        return None;
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("next", &self.next)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}
