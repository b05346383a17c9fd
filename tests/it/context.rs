//! A context stops an opening at each of its five checks, and nothing is left of what was made so far.

use std::time::Duration;

use netbind::context::Cause;
use netbind::listen_with_context;
use netbind::time::{Clock, CoarseClock, Instant};
use netbind::{CancelFlag, Context, ListenOptions, MonotonicClock, SocketError};

use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::memory::Arena;
use crate::support::supervisor::{traced, watched};
use crate::support::thread::descriptors;

/// For an address: how many calls of a whole opening were made when the first to the fifth check comes, and the calls that
/// undo the bind.
struct Form {
    address: &'static str,
    calls: &'static [&'static str],
    made_at: [usize; 5],
    unbind: &'static [&'static str],
}

#[rustfmt::skip]
const FORMS: [Form; 5] = [
    Form {
        address: "127.0.0.1:0",
        calls: &[
            "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)", "setsockopt(3, SO_REUSEADDR, 1)",
            "bind(3, 127.0.0.1:0)", "listen(3, 2147483647)",
        ],
        made_at: [0, 1, 2, 2, 3],
        unbind: &[],
    },
    Form {
        address: "[::1]:0",
        calls: &[
            "socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)", "setsockopt(3, SO_REUSEADDR, 1)",
            "setsockopt(3, IPV6_V6ONLY, 1)", "bind(3, [::1%0]:0)", "listen(3, 2147483647)",
        ],
        made_at: [0, 1, 3, 3, 4],
        unbind: &[],
    },
    Form {
        address: "unix:/proc/thread-self/cwd/run.sock",
        calls: &[
            "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)",
            "bind(3, unix \"/proc/thread-self/cwd/run.sock\\x00\")",
            "lstat(/proc/thread-self/cwd/run.sock)", "listen(3, 2147483647)",
        ],
        made_at: [0, 1, 1, 1, 3],
        unbind: &[
            "lstat(/proc/thread-self/cwd/run.sock)",
            "unlink(/proc/thread-self/cwd/run.sock)",
        ],
    },
    Form {
        address: "unix:run.sock",
        calls: &[
            "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)", "openat(.)", "fstatat(4, run.sock)",
            "bind(3, unix \"run.sock\\x00\")", "fstatat(4, run.sock)", "close(4)",
            "listen(3, 2147483647)",
        ],
        made_at: [0, 1, 1, 1, 6],
        unbind: &["openat(.)", "fstatat(4, run.sock)", "unlinkat(4, run.sock)", "close(4)"],
    },
    Form {
        address: "unix:@netbind-context",
        calls: &[
            "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)", "bind(3, unix \"\\x00netbind-context\")",
            "listen(3, 2147483647)",
        ],
        made_at: [0, 1, 1, 1, 2],
        unbind: &[],
    },
];

impl Form {
    /// The calls of an opening that is stopped at this check, counted from 1.
    fn stopped_at(&self, check: usize) -> Vec<&'static str> {
        let made = self.made_at[check - 1];
        let mut calls = self.calls[..made].to_vec();
        if check == 5 {
            calls.extend(self.unbind);
        }
        if made > 0 {
            calls.push("close(3)");
        }
        calls
    }
}

/// Opens under `context` by each of the two ways in, and looks for leftovers.
fn assert_stopped(
    form: &Form,
    check: usize,
    context: impl Fn(&mut dyn FnMut(&Context<'_>)) + Sync,
) {
    // Names of the abstract namespace are the whole machine's.
    static NAME_IN_USE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _name = NAME_IN_USE.lock();
    for by_options in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let ((), calls) = traced(|| {
            std::env::set_current_dir(directory.path()).unwrap();
            let arena = Arena::new();
            let before = descriptors();
            context(&mut |context| {
                let opened = watched(|| {
                    if by_options {
                        ListenOptions::new().context(context).listen(form.address, &arena)
                    } else {
                        listen_with_context(form.address, context, &arena)
                    }
                });
                assert_eq!(
                    opened.map(drop),
                    Err(SocketError::Timeout),
                    "{} at check {check}",
                    form.address
                );
            });
            assert_eq!(descriptors(), before);
            assert_eq!(arena.live(), 0);
        });
        assert_eq!(calls, form.stopped_at(check), "{} at check {check}", form.address);
        assert_eq!(directory.path().read_dir().unwrap().count(), 0, "check {check} left the path");
    }
}

#[test]
fn a_deadline_that_passes_before_any_step_stops_there_and_leaves_nothing() {
    for form in &FORMS {
        for check in 1..=5 {
            assert_stopped(form, check, |open| {
                let clock = ScriptedClock::expires_at(check as u64);
                let context = Context::new(&clock).with_deadline(DEADLINE);
                open(&context);
                assert_eq!(clock.readings(), check as u64, "one reading a check");
                assert_eq!(context.cause(), Some(Cause::DeadlineExceeded));
            });
        }
    }
}

/// The clock of a check raises the flag, so it is the check behind it that sees it: the first sees one that is raised.
#[test]
fn a_cancellation_before_any_step_stops_there_and_leaves_nothing() {
    for form in &FORMS {
        for check in 1..=5 {
            assert_stopped(form, check, |open| {
                let flag = CancelFlag::new();
                if check == 1 {
                    flag.cancel();
                }
                let clock = ScriptedClock::cancels_at(check as u64 - 1, &flag);
                let context = Context::new(&clock).with_deadline(DEADLINE).with_cancel(&flag);
                open(&context);
                assert_eq!(context.cause(), Some(Cause::Cancelled));
                assert_eq!(clock.readings(), check as u64 - 1);
            });
        }
    }
}

#[test]
fn what_happens_after_the_fifth_check_is_too_late() {
    let directory = tempfile::tempdir().unwrap();
    let path = format!("unix:{}/s", directory.path().display());
    for address in ["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-late"] {
        let flag = CancelFlag::new();
        for clock in [ScriptedClock::expires_at(6), ScriptedClock::cancels_at(5, &flag)] {
            let arena = Arena::new();
            let context = Context::new(&clock).with_deadline(DEADLINE).with_cancel(&flag);
            assert!(listen_with_context(address, &context, &arena).is_ok(), "{address}");
            assert_eq!(clock.readings(), 5, "{address}");
            assert!(context.cause().is_some());
        }
    }
}

#[test]
fn no_clock_is_read_where_there_is_no_deadline() {
    let clock = ScriptedClock::still();
    let flag = CancelFlag::new();
    let arena = Arena::new();
    let context = Context::new(&clock).with_cancel(&flag);
    let child = context.child();
    for context in [&context, &child] {
        assert!(listen_with_context("127.0.0.1:0", context, &arena).is_ok());
        assert_eq!((context.cause(), context.deadline()), (None, None));
    }
    flag.cancel();
    assert_eq!(child.cause(), Some(Cause::Cancelled));
    assert_eq!(clock.readings(), 0);
}

struct Fixed(u64);

impl Clock for Fixed {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0)
    }
}

#[test]
fn a_deadline_has_expired_when_the_clock_has_reached_it() {
    for (now, deadline, expired) in [
        (999, 1_000, false),
        (1_000, 1_000, true),
        (1_001, 1_000, true),
        (0, 0, true),
        (0, 1, false),
        (u64::MAX - 1, u64::MAX, false),
        (u64::MAX, u64::MAX, true),
    ] {
        let clock = Fixed(now);
        let context = Context::new(&clock).with_deadline(Instant::from_nanos(deadline));
        assert_eq!(
            context.cause(),
            expired.then_some(Cause::DeadlineExceeded),
            "{now} of {deadline}"
        );
        assert_eq!(context.check(), if expired { Err(SocketError::Timeout) } else { Ok(()) });
    }
}

#[test]
fn a_timeout_counts_from_now_and_never_wraps_around() {
    let clock = Fixed(1_000);
    let deadline =
        |timeout| Context::new(&clock).with_timeout(timeout).deadline().unwrap().as_nanos();
    assert_eq!(deadline(Duration::from_nanos(5)), 1_005);
    assert_eq!(deadline(Duration::MAX), u64::MAX);
    let now = Context::new(&clock).with_timeout(Duration::ZERO);
    assert_eq!(now.cause(), Some(Cause::DeadlineExceeded));
}

#[test]
fn a_child_is_never_less_strict_than_its_parents() {
    let clock = Fixed(10);
    let [own, parents, above] = [(); 3].map(|()| CancelFlag::new());
    let at = Instant::from_nanos;
    let grandparent = Context::new(&clock).with_deadline(at(50)).with_cancel(&above);
    let parent = grandparent.child().with_cancel(&parents);
    let child = parent.child().with_deadline(at(100)).with_cancel(&own);
    assert_eq!(
        (child.deadline(), child.cause()),
        (Some(at(50)), None),
        "a later deadline does not count"
    );
    assert_eq!(parent.child().with_deadline(at(20)).deadline(), Some(at(20)));
    assert_eq!(
        Context::new(&clock).with_deadline(at(20)).with_deadline(at(30)).deadline(),
        Some(at(20))
    );
    assert_eq!(parent.child().with_deadline(at(10)).cause(), Some(Cause::DeadlineExceeded));
    assert_eq!(parent.cause(), None, "a child's deadline is not its parent's");

    own.cancel();
    assert_eq!((child.cause(), parent.cause()), (Some(Cause::Cancelled), None));
    let sibling = parent.child();
    assert_eq!(sibling.cause(), None);
    above.cancel();
    assert_eq!((sibling.cause(), parent.cause()), (Some(Cause::Cancelled), Some(Cause::Cancelled)));
}

/// A context under `above`, or a root, with a flag that is there and raised or not, and a deadline that the clock has
/// reached or not.
fn limited<'a>(
    clock: &'a dyn Clock,
    above: Option<&'a Context<'a>>,
    flag: Option<&'a CancelFlag>,
    deadline: Option<Instant>,
) -> Context<'a> {
    let mut context = above.map_or_else(|| Context::new(clock), Context::child);
    if let Some(flag) = flag {
        context = context.with_cancel(flag);
    }
    match deadline {
        Some(deadline) => context.with_deadline(deadline),
        None => context,
    }
}

#[test]
fn a_check_and_its_cause_agree_for_every_two_contexts_and_read_the_clock_once_at_most() {
    let (lowered, raised) = (CancelFlag::new(), CancelFlag::new());
    raised.cancel();
    let now = Instant::from_nanos(DEADLINE.as_nanos() - 1);
    let flags = [None, Some(&lowered), Some(&raised)];
    let deadlines = [None, Some(now), Some(DEADLINE), Some(Instant::FAR_FUTURE)];
    let all = || {
        flags
            .into_iter()
            .flat_map(|flag| deadlines.into_iter().map(move |deadline| (flag, deadline)))
    };
    let is_raised = |flag: Option<&CancelFlag>| flag.is_some_and(CancelFlag::is_cancelled);

    for ((flag_above, deadline_above), (flag, deadline)) in
        all().flat_map(|above| all().map(move |own| (above, own)))
    {
        let clock = ScriptedClock::still();
        let parent = limited(&clock, None, flag_above, deadline_above);
        let child = limited(&clock, Some(&parent), flag, deadline);
        let earliest = [deadline_above, deadline].into_iter().flatten().min();
        for (context, cancelled, deadline) in [
            (&parent, is_raised(flag_above), deadline_above),
            (&child, is_raised(flag_above) || is_raised(flag), earliest),
        ] {
            let expired = deadline.is_some_and(|deadline| deadline <= now);
            let cause = if cancelled {
                Some(Cause::Cancelled)
            } else {
                expired.then_some(Cause::DeadlineExceeded)
            };
            assert_eq!((context.deadline(), context.cause()), (deadline, cause));
            let before = clock.readings();
            assert_eq!(context.check().is_err(), cause.is_some(), "{context:?}");
            assert_eq!(
                clock.readings() - before,
                u64::from(deadline.is_some() && !cancelled),
                "{context:?}"
            );
        }
    }
}

#[test]
fn a_context_can_be_a_static() {
    static CLOCK: Fixed = Fixed(10);
    static ROOT: Context<'static> = Context::new(&CLOCK);
    assert_eq!(
        (ROOT.cause(), ROOT.child().with_timeout(Duration::ZERO).cause()),
        (None, Some(Cause::DeadlineExceeded))
    );
}

#[test]
fn a_timeout_counts_from_the_reading_of_the_contexts_own_clock() {
    let (fine, second) = (MonotonicClock::new(), Duration::from_secs(1));
    let coarse = CoarseClock::from(fine);
    let before = coarse.now();
    let deadline = Context::new(&coarse).with_timeout(second).deadline().unwrap();
    // A tick early, where it is held against the fine clock.
    assert!(before + second <= deadline && deadline <= fine.now() + second);
}

#[test]
fn a_raised_flag_is_told_before_a_deadline_that_has_passed_too() {
    let (clock, flag) = (Fixed(10), CancelFlag::new());
    let context = Context::new(&clock).with_deadline(Instant::from_nanos(5)).with_cancel(&flag);
    assert_eq!(context.cause(), Some(Cause::DeadlineExceeded));
    flag.cancel();
    assert_eq!(context.cause(), Some(Cause::Cancelled));
    assert_eq!(
        [Cause::Cancelled, Cause::DeadlineExceeded].map(|cause| cause.to_string()),
        ["cancelled", "deadline exceeded"]
    );
}

#[test]
fn another_thread_stops_a_loop_of_openings() {
    let (clock, flag) = (MonotonicClock::new(), CancelFlag::new());
    let context = Context::new(&clock).with_cancel(&flag);
    std::thread::scope(|scope| {
        scope.spawn(|| flag.cancel());
        let arena = allocator_api2::alloc::Global;
        let error = loop {
            if let Err(error) = listen_with_context("127.0.0.1:0", &context, arena) {
                break error;
            }
        };
        assert_eq!((error, context.cause()), (SocketError::Timeout, Some(Cause::Cancelled)));
    });
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
fn the_coarse_clock_follows_the_fine_one_and_never_runs_ahead_of_it() {
    let fine = MonotonicClock::new();
    for coarse in [CoarseClock::new(), CoarseClock::from(fine)] {
        let start = fine.now();
        let mut last = Instant::from_nanos(0);
        // The same zero: sooner or later its time is behind what the fine one's was.
        while last < start {
            let (now, ahead) = (coarse.now(), fine.now());
            assert!(last <= now && now <= ahead);
            last = now;
        }
    }
}

#[test]
fn a_deadline_of_the_fine_clock_is_never_met_early_by_the_coarse_one() {
    let fine = MonotonicClock::new();
    let coarse = CoarseClock::from(fine);
    let end = fine.now() + Duration::from_millis(20);
    let context = Context::new(&coarse).with_deadline(end);
    while context.check().is_ok() {}
    assert!(fine.now() >= end);
}
