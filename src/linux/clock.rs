use super::backend::ClockSource;
use super::timespec::ClockId;
use crate::clock::{Clock, Instant};

/// Linux's `CLOCK_MONOTONIC`, read through the vDSO:
/// [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html).
///
/// If the kernel refuses the clock (because of a seccomp filter, for example), the time is
/// [`Instant::FAR_FUTURE`], so every deadline has expired.
///
/// ```
/// use netbind::MonotonicClock;
/// use netbind::time::Clock;
///
/// let clock = MonotonicClock::new();
/// assert!(clock.now() <= clock.now());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(ClockSource);

impl MonotonicClock {
    /// Finds the vDSO's `clock_gettime`, so that a reading normally makes no system call. Copies
    /// share the result.
    ///
    /// System calls on `x86_64` and `aarch64`: `prctl(PR_GET_AUXV)` (before Linux 6.4 it fails, and
    /// `openat`, `read` and `close` of `/proc/self/auxv` follow), and `mincore`, which checks that
    /// the vDSO is mapped. If it is not, each reading makes the system call `clock_gettime`.
    #[must_use]
    pub fn new() -> Self {
        Self(ClockSource::find())
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        self.0.read(ClockId::Monotonic).map_or(Instant::FAR_FUTURE, Instant::from_nanos)
    }
}

/// Linux's `CLOCK_MONOTONIC_COARSE`: the time of [`MonotonicClock`] at the last tick of the
/// kernel's timer. It is faster to read than `MonotonicClock`.
///
/// A tick is 1 to 10 milliseconds
/// ([clock_getres(2)](https://man7.org/linux/man-pages/man2/clock_getres.2.html)). An expired
/// deadline may be noticed one tick late, and records between two ticks have the same time.
///
/// The zero is that of [`MonotonicClock`], so a deadline of one is valid for the other.
/// [`with_timeout`](crate::Context::with_timeout) on this clock can expire one tick early. If that
/// is too early, pass the time of a `MonotonicClock` plus the duration to
/// [`with_deadline`](crate::Context::with_deadline).
///
/// If the kernel refuses the clock, the time is [`Instant::FAR_FUTURE`].
///
/// ```
/// use core::time::Duration;
/// use netbind::time::{Clock, CoarseClock};
/// use netbind::{Context, MonotonicClock};
///
/// let memory = bumpalo::Bump::new();
/// let fine = MonotonicClock::new();
/// let coarse = CoarseClock::from(fine); // no second look-up
///
/// let end = fine.now() + Duration::from_secs(5);
/// let context = Context::new(&coarse).with_deadline(end);
/// assert!(netbind::listen_with_context("127.0.0.1:0", &context, &memory).is_ok());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CoarseClock(ClockSource);

impl CoarseClock {
    /// Looks the clock up, as [`MonotonicClock::new`] does.
    #[must_use]
    pub fn new() -> Self {
        Self(ClockSource::find())
    }
}

impl Default for CoarseClock {
    fn default() -> Self {
        Self::new()
    }
}

impl From<MonotonicClock> for CoarseClock {
    /// Makes a coarse clock without another look-up.
    fn from(clock: MonotonicClock) -> Self {
        Self(clock.0)
    }
}

impl Clock for CoarseClock {
    fn now(&self) -> Instant {
        self.0.read(ClockId::Coarse).map_or(Instant::FAR_FUTURE, Instant::from_nanos)
    }
}
