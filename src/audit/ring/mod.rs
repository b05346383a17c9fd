//! A bounded ring that keeps the newest records: many writers, no lock, no wait, every loss counted.
//!
//! A writer draws a ticket, which is the record's sequence number, and with it the one slot that the record may go to. The
//! slot's stamp tells what stands in it: twice the sequence number while the record is being written, one more when it is
//! whole. A stamp only ever rises. A writer that finds the slot in somebody's hands, or a newer record in it, gives up and
//! leaves its number as a loss: nothing here waits for another writer, so an interrupt may record while it interrupts one.
//! Behind a record that another writer has met, there can be a pause of bounded length, for speed alone.
//!
//! A reader looks at the stamp, copies the words, and looks again. The words are atomics, so there is no data race to
//! excuse; the stamps tell a copy that mixes two records, and such a copy is never handed out.

mod slot;
#[cfg(all(test, not(loom)))]
mod tests;

use core::fmt;
use core::ptr::NonNull;

use allocator_api2::alloc::{Allocator, Layout};

use self::slot::atomic::{AtomicCount, Count, Ordering};
use self::slot::{Found, Slot, ahead};
use super::AuditSink;
use super::record::Record;
use crate::error::SocketError;
use crate::time::{Clock, Instant};

/// The audit sink that is provided: a bounded ring in the caller's memory that keeps the newest records.
///
/// - Recording never blocks, never allocates and takes a bounded number of steps. Threads, signal handlers and interrupts
///   share the ring by reference; a writer may be interrupted by another at any point.
/// - Beside a writer that does nothing but record, turns at every record would cost both several times what a record costs
///   alone. So after every 16th record its writer looks whether another is at such a run, and steps back while it is: for 2,032
///   spin hints at most, which are 20 to 100 microseconds, by processor. Whoever records beside such a run pays that, however
///   seldom; writers that meet now and then hardly wait.
/// - Every record has a sequence number, counted from 0 without gaps, and the time of the ring's clock where one was given.
/// - A [`Reader`] is told exactly how many records it missed: read + missed = written. No reader ever sees a torn record.
/// - A record is missed when the ring came round before it was read, and in one rare case more: its writer finds the slot
///   still in the hands of a writer that was stopped a whole lap ago.
/// - The time is read before the sequence number is drawn, so that of two writers the earlier number may have the later time.
///
/// The storage is one allocation of 64 bytes for each record (56 where atomics have 32 bits), aligned to 64 on 64-bit
/// processors. Sequence numbers have 64 bits; where the processor has no 64-bit atomics they have 32 and wrap around, and a
/// reader has to come by within 2^31 records.
///
/// ```
/// use netbind::{AuditRing, ListenOptions, MonotonicClock, NetBind};
///
/// let memory = bumpalo::Bump::new();
/// let clock = MonotonicClock::new();
/// let ring = AuditRing::new_in(64, &memory)?.with_clock(&clock);
/// let capability = NetBind::new("web")?.with_sink(&ring);
///
/// assert!(netbind::listen_with_capability("127.0.0.1:22", &capability, &memory).is_err());
///
/// let mut reader = ring.reader();
/// let entry = reader.next().unwrap();
/// assert_eq!(entry.sequence, 0);
/// assert_eq!(entry.record.to_string(), "capability=web operation=check_bind_address port=22 result=denied");
/// assert_eq!((reader.next(), reader.missed()), (None, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AuditRing<'c, A: Allocator> {
    slots: NonNull<Slot>,
    /// The number of slots less one; the number is a power of two.
    mask: usize,
    head: OwnLine,
    clock: Option<&'c dyn Clock>,
    allocator: A,
}

/// The next sequence number, in cache lines of its own: every writer changes it, and should disturb nobody else by that.
#[repr(align(128))]
struct OwnLine(AtomicCount);

// SAFETY: the slots are owned, as a Box would own them, and hold nothing but atomics; the allocator may go along.
#[allow(unsafe_code)]
unsafe impl<A: Allocator + Send> Send for AuditRing<'_, A> {}

// SAFETY: all that a shared reference reaches is atomics and a `Clock`, which is `Sync`. The allocator, which may not be
// `Sync`, is touched by `new_in` and `drop` alone, and no method may ever lend it out.
#[allow(unsafe_code)]
unsafe impl<A: Allocator> Sync for AuditRing<'_, A> {}

impl<'c, A: Allocator> AuditRing<'c, A> {
    /// A ring for `capacity` records, rounded up to a power of two, 1 at least.
    ///
    /// # Errors
    ///
    /// [`SocketError::OutOfMemory`] when the allocator refuses, or when there is no such power of two.
    ///
    /// ```
    /// use netbind::{AuditRing, SocketError};
    ///
    /// let memory = bumpalo::Bump::new();
    /// assert_eq!(AuditRing::new_in(100, &memory)?.capacity(), 128);
    /// assert_eq!(AuditRing::new_in(usize::MAX, &memory).unwrap_err(), SocketError::OutOfMemory);
    /// # Ok::<(), SocketError>(())
    /// ```
    pub fn new_in(capacity: usize, allocator: A) -> Result<Self, SocketError> {
        let slots = capacity.max(1).checked_next_power_of_two().ok_or(SocketError::OutOfMemory)?;
        let layout = Layout::array::<Slot>(slots).map_err(|_| SocketError::OutOfMemory)?;
        let memory = allocator.allocate(layout).map_err(|_| SocketError::OutOfMemory)?.cast::<Slot>();
        for index in 0..slots {
            // SAFETY: the allocation has room for `slots` slots and `index` is less.
            #[allow(unsafe_code)]
            let slot = unsafe { memory.add(index) };
            // SAFETY: it is aligned, as the layout asked for, and ours alone.
            #[allow(unsafe_code)]
            unsafe {
                slot.write(Slot::new(index as Count, slots as Count));
            };
        }
        Ok(Self { slots: memory, mask: slots - 1, head: OwnLine(AtomicCount::new(0)), clock: None, allocator })
    }

    /// Gives each record the time of this clock.
    ///
    /// ```
    /// use netbind::{AuditRing, BindAddress, MonotonicClock, NetBind};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let clock = MonotonicClock::new();
    /// let ring = AuditRing::new_in(8, &memory)?.with_clock(&clock);
    /// let _ = NetBind::new("web")?.with_sink(&ring).check(&BindAddress::parse(":8080")?);
    /// assert!(ring.reader().next().unwrap().time.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: &'c dyn Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How many records the ring keeps.
    ///
    /// ```
    /// # let memory = bumpalo::Bump::new();
    /// assert_eq!(netbind::AuditRing::new_in(64, &memory)?.capacity(), 64);
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.mask + 1
    }

    /// How many records were made so far, those included that are gone.
    ///
    /// ```
    /// # use netbind::{AuditRing, BindAddress, NetBind};
    /// # let memory = bumpalo::Bump::new();
    /// let ring = AuditRing::new_in(1, &memory)?;
    /// let capability = NetBind::new("web")?.with_sink(&ring);
    /// for address in [":8080", ":22", "/run/web.sock"] {
    ///     let _ = capability.check(&BindAddress::parse(address)?);
    /// }
    /// assert_eq!(ring.written(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn written(&self) -> u64 {
        widen(self.head.0.load(Ordering::Acquire))
    }

    /// A reader of everything since the ring was made; what is gone already, it has missed.
    ///
    /// ```
    /// # use netbind::{AuditRing, BindAddress, NetBind};
    /// # let memory = bumpalo::Bump::new();
    /// # let ring = AuditRing::new_in(8, &memory)?;
    /// # let capability = NetBind::new("web")?.with_sink(&ring);
    /// let _ = capability.check(&BindAddress::parse(":8080")?);
    /// let _ = capability.check(&BindAddress::parse(":22")?);
    /// let ports: Vec<_> = ring.reader().map(|entry| entry.record.port).collect();
    /// assert_eq!(ports, [Some(8080), Some(22)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        self.reader_from(0)
    }

    /// A reader that begins with this sequence number, such as one behind the last that somebody has seen.
    ///
    /// ```
    /// # use netbind::{AuditRing, BindAddress, NetBind};
    /// # let memory = bumpalo::Bump::new();
    /// # let ring = AuditRing::new_in(8, &memory)?;
    /// # let capability = NetBind::new("web")?.with_sink(&ring);
    /// let _ = capability.check(&BindAddress::parse(":8080")?);
    /// let seen = ring.reader().last().unwrap().sequence;
    /// let _ = capability.check(&BindAddress::parse(":22")?);
    /// assert_eq!(ring.reader_from(seen + 1).next().unwrap().record.port, Some(22));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    #[allow(clippy::cast_possible_truncation)] // a sequence number came out of a `Count`
    pub fn reader_from(&self, sequence: u64) -> Reader<'_> {
        // No ring gets so far: beyond it, the numbers would count as those just before 0, of which the empty slots tell.
        let next = sequence.min(u64::MAX >> 2) as Count;
        Reader { slots: self.slots(), head: &self.head.0, next, seen: next, missed: 0 }
    }

    /// Another writer has met this one, whose record is made. Two that take turns at every record wait for each other's
    /// cache lines at every record; where one steps back, the other makes a run of them from its own cache. It comes back as
    /// soon as there is no such run: where fewer records were made than one for every four spin hints.
    #[cold]
    fn give_way(&self, mut seen: Count) {
        let mut hints = 16;
        while hints <= 1024 {
            for _ in 0..hints {
                core::hint::spin_loop();
            }
            let head = self.head.0.load(Ordering::Relaxed);
            if head.wrapping_sub(seen) < hints / 4 {
                return;
            }
            seen = head;
            hints *= 2;
        }
    }

    fn slots(&self) -> &[Slot] {
        // SAFETY: so many slots as `mask + 1` were allocated, so that number is no overflow. It spares `slot` a check.
        #[allow(unsafe_code)]
        unsafe {
            core::hint::assert_unchecked(self.mask < usize::MAX);
        };
        // SAFETY: `new_in` has written `mask + 1` slots there, and only `drop`, which has the ring alone, frees them.
        #[allow(unsafe_code)]
        unsafe {
            core::slice::from_raw_parts(self.slots.as_ptr(), self.mask + 1)
        }
    }
}

#[allow(clippy::useless_conversion)] // where a count has 32 bits, it is none
fn widen(count: Count) -> u64 {
    u64::from(count)
}

/// The slot of `sequence`: there is always one, as the number of slots is a power of two.
#[allow(clippy::cast_possible_truncation)] // the low bits are what is asked for
fn slot(slots: &[Slot], sequence: Count) -> Option<&Slot> {
    slots.get(sequence as usize & (slots.len() - 1))
}

impl<A: Allocator> AuditSink for AuditRing<'_, A> {
    fn record(&self, record: &Record) {
        let time = self.clock.map(Clock::now);
        let sequence = self.head.0.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = slot(self.slots(), sequence) {
            slot.store(sequence, record, time);
        }
        // Not after every record: those who meet now and then are to lose nothing by it. The model checker need not try it, as
        // it changes nothing but the time.
        let next = sequence.wrapping_add(1);
        if !cfg!(loom) && next.is_multiple_of(16) && self.head.0.load(Ordering::Relaxed) != next {
            self.give_way(next);
        }
    }
}

impl<A: Allocator> Drop for AuditRing<'_, A> {
    fn drop(&mut self) {
        if let Ok(layout) = Layout::array::<Slot>(self.mask + 1) {
            // SAFETY: `new_in` allocated the slots here with this very layout; atomics need no drop.
            #[allow(unsafe_code)]
            unsafe {
                self.allocator.deallocate(self.slots.cast(), layout);
            }
        }
    }
}

impl<A: Allocator> fmt::Debug for AuditRing<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditRing")
            .field("capacity", &self.capacity())
            .field("written", &self.written())
            .finish_non_exhaustive()
    }
}

/// A record as it was read from a ring.
///
/// ```
/// use netbind::{AuditResult, CapabilityId, Entry, Instant, Operation, Record};
///
/// let entry = Entry {
///     sequence: 7,
///     time: Some(Instant::from_nanos(1_000)),
///     record: Record {
///         capability: CapabilityId::new("web")?,
///         operation: Operation::CheckBindAddress,
///         port: Some(22),
///         result: AuditResult::Denied,
///     },
/// };
/// assert_eq!(
///     entry.to_string(),
///     "sequence=7 time=1000 capability=web operation=check_bind_address port=22 result=denied"
/// );
/// # Ok::<(), netbind::InvalidId>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The record's place among all that were made, counted from 0.
    pub sequence: u64,
    /// The time of the ring's clock, where it has one.
    pub time: Option<Instant>,
    /// The record.
    pub record: Record,
}

impl fmt::Display for Entry {
    /// One line of `key=value` text; the time is in nanoseconds since the clock's zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sequence={} ", self.sequence)?;
        if let Some(time) = self.time {
            write!(f, "time={time} ")?;
        }
        self.record.fmt(f)
    }
}

/// Reads a ring in the order of the sequence numbers, beside its writers and other readers.
///
/// `next` is `None` when there is nothing to read now; there may be something later. It never waits: a record whose writer
/// is still at it, or was stopped in the middle of it, is read, or counted as missed, by a later call.
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
    head: &'r AtomicCount,
    next: Count,
    /// The head when it was last looked at. Every look disturbs the writers, so there is one look for all that it shows.
    seen: Count,
    missed: u64,
}

impl Reader<'_> {
    /// How many records this reader has missed so far.
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

    /// Looks at the head, and counts what is gone by now. Whether there is anything to read.
    fn look(&mut self) -> bool {
        self.seen = self.head.load(Ordering::Acquire);
        if ahead(self.seen, self.next) <= 0 {
            return false;
        }
        let behind = self.seen.wrapping_sub(self.next);
        self.miss(behind.saturating_sub(self.slots.len() as Count));
        true
    }

    fn miss(&mut self, records: Count) {
        self.missed = self.missed.saturating_add(widen(records));
        self.next = self.next.wrapping_add(records);
    }
}

impl Iterator for Reader<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            if ahead(self.seen, self.next) <= 0 && !self.look() {
                return None;
            }
            match slot(self.slots, self.next)?.load(self.next) {
                Found::Whole(record, time) => {
                    let sequence = widen(self.next);
                    self.next = self.next.wrapping_add(1);
                    return Some(Entry { sequence, time, record });
                }
                Found::Missed => {
                    self.miss(1);
                    // The ring came round, perhaps by far.
                    self.seen = self.next;
                }
                // Or a look is overdue: far behind the head, the stamps of a later lap are taken for those of an earlier one.
                Found::NotYet => {
                    let next = self.next;
                    self.look();
                    if self.next == next {
                        return None;
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("next", &self.next).field("missed", &self.missed).finish_non_exhaustive()
    }
}
