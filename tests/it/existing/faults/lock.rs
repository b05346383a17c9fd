//! The lock of the directory. Another process, or another listener of this one, holds it.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netbind::error::{Errno, SocketOption, Step};
use netbind::time::{Clock, Instant};
use netbind::{CancelEvent, CancelFlag, Context, Existing, MonotonicClock, SocketError};
use rustix::fs::{FlockOperation, flock};

use super::elsewhere::with_elsewhere;
use super::{
    DENIED_ENTRY, IN_USE, LOCK, PUBLISHED, assert_serves, assert_unlocked, audited, identity,
    in_directory, leave_stale, names, system_error, with,
};
use crate::existing::process::Child;
use crate::support::calls::Call;
use crate::support::memory::Arena;
use crate::support::supervisor::{supervised, watched};
use crate::support::thread::descriptors_below;

const PAUSE: &str = "ppoll([], 10ms)";

fn lock_directory() -> File {
    let directory = File::open(".").unwrap();
    flock(&directory, FlockOperation::NonBlockingLockExclusive).unwrap();
    directory
}

/// A clock whose time another thread sets.
#[derive(Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// Releases the lock.
type Release<'a> = dyn Fn() + Sync + 'a;

/// Returns a function that calls `act` before each pause, with its number. A `ppoll` with a timeout
/// of zero is the check of an event.
fn on_pause(mut act: impl FnMut(usize) -> Option<i32>) -> impl FnMut(&Call) -> Option<i32> {
    let mut pauses = 0;
    move |call| {
        let text = call.to_string();
        let is_pause = text.starts_with("ppoll([") && !text.ends_with(" 0ns)");
        pauses += usize::from(is_pause);
        if is_pause { act(pauses) } else { None }
    }
}

/// Opens `s`, where a stale socket is, while another one holds the lock. `act` gets the number of
/// each pause, counted from 1, and can end it at once by an errno. Returns the result, and the
/// pauses and locks.
///
/// `context` gets a function that opens.
fn open_locked(
    mut act: impl FnMut(usize, &Release<'_>) -> Option<i32> + Send,
    context: impl FnOnce(&mut dyn FnMut(Option<&Context<'_>>)) + Send,
) -> (Result<(), SocketError>, Vec<String>) {
    in_directory(|_| {
        leave_stale("s");
        let before = identity("s");
        let lock = Arc::new(Mutex::new(Some(lock_directory())));
        let body = || {
            let mut opened = None;
            context(&mut |context| opened = Some(open(context)));
            opened.unwrap()
        };
        let (opened, calls) = with_elsewhere(|other| {
            let release = || {
                let lock = Arc::clone(&lock);
                other.run(move || drop(lock.lock().unwrap().take()));
            };
            supervised(on_pause(|pause| act(pause, &release)), body)
        });
        if opened.is_err() {
            assert_eq!(identity("s"), before);
            assert_eq!(names("."), ["s"]);
        }
        drop(lock);
        assert_unlocked("at the end");
        let is_wait = |call: &String| {
            call.ends_with("LOCK_EX|LOCK_NB)")
                || call.starts_with("ppoll([") && !call.ends_with(" 0ns)")
        };
        (opened, calls.into_iter().filter(is_wait).collect())
    })
}

fn open(context: Option<&Context<'_>>) -> Result<(), SocketError> {
    let (arena, before) = (Arena::new(), descriptors_below(8));
    let (opened, operations) = audited("unix:s", |capability| {
        let mut options = with(Existing::ReplaceStale).capability(capability);
        if let Some(context) = context {
            options = options.context(context);
        }
        watched(|| options.listen("unix:s", &arena))
    });
    let expected = if opened.is_ok() { &PUBLISHED[..] } else { &DENIED_ENTRY };
    assert_eq!(operations, expected);
    let opened = opened.map(|listener| {
        assert_serves(&listener, "s");
        assert_unlocked("while it listens");
    });
    assert_eq!((descriptors_below(8), arena.bytes_in_use()), (before, 0));
    opened
}

/// The pauses end at once here.
#[test]
fn without_a_context_a_locked_directory_is_in_use_after_a_hundred_attempts() {
    let (opened, calls) = open_locked(|_, _| Some(0), |open| open(None));
    assert_eq!(opened, Err(IN_USE));
    let count = |text: &str| calls.iter().filter(|call| *call == text).count();
    assert_eq!((count(LOCK), count(PAUSE), calls.len()), (100, 99, 199));
}

/// It waits for about a second.
#[test]
fn a_directory_that_another_process_has_locked_is_in_use() {
    in_directory(|_| {
        leave_stale("s");
        let (reader, writer) = std::io::pipe().unwrap();
        let child = Child::new(move || {
            let _lock = lock_directory();
            drop(writer);
            std::thread::sleep(Duration::from_secs(3600));
        });
        // The end of the pipe is the sign that the child has the lock.
        assert_eq!(std::io::read_to_string(reader).unwrap(), "");
        assert_eq!(open(None), Err(IN_USE));
        assert_eq!(names("."), ["s"]);
        // The child is killed while it has the lock.
        child.kill();
        assert_eq!(open(None), Ok(()));
        assert_eq!(names("."), [""; 0]);
    });
}

#[test]
fn a_lock_that_is_released_meanwhile_is_no_error() {
    let clock = MonotonicClock::new();
    for released_at in [1, 2, 5] {
        let release = move |pause, release: &Release<'_>| {
            if pause == released_at {
                release();
            }
            None
        };
        let (opened, calls) = open_locked(release, |open| open(None));
        assert_eq!(opened, Ok(()));
        assert_eq!(calls, [&[LOCK, PAUSE].repeat(released_at)[..], &[LOCK]].concat());
        let (opened, calls) = open_locked(release, |open| open(Some(&Context::new(&clock))));
        assert_eq!((opened, calls.len()), (Ok(()), 2 * released_at + 1));
    }
}

/// A context without a deadline does not make the wait longer.
#[test]
fn a_context_without_a_deadline_waits_as_long_as_none() {
    let (clock, flag) = (MonotonicClock::new(), CancelFlag::new());
    let (opened, calls) =
        open_locked(|_, _| Some(0), |open| open(Some(&Context::new(&clock).with_cancel(&flag))));
    assert_eq!((opened, calls.len()), (Err(IN_USE), 199));
}

#[test]
fn a_locked_directory_is_in_use_at_the_deadline() {
    const DEADLINE: u64 = 7_000_000_000;
    for expires_at in [1, 3, 300] {
        let clock = SetClock::default();
        let expire = |pause, _: &Release<'_>| {
            if pause == expires_at {
                clock.0.store(DEADLINE, Ordering::Relaxed);
            }
            Some(0)
        };
        let (opened, calls) = open_locked(expire, |open| {
            open(Some(&Context::new(&clock).with_deadline(Instant::from_nanos(DEADLINE))));
        });
        assert_eq!(opened, Err(IN_USE), "{expires_at}");
        assert_eq!(calls.len(), 2 * expires_at + 1, "there is another attempt after each pause");
    }
}

/// The pause is not longer than the time to the deadline.
#[test]
fn a_pause_ends_at_the_deadline() {
    for (left, pause) in
        [(1, "ppoll([], 1ms)"), (2_500_000, "ppoll([], 2.5ms)"), (50_000_000, PAUSE)]
    {
        let clock = SetClock::default();
        let expire = |_, _: &Release<'_>| {
            clock.0.store(left, Ordering::Relaxed);
            Some(0)
        };
        let (opened, calls) = open_locked(expire, |open| {
            open(Some(&Context::new(&clock).with_deadline(Instant::from_nanos(left))));
        });
        assert_eq!((opened, calls), (Err(IN_USE), [LOCK, pause, LOCK].map(Into::into).into()));
    }
}

#[test]
fn a_real_deadline_ends_the_wait() {
    let (clock, paused) = (MonotonicClock::new(), AtomicBool::new(false));
    let note = |_, _: &Release<'_>| {
        paused.store(true, Ordering::Relaxed);
        None
    };
    let (opened, _) = open_locked(note, |open| {
        open(Some(&Context::new(&clock).with_timeout(Duration::from_millis(300))));
    });
    // On a slow machine, a step before the lock can be the one that meets the deadline.
    let expected = if paused.into_inner() { IN_USE } else { SocketError::Timeout };
    assert_eq!(opened, Err(expected));
}

/// Both causes are checked, and a cancellation comes first.
#[test]
fn a_cancellation_ends_the_wait_as_a_timeout() {
    let (clock, deadline) = (SetClock::default(), Instant::from_nanos(9_000_000_000));
    for cancelled_at in [1, 4] {
        let flag = CancelFlag::new();
        let cancel = |pause, _: &Release<'_>| {
            if pause == cancelled_at {
                flag.cancel();
            }
            Some(0)
        };
        let (opened, calls) = open_locked(cancel, |open| {
            open(Some(&Context::new(&clock).with_deadline(deadline).with_cancel(&flag)));
        });
        assert_eq!(opened, Err(SocketError::Timeout));
        assert_eq!(calls.len(), 2 * cancelled_at + 1);
    }
}

/// A clock that cancels an event in one reading, counted from 1.
struct CancellingClock<'e> {
    readings: AtomicU64,
    at: u64,
    event: &'e CancelEvent,
}

impl Clock for CancellingClock<'_> {
    fn now(&self) -> Instant {
        if self.readings.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            self.event.cancel();
        }
        Instant::from_nanos(1)
    }
}

/// The pause polls the event, so it ends at once.
#[test]
fn an_event_ends_the_wait_as_a_timeout() {
    // Six checks, and then one check and the computation of the pause each time.
    for (at, pauses) in [(7, 1), (8, 1), (9, 2), (10, 2)] {
        let (opened, calls) = open_locked(
            |_, _| None,
            |open| {
                let event = &CancelEvent::new().unwrap();
                let clock = CancellingClock { readings: AtomicU64::new(0), at, event };
                let context = Context::new(&clock).with_deadline(Instant::from_nanos(u64::MAX));
                open(Some(&context.with_cancel_event(event)));
            },
        );
        assert_eq!(opened, Err(SocketError::Timeout));
        let count = calls.iter().filter(|call| *call == "ppoll([3], 10ms)").count();
        assert_eq!(count, pauses, "{calls:#?}");
    }
}

/// The errno of `ppoll` is an error, except that a signal only ends the pause.
#[test]
fn a_pause_that_fails_is_an_error_and_leaves_nothing() {
    for errno in [Errno::FAULT, Errno::INVAL, Errno::NOMEM, Errno::INTR] {
        let fail = move |pause, release: &Release<'_>| {
            assert_eq!(pause, 1);
            release();
            Some(errno.raw_os_error())
        };
        let (opened, _) = open_locked(fail, |open| open(None));
        let failed = Err(system_error(Step::Poll, errno));
        assert_eq!(opened, if errno == Errno::INTR { Ok(()) } else { failed });
    }
}

#[test]
fn ten_events_are_too_many_to_wait_for_a_lock() {
    let (opened, _) = open_locked(
        |_, _| None,
        |open| {
            let clock = SetClock::default();
            let events = [(); 10].map(|()| CancelEvent::new().unwrap());
            with_events(&Context::new(&clock), &events, open);
        },
    );
    assert_eq!(opened, Err(SocketError::InvalidOption(SocketOption::CancelEvent)));
}

/// Opens under a chain of contexts that has all these events.
fn with_events(
    context: &Context<'_>,
    events: &[CancelEvent],
    open: &mut dyn FnMut(Option<&Context<'_>>),
) {
    match events {
        [] => open(Some(context)),
        [first, rest @ ..] => with_events(&context.child().with_cancel_event(first), rest, open),
    }
}

/// An empty place is taken under the lock too, so that two processes cannot both take it.
#[test]
fn only_replacements_wait_for_the_lock() {
    in_directory(|_| {
        let _lock = lock_directory();
        let arena = Arena::new();
        let options = with(Existing::Refuse);
        assert!(options.listen("unix:s", &arena).is_ok());
        assert!(options.owner(u32::MAX, u32::MAX).listen("unix:s", &arena).is_ok());
        assert_eq!(names("."), [""; 0]);
    });
}
