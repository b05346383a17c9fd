//! One slot of the ring, and how a record lies in it.

use self::atomic::{AtomicCount, AtomicUsize, Count, Ordering, fence};
use super::super::record::{AuditResult, CapabilityId, ID_CAPACITY, Operation, Record};
use crate::time::Instant;

/// The atomics, and the width of a sequence number: 64 bits, and 32 where the processor has no wider atomics.
pub(super) mod atomic {
    #[cfg(not(loom))]
    use core::sync::atomic;
    /// The model checker's, which the ring's every interleaving is tried with: see `tests/loom.rs`.
    #[cfg(loom)]
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

/// The bytes beside the id.
const TAIL: usize = 16;
const WORD: usize = size_of::<usize>();
const WORDS: usize = (ID_CAPACITY + TAIL) / WORD;

/// Flags of a stored record.
const HAS_PORT: u8 = 1;
const HAS_TIME: u8 = 2;
const IS_BIND: u8 = 4;
const IS_DENIED: u8 = 8;
/// Nothing else than a record has it: an empty slot is none, whatever its stamp says of the laps before the first.
const IS_RECORD: u8 = 16;

/// One place for a record, of 64 bytes; where processors are large enough to have several cores at work in it, in a cache
/// line of its own, so that two writers beside each other do not disturb each other.
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
pub(super) struct Slot {
    /// `writing(sequence)`, then `whole(sequence)`.
    stamp: AtomicCount,
    /// The newest sequence number that was given up here, as `whole(sequence)`, or an older one that is of no more use.
    lost: AtomicCount,
    words: [AtomicUsize; WORDS],
}

/// Whether there can be so many records that their stamps come round. In the tests they do, whatever the width.
const COMES_ROUND: bool = cfg!(any(test, not(target_has_atomic = "64")));

/// A quarter of the circle.
#[allow(clippy::cast_possible_wrap, clippy::cast_lossless)] // one where a count has 64 bits, the other where it has 32
const LONG_AGO: i64 = (Count::MAX / 4) as i64;

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

    /// Stores the record of `sequence`, or counts it as lost. Never waits.
    #[inline]
    pub(super) fn store(&self, sequence: Count, record: &Record, time: Option<Instant>) {
        let seen = self.stamp.load(Ordering::Relaxed);
        let is_older_and_whole = seen & 1 == 1 && ahead(seen, whole(sequence)) < 0;
        // Acquire: what the writer before us stored comes before what we store.
        if !is_older_and_whole
            || self.stamp.compare_exchange(seen, writing(sequence), Ordering::Acquire, Ordering::Relaxed).is_err()
        {
            self.lose(sequence);
            return;
        }
        // Whoever reads one of the words below also sees the stamp above.
        fence(Ordering::Release);
        let mut words = self.words.iter();
        for part in [record.capability.padded().as_chunks().0, tail(record, time).as_chunks().0] {
            for (bytes, to) in part.iter().zip(&mut words) {
                to.store(usize::from_ne_bytes(*bytes), Ordering::Relaxed);
            }
        }
        if COMES_ROUND {
            self.forget_loss(seen);
        }
        self.stamp.store(whole(sequence), Ordering::Release);
    }

    /// Leaves `sequence` as the newest loss, unless there is a newer one. It is tried again only when another writer has just
    /// left its own loss at this very slot, which each does once: so at most as often as writers give up here at the time.
    #[cold]
    fn lose(&self, sequence: Count) {
        let mut newest = self.lost.load(Ordering::Relaxed);
        while ahead(whole(sequence), newest) > 0 {
            match self.lost.compare_exchange(newest, whole(sequence), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(newer) => newest = newer,
            }
        }
    }

    /// Brings a loss of long ago up to `before`, the record that stood here until now and whose fate is known: left where it is,
    /// half a circle later it would be taken for the loss of a record to come.
    fn forget_loss(&self, before: Count) {
        let newest = self.lost.load(Ordering::Relaxed);
        if ahead(before, newest) > LONG_AGO {
            // Who is faster has left a newer one.
            let _ = self.lost.compare_exchange(newest, before, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The record of `sequence`, if it is here whole.
    pub(super) fn load(&self, sequence: Count) -> Found {
        match ahead(self.stamp.load(Ordering::Acquire), whole(sequence)) {
            0 => {}
            1.. => return Found::Missed,
            _ if ahead(self.lost.load(Ordering::Acquire), whole(sequence)) >= 0 => return Found::Missed,
            _ => return Found::NotYet,
        }
        let Some((record, time)) = unpack(&self.words) else { return Found::Missed };
        // If one of the words above is a newer record's, its stamp is seen below.
        fence(Ordering::Acquire);
        if self.stamp.load(Ordering::Relaxed) == whole(sequence) { Found::Whole(record, time) } else { Found::Missed }
    }
}

pub(super) enum Found {
    Whole(Record, Option<Instant>),
    /// Overwritten or given up.
    Missed,
    /// Its writer is still at it.
    NotYet,
}

/// What a slot keeps behind the id: time (8), port (2), flags (1) and nothing (5).
#[inline]
fn tail(record: &Record, time: Option<Instant>) -> [u8; TAIL] {
    let flags = IS_RECORD
        | flag(HAS_PORT, record.port.is_some())
        | flag(HAS_TIME, time.is_some())
        | flag(IS_BIND, record.operation == Operation::BindSocket)
        | flag(IS_DENIED, record.result == AuditResult::Denied);
    let [t0, t1, t2, t3, t4, t5, t6, t7] = time.map_or(0, Instant::as_nanos).to_ne_bytes();
    let [p0, p1] = record.port.unwrap_or(0).to_ne_bytes();
    [t0, t1, t2, t3, t4, t5, t6, t7, p0, p1, flags, 0, 0, 0, 0, 0]
}

/// The record of these words, and its time.
fn unpack(words: &[AtomicUsize; WORDS]) -> Option<(Record, Option<Instant>)> {
    let mut bytes = [0; ID_CAPACITY + TAIL];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
    }
    let [id @ .., t0, t1, t2, t3, t4, t5, t6, t7, p0, p1, flags, _, _, _, _, _] = bytes;
    let time = Instant::from_nanos(u64::from_ne_bytes([t0, t1, t2, t3, t4, t5, t6, t7]));
    let record = Record {
        capability: CapabilityId::from_padded(id),
        operation: if flags & IS_BIND == 0 { Operation::CheckBindAddress } else { Operation::BindSocket },
        port: (flags & HAS_PORT != 0).then_some(u16::from_ne_bytes([p0, p1])),
        result: if flags & IS_DENIED == 0 { AuditResult::Allowed } else { AuditResult::Denied },
    };
    (flags & IS_RECORD != 0).then_some((record, (flags & HAS_TIME != 0).then_some(time)))
}

const fn flag(flag: u8, set: bool) -> u8 {
    if set { flag } else { 0 }
}
