//! Ports that need a privilege, of the child or lent by the supervisor.
#![allow(unsafe_code)]

use libc::SOCK_STREAM;
use netbind::enforce::{Answered, Outcome as Came, Supervisor};
use netbind::error::Errno;

use super::super::harness::{Verdict, become_nobody, skip, verdict};
use super::super::probe::{self, Outcome, capability, directory};
use super::{address, assert_serves, bind_new, bound, listen, supervise, supervise_with, unix};

const REFUSED: Outcome = Err(Errno::ACCESS);
const RULES: [&str; 4] = ["port 80", "port 8000", "any-path", "any-abstract"];

/// Makes the process one in whose network ports below 1024 need a privilege.
fn protect_low_ports() {
    probe::private_network();
    std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024").unwrap();
}

type Configure = fn(Supervisor<'_>) -> Supervisor<'_>;

fn lend(supervisor: Supervisor<'_>) -> Supervisor<'_> {
    supervisor.lend_privileged_ports()
}

fn keep(supervisor: Supervisor<'_>) -> Supervisor<'_> {
    supervisor
}

/// Asserts what a supervised child can bind, which is nobody if `is_nobody`.
#[track_caller]
fn assert_binds(configure: Configure, is_nobody: bool, binds: &[(&str, Outcome)]) -> Vec<Answered> {
    supervise_with(&capability(&RULES), configure, || {
        if is_nobody {
            become_nobody().unwrap();
        }
        for (text, expected) in binds {
            assert_eq!(bind_new(text), *expected, "{text}");
        }
    })
}

pub(super) fn a_user_without_the_privilege_binds_no_low_port() {
    protect_low_ports();
    let binds = [("127.0.0.1:80", REFUSED), ("[::1]:80", REFUSED), ("127.0.0.1:8000", Ok(()))];
    let answers = assert_binds(keep, true, &binds);
    assert_eq!(answers[0].outcome, Came::Failed(Errno::ACCESS), "the rules allow it");
}

pub(super) fn lent_ports_can_be_bound() {
    protect_low_ports();
    assert_binds(lend, true, &[("[::1]:80", Ok(())), ("[::]:80", Ok(()))]);
    supervise_with(&capability(&RULES), lend, || {
        become_nobody().unwrap();
        let socket = bound(SOCK_STREAM, &address("127.0.0.1:80")).unwrap();
        listen(&socket, 1).unwrap();
        assert_serves(&socket);
    });
    // UDP, if it is asked for
    supervise_with(
        &capability(&RULES),
        |s| lend(s).allow_udp(),
        || {
            become_nobody().unwrap();
            std::net::UdpSocket::bind("127.0.0.1:80").unwrap();
        },
    );
}

pub(super) fn lent_ports_are_those_of_the_rules() {
    protect_low_ports();
    let answers = assert_binds(lend, true, &[("127.0.0.1:81", REFUSED), ("[::]:79", REFUSED)]);
    assert!(answers.iter().all(|answered| answered.outcome == Came::Denied), "{answers:?}");
    let answers = supervise_with(&capability(&RULES), lend, || {
        become_nobody().unwrap();
        assert!(std::net::UdpSocket::bind("127.0.0.1:80").is_err(), "UDP is not asked for");
    });
    assert_eq!(answers[0].outcome, Came::Denied);
}

pub(super) fn root_needs_no_lending() {
    protect_low_ports();
    assert_binds(keep, false, &[("127.0.0.1:80", Ok(())), ("127.0.0.1:81", REFUSED)]);
}

pub(super) fn the_privilege_of_one_process_is_of_no_use_to_another() {
    protect_low_ports();
    supervise(&capability(&RULES), || {
        assert_eq!(bind_new("127.0.0.1:80"), Ok(()));
        become_nobody().unwrap();
        assert_eq!(bind_new("127.0.0.1:80"), REFUSED);
    });
}

/// In a user namespace of its own a child has every privilege, and none over the network outside.
pub(super) fn a_user_namespace_gives_no_ports() {
    protect_low_ports();
    let enter_namespace = || {
        become_nobody().unwrap();
        // SAFETY: what the process has of its own from now on is no concern of Rust.
        probe::check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into()).map(drop)
    };
    if let Verdict::Refused(errno) = verdict(enter_namespace) {
        return skip(&format!("user namespaces, which nobody can make here: {errno}"));
    }
    let cases: [(Configure, Outcome); 2] = [(keep, REFUSED), (lend, Ok(()))];
    for (configure, expected) in cases {
        let directory = directory();
        supervise_with(&capability(&RULES), configure, || {
            enter_namespace().unwrap();
            assert_eq!(bind_new("127.0.0.1:80"), expected);
            assert_eq!(bind_new(&unix(directory.path(), "s")), REFUSED);
        });
        assert!(!directory.path().join("s").exists());
    }
}

pub(super) fn lending_gives_no_other_privilege() {
    protect_low_ports();
    let directory = directory();
    let path = unix(directory.path(), "s");
    assert_binds(lend, true, &[("127.0.0.1:80", Ok(())), (&path, REFUSED)]);
}
