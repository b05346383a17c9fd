//! The exact system calls, with their order and arguments. A refused opening makes none. The lists
//! come from a supervisor that sees every call of the thread.

#[cfg(raw_syscalls)]
mod clock;

use std::net::{TcpListener, TcpStream};

use netbind::{
    AuditRing, CancelFlag, Context, ListenOptions, MonotonicClock, NetBind, Rights, SocketError,
    listen,
};
use netbind::{listen_with_capability, listen_with_context};

use crate::support::allow_port_0_and_unix;
use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::machine::{can_open, directory};
use crate::support::memory::Arena;
use crate::support::supervisor::{traced, watched};
use crate::support::thread::private_network;

const INET: &str = "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)";
const INET6: &str = "socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)";
const UNIX: &str = "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)";
const REUSE: &str = "setsockopt(3, SO_REUSEADDR, 1)";
const V6_ONLY: &str = "setsockopt(3, IPV6_V6ONLY, 1)";
const V4: &str = "bind(3, 127.0.0.1:0)";
const V6: &str = "bind(3, [::1%0]:0)";
const RELATIVE: &str = "bind(3, unix \"run.sock\\x00\")";
const PATH: &str = "bind(3, unix \"/proc/thread-self/cwd/run.sock\\x00\")";
const NAME: &str = "bind(3, unix \"\\x00netbind-calls\")";
const STAT: &str = "lstat(/proc/thread-self/cwd/run.sock)";
const STAT_RELATIVE: &str = "fstatat(4, run.sock)";
/// An absolute path in the thread's working directory.
const ABSOLUTE: &str = "unix:/proc/thread-self/cwd/run.sock";
const LISTEN: &str = "listen(3, 2147483647)";

/// The calls of a whole opening, by address.
const OPENINGS: [(&str, &[&str]); 5] = [
    ("127.0.0.1:0", &[INET, REUSE, V4, LISTEN]),
    ("[::1]:0", &[INET6, REUSE, V6_ONLY, V6, LISTEN]),
    (ABSOLUTE, &[UNIX, PATH, STAT, LISTEN]),
    (
        "unix:run.sock",
        &[UNIX, "openat(.)", STAT_RELATIVE, RELATIVE, STAT_RELATIVE, "close(4)", LISTEN],
    ),
    ("unix:@netbind-calls", &[UNIX, NAME, LISTEN]),
];

/// Returns the openings that this machine can make.
fn openings() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    OPENINGS.into_iter().filter(|(address, _)| can_open(address))
}

/// Returns the calls of `body`, which runs in an empty working directory.
///
/// `body` must not use the global allocator, which sometimes makes system calls.
fn calls_of<T>(body: impl FnOnce(&Arena) -> T + Send) -> Vec<String> {
    let directory = directory();
    let ((), calls) = traced(|| {
        std::env::set_current_dir(directory.path()).unwrap();
        let arena = Arena::new();
        let value = watched(|| body(&arena));
        drop(value);
    });
    calls
}

/// An abstract name is unique in its network, so only one test uses it at a time.
static NAME_IN_USE: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn every_kind_of_address_makes_only_the_documented_calls() {
    let _name = NAME_IN_USE.lock();
    let clock = MonotonicClock::new();
    for (address, calls) in openings() {
        assert_eq!(calls_of(|arena| listen(address, arena).map(without_end)), calls, "{address}");
        let under_context = calls_of(|arena| {
            let stop = CancelFlag::new();
            let context = Context::new(&clock)
                .with_cancel(&stop)
                .with_timeout(std::time::Duration::from_secs(3600));
            listen_with_context(address, &context, arena).map(without_end)
        });
        assert_eq!(under_context, calls, "{address} under a context");
        let with_capability = calls_of(|arena| {
            let mut capability = NetBind::empty("test").unwrap();
            allow_port_0_and_unix(&mut capability);
            listen_with_capability(address, &capability, arena).map(without_end)
        });
        assert_eq!(with_capability, calls, "{address} with a capability");
    }
}

/// Takes the descriptor, so that the end of the listener makes no call.
fn without_end<A: netbind::alloc::Allocator>(
    listener: netbind::Listener<A>,
) -> std::os::fd::OwnedFd {
    listener.into_fd()
}

#[test]
fn an_audit_sink_adds_one_getsockname_only_for_port_zero() {
    let _name = NAME_IN_USE.lock();
    for (address, calls) in openings() {
        let found = calls_of(|arena| {
            let ring = AuditRing::new_in(2, arena).unwrap();
            let mut capability = NetBind::empty("test").unwrap().with_sink(&ring);
            allow_port_0_and_unix(&mut capability);
            listen_with_capability(address, &capability, arena).map(without_end)
        });
        let mut expected: Vec<_> = calls.to_vec();
        if address.ends_with(":0") {
            expected.insert(expected.len() - 1, "getsockname(3)");
        }
        assert_eq!(found, expected, "{address}");
    }
}

#[test]
fn an_audit_sink_adds_no_call_for_a_fixed_port() {
    let (port, calls) = traced(|| {
        private_network();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (address, arena) = (format!("127.0.0.1:{port}"), Arena::new());
        let ring = AuditRing::new_in(2, &arena).unwrap();
        let mut capability = NetBind::empty("test").unwrap().with_sink(&ring);
        capability.grant(Rights::NET_BIND).allow_port(port).unwrap();
        let _fd =
            watched(|| listen_with_capability(&address, &capability, &arena).map(without_end))
                .unwrap();
        port
    });
    assert_eq!(calls, [INET, REUSE, &format!("bind(3, 127.0.0.1:{port})"), LISTEN]);
}

#[test]
fn each_option_adds_or_changes_one_call() {
    type Change = fn(ListenOptions<'static>) -> ListenOptions<'static>;
    const V4_NONBLOCKING: &str =
        "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_TCP)";
    const DUAL: &str = "setsockopt(3, IPV6_V6ONLY, 0)";
    let cases: [(&str, Change, &[&str]); 14] = [
        ("127.0.0.1:0", |o| o.reuse_address(false), &[INET, V4, LISTEN]),
        (
            "127.0.0.1:0",
            |o| o.reuse_port(true),
            &[INET, REUSE, "setsockopt(3, SO_REUSEPORT, 1)", V4, LISTEN],
        ),
        (
            "127.0.0.1:0",
            |o| o.free_bind(true),
            &[INET, REUSE, "setsockopt(3, IP_FREEBIND, 1)", V4, LISTEN],
        ),
        (
            "127.0.0.1:0",
            |o| o.keep_alive(true),
            &[INET, REUSE, "setsockopt(3, SO_KEEPALIVE, 1)", V4, LISTEN],
        ),
        (
            "127.0.0.1:0",
            |o| o.no_delay(true),
            &[INET, REUSE, "setsockopt(3, TCP_NODELAY, 1)", V4, LISTEN],
        ),
        (
            "127.0.0.1:0",
            |o| o.receive_buffer(4096),
            &[INET, REUSE, "setsockopt(3, SO_RCVBUF, 4096)", V4, LISTEN],
        ),
        (
            "127.0.0.1:0",
            |o| o.send_buffer(4096),
            &[INET, REUSE, "setsockopt(3, SO_SNDBUF, 4096)", V4, LISTEN],
        ),
        ("127.0.0.1:0", |o| o.nonblocking(true), &[V4_NONBLOCKING, REUSE, V4, LISTEN]),
        ("127.0.0.1:0", |o| o.backlog(7), &[INET, REUSE, V4, "listen(3, 7)"]),
        ("127.0.0.1:0", |o| o.backlog(u32::MAX), &[INET, REUSE, V4, LISTEN]),
        ("[::1]:0", |o| o.dual_stack(true), &[INET6, REUSE, DUAL, V6, LISTEN]),
        (
            "[::1]:0",
            |o| o.free_bind(true),
            &[INET6, REUSE, V6_ONLY, "setsockopt(3, IPV6_FREEBIND, 1)", V6, LISTEN],
        ),
        (ABSOLUTE, |o| o.mode(0o600), &[UNIX, "fchmod(3, 0o600)", PATH, STAT, LISTEN]),
        (ABSOLUTE, |o| o.reuse_address(true).backlog(0), &[UNIX, PATH, STAT, "listen(3, 0)"]),
    ];
    for (address, change, calls) in cases.into_iter().filter(|(address, ..)| can_open(address)) {
        let found =
            calls_of(|arena| change(ListenOptions::new()).listen(address, arena).map(without_end));
        assert_eq!(found, calls, "{address}");
    }
}

type Attempt = fn(&Arena) -> SocketError;

const REFUSED: &[(&str, SocketError, Attempt)] = &[
    ("no address", SocketError::InvalidAddress, |a| listen("localhost:80", a).unwrap_err()),
    ("no port", SocketError::InvalidPort, |a| listen("127.0.0.1:http", a).unwrap_err()),
    ("path too long", SocketError::InvalidAddress, |a| listen([b'/'; 108], a).unwrap_err()),
    ("port denied", SocketError::CapabilityDenied, |a| {
        listen_with_capability("127.0.0.1:0", &NetBind::new("test").unwrap(), a).unwrap_err()
    }),
    ("path denied", SocketError::CapabilityDenied, |a| {
        listen_with_capability("unix:run.sock", &NetBind::empty("test").unwrap(), a).unwrap_err()
    }),
    ("name denied", SocketError::CapabilityDenied, |a| {
        listen_with_capability("unix:@netbind-denied", &NetBind::new("test").unwrap(), a)
            .unwrap_err()
    }),
    ("denied under audit", SocketError::CapabilityDenied, |a| {
        let ring = netbind::AuditRing::new_in(1, a).unwrap();
        let capability = NetBind::new("test").unwrap().with_sink(&ring);
        listen_with_capability("[::1]:22", &capability, a).unwrap_err()
    }),
    ("dual stack not covered", SocketError::CapabilityDenied, |a| {
        let address = "[::]:8080".parse().unwrap();
        let capability = NetBind::new("test").unwrap();
        ListenOptions::new()
            .dual_stack(true)
            .open(capability.check(&address).unwrap(), a)
            .unwrap_err()
    }),
    ("cancelled", SocketError::Timeout, |a| {
        let (clock, stop) = (ScriptedClock::never_expires(), CancelFlag::new());
        stop.cancel();
        listen_with_context("unix:run.sock", &Context::new(&clock).with_cancel(&stop), a)
            .unwrap_err()
    }),
    ("expired", SocketError::Timeout, |a| {
        let clock = ScriptedClock::expires_at(1);
        listen_with_context("[::1]:0", &Context::new(&clock).with_deadline(DEADLINE), a)
            .unwrap_err()
    }),
    ("inapplicable option", SocketError::InvalidOption(netbind::error::SocketOption::Mode), |a| {
        ListenOptions::new().mode(0o600).listen("127.0.0.1:0", a).unwrap_err()
    }),
];

#[test]
fn a_refused_opening_makes_no_system_call() {
    let control = calls_of(|arena| listen("127.0.0.1:0", arena).map(without_end));
    assert!(!control.is_empty(), "the supervisor sees calls");
    for (case, error, attempt) in REFUSED {
        let calls = calls_of(|arena| assert_eq!(attempt(arena), *error, "{case}"));
        assert_eq!(calls, [""; 0], "{case}");
    }
}

#[test]
fn the_end_of_a_listener_removes_the_path_before_the_close() {
    let _name = NAME_IN_USE.lock();
    for (address, _) in openings() {
        let expected: &[&str] = match address {
            ABSOLUTE => &[STAT, "unlink(/proc/thread-self/cwd/run.sock)", "close(3)"],
            "unix:run.sock" => {
                &["openat(.)", STAT_RELATIVE, "unlinkat(4, run.sock)", "close(4)", "close(3)"]
            }
            _ => &["close(3)"],
        };
        let ends: [fn(netbind::Listener<&Arena>); 2] =
            [|listener| drop(listener), |listener| listener.close().unwrap()];
        for end in ends {
            let directory = directory();
            let ((), calls) = traced(|| {
                std::env::set_current_dir(directory.path()).unwrap();
                let arena = Arena::new();
                let listener = listen(address, &arena).unwrap();
                watched(|| end(listener));
            });
            assert_eq!(calls, expected, "{address}");
        }
    }
}

#[test]
fn accept_and_local_address_make_at_most_one_call() {
    let ((), calls) = traced(|| {
        let arena = Arena::new();
        let listener = listen("127.0.0.1:0", &arena).unwrap();
        let address = watched(|| listener.local_address()).unwrap().to_socket_addr().unwrap();
        let _clients = [(); 2].map(|()| TcpStream::connect(address).unwrap());
        let _connections =
            watched(|| (listener.accept().unwrap(), listener.accept_nonblocking().unwrap()));
    });
    assert_eq!(
        calls,
        ["getsockname(3)", "accept4(3, SOCK_CLOEXEC)", "accept4(3, SOCK_CLOEXEC|SOCK_NONBLOCK)"]
    );

    let ((), calls) = traced(|| {
        let arena = Arena::new();
        let unix = listen("unix:@netbind-no-getsockname", &arena).unwrap();
        watched(|| unix.local_address().unwrap());
    });
    assert_eq!(calls, [""; 0], "a Unix socket needs no call");
}
