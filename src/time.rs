//! Time is an argument: a clock is something that the caller has.

use core::fmt;
use core::time::Duration;

#[cfg(target_os = "linux")]
use crate::vdso::{Id, Source};

/// A point on a monotonic clock, in nanoseconds since that clock's own zero.
///
/// Points of two clocks cannot be compared. The range is 584 years.
///
/// ```
/// use core::time::Duration;
/// use netbind::Instant;
///
/// let start = Instant::from_nanos(1_000);
/// assert!(start + Duration::from_micros(1) > start);
/// assert_eq!(Instant::FAR_FUTURE + Duration::from_secs(1), Instant::FAR_FUTURE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// The last point there is; as a deadline, one that no clock meets but one that cannot be read.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netbind::Instant;
    ///
    /// assert_eq!(Instant::from_nanos(0) + Duration::MAX, Instant::FAR_FUTURE);
    /// ```
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds behind the clock's zero.
    ///
    /// ```
    /// use netbind::Instant;
    ///
    /// assert!(Instant::from_nanos(1) < Instant::from_nanos(2));
    /// ```
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's zero.
    ///
    /// ```
    /// assert_eq!(netbind::Instant::from_nanos(1_500).as_nanos(), 1_500);
    /// ```
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    /// The point `duration` later; what would lie behind [`FAR_FUTURE`](Self::FAR_FUTURE) is `FAR_FUTURE`.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netbind::Instant;
    ///
    /// assert_eq!(Instant::from_nanos(1) + Duration::from_micros(2), Instant::from_nanos(2_001));
    /// ```
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Instant {
    /// The nanoseconds.
    ///
    /// ```
    /// assert_eq!(netbind::Instant::from_nanos(42).to_string(), "42");
    /// ```
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The caller's monotonic clock: the time of contexts and of audit records.
///
/// `now` must never go back, and is called from wherever a context is checked or a record is made, signal handlers and
/// interrupts included: it must not block, allocate or panic. On Linux there is [`MonotonicClock`].
///
/// ```
/// use core::sync::atomic::{AtomicU64, Ordering};
/// use netbind::{Clock, Instant};
///
/// /// Counts the ticks of a 1 kHz timer interrupt.
/// struct Ticks(AtomicU64);
///
/// impl Clock for Ticks {
///     fn now(&self) -> Instant {
///         Instant::from_nanos(self.0.load(Ordering::Relaxed) * 1_000_000)
///     }
/// }
///
/// assert_eq!(Ticks(AtomicU64::new(3)).now().as_nanos(), 3_000_000);
/// ```
pub trait Clock: Sync {
    /// The time now.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// use netbind::{Clock, MonotonicClock};
    ///
    /// let clock = MonotonicClock::new();
    /// let earlier = clock.now();
    /// assert!(earlier <= clock.now());
    /// # }
    /// ```
    fn now(&self) -> Instant;
}

/// Linux's `CLOCK_MONOTONIC`, read through the vDSO:
/// [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html).
///
/// ```
/// use netbind::{Clock, MonotonicClock};
///
/// let clock = MonotonicClock::new();
/// assert!(clock.now() <= clock.now());
/// ```
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(Source);

#[cfg(target_os = "linux")]
impl MonotonicClock {
    /// Looks the clock up, so that no later reading makes a system call. Copies share what was found.
    ///
    /// The look-up asks the kernel for the auxiliary vector: `prctl(PR_GET_AUXV)`, and on kernels before 6.4 the file
    /// `/proc/self/auxv`; and by `mincore` whether the vDSO is where that says. Where it is not, every reading is a
    /// `clock_gettime` system call.
    ///
    /// ```
    /// use netbind::{Clock, MonotonicClock};
    ///
    /// let clock = MonotonicClock::new();
    /// let copy = clock; // looks nothing up again
    /// assert!(clock.now() <= copy.now());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(Source::find())
    }
}

#[cfg(target_os = "linux")]
impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "linux")]
impl Clock for MonotonicClock {
    /// A kernel that refuses its own monotonic clock (a sandbox can make it) reads [`Instant::FAR_FUTURE`]: every deadline
    /// has then passed.
    fn now(&self) -> Instant {
        self.0.read(Id::Monotonic).map_or(Instant::FAR_FUTURE, Instant)
    }
}

/// Linux's `CLOCK_MONOTONIC_COARSE`: [`MonotonicClock`]'s time at the last tick of the kernel's timer, for a third of its cost or
/// less: [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html).
///
/// A tick is 1 to 10 milliseconds ([clock_getres(2)](https://man7.org/linux/man-pages/man2/clock_getres.2.html) tells), so
/// a deadline may be noticed that much late (more where a virtual machine is kept waiting), and records that are made
/// between two ticks have the same time. It never runs ahead of [`MonotonicClock`] and has the same zero, so a deadline
/// that is a point of the one is the same point on the other, and this clock never reaches it early. A time span is
/// another matter: counted from this clock's own reading, as [`with_timeout`](crate::Context::with_timeout) does, it can
/// end a tick early. Count it from [`MonotonicClock`], as below.
///
/// An opening reads its context's clock five times, which is most of what a deadline costs; with this one it costs next to
/// nothing.
///
/// ```
/// use core::time::Duration;
/// use netbind::{Clock, CoarseClock, Context, MonotonicClock};
///
/// let memory = bumpalo::Bump::new();
/// let fine = MonotonicClock::new();
/// let coarse = CoarseClock::from(fine); // looks nothing up again
/// assert!(coarse.now() <= fine.now());
///
/// let end = fine.now() + Duration::from_secs(5);
/// let context = Context::new(&coarse).with_deadline(end);
/// assert!(netbind::listen_with_context("127.0.0.1:0", &context, &memory).is_ok());
/// ```
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
pub struct CoarseClock(Source);

#[cfg(target_os = "linux")]
impl CoarseClock {
    /// Looks the clock up, as [`MonotonicClock::new`] does.
    ///
    /// ```
    /// use netbind::{Clock, CoarseClock};
    ///
    /// let clock = CoarseClock::new();
    /// assert!(clock.now() <= clock.now());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(Source::find())
    }
}

#[cfg(target_os = "linux")]
impl Default for CoarseClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_os = "linux")]
impl From<MonotonicClock> for CoarseClock {
    /// Shares what was looked up.
    ///
    /// ```
    /// use netbind::{Clock, CoarseClock, MonotonicClock};
    ///
    /// let fine = MonotonicClock::new();
    /// assert!(CoarseClock::from(fine).now() <= fine.now());
    /// ```
    fn from(clock: MonotonicClock) -> Self {
        Self(clock.0)
    }
}

#[cfg(target_os = "linux")]
impl Clock for CoarseClock {
    /// A kernel that refuses the clock reads [`Instant::FAR_FUTURE`]: every deadline has then passed.
    fn now(&self) -> Instant {
        self.0.read(Id::Coarse).map_or(Instant::FAR_FUTURE, Instant)
    }
}
