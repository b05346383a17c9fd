//! `CancelEvent`, and the events of a context.

#[cfg(target_pointer_width = "64")] // they need the supervisor
mod faults;
#[cfg(target_pointer_width = "64")]
mod syscalls;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netbind::context::Cause;
use netbind::time::{Clock, Instant};
use netbind::{CancelEvent, CancelFlag, Context, MonotonicClock, SocketError, listen_with_context};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::kernel::{is_close_on_exec, is_nonblocking};
use crate::support::machine::{can_open, directory};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated};

fn is_readable(event: &CancelEvent) -> bool {
    let mut fds = [PollFd::new(event, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
}

#[test]
fn an_event_is_cancelled_once_and_for_all_when_its_descriptor_is_readable() {
    isolated(|| {
        let before = descriptors();
        let event = CancelEvent::new().unwrap();
        assert!(is_close_on_exec(&event) && is_nonblocking(&event));
        assert!(!event.is_cancelled() && !is_readable(&event));
        for _ in 0..3 {
            event.cancel();
            assert!(event.is_cancelled() && event.is_cancelled() && is_readable(&event));
        }
        drop(event);
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn events_are_independent() {
    isolated(|| {
        let events = [(); 3].map(|()| CancelEvent::new().unwrap());
        events[1].cancel();
        assert_eq!(events.each_ref().map(CancelEvent::is_cancelled), [false, true, false]);
    });
}

/// Another user of the eventfd can fill its counter. `cancel` must not wait for room.
#[test]
fn an_event_with_a_full_counter_is_cancelled_and_can_be_cancelled() {
    isolated(|| {
        let event = CancelEvent::new().unwrap();
        assert!(is_nonblocking(&event));
        rustix::io::write(&event, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        let full = rustix::io::write(&event, &1_u64.to_ne_bytes());
        assert_eq!(full, Err(rustix::io::Errno::AGAIN));
        assert!(event.is_cancelled());
        event.cancel();
        assert!(event.is_cancelled());
    });
}

#[test]
fn an_event_replaces_the_earlier_one_of_its_context_only() {
    isolated(|| {
        let clock = MonotonicClock::new();
        let [parents, earlier, own] = [(); 3].map(|()| CancelEvent::new().unwrap());
        let parent = Context::new(&clock).with_cancel_event(&parents);
        let child = parent.child().with_cancel_event(&earlier).with_cancel_event(&own);
        earlier.cancel();
        assert_eq!((child.cause(), child.check()), (None, Ok(())), "it was replaced");
        own.cancel();
        assert_eq!((child.cause(), parent.cause()), (Some(Cause::Cancelled), None));

        let [replacing, last] = [(); 2].map(|()| CancelEvent::new().unwrap());
        let sibling = parent.child().with_cancel_event(&replacing);
        let grandchild = sibling.child().with_cancel_event(&last);
        assert_eq!((sibling.cause(), grandchild.cause()), (None, None));
        parents.cancel();
        for context in [&parent, &child, &sibling, &grandchild, &grandchild.child()] {
            assert_eq!(context.cause(), Some(Cause::Cancelled), "{context:?}");
            assert_eq!(context.check(), Err(SocketError::Timeout), "{context:?}");
        }
    });
}

#[test]
fn a_context_can_have_a_flag_and_an_event_and_a_deadline() {
    isolated(|| {
        let clock = MonotonicClock::new();
        let (flag, event) = (CancelFlag::new(), CancelEvent::new().unwrap());
        for cancel in [&|| flag.cancel(), &|| event.cancel()] as [&dyn Fn(); 2] {
            // The order in which they are set does not matter.
            let contexts = || {
                [
                    Context::new(&clock).with_cancel(&flag).with_cancel_event(&event),
                    Context::new(&clock).with_cancel_event(&event).with_cancel(&flag),
                ]
            };
            cancel();
            for context in contexts() {
                let context = context.with_timeout(Duration::ZERO);
                assert_eq!(context.cause(), Some(Cause::Cancelled));
            }
        }
        let other = CancelEvent::new().unwrap();
        let context = Context::new(&clock).with_cancel_event(&other).with_timeout(Duration::ZERO);
        assert_eq!(context.cause(), Some(Cause::DeadlineExceeded));
        other.cancel();
        assert_eq!(context.cause(), Some(Cause::Cancelled), "a cancellation comes first");
    });
}

#[test]
fn a_flag_does_not_replace_an_event_nor_an_event_a_flag() {
    isolated(|| {
        let clock = MonotonicClock::new();
        let (flag, event) = (CancelFlag::new(), CancelEvent::new().unwrap());
        let context = Context::new(&clock).with_cancel(&flag).with_cancel_event(&event);
        assert_eq!(context.cause(), None);
        flag.cancel();
        assert_eq!(context.cause(), Some(Cause::Cancelled), "the flag was replaced");

        let flag = CancelFlag::new();
        let context = Context::new(&clock).with_cancel_event(&event).with_cancel(&flag);
        assert_eq!(context.cause(), None);
        event.cancel();
        assert_eq!(context.cause(), Some(Cause::Cancelled), "the event was replaced");
    });
}

/// A clock that cancels an event in one of its readings, counted from 1.
struct CancellingClock<'e> {
    event: &'e CancelEvent,
    at: u32,
    readings: AtomicU32,
}

impl Clock for CancellingClock<'_> {
    fn now(&self) -> Instant {
        if self.readings.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.event.cancel();
        }
        Instant::from_nanos(0)
    }
}

/// A check polls the event before it reads the clock, so the clock's event stops the next check.
#[test]
fn an_event_stops_an_opening_at_each_of_its_checks_and_leaves_nothing() {
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let abstract_name = format!("unix:@netbind-event-{}", std::process::id());
        for address in ["127.0.0.1:0", "[::1]:0", "unix:run.sock", &abstract_name] {
            for check in 1..=5 {
                if !can_open(address) {
                    continue;
                }
                let (arena, event) = (Arena::new(), CancelEvent::new().unwrap());
                if check == 1 {
                    event.cancel();
                }
                let clock =
                    CancellingClock { event: &event, at: check - 1, readings: AtomicU32::new(0) };
                let parent = Context::new(&clock).with_cancel_event(&event);
                let context = parent.child().with_deadline(Instant::FAR_FUTURE);
                let before = descriptors();
                let opened = listen_with_context(address, &context, &arena).map(drop);
                assert_eq!(opened, Err(SocketError::Timeout), "{address} at check {check}");
                assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
                assert_eq!(clock.readings.load(Ordering::Relaxed), check - 1, "{address}");
                assert_eq!(directory.path().read_dir().unwrap().count(), 0, "a path is left");
                assert_eq!(context.cause(), Some(Cause::Cancelled));
            }
        }
    });
}

#[test]
fn an_event_that_is_not_cancelled_does_not_stop_an_opening() {
    isolated(|| {
        let (clock, event) = (MonotonicClock::new(), CancelEvent::new().unwrap());
        let context = Context::new(&clock).with_cancel_event(&event);
        assert!(listen_with_context("127.0.0.1:0", &context, &Arena::new()).is_ok());
    });
}
