//! Every system call of a replacement fails in turn, with the errnos of its man page. The error has
//! the step, and the path has either the former entry or the complete new listener.

mod contenders;
mod elsewhere;
mod errnos;
mod foreign;
mod lock;
mod moved;

use std::os::unix::net::UnixListener;
use std::path::Path;

use netbind::error::{Errno, SocketOption, Step};
use netbind::{Context, Existing, ListenOptions, SocketError};

use super::{
    DENIED_ENTRY, IN_USE, Identity, PUBLISHED, assert_serves, audited, connect, identity,
    in_directory, leave_stale, names, system_error, with,
};
use crate::support::calls::Call;
use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::memory::Arena;
use crate::support::supervisor::{supervised, watched};
use crate::support::thread::descriptors_below;

/// Returns the text of a call in which each temporary name is `TEMP`.
pub(super) fn text_of(call: &Call) -> String {
    let text = call.to_string();
    let mut parts = text.split(".netbind-");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + "TEMP" + &part[10..])
}

/// Returns true in the call number `number`, counted from 1, whose text begins with `start`.
pub(super) fn nth(start: &str, number: usize) -> impl FnMut(&Call) -> bool {
    let (start, mut count) = (start.to_owned(), 0);
    move |call| {
        let matches = text_of(call).starts_with(&start);
        count += usize::from(matches);
        matches && count == number
    }
}

/// Returns true if the call is one of these, each of which counts the calls.
fn is_any(calls: &mut [impl FnMut(&Call) -> bool], call: &Call) -> bool {
    calls.iter_mut().fold(false, |found, is_call| is_call(call) | found)
}

/// The result of an opening in which one call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The errno of the call and this step. The former entry is at the path.
    Fails(Step),
    /// `EADDRINUSE`. The former entry is at the path.
    InUse,
    /// `EADDRINUSE`, and the temporary name is left.
    InUseAndLeft,
    /// The same as without the fault: the call was repeated, or was not needed any more.
    NoEffect,
}

use Outcome::{Fails, InUse, InUseAndLeft, NoEffect};

/// A call, its number among those that begin so, its errnos, and the outcome, which is another one
/// for some errnos.
struct Fault {
    call: &'static str,
    number: usize,
    errnos: &'static [i32],
    outcome: Outcome,
    except: &'static [(i32, Outcome)],
}

const fn fault(
    call: &'static str,
    number: usize,
    errnos: &'static [i32],
    outcome: Outcome,
    except: &'static [(i32, Outcome)],
) -> Fault {
    Fault { call, number, errnos, outcome, except }
}

impl Fault {
    fn is_of_second_probe(&self) -> bool {
        self.call == CONNECT_TEMP || (self.call, self.number) == (SOCKET_CALL, 3)
    }
}

/// An opening of `s` in which every call can fail.
struct Scenario {
    name: &'static str,
    prepare: fn() -> Option<UnixListener>,
    options: ListenOptions<'static>,
    faults: &'static [&'static [Fault]],
    succeeds: bool,
}

impl Scenario {
    fn faults(&self) -> impl Iterator<Item = &'static Fault> {
        self.faults.iter().copied().flatten()
    }
}

use errnos::{BIND, CHOWN, CONNECT, FLOCK, LISTEN, OPENAT, RENAME, SOCKET, STAT, UNLINK};

const SOCKET_CALL: &str = "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0)";
const LOCK: &str = "flock(4, LOCK_EX|LOCK_NB)";
const UNLOCK: &str = "flock(4, LOCK_UN)";
const TO_EMPTY: &str = "renameat2(4, TEMP, 4, s, RENAME_NOREPLACE)";
const EXCHANGE: &str = "renameat2(4, TEMP, 4, s, RENAME_EXCHANGE)";
const STAT_PATH: &str = "fstatat(4, s)";
const STAT_TEMP: &str = "fstatat(4, TEMP)";
const UNLINK_TEMP: &str = "unlinkat(4, TEMP)";
const CONNECT_TEMP: &str = "connect(5, unix \"TEMP\\x00\")";
const OWNER: Step = Step::Option(SocketOption::Owner);

/// The entry has gone meanwhile, so everything is tried again.
const GONE: (i32, Outcome) = (libc::ENOENT, NoEffect);
/// The directory was moved meanwhile, so the former entry cannot be judged, and stays.
const MOVED: (i32, Outcome) = (libc::ENOENT, InUse);
/// There is an entry, as it seems.
const EXISTS: (i32, Outcome) = (libc::EEXIST, NoEffect);
/// The queue is full.
const ALIVE: (i32, Outcome) = (libc::EAGAIN, InUse);
const OTHER_TYPE: (i32, Outcome) = (libc::EPROTOTYPE, InUse);
/// A second probe follows.
const REFUSED: (i32, Outcome) = (libc::ECONNREFUSED, NoEffect);

const START: &[Fault] = &[
    fault(SOCKET_CALL, 1, SOCKET, Fails(Step::Socket), &[]),
    fault("openat(", 1, OPENAT, Fails(Step::OpenDirectory), &[]),
    // Another process has taken the temporary name, so another one is tried.
    fault("bind(3, ", 1, BIND, Fails(Step::Bind), &[(libc::EADDRINUSE, NoEffect)]),
    fault(STAT_TEMP, 1, STAT, Fails(Step::Stat), &[]),
    fault("listen(", 1, LISTEN, Fails(Step::Listen), &[]),
];
const SET_OWNER: &[Fault] = &[fault("fchownat(4, TEMP, -1, -1)", 1, CHOWN, Fails(OWNER), &[])];
/// The lock is tried again after a pause.
const LOCKED: &[Fault] = &[
    fault(LOCK, 1, FLOCK, Fails(Step::Lock), &[(libc::EAGAIN, NoEffect), (libc::EINTR, NoEffect)]),
    fault(UNLOCK, 1, FLOCK, NoEffect, &[]),
];
const MOVE: &[Fault] = &[fault(TO_EMPTY, 1, RENAME, Fails(Step::Rename), &[EXISTS])];
const MOVE_OR_REFUSE: &[Fault] =
    &[fault(TO_EMPTY, 1, RENAME, Fails(Step::Rename), &[(libc::EEXIST, InUse)])];
const LOOK: &[Fault] = &[fault(STAT_PATH, 1, STAT, Fails(Step::Stat), &[GONE])];
const PROBE: &[Fault] = &[
    fault(SOCKET_CALL, 2, SOCKET, Fails(Step::Probe), &[]),
    fault("connect(5, unix \"s", 1, CONNECT, Fails(Step::Probe), PROBED),
];
const PROBED: &[(i32, Outcome)] = &[ALIVE, OTHER_TYPE, REFUSED, GONE];
const TAKE: &[Fault] = &[
    fault(EXCHANGE, 1, RENAME, Fails(Step::Rename), &[GONE]),
    fault(STAT_TEMP, 2, STAT, Fails(Step::Stat), &[]),
    fault(UNLINK_TEMP, 1, UNLINK, Fails(Step::Unlink), &[]),
    fault(STAT_TEMP, 3, STAT, NoEffect, &[]),
];
const PROBE_AGAIN: &[Fault] = &[
    fault(SOCKET_CALL, 3, SOCKET, Fails(Step::Probe), &[]),
    fault(CONNECT_TEMP, 1, CONNECT, Fails(Step::Probe), &[ALIVE, OTHER_TYPE, REFUSED, MOVED]),
];
const FOUND_EMPTY: &[Fault] = &[fault(STAT_TEMP, 2, STAT, NoEffect, &[])];
/// The temporary name cannot be removed, and there is no second attempt.
const GIVEN_UP: &[Fault] = &[
    fault(STAT_TEMP, 2, STAT, InUseAndLeft, &[]),
    fault(UNLINK_TEMP, 1, UNLINK, InUseAndLeft, &[]),
];

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "an empty place",
        prepare: || None,
        options: with(Existing::Replace),
        faults: &[START, LOCKED, MOVE, FOUND_EMPTY],
        succeeds: true,
    },
    Scenario {
        name: "an empty place, with an owner",
        prepare: || None,
        options: with(Existing::Refuse).owner(u32::MAX, u32::MAX),
        faults: &[START, SET_OWNER, MOVE_OR_REFUSE, FOUND_EMPTY],
        succeeds: true,
    },
    Scenario {
        name: "a stale socket",
        prepare: stale,
        options: with(Existing::ReplaceStale).owner(u32::MAX, u32::MAX),
        faults: &[START, SET_OWNER, LOCKED, MOVE, LOOK, PROBE, TAKE, PROBE_AGAIN],
        succeeds: true,
    },
    Scenario {
        name: "a live listener that is replaced",
        prepare: || Some(live()),
        options: with(Existing::Replace),
        faults: &[START, LOCKED, MOVE, LOOK, TAKE],
        succeeds: true,
    },
    Scenario {
        name: "a live listener that is probed",
        prepare: || Some(live()),
        options: with(Existing::ReplaceStale),
        faults: &[START, LOCKED, MOVE, LOOK, PROBE, GIVEN_UP],
        succeeds: false,
    },
    Scenario {
        name: "a live listener, and an owner",
        prepare: || Some(live()),
        options: with(Existing::Refuse).owner(u32::MAX, u32::MAX),
        faults: &[START, SET_OWNER, MOVE_OR_REFUSE, GIVEN_UP],
        succeeds: false,
    },
];

fn stale() -> Option<UnixListener> {
    leave_stale("s");
    None
}

fn live() -> UnixListener {
    let listener = UnixListener::bind("s").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Returns the entry `s`, and how it answers a client.
fn state() -> Option<(Identity, rustix::io::Result<()>)> {
    let path = Path::new("s");
    path.symlink_metadata().ok().map(|_| (identity(path), connect(path).map(drop)))
}

/// Runs an opening with these faults, and returns its result and its calls. Asserts that the path
/// has the former entry or a complete listener, that only `left` temporary names are left, and that
/// nothing else leaks.
fn run(
    scenario: &Scenario,
    fault: impl FnMut(&Call) -> Option<i32> + Send,
    left: usize,
    case: &str,
) -> (Result<(), SocketError>, Vec<String>) {
    in_directory(|_| {
        let former = (scenario.prepare)();
        let before = state();
        let (opened, calls) = supervised(fault, || open(scenario, case));
        let (names, temporaries) = super::names_and_temporaries(".");
        assert_eq!(temporaries, left, "{case}: {calls:#?}");
        if opened.is_ok() {
            assert_eq!(names, [""; 0], "{case}");
        } else {
            assert_eq!((state(), names.len()), (before, before.iter().count()), "{case}");
            if let Some(former) = &former {
                assert_serves(former, "s");
            }
        }
        assert_unlocked(case);
        (opened, calls)
    })
}

/// Opens under a supervisor. A listener must be complete.
fn open(scenario: &Scenario, case: &str) -> Result<(), SocketError> {
    let arena = Arena::new();
    let (opened, operations) = audited("unix:s", |capability| {
        let options = scenario.options.clone().capability(capability);
        watched(|| options.listen("unix:s", &arena))
    });
    let result = opened.map(|listener| {
        assert_serves(&listener, "s");
        assert_eq!(names("."), ["s"], "{case}");
        listener.close().unwrap();
    });
    let expected = if result.is_ok() { &PUBLISHED[..] } else { &DENIED_ENTRY };
    assert_eq!(operations, expected, "{case}");
    // A socket, a directory and a probe are open at the same time.
    assert_eq!((descriptors_below(8), arena.bytes_in_use()), (vec![0, 1, 2], 0), "{case}");
    result
}

/// Asserts that nobody has locked the working directory.
fn assert_unlocked(case: &str) {
    let directory = std::fs::File::open(".").unwrap();
    let lock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    assert_eq!(rustix::fs::flock(directory, lock), Ok(()), "{case}");
}

#[test]
fn a_replacement_that_fails_names_its_step_and_leaves_the_former_entry() {
    println!("{} faults forced on replacements", force_all(|fault| !fault.is_of_second_probe()));
}

/// The former entry is put back, but the reason must not be hidden.
#[test]
fn a_second_probe_that_fails_names_its_step() {
    println!("{} faults forced on second probes", force_all(Fault::is_of_second_probe));
}

/// Forces all faults of the tables that are `chosen`, one by one, and returns their number.
fn force_all(chosen: fn(&Fault) -> bool) -> usize {
    let mut forced = 0;
    for scenario in SCENARIOS {
        for fault in scenario.faults().filter(|fault| chosen(fault)) {
            for errno in fault.errnos {
                assert_outcome(scenario, fault, *errno);
                forced += 1;
            }
        }
    }
    forced
}

fn assert_outcome(scenario: &Scenario, fault: &Fault, raw: i32) {
    let errno = Errno::from_raw_os_error(raw).unwrap();
    let case = format!("{}: {errno:?} of {} {}", scenario.name, fault.call, fault.number);
    let exception = fault.except.iter().find(|(exception, _)| *exception == raw);
    let outcome = exception.map_or(fault.outcome, |(_, outcome)| *outcome);
    let expected = match outcome {
        Fails(step) => Err(system_error(step, errno)),
        NoEffect if scenario.succeeds => Ok(()),
        NoEffect | InUse | InUseAndLeft => Err(IN_USE),
    };
    let (mut is_call, mut forced) = (nth(fault.call, fault.number), 0);
    let force = |call: &Call| {
        let errno = is_call(call).then_some(raw);
        forced += usize::from(errno.is_some());
        errno
    };
    let (opened, calls) = run(scenario, force, usize::from(outcome == InUseAndLeft), &case);
    assert_eq!((opened, forced), (expected, 1), "{case}: {calls:#?}");
}

/// The tables above must have a row for every call.
#[test]
fn every_call_of_a_replacement_is_made_to_fail() {
    for scenario in SCENARIOS {
        let mut calls = Vec::new();
        let list = |call: &Call| {
            calls.push(text_of(call));
            None
        };
        let (opened, _) = run(scenario, list, 0, scenario.name);
        assert_eq!(opened, if scenario.succeeds { Ok(()) } else { Err(IN_USE) });
        let rows: Vec<_> = scenario.faults().collect();
        for fault in &rows {
            let count = calls.iter().filter(|call| call.starts_with(fault.call)).count();
            assert!(count >= fault.number, "{}: no {} in {calls:#?}", scenario.name, fault.call);
            let tested = rows.iter().filter(|row| row.call == fault.call).count();
            assert_eq!(tested, count, "{}: {} in {calls:#?}", scenario.name, fault.call);
        }
        // `getpid` cannot fail, and a `close` that fails has closed.
        calls.retain(|call| !["getpid(", "close("].iter().any(|start| call.starts_with(start)));
        calls.retain(|call| !rows.iter().any(|row| call.starts_with(row.call)));
        assert_eq!(calls, [""; 0], "{}", scenario.name);
    }
}

/// After the exchange, the former entry has the temporary name.
#[test]
fn the_exchange_back_is_repeated_once() {
    let exchanges = |s: &&Scenario| s.faults().any(|fault| fault.call == EXCHANGE);
    let scenarios = || SCENARIOS.iter().filter(exchanges);
    for scenario in scenarios() {
        let mut faults = [nth(UNLINK_TEMP, 1), nth(EXCHANGE, 2)];
        let force = |call: &Call| is_any(&mut faults, call).then_some(libc::EIO);
        let (opened, calls) = run(scenario, force, 0, scenario.name);
        assert_eq!(opened, Err(system_error(Step::Unlink, Errno::IO)), "{calls:#?}");
    }
    assert_eq!(scenarios().count(), 2);
}

/// A context is checked before each step, and after the socket listens.
#[test]
fn a_stopped_context_leaves_the_former_entry() {
    for check in 1..=7 {
        for existing in [Existing::ReplaceStale, Existing::Replace] {
            in_directory(|_| {
                leave_stale("s");
                let before = state();
                let clock = ScriptedClock::expires_at(check);
                let context = Context::new(&clock).with_deadline(DEADLINE);
                let arena = Arena::new();
                let (opened, operations) = audited("unix:s", |capability| {
                    let options = with(existing).capability(capability).context(&context);
                    options.listen("unix:s", &arena).map(drop)
                });
                let is_last = check == 7;
                assert_eq!(opened, if is_last { Ok(()) } else { Err(SocketError::Timeout) });
                assert_eq!(operations.len(), if is_last { 2 } else { 1 });
                if !is_last {
                    assert_eq!((state(), names(".")), (before, vec!["s".into()]), "{check}");
                }
                assert_eq!((descriptors_below(8), arena.bytes_in_use()), (vec![0, 1, 2], 0));
            });
        }
    }
}

#[test]
fn a_failed_allocation_leaves_the_former_entry() {
    in_directory(|_| {
        leave_stale("s");
        let (before, arena) = (state(), Arena::refusing_from(1));
        for existing in [Existing::ReplaceStale, Existing::Replace] {
            let opened = with(existing).listen("unix:s", &arena).map(drop);
            assert_eq!(opened, Err(SocketError::OutOfMemory));
            assert_eq!((state(), names(".")), (before, vec!["s".into()]));
        }
        assert_eq!((descriptors_below(8), arena.bytes_in_use()), (vec![0, 1, 2], 0));
    });
}

/// This is the only case in which a former entry is not at its path any more. It is not lost.
#[test]
fn a_former_entry_that_cannot_be_put_back_has_the_temporary_name() {
    in_directory(|_| {
        let former = live();
        let before = identity("s");
        let mut faults = [nth(UNLINK_TEMP, 1), nth(EXCHANGE, 2), nth(EXCHANGE, 3)];
        let force = |call: &Call| is_any(&mut faults, call).then_some(libc::EIO);
        let (error, _) = supervised(force, || {
            let arena = Arena::new();
            let opened = watched(|| with(Existing::Replace).listen("unix:s", &arena).map(drop));
            assert_eq!((descriptors_below(8), arena.bytes_in_use()), (vec![0, 1, 2], 0));
            opened.unwrap_err()
        });
        assert_eq!(error, system_error(Step::Rename, Errno::IO));
        let names = names(".");
        assert_eq!((names.len(), names[1].as_str()), (2, "s"));
        assert_eq!(identity(&names[0]), before);
        assert_serves(&former, &names[0]);
        assert_eq!(connect(Path::new("s")).err(), Some(rustix::io::Errno::CONNREFUSED));
        assert_unlocked("after two failed exchanges");
    });
}
