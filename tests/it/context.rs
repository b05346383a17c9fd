//! A context stops an opening at each of its five checks, and everything done so far is undone.

use std::time::Duration;

use netbind::context::Cause;
use netbind::listen_with_context;
use netbind::time::{Clock, Instant};
use netbind::{CancelFlag, Context, ListenOptions, MonotonicClock, SocketError};

use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::machine::{can_open, directory, openable};
use crate::support::memory::Arena;
use crate::support::supervisor::{traced, watched};
use crate::support::thread::{descriptors, isolated};

/// The calls of an opening, the number of calls before each check, and the calls that undo the
/// bind.
struct Form {
    address: &'static str,
    calls: &'static [&'static str],
    calls_before: [usize; 5],
    unbind: &'static [&'static str],
}

#[rustfmt::skip]
const FORMS: [Form; 5] = [
    Form {
        address: "127.0.0.1:0",
        calls: &[
            "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)",
            "setsockopt(3, SO_REUSEADDR, 1)",
            "bind(3, 127.0.0.1:0)", "listen(3, 2147483647)",
        ],
        calls_before: [0, 1, 2, 2, 3],
        unbind: &[],
    },
    Form {
        address: "[::1]:0",
        calls: &[
            "socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)",
            "setsockopt(3, SO_REUSEADDR, 1)",
            "setsockopt(3, IPV6_V6ONLY, 1)", "bind(3, [::1%0]:0)", "listen(3, 2147483647)",
        ],
        calls_before: [0, 1, 3, 3, 4],
        unbind: &[],
    },
    Form {
        address: "unix:/proc/thread-self/cwd/run.sock",
        calls: &[
            "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)",
            "bind(3, unix \"/proc/thread-self/cwd/run.sock\\x00\")",
            "lstat(/proc/thread-self/cwd/run.sock)", "listen(3, 2147483647)",
        ],
        calls_before: [0, 1, 1, 1, 3],
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
        calls_before: [0, 1, 1, 1, 6],
        unbind: &["openat(.)", "fstatat(4, run.sock)", "unlinkat(4, run.sock)", "close(4)"],
    },
    Form {
        address: "unix:@netbind-context",
        calls: &[
            "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)",
            "bind(3, unix \"\\x00netbind-context\")",
            "listen(3, 2147483647)",
        ],
        calls_before: [0, 1, 1, 1, 2],
        unbind: &[],
    },
];

impl Form {
    /// Returns the calls of an opening that stops at this check, counted from 1.
    fn stopped_at(&self, check: usize) -> Vec<&'static str> {
        let made = self.calls_before[check - 1];
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

/// Opens under `context` with both functions, and checks the calls and that nothing is left.
fn assert_stopped(
    form: &Form,
    check: usize,
    context: impl Fn(&mut dyn FnMut(&Context<'_>)) + Sync,
) {
    // An abstract name is unique in its network, so only one test uses it at a time.
    static NAME_IN_USE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _name = NAME_IN_USE.lock();
    if !can_open(form.address) {
        return;
    }
    for by_options in [false, true] {
        let directory = directory();
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
            assert_eq!(arena.bytes_in_use(), 0);
        });
        assert_eq!(calls, form.stopped_at(check), "{} at check {check}", form.address);
        assert_eq!(
            directory.path().read_dir().unwrap().count(),
            0,
            "check {check}: the path is left"
        );
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
                assert_eq!(clock.readings(), check as u64, "each check reads the clock once");
                assert_eq!(context.cause(), Some(Cause::DeadlineExceeded));
            });
        }
    }
}

/// A check reads the flag before the clock, so a clock that raises the flag stops the next check.
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
fn a_context_that_stops_after_the_last_check_has_no_effect() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        for address in openable(&["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-late"]) {
            let flag = CancelFlag::new();
            for clock in [ScriptedClock::expires_at(6), ScriptedClock::cancels_at(5, &flag)] {
                let arena = Arena::new();
                let context = Context::new(&clock).with_deadline(DEADLINE).with_cancel(&flag);
                assert!(listen_with_context(address, &context, &arena).is_ok(), "{address}");
                assert_eq!(clock.readings(), 5, "{address}");
                assert!(context.cause().is_some());
            }
        }
    });
}

#[test]
fn a_context_without_a_deadline_never_reads_its_clock() {
    isolated(|| {
        let clock = ScriptedClock::never_expires();
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
    });
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
fn a_child_stops_when_any_ancestor_stops() {
    let clock = Fixed(10);
    let [own, parents, above] = [(); 3].map(|()| CancelFlag::new());
    let at = Instant::from_nanos;
    let grandparent = Context::new(&clock).with_deadline(at(50)).with_cancel(&above);
    let parent = grandparent.child().with_cancel(&parents);
    let child = parent.child().with_deadline(at(100)).with_cancel(&own);
    assert_eq!(
        (child.deadline(), child.cause()),
        (Some(at(50)), None),
        "the earlier deadline counts"
    );
    assert_eq!(parent.child().with_deadline(at(20)).deadline(), Some(at(20)));
    assert_eq!(
        Context::new(&clock).with_deadline(at(20)).with_deadline(at(30)).deadline(),
        Some(at(20))
    );
    assert_eq!(parent.child().with_deadline(at(10)).cause(), Some(Cause::DeadlineExceeded));
    assert_eq!(parent.cause(), None, "a child's deadline does not stop its parent");

    own.cancel();
    assert_eq!((child.cause(), parent.cause()), (Some(Cause::Cancelled), None));
    let sibling = parent.child();
    assert_eq!(sibling.cause(), None);
    above.cancel();
    assert_eq!((sibling.cause(), parent.cause()), (Some(Cause::Cancelled), Some(Cause::Cancelled)));
}

/// Makes a child of `parent`, or a root, with this flag and this deadline.
fn limited<'a>(
    clock: &'a dyn Clock,
    parent: Option<&'a Context<'a>>,
    flag: Option<&'a CancelFlag>,
    deadline: Option<Instant>,
) -> Context<'a> {
    let mut context = parent.map_or_else(|| Context::new(clock), Context::child);
    if let Some(flag) = flag {
        context = context.with_cancel(flag);
    }
    match deadline {
        Some(deadline) => context.with_deadline(deadline),
        None => context,
    }
}

#[test]
fn check_and_cause_agree_for_every_parent_and_child() {
    let (lowered, raised) = (CancelFlag::new(), CancelFlag::new());
    raised.cancel();
    let now = Instant::from_nanos(DEADLINE.as_nanos() - 1);
    let flags = [None, Some(&lowered), Some(&raised)];
    let deadlines = [None, Some(now), Some(DEADLINE), Some(Instant::FAR_FUTURE)];
    let limits = || {
        flags
            .into_iter()
            .flat_map(|flag| deadlines.into_iter().map(move |deadline| (flag, deadline)))
    };
    let is_raised = |flag: Option<&CancelFlag>| flag.is_some_and(CancelFlag::is_cancelled);

    for ((flag_above, deadline_above), (flag, deadline)) in
        limits().flat_map(|above| limits().map(move |own| (above, own)))
    {
        let clock = ScriptedClock::never_expires();
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
fn the_cause_is_the_flag_if_the_deadline_has_passed_too() {
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
fn another_thread_can_cancel_a_loop_of_openings() {
    isolated(|| {
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
    });
}
