/// A clock, by the kernel's number.
#[derive(Clone, Copy)]
pub(super) enum ClockId {
    /// `CLOCK_MONOTONIC`
    Monotonic = 1,
    /// `CLOCK_MONOTONIC_COARSE`
    Coarse = 6,
}

/// Converts a `struct timespec` to nanoseconds. The range is 292 years.
pub(super) fn to_nanos(seconds: i64, nanos: i64) -> Option<u64> {
    u64::try_from(seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?).ok()
}
