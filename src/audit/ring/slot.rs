//! One slot of the ring, and the encoding of a record in it.

use self::atomic::{AtomicCount, AtomicUsize, Count, Difference, Ordering, fence};
use super::Record;
use crate::address::BindAddress;
use crate::audit::{AuditResult, Operation};
use crate::clock::Instant;
use crate::id::{CapabilityId, ID_CAPACITY};
use crate::sockaddr::{self, MAX_LENGTH};

/// The atomics, and the width of a stamp: 32 bits on processors without 64-bit atomics.
pub(super) mod atomic {
    #[cfg(not(netbind_loom))]
    use core::sync::atomic;
    // The model checker's, for `proofs/loom`.
    #[cfg(netbind_loom)]
    use loom::sync::atomic;

    pub(in super::super) use atomic::{AtomicUsize, Ordering, fence};

    #[cfg(counts_of_64_bits)]
    pub(in super::super) use atomic::AtomicU64 as AtomicCount;
    #[cfg(counts_of_64_bits)]
    pub(in super::super) type Count = u64;
    #[cfg(counts_of_64_bits)]
    pub(super) type Difference = i64;

    #[cfg(not(counts_of_64_bits))]
    pub(in super::super) use atomic::AtomicU32 as AtomicCount;
    #[cfg(not(counts_of_64_bits))]
    pub(in super::super) type Count = u32;
    #[cfg(not(counts_of_64_bits))]
    pub(super) type Difference = i32;
}

/// The fixed part of an encoded record: the [`Head`], the id, and the time.
const FIXED: usize = size_of::<Head>() + ID_CAPACITY + size_of::<u64>();
/// The maximum size of an encoded record. The address comes last, as a socket address.
const BYTES: usize = FIXED + ADDRESS;
const ADDRESS: usize = MAX_LENGTH.next_multiple_of(WORD);
const WORD: usize = size_of::<usize>();
const WORDS: usize = BYTES / WORD;

/// Flags, operation, result, the length of the address, and padding.
type Head = [u8; 8];

const HAS_TIME: u8 = 1;

/// Room for one record. On 64-bit processors it starts on a cache line, so that writers of adjacent
/// slots share no line.
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
pub(super) struct Slot {
    /// [`writing`] or [`complete`] of the record's sequence number.
    stamp: AtomicCount,
    /// [`complete`] of the newest sequence number that was lost here, or an older stamp if nothing
    /// was lost recently.
    lost: AtomicCount,
    words: [AtomicUsize; WORDS],
}

/// Whether stamps can wrap around: only those of 32 bits, and all of them in the unit tests.
const STAMPS_WRAP: bool = cfg!(any(test, not(counts_of_64_bits)));

/// A quarter of the range of a stamp.
const QUARTER: Difference = Difference::MAX / 2;

const fn writing(sequence: Count) -> Count {
    sequence.wrapping_mul(2)
}

const fn complete(sequence: Count) -> Count {
    writing(sequence).wrapping_add(1)
}

/// Returns how far `stamp` is ahead of `other`. Stamps may wrap around; those in use are never half
/// the range apart.
#[allow(clippy::cast_possible_wrap)] // the result is signed
const fn distance(stamp: Count, other: Count) -> Difference {
    stamp.wrapping_sub(other) as Difference
}

/// A record that owns its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct StoredRecord {
    pub(super) capability: CapabilityId,
    pub(super) operation: Operation,
    pub(super) address: BindAddress,
    pub(super) result: AuditResult,
}

/// The result of [`Slot::load`].
pub(super) enum LoadResult {
    /// The record.
    Complete(StoredRecord, Option<Instant>),
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
    pub(super) fn store(&self, sequence: Count, record: &Record<'_>, time: Option<Instant>) {
        let Some(before) = self.claim(sequence) else {
            return self.record_loss(sequence);
        };
        // A reader that sees one of the words below also sees the stamp above.
        fence(Ordering::Release);
        self.store_words(record, time);
        if STAMPS_WRAP {
            self.forget_old_loss(before);
        }
        self.stamp.store(complete(sequence), Ordering::Release);
    }

    /// Stores a record in the words, piece by piece. The words after its address keep the bytes of
    /// an older record, which no reader reads.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // an address has 110 bytes at most
    fn store_words(&self, record: &Record<'_>, time: Option<Instant>) {
        let mut address = [0; ADDRESS];
        let length = sockaddr::encode(record.address, &mut address);
        let flags = if time.is_some() { HAS_TIME } else { 0 };
        let operation = match record.operation {
            Operation::CheckBindAddress => 1,
            Operation::BindSocket => 2,
            Operation::AdoptSocket => 3,
        };
        let result = match record.result {
            AuditResult::Allowed => 1,
            AuditResult::Denied => 2,
        };
        let head: Head = [flags, operation, result, length as u8, 0, 0, 0, 0];
        let nanos = time.map_or(0, Instant::as_nanos).to_ne_bytes();
        let mut words = self.words.iter();
        store(&mut words, &head);
        store(&mut words, record.capability.padded());
        store(&mut words, &nanos);
        store(&mut words, address.get(..length.next_multiple_of(WORD)).unwrap_or_default());
    }

    /// Takes the slot for the record of `sequence`, and returns the stamp that it had. It is `None`
    /// if the slot is in use, or has a newer record.
    fn claim(&self, sequence: Count) -> Option<Count> {
        let before = self.stamp.load(Ordering::Relaxed);
        let is_complete = before & 1 == 1;
        if !is_complete || distance(before, complete(sequence)) >= 0 {
            return None;
        }
        // Acquire: the words of the writer before us are stored before ours.
        self.stamp
            .compare_exchange(before, writing(sequence), Ordering::Acquire, Ordering::Relaxed)
            .ok()
    }

    /// Leaves `sequence` as the newest loss, unless there is a newer one.
    ///
    /// It retries only after another writer left a loss in this very slot, which each writer does
    /// at most once.
    #[cold]
    fn record_loss(&self, sequence: Count) {
        let mut newest = self.lost.load(Ordering::Relaxed);
        while distance(complete(sequence), newest) > 0 {
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
        if distance(before, newest) > QUARTER {
            // If this fails, another writer has left a newer one.
            let _ =
                self.lost.compare_exchange(newest, before, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Returns the record of `sequence` if it is here and complete.
    #[allow(clippy::cast_possible_truncation)] // stamps compare the low bits
    pub(super) fn load(&self, sequence: u64) -> LoadResult {
        let wanted = complete(sequence as Count);
        match distance(self.stamp.load(Ordering::Acquire), wanted) {
            0 => {}
            1.. => return LoadResult::Missed,
            _ if distance(self.lost.load(Ordering::Acquire), wanted) >= 0 => {
                return LoadResult::Missed;
            }
            _ => return LoadResult::NotYet,
        }
        let mut bytes = [0; BYTES];
        self.copy(&mut bytes, 0, FIXED);
        let used = used_length(&bytes);
        self.copy(&mut bytes, FIXED, used);
        // If one of the words is a newer record's, the stamp below is too.
        fence(Ordering::Acquire);
        if self.stamp.load(Ordering::Relaxed) != wanted {
            return LoadResult::Missed;
        }
        decode(&bytes)
            .map_or(LoadResult::Missed, |(record, time)| LoadResult::Complete(record, time))
    }

    /// Copies the words of the bytes from `start` to `end`, where `start` begins a word.
    fn copy(&self, bytes: &mut [u8; BYTES], start: usize, end: usize) {
        let words = bytes.as_chunks_mut().0.iter_mut().zip(&self.words);
        for (bytes, word) in words.take(end.div_ceil(WORD)).skip(start / WORD) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
    }
}

/// Stores bytes in the next words. The number of bytes must be a multiple of [`WORD`].
#[inline]
fn store(words: &mut core::slice::Iter<'_, AtomicUsize>, bytes: &[u8]) {
    for (bytes, word) in bytes.as_chunks().0.iter().zip(words) {
        word.store(usize::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
}

/// Returns how many bytes of an encoded record are used. In a mixture of two records it can be too
/// large.
fn used_length(bytes: &[u8; BYTES]) -> usize {
    let [_, _, _, length, ..] = bytes;
    FIXED + usize::from(*length)
}

/// Decodes a record. Returns `None` for an empty slot.
#[inline]
fn decode(bytes: &[u8; BYTES]) -> Option<(StoredRecord, Option<Instant>)> {
    let [flags, operation, result, length, _, _, _, _, rest @ ..] = bytes;
    let (id, rest) = rest.split_first_chunk()?;
    let (nanos, address) = rest.split_first_chunk()?;
    let operation = match operation {
        1 => Operation::CheckBindAddress,
        2 => Operation::BindSocket,
        3 => Operation::AdoptSocket,
        _ => return None,
    };
    let result = match result {
        1 => AuditResult::Allowed,
        2 => AuditResult::Denied,
        _ => return None,
    };
    let has_time = flags & HAS_TIME != 0;
    let time = has_time.then(|| Instant::from_nanos(u64::from_ne_bytes(*nanos)));
    let address = sockaddr::decode(address.get(..usize::from(*length))?)?;
    let capability = CapabilityId::from_padded(*id);
    Some((StoredRecord { capability, operation, address, result }, time))
}
