//! Seals: nothing binds or listens any more, and what listens goes on.
#![allow(unsafe_code)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ptr;

use libc::AF_INET;
use netbind::enforce::{Confinement, EnforceError, Gaps, Seal};
use netbind::error::{Errno, Step};
use netbind::{SocketError, alloc::Global};

use super::attempts::{Restriction, assert_inherited, assert_table};
use super::harness::{Case, alone, become_nobody, case, skip};
use super::probe::{
    self, Outcome, assert_unrestricted, bind_path, bind_tcp, check, directory, has_no_new_privs,
    has_seccomp_filter, listen_unbound, socket,
};

pub(crate) const CASES: &[Case] = &[
    case!(each_attempt_has_the_documented_answer),
    case!(each_attempt_without_sockets_has_the_documented_answer),
    case!(executed_programs_are_sealed_too),
    case!(a_service_goes_on_to_serve),
    case!(a_seal_can_be_applied_again),
    case!(asking_for_gaps_restricts_nothing),
    case!(the_crate_reports_the_refusal_of_the_kernel),
    case!(sealing_sets_no_new_privs),
    case!(a_process_that_nobody_may_trace_can_be_sealed),
    case!(a_call_that_a_tracer_skips_does_not_end_the_process),
    case!(without_proc_a_ring_cannot_be_ruled_out).for_root(),
];

const BOTH: [Seal; 2] = [Seal::Listening, Seal::Sockets];

/// A tracer sets the number of a call to -1 to skip it.
fn a_call_that_a_tracer_skips_does_not_end_the_process() {
    Seal::Listening.apply().unwrap();
    // SAFETY: there is no call of this number.
    assert_eq!(check(unsafe { libc::syscall(-1) }).map(drop), Err(Errno::NOSYS));
}

fn each_attempt_has_the_documented_answer() {
    assert_table(Restriction::Sealed(Seal::Listening));
}

fn each_attempt_without_sockets_has_the_documented_answer() {
    assert_table(Restriction::Sealed(Seal::Sockets));
}

fn executed_programs_are_sealed_too() {
    let names = [
        "TCP, an allowed port, IPv4",
        "TCP, listen without bind, IPv4",
        "Unix path in the directory",
        "abstract name",
        "UDP, sendto without bind",
        "io_uring_setup",
        "getaddrinfo",
    ];
    for seal in BOTH {
        assert_inherited(Restriction::Sealed(seal), &names);
    }
}

fn a_service_goes_on_to_serve() {
    let listener = netbind::listen("127.0.0.1:0", &Global).unwrap();
    let directory = directory();
    let path = directory.path().join("s");
    let unix = netbind::listen(path.to_str().unwrap(), &Global).unwrap();
    Seal::Listening.apply().unwrap();
    let address = listener.local_address().unwrap().to_socket_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let mut connection = TcpStream::from(connection);
    client.write_all(b"x").unwrap();
    assert_eq!(connection.read(&mut [0; 8]).unwrap(), 1);
    let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    unix.accept().unwrap();
    drop(unix);
    assert!(!path.exists(), "its socket file can be removed");
}

fn a_seal_can_be_applied_again() {
    for first in BOTH {
        for second in BOTH {
            alone("two seals", || {
                first.apply().unwrap();
                second.apply().unwrap();
                assert_eq!(bind_tcp("127.0.0.1:8081"), Err(Errno::ACCESS));
                let is_open = (first, second) == (Seal::Listening, Seal::Listening);
                let opened = socket(AF_INET, libc::SOCK_STREAM, 0);
                assert_eq!(opened.is_ok(), is_open, "{first:?}, then {second:?}");
            });
        }
    }
    // Each seal is one more filter, and the kernel has room for hundreds of them.
    for _ in 0..100 {
        Seal::Listening.apply().unwrap();
    }
}

fn asking_for_gaps_restricts_nothing() {
    let before = has_no_new_privs();
    for seal in BOTH {
        assert_eq!(seal.gaps(), Gaps::empty());
    }
    assert_unrestricted("after gaps", before);
}

fn the_crate_reports_the_refusal_of_the_kernel() {
    let denied = |step| SocketError::System { step, errno: Errno::ACCESS };
    Seal::Listening.apply().unwrap();
    let error = netbind::listen("127.0.0.1:0", &Global).unwrap_err();
    assert_eq!(error, denied(Step::Bind));
    Seal::Sockets.apply().unwrap();
    let error = netbind::listen("127.0.0.1:0", &Global).unwrap_err();
    assert_eq!(error, denied(Step::Socket));
}

fn sealing_sets_no_new_privs() {
    Seal::Listening.apply().unwrap();
    assert!(has_no_new_privs());
    assert!(has_seccomp_filter());
}

/// A process that has changed its user is one, and its files in `/proc` belong to root.
fn a_process_that_nobody_may_trace_can_be_sealed() {
    // SAFETY: the call takes only numbers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) }.into()).unwrap();
    assert_eq!(Seal::Sockets.gaps(), Gaps::empty());
    Seal::Sockets.apply().unwrap();
    assert_eq!(bind_tcp("127.0.0.1:8081"), Err(Errno::ACCESS));
}

/// Hides `/proc` from this process. It must be root.
fn hide_proc() -> Outcome {
    // SAFETY: the call takes only a number.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into())?;
    for (target, flags) in [(c"/", libc::MS_REC | libc::MS_PRIVATE), (c"/proc", 0)] {
        let (kind, target) = (c"tmpfs".as_ptr(), target.as_ptr());
        // SAFETY: the strings end with a NUL and outlive the call, which reads nothing else.
        let mounted = unsafe { libc::mount(kind, target, kind, flags, ptr::null()) };
        check(mounted.into())?;
    }
    Ok(())
}

/// A process with one thread can have a ring too.
fn assert_gaps_without_proc() {
    let capability = probe::capability(&["port 0", "any-path", "any-abstract"]);
    assert_eq!(Confinement::new(&capability).gaps(), Ok(Gaps::IO_URING));
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || receive.recv());
        let gaps = Confinement::new(&capability).gaps();
        assert_eq!(gaps, Ok(Gaps::THREADS | Gaps::IO_URING));
        drop(send);
    });
}

fn without_proc_a_ring_cannot_be_ruled_out() {
    let seal = || {
        let before = has_no_new_privs();
        for seal in BOTH {
            assert_eq!(seal.gaps(), Gaps::IO_URING);
            assert_eq!(seal.apply(), Err(EnforceError::Gaps(Gaps::IO_URING)));
        }
        assert_unrestricted("after the refusals", before);
        if probe::landlock_abi() >= 4 {
            assert_gaps_without_proc();
        }
        Seal::Listening.apply_tolerating(Gaps::IO_URING).unwrap();
        assert_eq!(bind_tcp("127.0.0.1:8081"), Err(Errno::ACCESS));
        assert_eq!(listen_unbound(AF_INET, 0).map(drop), Err(Errno::ACCESS));
        assert_eq!(bind_path(directory().path().join("s")), Err(Errno::ACCESS));
    };
    if let Err(errno) = hide_proc() {
        return skip(&format!("/proc, because root cannot hide it: {errno}"));
    }
    alone("root", seal);
    std::fs::create_dir_all("/proc/self/task").unwrap();
    alone("root, with something else at /proc", seal);
    alone("nobody", || {
        become_nobody().unwrap();
        seal();
    });
    let listener = TcpListener::bind("127.0.0.1:0");
    assert!(listener.is_ok(), "the case itself is not sealed");
}
