//! The next sequence number. `written` is exact beyond 32 bits on every processor.

use super::slot::atomic::{AtomicCount, Count, Ordering};

/// A counter that hands out sequence numbers. It has a cache line of its own, because every writer
/// changes it.
#[repr(align(128))]
pub(super) struct Head {
    count: AtomicCount,
    /// The number of times that `count` has crossed 0 or 2^31, for the upper bits of its value.
    #[cfg(not(counts_of_64_bits))]
    crossings: AtomicCount,
}

#[cfg(counts_of_64_bits)]
impl Head {
    pub(super) fn new(written: u64) -> Self {
        Self { count: AtomicCount::new(written) }
    }

    /// Returns the next sequence number, which no other call returns.
    pub(super) fn next_sequence(&self) -> Count {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns how many sequence numbers were taken.
    pub(super) fn written(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }
}

#[cfg(not(counts_of_64_bits))]
impl Head {
    #[allow(clippy::cast_possible_truncation)] // the low bits
    pub(super) fn new(written: u64) -> Self {
        Self {
            count: AtomicCount::new(written as u32),
            crossings: AtomicCount::new((written >> 31) as u32),
        }
    }

    /// Returns the low 32 bits of the next sequence number, which no other call returns.
    pub(super) fn next_sequence(&self) -> Count {
        let sequence = self.count.fetch_add(1, Ordering::Relaxed);
        if sequence.wrapping_add(1).is_multiple_of(1 << 31) {
            self.crossings.fetch_add(1, Ordering::Release);
        }
        sequence
    }

    /// Returns how many sequence numbers were taken.
    pub(super) fn written(&self) -> u64 {
        // Load `crossings` first: then `count` is never older. If `count` has just crossed a
        // boundary, its highest bit differs from the lowest bit of `crossings`.
        let crossings = self.crossings.load(Ordering::Acquire);
        let count = self.count.load(Ordering::Acquire);
        let pending = (count >> 31) ^ (crossings & 1);
        u64::from(crossings.wrapping_add(pending)) << 31 | u64::from(count & (u32::MAX >> 1))
    }
}

#[cfg(all(test, not(netbind_loom)))]
impl Head {
    /// Pretends that this many sequence numbers were taken.
    #[allow(clippy::cast_possible_truncation)] // the low bits, if a count has 32
    pub(super) fn set(&self, written: u64) {
        #[cfg(not(counts_of_64_bits))]
        self.crossings.store((written >> 31) as u32, Ordering::Release);
        self.count.store(written as Count, Ordering::Release);
    }
}
