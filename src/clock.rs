//! Clocks and points in time. A clock is always an argument of the caller.

use core::fmt;
use core::time::Duration;

/// A point on a monotonic clock, in nanoseconds since the zero of that clock.
///
/// Points of two different clocks cannot be compared. The range is 584 years.
///
/// ```
/// use core::time::Duration;
/// use netbind::time::Instant;
///
/// let start = Instant::from_nanos(1_000);
/// assert_eq!(start + Duration::from_micros(1), Instant::from_nanos(2_000));
/// assert_eq!(Instant::FAR_FUTURE + Duration::from_secs(1), Instant::FAR_FUTURE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// The latest point. As a deadline it never expires, unless the clock cannot be read.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// Returns the point `nanos` nanoseconds after the clock's zero.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the nanoseconds since the clock's zero.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    /// Returns the point `duration` later, at most [`FAR_FUTURE`](Self::FAR_FUTURE).
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Instant {
    /// Prints the nanoseconds since the clock's zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A monotonic clock that the caller provides, for deadlines and for the times of audit records.
///
/// `now` must never go back. It is called for each check of a context and for each record, also in
/// signal handlers and interrupts, so it must not block, allocate or panic. On Linux there are
/// [`MonotonicClock`](crate::MonotonicClock) and [`CoarseClock`](crate::time::CoarseClock).
///
/// ```
/// use core::sync::atomic::{AtomicU32, Ordering};
/// use netbind::time::{Clock, Instant};
///
/// /// Counts the ticks of a 1 kHz timer interrupt.
/// struct Ticks(AtomicU32);
///
/// impl Clock for Ticks {
///     fn now(&self) -> Instant {
///         Instant::from_nanos(u64::from(self.0.load(Ordering::Relaxed)) * 1_000_000)
///     }
/// }
///
/// assert_eq!(Ticks(AtomicU32::new(3)).now().as_nanos(), 3_000_000);
/// ```
pub trait Clock: Sync {
    /// Returns the current time.
    fn now(&self) -> Instant;
}
