//! The deadline ends the wait, on clocks that run, stand still or jump.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use netbind::context::Cause;
use netbind::time::{Clock, CoarseClock, Instant};
use netbind::{CancelEvent, Context, MonotonicClock, SocketError};

use super::{LIMIT, V4, open};
use crate::support::thread::isolated;

#[test]
fn the_wait_ends_at_the_deadline() {
    isolated(|| {
        let (fine, listener) = (MonotonicClock::new(), open(V4));
        let coarse = CoarseClock::from(fine);
        let clocks: [&dyn Clock; 2] = [&fine, &coarse];
        for clock in clocks {
            let context = Context::new(clock).with_timeout(Duration::from_millis(20));
            let accepted = listener.accept_with_context(&context);
            assert_eq!(accepted.map(drop), Err(SocketError::Timeout));
            assert_eq!(context.cause(), Some(Cause::DeadlineExceeded));
        }
    });
}

/// A clock that stands still just before `deadline`, and cancels an event after a real second. If
/// that has no effect, it reaches the deadline at the limit of the test.
struct StandingClock<'e> {
    deadline: Instant,
    begin: std::time::Instant,
    stop: &'e CancelEvent,
    readings: AtomicU32,
}

impl Clock for StandingClock<'_> {
    fn now(&self) -> Instant {
        self.readings.fetch_add(1, Ordering::Relaxed);
        let elapsed = self.begin.elapsed();
        if elapsed >= Duration::from_secs(1) {
            self.stop.cancel();
        }
        Instant::from_nanos(self.deadline.as_nanos() - u64::from(elapsed < LIMIT))
    }
}

/// A round of check, `accept4` and `ppoll` reads the clock twice, and waits for a millisecond.
#[test]
fn a_clock_that_stands_still_does_not_make_a_busy_loop() {
    isolated(|| {
        let (stop, listener) = (CancelEvent::new().unwrap(), open(V4));
        let clock = StandingClock {
            deadline: Instant::from_nanos(1_000),
            begin: std::time::Instant::now(),
            stop: &stop,
            readings: AtomicU32::new(0),
        };
        let context = Context::new(&clock).with_deadline(clock.deadline).with_cancel_event(&stop);
        let accepted = listener.accept_with_context(&context);
        assert_eq!(accepted.map(drop), Err(SocketError::Timeout));
        assert_eq!(context.cause(), Some(Cause::Cancelled), "the deadline never expires");
        let rounds = clock.readings.load(Ordering::Relaxed) / 2;
        assert!(rounds <= 1_100, "{rounds} rounds in a second");
    });
}

/// A clock that shows these times one after the other, and then the last one.
struct JumpingClock {
    times: &'static [u64],
    readings: AtomicUsize,
}

impl Clock for JumpingClock {
    fn now(&self) -> Instant {
        let reading = self.readings.fetch_add(1, Ordering::Relaxed);
        Instant::from_nanos(self.times[reading.min(self.times.len() - 1)])
    }
}

/// The first reading belongs to a check, the second to the computation of the wait, and so on.
#[test]
fn a_clock_that_jumps_ends_the_wait_at_the_deadline() {
    isolated(|| {
        let listener = open(V4);
        let jumps: [&[u64]; 5] = [
            &[0, 10],          // between a check and the wait
            &[0, u64::MAX],    // as far as a clock can
            &[0, 9, 11],       // during the wait
            &[9, 0, 9, 5, 10], // back, although a clock must not
            &[9, 9, 0, 0, 1, 1, 2, 2, 8, 8, 1 << 60],
        ];
        for times in jumps {
            let clock = JumpingClock { times, readings: AtomicUsize::new(0) };
            let context = Context::new(&clock).with_deadline(Instant::from_nanos(10));
            let accepted = listener.accept_with_context(&context);
            assert_eq!(accepted.map(drop), Err(SocketError::Timeout), "{times:?}");
            assert_eq!(context.cause(), Some(Cause::DeadlineExceeded), "{times:?}");
        }
    });
}
