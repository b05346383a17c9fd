//! The two clocks, compared with the kernel's answers.
#![allow(unsafe_code)]

use std::time::Duration;

use netbind::time::{Clock, CoarseClock, Instant};
use netbind::{Context, MonotonicClock};

/// Reads a clock of the kernel through libc.
fn kernel_clock(id: libc::clockid_t) -> Instant {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills this structure, which outlives it.
    assert_eq!(unsafe { libc::clock_gettime(id, &raw mut time) }, 0);
    let nanos = i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    Instant::from_nanos(u64::try_from(nanos).unwrap())
}

/// Asserts that every reading is between two readings of this clock of the kernel.
fn assert_reads(clock: &dyn Clock, id: libc::clockid_t) {
    for _ in 0..10_000 {
        let before = kernel_clock(id);
        let now = clock.now();
        let after = kernel_clock(id);
        assert!(before <= now && now <= after, "{now:?} is not in {before:?}..={after:?}");
    }
}

#[test]
fn the_monotonic_clock_reads_clock_monotonic() {
    for clock in [MonotonicClock::new(), MonotonicClock::default()] {
        assert_reads(&clock, libc::CLOCK_MONOTONIC);
    }
}

/// The coarse time is that of the last tick, so a reading of the fine clock is later than both
/// answers of the kernel.
#[test]
fn the_coarse_clock_reads_clock_monotonic_coarse() {
    let fine = MonotonicClock::new();
    for coarse in [CoarseClock::new(), CoarseClock::default(), CoarseClock::from(fine)] {
        assert_reads(&coarse, libc::CLOCK_MONOTONIC_COARSE);
    }
}

#[test]
fn a_timeout_counts_from_the_contexts_clock() {
    let (fine, second) = (MonotonicClock::new(), Duration::from_secs(1));
    let coarse = CoarseClock::from(fine);
    let before = coarse.now();
    let deadline = Context::new(&coarse).with_timeout(second).deadline().unwrap();
    // Compared with the fine clock, the timeout can end one tick early.
    assert!(before + second <= deadline && deadline <= fine.now() + second);
}

#[test]
fn the_monotonic_clock_never_goes_back() {
    let clock = MonotonicClock::new();
    let mut last = clock.now();
    for _ in 0..10_000 {
        let now = clock.now();
        assert!(now >= last && now < Instant::FAR_FUTURE);
        last = now;
    }
}

#[test]
fn the_coarse_clock_never_shows_a_later_time_than_the_fine_one() {
    let fine = MonotonicClock::new();
    for coarse in [CoarseClock::new(), CoarseClock::from(fine)] {
        let start = fine.now();
        let mut last = Instant::from_nanos(0);
        // Both clocks have the same zero, so the coarse one reaches this time within a tick.
        while last < start {
            let (now, ahead) = (coarse.now(), fine.now());
            assert!(last <= now && now <= ahead);
            last = now;
        }
    }
}

#[test]
fn a_deadline_never_expires_early_on_the_coarse_clock() {
    let fine = MonotonicClock::new();
    let coarse = CoarseClock::from(fine);
    let end = fine.now() + Duration::from_millis(20);
    let context = Context::new(&coarse).with_deadline(end);
    while context.check().is_ok() {}
    assert!(fine.now() >= end);
}
