//! Each system call of a supervisor and of its child fails once. Then either everything is
//! protected, or nothing opens.
#![allow(unsafe_code)]

use std::fs;
use std::io::{PipeReader, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use libc::{AF_INET, AF_INET6, AF_UNIX, SOCK_STREAM, c_long};
use netbind::NetBind;
use netbind::enforce::{Outcome as Made, Supervisor};
use netbind::error::Errno;

use super::tracer::{self, Fault, mark};
use super::{bind_to, tcp};
use crate::suite::attempts::directories;
use crate::suite::harness::{End, become_nobody, is_root};
use crate::suite::probe::{
    Address, Outcome, capability, check, descriptors, is_listening, listen, listen_unbound, socket,
};
use crate::suite::supervised::{fork, wait};

/// The call of the child that meets the fault, or its supervisor.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    V4,
    V6,
    Path,
    Listen,
    ListenUnbound,
}

const CALLS: [Call; 5] = [Call::V4, Call::V6, Call::Path, Call::Listen, Call::ListenUnbound];

/// The part of the supervisor's life in which the fault is made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    New,
    FirstStep,
    Step,
}

const RULES: [&str; 2] = ["port 8000", "port 0"];

fn rules(directory: &Path) -> Vec<String> {
    let beneath = format!("beneath {}/in", directory.display());
    RULES.into_iter().map(String::from).chain([beneath]).collect()
}

fn limited(rules: &[String]) -> NetBind<'static> {
    capability(&rules.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Asserts that nothing forbidden opens. After the end of the supervisor, nothing opens at all.
fn assert_nothing_forbidden_opens(directory: &Path, has_ended: bool) {
    let forbidden = tcp(AF_INET);
    assert!(bind_to(&forbidden, &Address::ip("127.0.0.1:8001")).is_err());
    let unix = socket(AF_UNIX, SOCK_STREAM, 0).unwrap();
    assert!(bind_to(&unix, &Address::path(&directory.join("out/s"))).is_err());
    let allowed = bind_to(&tcp(AF_INET), &Address::ip("127.0.0.1:8000"));
    assert_eq!(allowed, if has_ended { Err(Errno::NOSYS) } else { Ok(()) });
}

/// The supervised child. Its directory, umask and, if it may, user are not the supervisor's.
fn child(call: Call, directory: &Path, mut supervisor: PipeReader) -> i32 {
    if is_root() {
        become_nobody().unwrap();
    }
    std::env::set_current_dir(directory).unwrap();
    // SAFETY: the call takes only a number.
    unsafe { libc::umask(0o27) };
    let path = directory.join("in/s");
    let socket = match call {
        Call::V4 | Call::Listen | Call::ListenUnbound => tcp(AF_INET),
        Call::V6 => tcp(AF_INET6),
        Call::Path => socket(AF_UNIX, SOCK_STREAM, 0).unwrap(),
    };
    if call == Call::Listen {
        let _ = bind_to(&socket, &Address::ip("127.0.0.1:8000"));
    } else {
        let _ = bind_to(&tcp(AF_INET), &Address::ip("127.0.0.1:8000"));
    }
    let outcome = match call {
        Call::V4 => bind_to(&socket, &Address::ip("127.0.0.1:8000")),
        Call::V6 => bind_to(&socket, &Address::ip("[::1]:8000")),
        Call::Path => bind_to(&socket, &Address::path(&path)),
        Call::Listen | Call::ListenUnbound => listen(&socket),
    };
    if outcome == Ok(()) && call == Call::Path {
        fs::remove_file(path).unwrap();
    }
    drop(socket);
    // The supervisor says that it goes on, or closes the pipe.
    let has_ended = supervisor.read(&mut [0]).unwrap() == 0;
    assert_nothing_forbidden_opens(directory, has_ended);
    0
}

/// What belongs to the thread of the supervisor and changes for a Unix path.
fn identity() -> (String, PathBuf) {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let names = ["Uid:", "Gid:", "Groups:", "Umask:", "CapEff:"];
    let lines = status.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
    (lines.collect::<Vec<_>>().join("\n"), std::env::current_dir().unwrap())
}

/// The supervisor, in whose `part` a fault is made. `is_child_killed` if the fault is that.
fn supervisor(part: Part, call: Call, directory: &Path, is_child_killed: bool) -> i32 {
    let rules = rules(directory);
    let capability = limited(&rules);
    let open = descriptors();
    if part == Part::New {
        mark();
    }
    let made = Supervisor::new(&capability);
    if part == Part::New {
        mark();
    }
    let Ok((mut supervisor, supervised)) = made else {
        assert_eq!(descriptors(), open, "after an error");
        return 0;
    };
    let (reader, writer) = std::io::pipe().unwrap();
    let supervisors = [writer.as_raw_fd(), supervisor.descriptor().unwrap().as_raw_fd()];
    let process = fork(move || {
        // As `exec` does.
        // SAFETY: the calls take only numbers, and this process does not use the descriptors.
        let _ = supervisors.map(|fd| unsafe { libc::close(fd) });
        // The supervisor can have ended.
        let entered = supervised.enter();
        assert!(entered.is_ok() || part == Part::FirstStep, "{entered:?}");
        drop(supervised);
        // SAFETY: the call takes only numbers.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        child(call, directory, reader)
    });
    let mut own = None;
    let mut result = Ok(None);
    for step in [Part::FirstStep, Part::Step] {
        let before = descriptors();
        if step == part {
            mark();
        }
        result = supervisor.step();
        if step == part {
            mark();
        }
        if !matches!(result, Ok(Some(_))) {
            break;
        }
        if step == Part::Step {
            assert_eq!(descriptors(), before, "a step leaves a descriptor open");
        }
        let found = identity();
        assert_eq!(*own.get_or_insert(found.clone()), found, "the own identity");
    }
    if matches!(result, Ok(Some(_))) {
        let _ = (&writer).write(b"x");
        while let Some(answered) = supervisor.step().unwrap() {
            assert_ne!(answered.outcome, Made::Failed(Errno::NOSYS));
        }
    }
    drop((supervisor, writer));
    let end = wait(process);
    assert!(
        end == End::Exited(0) || is_child_killed && end == End::Killed(libc::SIGKILL),
        "{end:?}"
    );
    assert_eq!(descriptors(), open, "at the end");
    assert_eq!(fs::read_dir(directory.join("in")).unwrap().count(), 1, "a socket file is left");
    assert_eq!(fs::read_dir(directory.join("out")).unwrap().count(), 0, "outside");
    0
}

/// Runs the supervisor with a fault at each of its calls. Returns the calls.
fn at_each_call(part: Part, call: Call, fault: impl Fn(usize) -> Fault) -> Vec<c_long> {
    let mut calls = Vec::new();
    for index in 0..1000 {
        let (directory, fault) = (directories(), fault(index));
        let is_killed = matches!(fault, Fault::KillChild);
        let body = || supervisor(part, call, directory.path(), is_killed);
        let Some(process) = tracer::start(body) else { return calls };
        let (seen, status) = tracer::run(process, index, fault);
        let what = format!("{part:?}, {call:?}, {fault:?} at call {index}: {:?}", seen.get(index));
        assert_eq!(status, None, "{what}");
        assert_eq!(wait(process), End::Exited(0), "{what}");
        if seen.len() <= index {
            return calls;
        }
        calls.push(seen[index]);
    }
    panic!("too many calls");
}

/// An errno that differs from call to call.
fn refuse(index: usize) -> Fault {
    const ERRNOS: [i32; 4] = [libc::EPERM, libc::ENOMEM, libc::EMFILE, libc::EIO];
    Fault::Answer(-c_long::from(ERRNOS[index % ERRNOS.len()]))
}

pub(super) fn every_call_of_a_new_supervisor_that_fails_is_an_error() {
    assert!(at_each_call(Part::New, Call::V4, refuse).len() > 10);
}

pub(super) fn every_call_of_a_first_step_that_fails_opens_nothing() {
    assert!(at_each_call(Part::FirstStep, Call::V4, refuse).len() > 20);
}

pub(super) fn every_call_of_a_step_that_fails_opens_nothing() {
    for call in CALLS {
        let calls = at_each_call(Part::Step, call, refuse);
        assert!(calls.len() > 6, "{call:?}: {calls:?}");
        if call == Call::Path {
            // The way back is on the way, for which the supervisor stops.
            assert!(calls.iter().filter(|call| **call == libc::SYS_fchdir).count() >= 2);
        }
    }
}

/// No file is left, wherever in the step it is.
pub(super) fn a_child_that_is_killed_at_any_call_of_a_step_leaves_nothing() {
    for call in [Call::V4, Call::Path, Call::Listen] {
        assert!(at_each_call(Part::Step, call, |_| Fault::KillChild).len() > 6);
    }
}

/// The child's own faults: either it is supervised, or it gets an error.
pub(super) fn every_call_of_entering_that_fails_is_an_error() {
    let directory = directories();
    let (rules, mut entered) = (rules(directory.path()), 0);
    for index in 0..1000 {
        let capability = limited(&rules);
        let (mut supervisor, supervised) = Supervisor::new(&capability).unwrap();
        let body = || {
            mark();
            let entered = supervised.enter();
            mark();
            if entered.is_err() {
                return 77;
            }
            // SAFETY: the call takes only numbers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
            assert_nothing_forbidden_opens(directory.path(), false);
            assert_eq!(listen_unbound(AF_INET6, 0).map(drop), Ok(()));
            0
        };
        let Some(process) = tracer::start(body) else { return };
        let (calls, status) = tracer::run(process, index, refuse(index));
        drop(supervised);
        assert_eq!(status, None, "call {index}");
        while let Some(answered) = supervisor.step().unwrap() {
            assert_ne!(answered.outcome, Made::Failed(Errno::NOSYS));
        }
        let end = wait(process);
        let what = format!("call {index}: {:?}", calls.get(index));
        entered += usize::from(end == End::Exited(0));
        assert!(matches!(end, End::Exited(0 | 77)), "{what}: {end:?}");
        if calls.len() <= index {
            assert_eq!(end, End::Exited(0), "without a fault");
            assert!(index > 15 && entered < 4, "{entered} of {index}");
            return;
        }
    }
    panic!("too many calls");
}

/// A tracer in the supervised program changes a call of its tracee into a bind or a listen.
pub(super) fn a_call_that_a_tracer_changes_is_judged() {
    super::succeeds_under(&["port 8000"], || {
        for (number, port) in
            [(libc::SYS_bind, 8001), (libc::SYS_bind, 8000), (libc::SYS_listen, 0)]
        {
            let body = || {
                let socket = tcp(AF_INET);
                let address = Address::ip(&format!("127.0.0.1:{port}"));
                mark();
                // SAFETY: the address outlives the call.
                let called: Outcome<c_long> = check(unsafe {
                    let (fd, address) = (socket.as_raw_fd(), address.as_ptr());
                    libc::syscall(libc::SYS_getppid, fd, address, 16)
                });
                mark();
                assert!(!is_listening(&socket));
                assert_eq!(called, if port == 8000 { Ok(0) } else { Err(Errno::ACCESS) });
                0
            };
            let Some(process) = tracer::start(body) else { return };
            let (calls, status) = tracer::run(process, 0, Fault::Become(number));
            assert_eq!((calls.len(), status), (1, None));
            assert_eq!(wait(process), End::Exited(0), "{number}, {port}");
        }
    });
}
