//! Faults: each system call of a restriction fails once. The error names it, and up to the first
//! restriction nothing is restricted.
#![allow(unsafe_code)]

use libc::{AF_INET, c_long};
use netbind::NetBind;
use netbind::enforce::{Confinement, EnforceError, Gaps, Seal};
use netbind::error::Errno;

use super::harness::{Case, alone, case, is_root};
use super::probe::{
    Outcome, assert_unrestricted, bind_tcp, capability, check, descriptors, directory, grant,
    has_no_new_privs, socket,
};
use super::trap::{CALLS as CALLS_TO_TRAP, Fault, IN_TRIAL, KILL, READ_LINK, install, watched};

pub(crate) const CASES: &[Case] = &[
    case!(a_confinement_makes_the_documented_calls),
    case!(every_call_of_a_confinement_that_fails_is_an_error),
    case!(every_call_of_gaps_that_fails_is_an_error),
    case!(an_older_landlock_is_not_enough),
    case!(a_signal_during_the_trial_does_not_matter),
    case!(a_failure_in_the_trial_is_never_less_protection),
    case!(a_layer_that_does_not_fit_is_a_gap),
    case!(unsupported_means_that_nothing_is_restricted),
    case!(every_call_of_a_seal_that_fails_is_an_error),
    case!(a_descriptor_that_was_closed_meanwhile_is_no_ring),
    case!(a_seal_without_seccomp_is_not_supported),
    case!(without_free_descriptors_nothing_is_restricted),
    case!(without_a_free_process_nothing_is_restricted),
];

const EIO: c_long = -(libc::EIO as c_long);
const REFUSED: Outcome = Err(Errno::ACCESS);

/// The calls of a confinement with two layers, each with a port and a directory.
const CALLS: &[&str] = &[
    "landlock_create_ruleset", // asks for the ABI
    "seccomp",                 // asks for an action
    "unshare",
    "openat", // the tasks
    "getdents64",
    "openat", // the task
    "openat", // its flags
    "read",
    "openat", // its descriptors
    "getdents64",
    "getdents64",
    "getdents64", // the end of the tasks
    "openat",     // the memory
    "read",       // several times
    "landlock_create_ruleset",
    "openat",
    "landlock_add_rule",
    "landlock_add_rule",
    "openat",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "openat",
    "landlock_add_rule",
    "landlock_add_rule",
    "openat",
    "landlock_add_rule",
    "clone",
    "wait4",
    "prctl",
    "seccomp",
    "landlock_restrict_self",
    "landlock_restrict_self",
];

/// The first of the calls that read which memory is mapped. Their number differs.
const MEMORY: usize = 13;
/// The first call that restricts something.
const FIRST_RESTRICTION: usize = 28;
const SECCOMP: usize = 29;

const NO_SECCOMP: EnforceError = EnforceError::Unsupported {
    needs: "seccomp with SECCOMP_RET_KILL_PROCESS (Linux 4.14)",
    found: 0,
};

/// Runs `body` with a capability of two layers: the child allows port 8080, and the parent 8081.
fn with_two_layers(body: impl FnOnce(&NetBind<'_>)) {
    let directory = directory();
    let beneath = format!("beneath {}", directory.path().display());
    let parent = capability(&["port 8081", &beneath, "any-abstract"]);
    let mut child = parent.child("child").unwrap();
    grant(&mut child, &["port 8080", &beneath, "any-abstract"]);
    body(&child);
}

fn apply(capability: &NetBind<'_>) -> Result<(), EnforceError> {
    Confinement::new(capability).tolerate(Gaps::EPHEMERAL_LISTEN).apply()
}

/// Runs `body` in a process of its own, with the capability and with calls that can fail.
#[track_caller]
fn with_faults(what: &str, body: impl FnOnce(&NetBind<'_>)) {
    alone(what, || {
        with_two_layers(|capability| {
            install(CALLS_TO_TRAP);
            body(capability);
        });
    });
}

/// Returns the position of `CALLS[index]` among the calls that this process makes.
fn position(index: usize, capability: &NetBind<'_>) -> usize {
    let (_, calls) = watched(None, || Confinement::new(capability).gaps());
    if index <= MEMORY { index } else { index + calls.len() - FIRST_RESTRICTION }
}

/// Returns the error of a confinement whose call `index` fails with EIO.
fn expected_error(index: usize) -> EnforceError {
    let call = match CALLS[index] {
        "unshare" => return EnforceError::Gaps(Gaps::THREADS),
        "prctl" => "prctl(PR_SET_NO_NEW_PRIVS)",
        call => call,
    };
    match index {
        0 => EnforceError::Unsupported { needs: "Landlock ABI 4 (Linux 6.7)", found: 0 },
        1 => NO_SECCOMP,
        3..14 => EnforceError::Gaps(Gaps::IO_URING),
        _ => EnforceError::System { call, errno: Errno::IO },
    }
}

fn a_confinement_makes_the_documented_calls() {
    with_faults("apply", |capability| {
        let (applied, mut calls) = watched(None, || apply(capability));
        calls.dedup_by(|a, b| a == b && *a == "read");
        assert_eq!((applied, calls.as_slice()), (Ok(()), CALLS));
        assert_eq!([8080, 8081].map(bind), [REFUSED; 2]);
    });
    with_faults("gaps", |capability| {
        let (gaps, mut calls) = watched(None, || Confinement::new(capability).gaps());
        calls.dedup_by(|a, b| a == b && *a == "read");
        assert_eq!(gaps, Ok(Gaps::EPHEMERAL_LISTEN));
        assert_eq!(calls, CALLS[..FIRST_RESTRICTION]);
    });
}

fn bind(port: u16) -> Outcome {
    bind_tcp(&format!("127.0.0.1:{port}"))
}

fn every_call_of_a_confinement_that_fails_is_an_error() {
    for (index, call) in CALLS.iter().enumerate() {
        with_faults(&format!("call {index}, {call}"), |capability| {
            let (no_new_privs, open) = (has_no_new_privs(), descriptors());
            let at = position(index, capability);
            let fault = Fault { index: at, answer: EIO };
            let (applied, calls) = watched(Some(fault), || apply(capability));
            assert_eq!(applied, Err(expected_error(index)));
            // After a gap, the others are looked for.
            assert!(calls.len() == at + 1 || (2..14).contains(&index), "{calls:?}");
            assert_eq!(descriptors(), open);
            match index {
                ..=FIRST_RESTRICTION => assert_unrestricted(call, no_new_privs),
                SECCOMP | 30 => assert_eq!([8080, 8081].map(bind), [Ok(()); 2]),
                _ => assert_eq!([8080, 8081].map(bind), [Ok(()), REFUSED]),
            }
            assert_eq!(socket(AF_INET, libc::SOCK_DGRAM, 0).is_ok(), index <= SECCOMP);
        });
    }
}

fn every_call_of_gaps_that_fails_is_an_error() {
    for (index, call) in CALLS[..FIRST_RESTRICTION].iter().enumerate() {
        with_faults(&format!("call {index}, {call}"), |capability| {
            let (no_new_privs, open) = (has_no_new_privs(), descriptors());
            let fault = Fault { index: position(index, capability), answer: EIO };
            let (gaps, _) = watched(Some(fault), || Confinement::new(capability).gaps());
            let expected = match expected_error(index) {
                EnforceError::Gaps(gap) => Ok(gap | Gaps::EPHEMERAL_LISTEN),
                error => Err(error),
            };
            assert_eq!(gaps, expected);
            assert_eq!(descriptors(), open);
            assert_unrestricted(call, no_new_privs);
        });
    }
}

fn an_older_landlock_is_not_enough() {
    for (answer, found) in [
        (-c_long::from(libc::ENOSYS), 0),
        (-c_long::from(libc::EOPNOTSUPP), 0),
        (1, 1),
        (2, 2),
        (3, 3),
    ] {
        with_faults(&format!("the answer {answer}"), |capability| {
            let no_new_privs = has_no_new_privs();
            let fault = Fault { index: 0, answer };
            let needs = "Landlock ABI 4 (Linux 6.7)";
            let error = EnforceError::Unsupported { needs, found };
            let (gaps, _) = watched(Some(fault), || Confinement::new(capability).gaps());
            assert_eq!(gaps, Err(error));
            let tolerant = || Confinement::new(capability).tolerate(Gaps::all()).apply();
            let (applied, _) = watched(Some(fault), tolerant);
            assert_eq!(applied, Err(error));
            assert_unrestricted("an older Landlock", no_new_privs);
        });
    }
    with_faults("ABI 4", |capability| {
        let fault = Fault { index: 0, answer: 4 };
        assert_eq!(watched(Some(fault), || apply(capability)).0, Ok(()));
        assert_eq!([8080, 8081].map(bind), [REFUSED; 2]);
    });
}

fn a_signal_during_the_trial_does_not_matter() {
    with_faults("EINTR", |capability| {
        let index = CALLS.iter().position(|call| *call == "wait4").unwrap();
        let index = position(index, capability);
        let fault = Fault { index, answer: -c_long::from(libc::EINTR) };
        assert_eq!(watched(Some(fault), || apply(capability)).0, Ok(()));
        assert_eq!([8080, 8081].map(bind), [REFUSED; 2]);
    });
}

/// The calls of the trial: `prctl`, and `landlock_restrict_self` for each layer.
fn a_failure_in_the_trial_is_never_less_protection() {
    for index in [IN_TRIAL, IN_TRIAL + 1, IN_TRIAL + 2] {
        for answer in [-c_long::from(libc::ENOMEM), KILL] {
            with_faults(&format!("call {}: {answer}", index - IN_TRIAL), |capability| {
                let no_new_privs = has_no_new_privs();
                let tolerant = || Confinement::new(capability).tolerate(Gaps::all()).apply();
                let (applied, _) = watched(Some(Fault { index, answer }), tolerant);
                assert!(matches!(applied, Err(EnforceError::System { .. })), "{applied:?}");
                assert_unrestricted("after the trial", no_new_privs);
            });
        }
    }
}

fn a_layer_that_does_not_fit_is_a_gap() {
    with_faults("E2BIG", |capability| {
        let no_new_privs = has_no_new_privs();
        let fault = Fault { index: IN_TRIAL + 2, answer: -c_long::from(libc::E2BIG) };
        let (applied, _) = watched(Some(fault), || apply(capability));
        assert_eq!(applied, Err(EnforceError::Gaps(Gaps::DEPTH)));
        assert_unrestricted("a layer too many", no_new_privs);
        let tolerant = || Confinement::new(capability).tolerate(Gaps::all()).apply();
        assert_eq!(watched(Some(fault), tolerant).0, Ok(()));
        assert_eq!([8080, 8081].map(bind), [Ok(()), REFUSED], "the parent is left out");
    });
}

fn unsupported_means_that_nothing_is_restricted() {
    with_faults("ENOSYS", |capability| {
        let no_new_privs = has_no_new_privs();
        let fault = Fault { index: 1, answer: -c_long::from(libc::ENOSYS) };
        let (applied, _) = watched(Some(fault), || apply(capability));
        assert_eq!(applied, Err(NO_SECCOMP));
        assert_unrestricted("without seccomp", no_new_privs);
    });
}

/// The calls of a seal in a process with one thread.
const CALLS_OF_SEAL: &[&str] = &[
    "seccomp", // asks for an action
    "openat",  // the tasks
    "getdents64",
    "openat", // the task
    "openat", // its flags
    "read",
    "openat", // its descriptors
    "getdents64",
    "getdents64",
    "getdents64", // the end of the tasks
    "openat",     // the memory
    "read",       // several times
    "prctl",
    "seccomp",
];

fn every_call_of_a_seal_that_fails_is_an_error() {
    for (index, call) in CALLS_OF_SEAL.iter().enumerate() {
        let what = format!("call {index}, {call}");
        with_faults(&what, |_| {
            let (no_new_privs, open) = (has_no_new_privs(), descriptors());
            let (_, all) = watched(None, || Seal::Listening.gaps());
            // Those of `gaps`, and the two that follow.
            let reads = 1 + all.len() - (CALLS_OF_SEAL.len() - 3);
            let at = if index <= 11 { index } else { index + reads - 1 };
            let fault = Fault { index: at, answer: EIO };
            let (sealed, mut calls) = watched(Some(fault), || Seal::Listening.apply());
            let error = match *call {
                "prctl" => "prctl(PR_SET_NO_NEW_PRIVS)",
                call => call,
            };
            let expected = match index {
                0 => NO_SECCOMP,
                1..12 => EnforceError::Gaps(Gaps::IO_URING),
                _ => EnforceError::System { call: error, errno: Errno::IO },
            };
            calls.dedup_by(|a, b| a == b && *a == "read");
            assert_eq!(sealed, Err(expected));
            // After a fault in a task, whether it has ended is asked.
            assert!(calls == CALLS_OF_SEAL[..=index] || (3..9).contains(&index), "{calls:?}");
            assert_eq!(descriptors(), open);
            assert_unrestricted(&what, no_new_privs || index == 13);
        });
    }
    with_faults("no fault", |_| {
        let (sealed, mut calls) = watched(None, || Seal::Sockets.apply());
        calls.dedup_by(|a, b| a == b && *a == "read");
        assert_eq!((sealed, calls.as_slice()), (Ok(()), CALLS_OF_SEAL));
    });
}

fn a_descriptor_that_was_closed_meanwhile_is_no_ring() {
    for (errno, gaps) in [(libc::ENOENT, Gaps::empty()), (libc::EIO, Gaps::IO_URING)] {
        alone("readlinkat", || {
            install(&[READ_LINK]);
            let fault = Fault { index: 0, answer: -c_long::from(errno) };
            let (found, calls) = watched(Some(fault), || Seal::Listening.gaps());
            assert_eq!((found, calls.is_empty()), (gaps, false));
        });
    }
}

fn a_seal_without_seccomp_is_not_supported() {
    with_faults("ENOSYS", |_| {
        let fault = Fault { index: 0, answer: -c_long::from(libc::ENOSYS) };
        let (sealed, _) = watched(Some(fault), || Seal::Listening.apply());
        assert_eq!(sealed, Err(NO_SECCOMP));
    });
}

/// Sets a soft limit of this process.
fn limit(resource: libc::__rlimit_resource_t, value: usize) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit outlives the call.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) }.into()).unwrap();
    limit.rlim_cur = value as u64;
    // SAFETY: the limit outlives the call.
    check(unsafe { libc::setrlimit(resource, &raw const limit) }.into()).unwrap();
}

/// A layer needs a descriptor, and one more while it opens a directory.
fn without_free_descriptors_nothing_is_restricted() {
    let openat = "openat";
    for (free, call) in [(0, "landlock_create_ruleset"), (1, openat), (2, openat)] {
        alone(&format!("{free} free descriptors"), || {
            with_two_layers(|capability| {
                let no_new_privs = has_no_new_privs();
                let first_free = descriptors().len();
                assert_eq!(descriptors().last(), Some(&(first_free as i32 - 1)), "no holes");
                limit(libc::RLIMIT_NOFILE, first_free + free);
                let applied = apply(capability);
                let sealed = Seal::Listening.apply();
                limit(libc::RLIMIT_NOFILE, 1024);
                assert_eq!(applied, Err(EnforceError::System { call, errno: Errno::MFILE }));
                // The names of the tasks need three.
                assert_eq!(sealed, Err(EnforceError::Gaps(Gaps::IO_URING)));
                assert_unrestricted("without descriptors", no_new_privs);
            });
        });
    }
    with_two_layers(|capability| {
        limit(libc::RLIMIT_NOFILE, descriptors().len() + 3);
        assert_eq!(apply(capability), Ok(()));
        assert_eq!(Seal::Listening.apply(), Ok(()));
    });
}

/// Root may start any number of processes.
fn without_a_free_process_nothing_is_restricted() {
    if is_root() {
        return;
    }
    with_two_layers(|capability| {
        let no_new_privs = has_no_new_privs();
        limit(libc::RLIMIT_NPROC, 0);
        let error = EnforceError::System { call: "clone", errno: Errno::AGAIN };
        assert_eq!(Confinement::new(capability).gaps(), Err(error));
        assert_eq!(apply(capability), Err(error));
        assert_unrestricted("without a process", no_new_privs);
    });
}
