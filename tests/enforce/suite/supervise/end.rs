//! How a supervision begins and ends.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;
use std::process::Command;

use libc::{AF_INET, SOCK_STREAM};
use netbind::enforce::{EnforceError, Gaps, Outcome as Came, Supervised, Supervisor};
use netbind::error::Errno;

use super::super::attempts::FLAG;
use super::super::harness::{End, await_condition};
use super::super::probe::{self, capability, socket};
use super::super::ring::Ring;
use super::super::supervised::{fork, wait};
use super::{address, assert_serves, bind, bind_new, bound, listen, sleep, start, supervise, wake};

/// Returns the events of the supervisor's descriptor. It waits for one at most so many
/// milliseconds, or for ever if that is negative.
fn poll(supervisor: &Supervisor<'_>, timeout: i32) -> i16 {
    let fd = supervisor.descriptor().expect("a descriptor").as_raw_fd();
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: there is one descriptor, which outlives the call.
    unsafe { libc::poll(&raw mut polled, 1, timeout) };
    polled.revents
}

/// A grandchild goes on after its parent, which is reaped before the supervision ends.
pub(super) fn the_last_process_ends_the_supervision() {
    let (asleep, waker) = std::io::pipe().unwrap();
    let capability = capability(&["port 8000"]);
    let mut pair = start(&capability, || {
        fork(|| {
            sleep(&asleep);
            bind_new("127.0.0.1:8000").unwrap();
            bind_new("127.0.0.1:8001").unwrap_err();
            0
        });
    });
    assert_eq!(wait(pair.child), End::Exited(0));
    assert_eq!(poll(&pair.supervisor, -1) & libc::POLLIN, libc::POLLIN, "the child has entered");
    wake(&waker);
    let first = pair.supervisor.step().unwrap().expect("a bind");
    assert_eq!(first.outcome, Came::Made);
    assert_ne!(first.thread, pair.child.cast_unsigned());
    assert_eq!(pair.supervisor.step().unwrap().expect("a bind").outcome, Came::Denied);
    for _ in 0..2 {
        assert_eq!(pair.supervisor.step(), Ok(None));
        assert!(pair.supervisor.descriptor().is_none());
    }
}

pub(super) fn a_child_that_does_not_enter_ends_the_supervision() {
    let capability = capability(&[]);
    let (mut supervisor, supervised) = Supervisor::new(&capability).unwrap();
    let child = fork(move || {
        drop::<Supervised>(supervised);
        0
    });
    assert_eq!(supervisor.step(), Ok(None));
    assert_eq!(supervisor.attach(), Ok(false));
    assert!(supervisor.descriptor().is_none());
    assert_eq!(wait(child), End::Exited(0));
    let (mut supervisor, supervised) = Supervisor::new(&capability).unwrap();
    drop(supervised);
    assert_eq!(supervisor.step(), Ok(None), "there is no child at all");
    // A child that enters and calls nothing.
    let pair = start(&capability, || ());
    assert_eq!(pair.finish(), (End::Exited(0), Vec::new()));
}

pub(super) fn the_descriptor_tells_when_a_step_does_not_wait() {
    let (asleep, waker) = std::io::pipe().unwrap();
    let capability = capability(&["port 8000"]);
    let (mut supervisor, supervised) = Supervisor::new(&capability).unwrap();
    let child = fork(|| {
        sleep(&asleep);
        supervised.enter().unwrap();
        // SAFETY: the call takes only numbers.
        unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
        sleep(&asleep);
        bind_new("127.0.0.1:8000").unwrap();
        sleep(&asleep);
        bind_new("127.0.0.1:8001").unwrap_err();
        0
    });
    drop(supervised);
    assert_eq!(poll(&supervisor, 0), 0, "before the child enters");
    wake(&waker);
    assert_eq!(poll(&supervisor, -1) & libc::POLLIN, libc::POLLIN, "after it");
    assert_eq!([supervisor.attach(), supervisor.attach()], [Ok(true); 2]);
    assert_eq!(poll(&supervisor, 0), 0, "the child has made no call");
    wake(&waker);
    assert_eq!(poll(&supervisor, -1), libc::POLLIN, "the first call waits");
    assert_eq!(supervisor.step().unwrap().unwrap().outcome, Came::Made);
    assert_eq!(poll(&supervisor, 0), 0, "the child sleeps");
    wake(&waker);
    assert_eq!(poll(&supervisor, -1), libc::POLLIN, "a call waits");
    assert_eq!(supervisor.step().unwrap().unwrap().outcome, Came::Denied);
    assert_eq!(poll(&supervisor, -1), libc::POLLHUP, "after the end of the child");
    assert_eq!(supervisor.step(), Ok(None));
    assert!(supervisor.descriptor().is_none());
    assert_eq!(wait(child), End::Exited(0));
}

pub(super) fn supervision_cannot_be_nested() {
    let errno = probe::errno(libc::EBUSY);
    let busy = Err(EnforceError::System { call: "seccomp", errno });
    let rules = &capability(&["port 8000"]);
    let (mut supervisor, supervised) = Supervisor::new(rules).unwrap();
    let child = fork(move || {
        supervised.enter().unwrap();
        assert_eq!(supervised.enter(), busy, "twice");
        drop::<Supervised>(supervised);
        let (_supervisor, supervised) = Supervisor::new(rules).unwrap();
        assert_eq!(supervised.enter(), busy, "under another supervisor");
        let command = Command::new("/proc/self/exe");
        assert_eq!(supervised.spawn(command).unwrap_err().raw_os_error(), Some(libc::EBUSY));
        0
    });
    assert_eq!(supervisor.step(), Ok(None));
    assert_eq!(wait(child), End::Exited(0));
}

pub(super) fn a_second_thread_is_a_gap() {
    let rules = capability(&[]);
    let (mut supervisor, supervised) = Supervisor::new(&rules).unwrap();
    let (end, to_end) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || to_end.recv().unwrap_err());
    let before = probe::has_no_new_privs();
    assert_eq!(supervised.enter(), Err(EnforceError::Gaps(Gaps::THREADS)));
    assert!(!probe::has_seccomp_filter() && probe::has_no_new_privs() == before);
    drop(end);
    other.join().unwrap();
    drop(supervised);
    assert_eq!(supervisor.step(), Ok(None));
}

pub(super) fn an_io_uring_is_a_gap() {
    let rules = capability(&[]);
    let (_supervisor, supervised) = Supervisor::new(&rules).unwrap();
    let Some(ring) = Ring::new() else { return };
    assert_eq!(supervised.enter(), Err(EnforceError::Gaps(Gaps::IO_URING)));
    assert!(!probe::has_seccomp_filter());
    drop(ring);
    await_condition("the end of the ring", || supervised.enter().is_ok());
}

/// It fails closed, and what listens already goes on.
pub(super) fn without_a_supervisor_nothing_is_bound_and_accept_goes_on() {
    const GONE: probe::Outcome = Err(Errno::NOSYS);
    let (asleep, waker) = std::io::pipe().unwrap();
    let rules = capability(&["port 8000", "any-path", "any-abstract"]);
    let mut pair = start(&rules, || {
        let listener = bound(SOCK_STREAM, &address("127.0.0.1:8000")).unwrap();
        let bound = bound(SOCK_STREAM, &address("[::1]:8000")).unwrap();
        listen(&listener, 1).unwrap();
        sleep(&asleep);
        assert_serves(&listener);
        for text in ["127.0.0.2:8000", "unix:relative", "unix:@app"] {
            assert_eq!(bind_new(text), GONE, "{text}");
        }
        assert_eq!(listen(&bound, 1), GONE);
        assert_eq!(listen(&listener, 1), GONE);
        assert_eq!(bind(&socket(AF_INET, SOCK_STREAM, 0).unwrap(), &address(":8000")), GONE);
        assert_serves(&listener);
    });
    for _ in 0..3 {
        assert_eq!(pair.supervisor.step().unwrap().unwrap().outcome, Came::Made);
    }
    drop(pair.supervisor);
    wake(&waker);
    assert_eq!(wait(pair.child), End::Exited(0));
}

/// Programs that are executed, and processes that they start.
pub(super) fn programs_stay_supervised() {
    let directory = super::super::attempts::directories();
    let rules = capability(&["port 8080"]);
    for (attempt, errno) in [
        ("TCP, an allowed port, IPv4", 0),
        ("TCP, another port, IPv4", libc::EACCES),
        ("TCP, listen without bind, IPv4", libc::EACCES),
        ("Unix path in the directory", libc::EACCES),
        ("MPTCP, an allowed port", libc::EPROTONOSUPPORT),
        ("getaddrinfo", 0),
    ] {
        let command = || {
            let mut command = Command::new("/proc/self/exe");
            command.args([FLAG, attempt, directory.path().to_str().unwrap()]);
            command
        };
        let (mut supervisor, supervised) = Supervisor::new(&rules).unwrap();
        let mut child = supervised.spawn(command()).unwrap();
        while supervisor.step().unwrap().is_some() {}
        assert_eq!(child.wait().unwrap().code(), Some(errno), "spawned: {attempt}");
        drop(supervisor);
        supervise(&rules, || {
            let status = command().status().unwrap();
            assert_eq!(status.code(), Some(errno), "by a child: {attempt}");
        });
    }
}

pub(super) fn a_killed_child_ends_the_supervision() {
    let rules = capability(&["port 8000"]);
    let mut pair = start(&rules, || {
        bind_new("127.0.0.1:8000").unwrap();
        // Nobody answers this call.
        let _ = bind_new("127.0.0.1:8000");
        unreachable!();
    });
    assert_eq!(pair.supervisor.step().unwrap().unwrap().outcome, Came::Made);
    assert_eq!(poll(&pair.supervisor, -1), libc::POLLIN);
    // SAFETY: the call takes only numbers. The child is not reaped yet.
    unsafe { libc::kill(pair.child, libc::SIGKILL) };
    assert_eq!(wait(pair.child), End::Killed(libc::SIGKILL));
    assert_eq!(pair.supervisor.step(), Ok(None));
}

/// Otherwise a child of the same user could change it.
pub(super) fn the_supervisor_is_not_dumpable() {
    let rules = capability(&[]);
    let _pair = Supervisor::new(&rules).unwrap();
    // SAFETY: the call takes only numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 0);
}
