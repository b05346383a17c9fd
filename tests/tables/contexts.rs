//! Deadlines and flags, with a clock that the test sets.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use netbind::context::Cause;
use netbind::time::{Clock, Instant};
use netbind::{CancelFlag, Context, SocketError};

struct ManualClock(AtomicU32);

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed).into())
    }
}

pub(crate) fn a_deadline_stops_a_context_when_the_clock_reaches_it() {
    let clock = ManualClock(AtomicU32::new(5));
    let context = Context::new(&clock).with_timeout(Duration::from_nanos(10));
    for (now, cause) in [
        (5, None),
        (14, None),
        (15, Some(Cause::DeadlineExceeded)),
        (16, Some(Cause::DeadlineExceeded)),
    ] {
        clock.0.store(now, Ordering::Relaxed);
        assert_eq!(context.cause(), cause, "at {now}");
        assert_eq!(context.check().is_err(), cause.is_some(), "at {now}");
    }
}

pub(crate) fn a_parent_stops_its_child() {
    let clock = ManualClock(AtomicU32::new(0));
    let (parents, own) = (CancelFlag::new(), CancelFlag::new());
    let parent = Context::new(&clock).with_deadline(Instant::from_nanos(20)).with_cancel(&parents);
    let child = parent.child().with_deadline(Instant::from_nanos(30)).with_cancel(&own);
    assert_eq!(child.deadline(), Some(Instant::from_nanos(20)));
    assert_eq!(child.cause(), None);
    parents.cancel();
    assert_eq!(child.cause(), Some(Cause::Cancelled));
    assert_eq!(child.check(), Err(SocketError::Timeout));
}
