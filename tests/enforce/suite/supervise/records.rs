//! The records of the capability, and the answers of the steps.

use std::sync::Mutex;

use libc::{AF_INET, SOCK_DGRAM, SOCK_STREAM};
use netbind::audit::{AuditSink, Record};
use netbind::enforce::{Answered, Outcome as Came, SocketCall};
use netbind::error::Errno;
use netbind::{BindAddress, NetBind};

use super::super::harness::End;
use super::super::probe::{Address, directory, grant, socket};
use super::super::supervised::Pair;
use super::{
    address, bind, bind_new, bound, listen, parse, serve, supervise, supervise_with, unix,
};

/// A sink that keeps the text of every record.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl AuditSink for Lines {
    fn record(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.to_string());
    }
}

impl Lines {
    /// Returns the records since the last call, without what is the same in all.
    fn take(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap());
        lines.iter().map(|line| line.replace("capability=test operation=", "")).collect()
    }
}

/// Returns the records of what `body` does under a capability with these rules.
fn records(rules: &[&str], body: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let mut capability = NetBind::empty("test").unwrap().with_sink(&lines);
    grant(&mut capability, rules);
    supervise(&capability, body);
    lines.take()
}

/// Returns the records of a bind that is made.
fn made(address: &str, port: &str) -> [String; 2] {
    let rest = format!("address={address} port={port} result=allowed");
    [format!("check_bind_address {rest}"), format!("bind_socket {rest}")]
}

fn denied(address: &str, port: &str) -> String {
    format!("check_bind_address address={address} port={port} result=denied")
}

pub(super) fn a_bind_is_checked_and_recorded() {
    let directory = directory();
    let path = unix(directory.path(), "s");
    let rules = ["port 8000", "any-path", "any-abstract"];
    for (text, port) in [
        ("127.0.0.1:8000", "8000"),
        ("[::1]:8000", "8000"),
        ("[::]:8000", "8000"),
        ("unix:@app", "none"),
        (&path, "none"),
    ] {
        let printed = parse(text).to_string();
        // An allowed `listen` leaves no record.
        assert_eq!(records(&rules, || serve(text).unwrap()), made(&printed, port));
    }
    let any_name = Address::new(libc::AF_UNIX, &[]);
    let found = records(&rules, || drop(bound(SOCK_STREAM, &any_name).unwrap()));
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|line| line.contains(" address=unix:@")), "{found:?}");
    let listen_again = || {
        let socket = bound(SOCK_STREAM, &address("127.0.0.1:8000")).unwrap();
        listen(&socket, 1).unwrap();
        listen(&socket, 2).unwrap();
    };
    assert_eq!(records(&rules, listen_again), made("127.0.0.1:8000", "8000"));
}

pub(super) fn a_refusal_is_recorded() {
    for (text, port) in [
        ("127.0.0.1:8001", "8001"),
        ("127.0.0.1:0", "0"),
        ("unix:/run/app", "none"),
        ("unix:relative", "none"),
        ("unix:@app", "none"),
    ] {
        let refused = || assert_eq!(bind_new(text), Err(Errno::ACCESS));
        assert_eq!(records(&["port 8000"], refused), [denied(text, port)]);
    }
    let unbound = socket(AF_INET, SOCK_STREAM, 0).unwrap();
    let bound_before = bound(SOCK_STREAM, &address("127.0.0.1:8001")).unwrap();
    let found = records(&["port 8000"], || {
        listen(&unbound, 1).unwrap_err();
        listen(&bound_before, 1).unwrap_err();
        bound(SOCK_DGRAM, &address("127.0.0.1:8000")).unwrap_err();
    });
    let expected = [("0.0.0.0:0", "0"), ("127.0.0.1:8001", "8001"), ("127.0.0.1:8000", "8000")];
    assert_eq!(found, expected.map(|(address, port)| denied(address, port)));
}

pub(super) fn the_chosen_port_is_recorded() {
    let unbound = socket(AF_INET, SOCK_STREAM, 0).unwrap();
    let fresh = socket(AF_INET, SOCK_STREAM, 0).unwrap();
    let calls: [(&str, &dyn Fn()); 2] = [
        ("127.0.0.1", &|| bind(&fresh, &address("127.0.0.1:0")).unwrap()),
        ("0.0.0.0", &|| listen(&unbound, 1).unwrap()),
    ];
    for ((host, call), socket) in calls.into_iter().zip([&fresh, &unbound]) {
        let found = records(&["port 0"], call);
        let port = super::super::probe::name_of(socket).port().to_string();
        let [check, _] = made(&format!("{host}:0"), "0");
        let [_, bind] = made(&format!("{host}:{port}"), &port);
        assert_eq!(found, [check, bind]);
    }
    let found = records(&[], || drop(bound(SOCK_DGRAM, &address("127.0.0.1:0")).unwrap()));
    assert_eq!(found, [""; 0], "UDP sockets get such a port without a bind too");
}

pub(super) fn a_bind_that_fails_leaves_its_check() {
    let directory = directory();
    let path = unix(directory.path(), "missing/s");
    let used = bound(SOCK_STREAM, &address("127.0.0.1:8000")).unwrap();
    listen(&used, 1).unwrap();
    let rules = ["port 8000", "any-path"];
    for (text, port, errno) in [
        ("127.0.0.1:8000", "8000", Errno::ADDRINUSE),
        ("192.0.2.1:8000", "8000", Errno::ADDRNOTAVAIL),
        (&path, "none", Errno::NOENT),
    ] {
        let fails = || assert_eq!(bind_new(text), Err(errno));
        let [check, _] = made(&parse(text).to_string(), port);
        assert_eq!(records(&rules, fails), [check]);
    }
    // These are no addresses, so there is nothing to decide.
    let malformed = || {
        let socket = socket(AF_INET, SOCK_STREAM, 0).unwrap();
        bind(&socket, &Address::new(AF_INET, &[0; 4])).unwrap_err();
        bind(&socket, &address("[::1]:8000")).unwrap_err();
    };
    assert_eq!(records(&rules, malformed), [""; 0]);
}

pub(super) fn every_ancestor_gets_the_records() {
    let (first, second) = (Lines::default(), Lines::default());
    let mut parent = NetBind::empty("parent").unwrap().with_sink(&first);
    grant(&mut parent, &["port 8000"]);
    let mut child = parent.child("test").unwrap().with_sink(&second);
    grant(&mut child, &["port 8000-8001"]);
    supervise(&child, || {
        bind_new("127.0.0.1:8000").unwrap();
        bind_new("127.0.0.1:8001").unwrap_err();
    });
    let mut expected = made("127.0.0.1:8000", "8000").to_vec();
    expected.push(denied("127.0.0.1:8001", "8001"));
    assert_eq!((first.take(), second.take()), (expected.clone(), expected));
}

/// Returns the call, address and outcome of each answer.
fn parts(answers: &[Answered]) -> Vec<(SocketCall, Option<BindAddress>, Came)> {
    answers.iter().map(|a| (a.call, a.address.clone(), a.outcome)).collect()
}

pub(super) fn the_answers_say_what_happened() {
    use SocketCall::{Bind, Listen};

    let directory = directory();
    let path = unix(directory.path(), "s");
    let mut capability = NetBind::empty("test").unwrap();
    grant(&mut capability, &["port 8000", "any-path"]);
    let pair = Pair::start(
        &capability,
        |s| s,
        || {
            serve("127.0.0.1:8000").unwrap();
            serve(&path).unwrap();
            bind_new(&path).unwrap_err();
            bind_new("127.0.0.1:8001").unwrap_err();
            listen(&socket(AF_INET, SOCK_STREAM, 0).unwrap(), 1).unwrap_err();
            bind(&socket(AF_INET, SOCK_STREAM, 0).unwrap(), &Address::new(AF_INET, &[]))
                .unwrap_err();
            0
        },
    );
    let child = pair.child.cast_unsigned();
    let (end, answers) = pair.finish();
    assert_eq!(end, End::Exited(0));
    assert!(answers.iter().all(|answered| answered.thread == child));
    let (ip, unix) = (Some(parse("127.0.0.1:8000")), Some(parse(&path)));
    assert_eq!(
        parts(&answers),
        [
            (Bind, ip.clone(), Came::Made),
            (Listen, ip, Came::Made),
            (Bind, unix.clone(), Came::Made),
            (Listen, unix.clone(), Came::Made),
            (Bind, unix, Came::Failed(Errno::ADDRINUSE)),
            (Bind, Some(parse("127.0.0.1:8001")), Came::Denied),
            (Listen, Some(parse("0.0.0.0:0")), Came::Denied),
            (Bind, None, Came::Failed(Errno::INVAL)),
        ]
    );
    // A thread has an id of its own, and a chosen port is known after the `listen`.
    let mut port_0 = NetBind::empty("test").unwrap();
    grant(&mut port_0, &["port 0"]);
    let answers = supervise_with(
        &port_0,
        |s| s,
        || {
            std::thread::spawn(|| serve("127.0.0.1:0").unwrap()).join().unwrap();
        },
    );
    let ports: Vec<_> = answers.iter().map(|a| a.address.as_ref()?.port()).collect();
    assert_eq!(ports[0], Some(0));
    assert!(ports[1].is_some_and(|port| port != 0), "{answers:?}");
    assert_eq!(answers[0].thread, answers[1].thread);
}

/// A sink that keeps the working directory in which it is called.
#[derive(Default)]
struct Places(Mutex<Vec<std::path::PathBuf>>);

impl AuditSink for Places {
    fn record(&self, _: &Record<'_>) {
        self.0.lock().unwrap().push(std::env::current_dir().unwrap());
    }
}

/// Otherwise a sink would open its files as the program, in the root of the program.
pub(super) fn a_sink_never_runs_with_the_identity_of_the_program() {
    let (directory, places) = (directory(), Places::default());
    let mut capability = NetBind::empty("test").unwrap().with_sink(&places);
    grant(&mut capability, &["any-path"]);
    supervise(&capability, || {
        std::env::set_current_dir(directory.path()).unwrap();
        let socket = socket(libc::AF_UNIX, SOCK_STREAM, 0).unwrap();
        assert_eq!(bind(&socket, &address("unix:s")), Ok(()));
    });
    let own = std::env::current_dir().unwrap();
    assert_eq!(*places.0.lock().unwrap(), [own.clone(), own]);
}
