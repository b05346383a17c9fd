//! One slot of the ring, and the encoding of a record in it.

use self::atomic::{AtomicCount, AtomicUsize, Count, Ordering, fence};
use super::Record;
use crate::audit::{AuditResult, Operation};
use crate::clock::Instant;
use crate::id::{CapabilityId, ID_CAPACITY};

/// The atomics, and the width of a stamp: 32 bits on processors without 64-bit atomics.
pub(super) mod atomic {
    #[cfg(not(netbind_loom))]
    use core::sync::atomic;
    // The model checker's, for `proofs/loom`.
    #[cfg(netbind_loom)]
    use loom::sync::atomic;

    pub(in super::super) use atomic::{AtomicUsize, Ordering, fence};

    #[cfg(target_has_atomic = "64")]
    pub(in super::super) use atomic::AtomicU64 as AtomicCount;
    #[cfg(target_has_atomic = "64")]
    pub(in super::super) type Count = u64;

    #[cfg(not(target_has_atomic = "64"))]
    pub(in super::super) use atomic::AtomicU32 as AtomicCount;
    #[cfg(not(target_has_atomic = "64"))]
    pub(in super::super) type Count = u32;
}

/// The encoded record: id, time (8 bytes), port (2), flags, operation, result, padding (3).
const BYTES: usize = ID_CAPACITY + 16;
const WORDS: usize = BYTES / size_of::<usize>();

const HAS_PORT: u8 = 1;
const HAS_TIME: u8 = 2;

/// Room for one record. On 64-bit processors it is a cache line, so that the writers of two
/// adjacent slots do not slow each other down.
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
pub(super) struct Slot {
    /// [`writing`] or [`complete`] of the record's sequence number.
    stamp: AtomicCount,
    /// [`complete`] of the newest sequence number that was lost here, or an older one that no
    /// longer matters.
    lost: AtomicCount,
    words: [AtomicUsize; WORDS],
}

/// Whether stamps can wrap around: only those of 32 bits, and all of them in the unit tests.
const STAMPS_WRAP: bool = cfg!(any(test, not(target_has_atomic = "64")));

/// A quarter of the range of a stamp.
#[allow(clippy::cast_possible_wrap, clippy::cast_lossless)] // the width of a count differs
const QUARTER: i64 = (Count::MAX / 4) as i64;

const fn writing(sequence: Count) -> Count {
    sequence.wrapping_mul(2)
}

const fn complete(sequence: Count) -> Count {
    writing(sequence).wrapping_add(1)
}

/// Returns how far `stamp` is ahead of `other`. Stamps may wrap around; those in use are never half
/// the range apart.
#[allow(clippy::cast_possible_wrap)] // the result is signed
const fn ahead(stamp: Count, other: Count) -> i64 {
    #[cfg(target_has_atomic = "64")]
    return stamp.wrapping_sub(other) as i64;
    #[cfg(not(target_has_atomic = "64"))]
    return stamp.wrapping_sub(other) as i32 as i64;
}

/// The result of [`Slot::load`].
pub(super) enum Found {
    /// The record, complete.
    Whole(Record, Option<Instant>),
    /// The record was overwritten or lost.
    Missed,
    /// The record is not written yet, or is being written.
    NotYet,
}

impl Slot {
    /// Makes an empty slot. Its stamp is that of one lap before `first`, its first sequence number.
    #[allow(clippy::cast_possible_truncation)] // a ring that large does not fit into memory
    pub(super) fn new(first: usize, lap: usize) -> Self {
        let before = complete((first as Count).wrapping_sub(lap as Count));
        Self {
            stamp: AtomicCount::new(before),
            lost: AtomicCount::new(before),
            words: core::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }

    /// Stores the record of `sequence`, or counts it as lost. It never waits.
    #[inline]
    pub(super) fn store(&self, sequence: Count, record: &Record, time: Option<Instant>) {
        let seen = self.stamp.load(Ordering::Relaxed);
        let is_older_and_complete = seen & 1 == 1 && ahead(seen, complete(sequence)) < 0;
        // Acquire: the words of the writer before us are stored before ours.
        if !is_older_and_complete
            || self
                .stamp
                .compare_exchange(seen, writing(sequence), Ordering::Acquire, Ordering::Relaxed)
                .is_err()
        {
            self.lose(sequence);
            return;
        }
        // A reader that sees one of the words below also sees the stamp above.
        fence(Ordering::Release);
        let bytes = encode(record, time);
        for (bytes, word) in bytes.as_chunks().0.iter().zip(&self.words) {
            word.store(usize::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        if STAMPS_WRAP {
            self.forget_old_loss(seen);
        }
        self.stamp.store(complete(sequence), Ordering::Release);
    }

    /// Leaves `sequence` as the newest loss, unless there is a newer one.
    ///
    /// It retries only after another writer left a loss in this very slot, which each writer does
    /// at most once.
    #[cold]
    fn lose(&self, sequence: Count) {
        let mut newest = self.lost.load(Ordering::Relaxed);
        while ahead(complete(sequence), newest) > 0 {
            match self.lost.compare_exchange(
                newest,
                complete(sequence),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(newer) => newest = newer,
            }
        }
    }

    /// Replaces a loss of long ago by `before`, the stamp of the record that is being overwritten.
    ///
    /// Otherwise, half the range of a stamp later, it would look like the loss of a future record.
    fn forget_old_loss(&self, before: Count) {
        let newest = self.lost.load(Ordering::Relaxed);
        if ahead(before, newest) > QUARTER {
            // If this fails, another writer has left a newer one.
            let _ =
                self.lost.compare_exchange(newest, before, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Returns the record of `sequence` if it is here and complete.
    #[allow(clippy::cast_possible_truncation)] // stamps compare the low bits
    pub(super) fn load(&self, sequence: u64) -> Found {
        let wanted = complete(sequence as Count);
        match ahead(self.stamp.load(Ordering::Acquire), wanted) {
            0 => {}
            1.. => return Found::Missed,
            _ if ahead(self.lost.load(Ordering::Acquire), wanted) >= 0 => return Found::Missed,
            _ => return Found::NotYet,
        }
        let mut bytes = [0; BYTES];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(&self.words) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        // If one of the words is a newer record's, the stamp below is too.
        fence(Ordering::Acquire);
        if self.stamp.load(Ordering::Relaxed) != wanted {
            return Found::Missed;
        }
        match decode(bytes) {
            Some((record, time)) => Found::Whole(record, time),
            None => Found::Missed,
        }
    }
}

#[inline]
fn encode(record: &Record, time: Option<Instant>) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    if let Some((id, rest)) = bytes.split_first_chunk_mut()
        && let Some((nanos, rest)) = rest.split_first_chunk_mut()
        && let [p0, p1, flags, operation, result, ..] = rest
    {
        *id = *record.capability.padded();
        *nanos = time.map_or(0, Instant::as_nanos).to_ne_bytes();
        [*p0, *p1] = record.port.unwrap_or(0).to_ne_bytes();
        *flags = if record.port.is_some() { HAS_PORT } else { 0 }
            | if time.is_some() { HAS_TIME } else { 0 };
        *operation = match record.operation {
            Operation::CheckBindAddress => 1,
            Operation::BindSocket => 2,
        };
        *result = match record.result {
            AuditResult::Allowed => 1,
            AuditResult::Denied => 2,
        };
    }
    bytes
}

/// Returns the record that `encode` made these bytes of, or `None` for those of an empty slot.
#[inline]
fn decode(bytes: [u8; BYTES]) -> Option<(Record, Option<Instant>)> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let [p0, p1, flags, operation, result, ..] = *rest else { return None };
    let operation = match operation {
        1 => Operation::CheckBindAddress,
        2 => Operation::BindSocket,
        _ => return None,
    };
    let result = match result {
        1 => AuditResult::Allowed,
        2 => AuditResult::Denied,
        _ => return None,
    };
    let capability = CapabilityId::from_padded(*id);
    let port = (flags & HAS_PORT != 0).then_some(u16::from_ne_bytes([p0, p1]));
    let time = (flags & HAS_TIME != 0).then_some(Instant::from_nanos(u64::from_ne_bytes(*time)));
    Some((Record { capability, operation, port, result }, time))
}
