//! A bounded ring that keeps the newest records: many writers, no lock, no wait, every loss
//! counted.
//!
//! A writer takes a sequence number, which determines the one slot that its record may go to. The
//! stamp of a slot is twice the sequence number of its record while that is being written, and one
//! more when it is complete. A stamp only rises. If a writer finds the slot in use, or a newer
//! record in it, it gives up and leaves its number there as a loss. So no writer waits for another,
//! and an interrupt may record while it interrupts a writer.
//!
//! A reader reads the stamp, copies the record and reads the stamp again. The record is stored in
//! atomics, so there is no data race. If the stamp has changed, the copy may mix two records, and
//! is dropped.

mod head;
mod reader;
mod slot;
#[cfg(all(test, not(netbind_loom)))]
mod tests;

use core::fmt;
use core::ptr::NonNull;

use allocator_api2::alloc::{Allocator, Layout};

use self::head::Head;
pub use self::reader::{Entry, Reader};
use self::slot::Slot;
use super::{AuditSink, Record};
use crate::clock::Clock;
use crate::error::SocketError;

/// An audit sink that keeps the newest records in the caller's memory.
///
/// - Recording never blocks, never waits, never allocates, and takes a bounded number of steps.
///   Threads, signal handlers and interrupts share the ring by reference.
/// - Every record has a sequence number, counted from 0 without gaps, and the time of the ring's
///   clock if it has one. The time is read first: of two writers at the same time, the one with the
///   lower number may have the later time.
/// - A [`Reader`] knows exactly how many records it missed: when `next` returns `None` and no
///   record is being written, read + missed = written since its start. It never returns a mixture
///   of two records.
/// - A record is missed if it was overwritten before it was read. It is also missed if its slot was
///   still in use by a writer that was interrupted a whole lap ago.
///
/// The storage is a single allocation, made by `new_in`. Each record takes 192 bytes on 64-bit
/// processors. On 32-bit processors it takes 176, or 168 without 64-bit atomics. On 64-bit
/// processors a record starts on a cache line and takes three; a record of an IP address uses two
/// of them. The ring needs compare-and-swap, so it does not exist on processors without it, such as
/// `thumbv6m` and `riscv32i`.
///
/// ```
/// use netbind::{AuditRing, BindAddress, NetBind};
///
/// let memory = bumpalo::Bump::new();
/// let ring = AuditRing::new_in(64, &memory)?;
/// let capability = NetBind::new("web")?.with_sink(&ring);
/// assert!(capability.check(&BindAddress::parse("127.0.0.1:22")?).is_err());
///
/// let mut reader = ring.reader();
/// assert_eq!(
///     reader.next().unwrap().to_string(),
///     "sequence=0 capability=web operation=check_bind_address address=127.0.0.1:22 port=22 \
///      result=denied"
/// );
/// assert_eq!((reader.next(), reader.missed()), (None, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AuditRing<'c, A: Allocator> {
    slots: NonNull<Slot>,
    /// The number of slots less one. The number is a power of two.
    mask: usize,
    head: Head,
    clock: Option<&'c dyn Clock>,
    allocator: A,
}

// SAFETY: the ring owns the slots, as a `Box` does, and they contain only atomics. The allocator is
// `Send`, and so is a `&dyn Clock`, because a `Clock` is `Sync`.
#[allow(unsafe_code)]
unsafe impl<A: Allocator + Send> Send for AuditRing<'_, A> {}

// SAFETY: a shared reference reaches only atomics and a `Clock`, which is `Sync`. The allocator,
// which need not be `Sync`, is used by `new_in` and `drop` only; no method may lend it out.
#[allow(unsafe_code)]
unsafe impl<A: Allocator> Sync for AuditRing<'_, A> {}

impl<'c, A: Allocator> AuditRing<'c, A> {
    /// Makes a ring for `capacity` records, rounded up to a power of two, at least 1.
    ///
    /// # Errors
    ///
    /// [`SocketError::OutOfMemory`] if the allocator returns an error, or if the size in bytes does
    /// not fit into `isize`.
    pub fn new_in(capacity: usize, allocator: A) -> Result<Self, SocketError> {
        let slots = capacity.max(1).checked_next_power_of_two().ok_or(SocketError::OutOfMemory)?;
        let layout = Layout::array::<Slot>(slots).map_err(|_| SocketError::OutOfMemory)?;
        let memory = allocator.allocate(layout).map_err(|_| SocketError::OutOfMemory)?.cast();
        for index in 0..slots {
            // SAFETY: the allocation has room for `slots` slots, and `index` is less.
            #[allow(unsafe_code)]
            let slot = unsafe { memory.add(index) };
            // SAFETY: the layout aligned it, and this function owns it.
            #[allow(unsafe_code)]
            unsafe {
                slot.write(Slot::new(index, slots));
            };
        }
        Ok(Self { slots: memory, mask: slots - 1, head: Head::new(0), clock: None, allocator })
    }

    /// Sets the clock that timestamps the records.
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

    /// Returns how many records the ring keeps.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.mask + 1
    }

    /// Returns how many sequence numbers were given out, including those of lost, overwritten and
    /// unfinished records.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.head.written()
    }

    /// Returns a reader of all records since the ring was made. Records that are already
    /// overwritten count as missed at the first `next`.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        self.reader_from(0)
    }

    /// Returns a reader that starts at this sequence number, or at the next record if the number is
    /// in the future.
    ///
    /// ```
    /// # use netbind::{AuditRing, BindAddress, NetBind};
    /// # let memory = bumpalo::Bump::new();
    /// # let ring = AuditRing::new_in(8, &memory)?;
    /// # let capability = NetBind::new("web")?.with_sink(&ring);
    /// let _ = capability.check(&BindAddress::parse(":8080")?);
    /// let seen = ring.reader().last().unwrap().sequence;
    /// let _ = capability.check(&BindAddress::parse(":22")?);
    /// assert_eq!(ring.reader_from(seen + 1).next().unwrap().record().port, Some(22));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reader_from(&self, sequence: u64) -> Reader<'_> {
        Reader::new(self.slots(), &self.head, sequence.min(self.written()))
    }

    fn slots(&self) -> &[Slot] {
        // SAFETY: `new_in` allocated and wrote `mask + 1` slots, and only `drop` frees them.
        #[allow(unsafe_code)]
        unsafe {
            core::slice::from_raw_parts(self.slots.as_ptr(), self.mask + 1)
        }
    }
}

/// Returns the slot of a sequence number. There always is one, because the number of slots is a
/// power of two.
#[allow(clippy::cast_possible_truncation)] // only the low bits matter
fn slot_of(slots: &[Slot], sequence: u64) -> Option<&Slot> {
    slots.get(sequence as usize & slots.len().wrapping_sub(1))
}

impl<A: Allocator> AuditSink for AuditRing<'_, A> {
    #[allow(clippy::useless_conversion)] // a sequence number can have 32 bits
    fn record(&self, record: &Record<'_>) {
        let time = self.clock.map(Clock::now);
        let sequence = self.head.next_sequence();
        if let Some(slot) = slot_of(self.slots(), u64::from(sequence)) {
            slot.store(sequence, record, time);
        }
    }
}

impl<A: Allocator> Drop for AuditRing<'_, A> {
    fn drop(&mut self) {
        if let Ok(layout) = Layout::array::<Slot>(self.mask + 1) {
            // SAFETY: `new_in` allocated the slots from this allocator with the same layout, and
            // atomics need no drop.
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
