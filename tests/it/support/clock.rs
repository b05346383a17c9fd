//! Clocks that follow a script: a context stops at a chosen check, and no test waits for time.

use std::sync::atomic::{AtomicU32, Ordering};

use netbind::CancelFlag;
use netbind::time::{Clock, Instant};

/// The deadline for these clocks.
pub(crate) const DEADLINE: Instant = Instant::from_nanos(1_000);

/// A clock that counts its readings. It shows one nanosecond before the deadline, until one reading
/// either reaches the deadline or raises a flag.
pub(crate) struct ScriptedClock<'f> {
    readings: AtomicU32,
    expires_at: u64,
    cancels_at: Option<(u64, &'f CancelFlag)>,
}

impl<'f> ScriptedClock<'f> {
    /// Makes a clock that never reaches the deadline.
    pub(crate) const fn never_expires() -> Self {
        Self::expires_at(u64::MAX)
    }

    /// Makes a clock that shows [`DEADLINE`] from this reading on, counted from 1.
    pub(crate) const fn expires_at(reading: u64) -> Self {
        Self { readings: AtomicU32::new(0), expires_at: reading, cancels_at: None }
    }

    /// Makes a clock that raises `flag` in this reading, counted from 1.
    #[cfg(target_pointer_width = "64")] // for `context`, which needs the supervisor
    pub(crate) const fn cancels_at(reading: u64, flag: &'f CancelFlag) -> Self {
        Self {
            readings: AtomicU32::new(0),
            expires_at: u64::MAX,
            cancels_at: Some((reading, flag)),
        }
    }

    #[cfg(target_pointer_width = "64")] // for `context`, which needs the supervisor
    pub(crate) fn readings(&self) -> u64 {
        self.readings.load(Ordering::Relaxed).into()
    }
}

impl Clock for ScriptedClock<'_> {
    fn now(&self) -> Instant {
        let reading = u64::from(self.readings.fetch_add(1, Ordering::Relaxed)) + 1;
        if let Some((at, flag)) = self.cancels_at
            && reading == at
        {
            flag.cancel();
        }
        if reading >= self.expires_at {
            DEADLINE
        } else {
            Instant::from_nanos(DEADLINE.as_nanos() - 1)
        }
    }
}

/// A clock that shows 1, 2, 3 …
#[derive(Default)]
pub(crate) struct CountingClock(AtomicU32);

impl Clock for CountingClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(u64::from(self.0.fetch_add(1, Ordering::Relaxed)) + 1)
    }
}
