//! The exact system calls of taking and passing sockets.
//!
//! A debug build of std makes `fcntl(F_GETFD)` before each close, so the supervisor lists that call
//! in release builds only.

use netbind::inherit::InheritError;

use super::process::in_own_process;
use super::{at, open_at_3, open_close_on_exec_at_3, own_pid, pass, pidfd_id, take_from_bytes};
use crate::support::supervisor::{traced, watched};

/// Removes the calls that a debug build does not list.
fn listed(calls: &[&str]) -> Vec<String> {
    let is_listed = |call: &&&str| !cfg!(debug_assertions) || !call.ends_with(", F_GETFD)");
    calls.iter().filter(is_listed).map(|call| (*call).into()).collect()
}

/// Returns the calls of taking the sockets of these entries, of which two are open.
fn calls_of_take(entries: &[&str], error: Option<InheritError>) -> Vec<String> {
    let entries: Vec<_> = entries.iter().map(|entry| entry.as_bytes()).collect();
    let ((), calls) = traced(|| {
        open_at_3(2);
        let taken = watched(|| take_from_bytes(&entries));
        assert_eq!(taken.map(drop).err(), error);
    });
    calls
}

#[test]
fn sockets_that_are_not_taken_need_few_calls() {
    let own = own_pid();
    let pid = own.as_str();
    let invalid = |name| Some(InheritError::InvalidVariable(name));
    let nothing: &[&str] = &[];
    for (entries, error, calls) in [
        ([].as_slice(), None, nothing),
        (&[pid], None, nothing),
        (&["LISTEN_FDS=2"], None, nothing),
        (&["LISTEN_PID=x", "LISTEN_FDS=2"], invalid("LISTEN_PID"), nothing),
        (&["LISTEN_PID=1", "LISTEN_FDS=2"], None, &["getpid()"]),
        (&[pid, "LISTEN_FDS=x"], invalid("LISTEN_FDS"), &["getpid()"]),
        (&[pid, "LISTEN_FDS=2", "LISTEN_PIDFDID=x"], invalid("LISTEN_PIDFDID"), &["getpid()"]),
        (&[pid, "LISTEN_FDS=2", "LISTEN_FDNAMES=x"], invalid("LISTEN_FDNAMES"), &["getpid()"]),
        (
            &[pid, "LISTEN_FDS=9"],
            Some(InheritError::NotOpen(5)),
            &["getpid()", "fcntl(3, F_GETFD)", "fcntl(4, F_GETFD)", "fcntl(5, F_GETFD)"],
        ),
    ] {
        assert_eq!(calls_of_take(entries, error), listed(calls), "{entries:?}");
    }
}

#[test]
fn taking_sockets_makes_only_the_documented_calls() {
    fn stage() {
        let entries =
            [own_pid().into_bytes(), b"LISTEN_FDS=2".into(), b"LISTEN_FDNAMES=a:b".into()];
        let entries: Vec<_> = entries.iter().map(Vec::as_slice).collect();
        let ((), calls) = traced(|| {
            open_at_3(3);
            watched(|| {
                let mut inherited = take_from_bytes(&entries).unwrap();
                let first = inherited.next().unwrap();
                assert_eq!((first.name, inherited.len()), ("a", 1));
                drop(inherited);
                drop(first);
                assert_eq!(take_from_bytes(&entries).map(drop), Err(InheritError::AlreadyTaken));
            });
        });
        assert_eq!(
            calls,
            listed(&[
                "getpid()",
                "fcntl(3, F_GETFD)",
                "fcntl(4, F_GETFD)",
                "fcntl(3, F_SETFD, FD_CLOEXEC)",
                "fcntl(4, F_SETFD, FD_CLOEXEC)",
                "close(4)",
                "close(3)",
                "getpid()",
            ])
        );
    }
    in_own_process(taking_sockets_makes_only_the_documented_calls, &[stage]);
}

#[test]
fn a_pidfd_id_adds_only_the_documented_calls() {
    fn stage() {
        let Some(id) = pidfd_id() else { return };
        let entries = [own_pid(), format!("LISTEN_PIDFDID={id}"), "LISTEN_FDS=1".into()];
        let entries: Vec<_> = entries.iter().map(String::as_bytes).collect();
        let ((), calls) = traced(|| {
            open_at_3(1);
            let inherited = watched(|| take_from_bytes(&entries)).unwrap();
            assert_eq!(inherited.len(), 1);
        });
        assert_eq!(
            calls,
            listed(&[
                "getpid()",
                "getpid()",
                "pidfd_open()",
                "fstatfs(4)",
                "fstat(4)",
                "close(4)",
                "fcntl(3, F_GETFD)",
                "fcntl(3, F_SETFD, FD_CLOEXEC)",
            ])
        );
    }
    in_own_process(a_pidfd_id_adds_only_the_documented_calls, &[stage]);
}

#[test]
fn passing_sockets_makes_only_the_documented_calls() {
    let ((), calls) = traced(|| {
        open_close_on_exec_at_3(2);
        let mut sockets = [(at(4), "a"), (at(3), "b"), (at(4), "c")];
        assert!(watched(|| pass(&mut sockets)).is_ok());
    });
    let moves = [
        "fcntl(4, F_DUPFD_CLOEXEC, 6)",
        "fcntl(3, F_DUPFD_CLOEXEC, 6)",
        "fcntl(4, F_DUPFD_CLOEXEC, 6)",
        "dup2(6, 3)",
        "close(6)",
        "dup2(7, 4)",
        "close(7)",
        "dup2(8, 5)",
        "close(8)",
    ];
    let end = ["getpid()".to_string()];
    assert_eq!(calls, [&calls_for_pidfd(5), moves.map(String::from).as_slice(), &end].concat());
    let ((), calls) = traced(|| assert!(watched(|| pass(&mut [])).is_ok()));
    assert_eq!(calls, [&calls_for_pidfd(3), end.as_slice()].concat());
}

/// Returns the calls that find the id of the pidfd.
fn calls_for_pidfd(fd: i32) -> Vec<String> {
    let mut calls = ["getpid()", "pidfd_open()"].map(String::from).to_vec();
    calls.push(format!("fstatfs({fd})"));
    calls.extend(pidfd_id().map(|_| format!("fstat({fd})")));
    calls.push(format!("close({fd})"));
    calls
}

#[test]
fn a_bad_name_is_refused_before_any_call() {
    let ((), calls) = traced(|| {
        open_close_on_exec_at_3(2);
        for name in ["", "a:b", "\n", "\u{e4}"] {
            let mut sockets = [(at(4), "good"), (at(3), name)];
            let error = watched(|| pass(&mut sockets).map(drop)).unwrap_err();
            assert_eq!(error, InheritError::InvalidVariable("LISTEN_FDNAMES"));
        }
    });
    assert_eq!(calls, [""; 0]);
}
