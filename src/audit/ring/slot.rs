//! One slot of the ring, and how a record lies in it.

use self::atomic::{AtomicCount, AtomicUsize, Count, Ordering, fence};
use super::super::record::{AuditResult, CapabilityId, ID_CAPACITY, Operation, Record};
use crate::time::Instant;

/// The atomics, and the width of a sequence number: 64 bits, and 32 where the processor has no wider atomics.
pub(super) mod atomic {
    pub(in super::super) use core::sync::atomic::{AtomicUsize, Ordering, fence};

    #[cfg(target_has_atomic = "64")]
    pub(in super::super) use core::sync::atomic::AtomicU64 as AtomicCount;
    #[cfg(target_has_atomic = "64")]
    pub(in super::super) type Count = u64;

    #[cfg(not(target_has_atomic = "64"))]
    pub(in super::super) use core::sync::atomic::AtomicU32 as AtomicCount;
    #[cfg(not(target_has_atomic = "64"))]
    pub(in super::super) type Count = u32;
}

/// The bytes beside the id.
const TAIL: usize = 16;
const WORDS: usize = (ID_CAPACITY + TAIL) / size_of::<usize>();

/// Flags of a stored record.
const HAS_PORT: u8 = 1;
const HAS_TIME: u8 = 2;
const IS_BIND: u8 = 4;
const IS_DENIED: u8 = 8;

/// One place for a record: a cache line of 64 bytes where a word has eight.
pub(super) struct Slot {
    /// `writing(sequence)`, then `whole(sequence)`.
    stamp: AtomicCount,
    /// The newest sequence number that was given up here, as `whole(sequence)`.
    lost: AtomicCount,
    words: [AtomicUsize; WORDS],
}

const fn writing(sequence: Count) -> Count {
    sequence.wrapping_mul(2)
}

const fn whole(sequence: Count) -> Count {
    writing(sequence).wrapping_add(1)
}

/// How far `stamp` is ahead of `other`; stamps may wrap around, and live ones are never half the circle apart.
#[allow(clippy::cast_possible_wrap)] // the sign is what is asked for
pub(super) const fn ahead(stamp: Count, other: Count) -> i64 {
    #[cfg(target_has_atomic = "64")]
    return stamp.wrapping_sub(other) as i64;
    #[cfg(not(target_has_atomic = "64"))]
    return stamp.wrapping_sub(other) as i32 as i64;
}

impl Slot {
    /// An empty slot: what it held one lap before `first`, its first sequence number, is gone.
    pub(super) fn new(first: Count, lap: Count) -> Self {
        let before = whole(first.wrapping_sub(lap));
        Self {
            stamp: AtomicCount::new(before),
            lost: AtomicCount::new(before),
            words: core::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }

    /// Stores the record of `sequence`, or counts it as lost. Never waits, never tries again.
    pub(super) fn store(&self, sequence: Count, record: &Packed) {
        let seen = self.stamp.load(Ordering::Relaxed);
        let is_older_and_whole = seen & 1 == 1 && ahead(seen, whole(sequence)) < 0;
        // Acquire: what the writer before us stored comes before what we store.
        if !is_older_and_whole
            || self.stamp.compare_exchange(seen, writing(sequence), Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            self.lost.fetch_max(whole(sequence), Ordering::Release);
            return;
        }
        // Whoever reads one of the words below also sees the stamp above.
        fence(Ordering::Release);
        for (to, word) in self.words.iter().zip(record.words()) {
            to.store(word, Ordering::Relaxed);
        }
        self.stamp.store(whole(sequence), Ordering::Release);
    }

    /// The record of `sequence`, if it is here whole.
    pub(super) fn load(&self, sequence: Count) -> Found {
        match ahead(self.stamp.load(Ordering::Acquire), whole(sequence)) {
            0 => {}
            1.. => return Found::Missed,
            _ if ahead(self.lost.load(Ordering::Acquire), whole(sequence)) >= 0 => return Found::Missed,
            _ => return Found::NotYet,
        }
        let record = Packed::from_words(self.words.iter().map(|word| word.load(Ordering::Relaxed)));
        // If one of the words above is a newer record's, its stamp is seen below.
        fence(Ordering::Acquire);
        if self.stamp.load(Ordering::Relaxed) == whole(sequence) { Found::Whole(record) } else { Found::Missed }
    }
}

pub(super) enum Found {
    Whole(Packed),
    /// Overwritten or given up.
    Missed,
    /// Its writer is still at it.
    NotYet,
}

/// A record as a slot keeps it.
#[derive(Default)]
pub(super) struct Packed {
    id: [u8; ID_CAPACITY],
    /// Time (8), port (2), flags (1), length of the id (1), unused (4).
    tail: [u8; TAIL],
}

impl Packed {
    fn words(&self) -> impl Iterator<Item = usize> {
        let (id, tail) = (self.id.as_chunks().0, self.tail.as_chunks().0);
        id.iter().chain(tail).map(|bytes| usize::from_ne_bytes(*bytes))
    }

    fn from_words(words: impl Iterator<Item = usize>) -> Self {
        let mut packed = Self::default();
        let (id, tail) = (packed.id.as_chunks_mut().0, packed.tail.as_chunks_mut().0);
        for (bytes, word) in id.iter_mut().chain(tail).zip(words) {
            *bytes = word.to_ne_bytes();
        }
        packed
    }

    pub(super) fn new(record: &Record, time: Option<Instant>) -> Self {
        let name = record.capability.as_str().as_bytes();
        let mut id = [0; ID_CAPACITY];
        for (to, from) in id.iter_mut().zip(name) {
            *to = *from;
        }
        let flags = flag(HAS_PORT, record.port.is_some())
            | flag(HAS_TIME, time.is_some())
            | flag(IS_BIND, record.operation == Operation::BindSocket)
            | flag(IS_DENIED, record.result == AuditResult::Denied);
        let [t0, t1, t2, t3, t4, t5, t6, t7] = time.map_or(0, Instant::as_nanos).to_ne_bytes();
        let [p0, p1] = record.port.unwrap_or(0).to_ne_bytes();
        let length = u8::try_from(name.len()).unwrap_or(0);
        Self { id, tail: [t0, t1, t2, t3, t4, t5, t6, t7, p0, p1, flags, length, 0, 0, 0, 0] }
    }

    pub(super) fn unpack(&self) -> (Record, Option<Instant>) {
        let [t0, t1, t2, t3, t4, t5, t6, t7, p0, p1, flags, length, ..] = self.tail;
        let id = self.id.get(..usize::from(length)).unwrap_or_default();
        let time = Instant::from_nanos(u64::from_ne_bytes([t0, t1, t2, t3, t4, t5, t6, t7]));
        let record = Record {
            capability: CapabilityId::restore(id),
            operation: if flags & IS_BIND == 0 { Operation::CheckBindAddress } else { Operation::BindSocket },
            port: (flags & HAS_PORT != 0).then_some(u16::from_ne_bytes([p0, p1])),
            result: if flags & IS_DENIED == 0 { AuditResult::Allowed } else { AuditResult::Denied },
        };
        (record, (flags & HAS_TIME != 0).then_some(time))
    }
}

const fn flag(flag: u8, set: bool) -> u8 {
    if set { flag } else { 0 }
}
