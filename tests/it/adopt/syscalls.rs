//! The exact system calls of an adoption, with their order and arguments.

use std::fs;
use std::os::fd::OwnedFd;

use netbind::error::SocketOption;
use netbind::{
    AuditRing, BindAddress, CancelFlag, Context, ListenOptions, Listener, NetBind, SocketError,
};

use super::{
    abstract_name, allow_all, assert_accepts, foreign, foreign_ipv6, set_close_on_exec,
    set_nonblocking,
};
use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::machine::{can_open, directory, has_sock_diag};
use crate::support::memory::Arena;
use crate::support::supervisor::{traced, watched};

const DOMAIN: &str = "getsockopt(3, SO_DOMAIN)";
const TYPE: &str = "getsockopt(3, SO_TYPE)";
const PROTOCOL: &str = "getsockopt(3, SO_PROTOCOL)";
const LISTENS: &str = "getsockopt(3, SO_ACCEPTCONN)";
const NAME: &str = "getsockname(3)";
const V6_ONLY: &str = "getsockopt(3, IPV6_V6ONLY)";
const GET_MODE: &str = "fcntl(3, F_GETFL)";
const SET_MODE: &str = "fcntl(3, F_SETFL, O_NONBLOCK)";
const CLOSE_ON_EXEC: &str = "fcntl(3, F_SETFD, FD_CLOEXEC)";

const FSTAT: &str = "fstat(3)";
const NETLINK: &str = "socket(AF_NETLINK, SOCK_DGRAM|SOCK_CLOEXEC, NETLINK_SOCK_DIAG)";
const SEND: &str = "sendto(4, 40 bytes)";
const RECEIVE: &str = "recvfrom(4)";
const CLOSE: &str = "close(4)";
const OPEN: &str = "openat(.)";
const STAT_RELATIVE: &str = "fstatat(4, b)";
/// An absolute path in the thread's working directory.
const ABSOLUTE: &str = "unix:/proc/thread-self/cwd/b";
const STAT: &str = "lstat(/proc/thread-self/cwd/b)";

/// The calls that find the file of a socket.
const DIAG: [&str; 5] = [FSTAT, NETLINK, SEND, RECEIVE, CLOSE];

/// The calls that inspect a socket.
const IPV4: &[&str] = &[DOMAIN, TYPE, PROTOCOL, LISTENS, NAME];
const IPV6: &[&str] = &[DOMAIN, TYPE, PROTOCOL, LISTENS, NAME, V6_ONLY];
const UNIX: &[&str] = &[DOMAIN, TYPE, LISTENS, NAME];

/// Returns an address of each family that this machine has, and the calls that inspect its socket.
fn families(test: &str) -> impl Iterator<Item = (String, &'static [&'static str])> {
    let addresses = ["127.0.0.1:0", "[::1]:0", "unix:b", ABSOLUTE, &abstract_name(test)];
    let families = addresses.map(String::from).into_iter().zip([IPV4, IPV6, UNIX, UNIX, UNIX]);
    families.filter(|(address, _)| can_open(address))
}

/// Returns the calls of `body`, which gets the only descriptor of its thread, 3. It must not use the
/// global allocator, which sometimes makes system calls.
fn calls_of<T>(
    open: impl FnOnce() -> OwnedFd + Send,
    body: impl FnOnce(OwnedFd, &Arena) -> T + Send,
) -> Vec<String> {
    let directory = directory();
    let ((), calls) = traced(|| {
        std::env::set_current_dir(directory.path()).unwrap();
        let arena = Arena::new();
        let fd = open();
        let value = watched(|| body(fd, &arena));
        drop(value);
    });
    calls
}

type Adopt = for<'a> fn(OwnedFd, &'a Arena) -> Listener<&'a Arena>;

#[test]
fn an_adoption_makes_only_the_documented_calls() {
    const BLOCKING: &[&str] = &[GET_MODE, CLOSE_ON_EXEC];
    let cases: [(&str, bool, Adopt, &[&str]); 5] = [
        ("blocking", false, |fd, a| ListenOptions::new().adopt(fd, a).unwrap(), BLOCKING),
        ("stays non-blocking", true, |fd, a| ListenOptions::new().adopt(fd, a).unwrap(), BLOCKING),
        (
            "made non-blocking",
            false,
            |fd, a| ListenOptions::new().nonblocking(true).adopt(fd, a).unwrap(),
            &[GET_MODE, SET_MODE, CLOSE_ON_EXEC],
        ),
        (
            "is non-blocking",
            true,
            |fd, a| ListenOptions::new().nonblocking(true).adopt(fd, a).unwrap(),
            BLOCKING,
        ),
        (
            "with a capability, a ring and a context",
            false,
            |fd, a| {
                let ring = AuditRing::new_in(4, a).unwrap();
                let (clock, stop) = (ScriptedClock::never_expires(), CancelFlag::new());
                let context = Context::new(&clock).with_deadline(DEADLINE).with_cancel(&stop);
                let capability = allow_all().with_sink(&ring);
                let options = ListenOptions::new().capability(&capability).context(&context);
                options.adopt(fd, a).unwrap()
            },
            BLOCKING,
        ),
    ];
    for (address, inspection) in families("calls") {
        for (case, nonblocking, adopt, changes) in cases {
            let open = || {
                let fd = foreign(&address);
                set_nonblocking(&fd, nonblocking);
                fd
            };
            let found = calls_of(open, |fd, arena| adopt(fd, arena).into_fd());
            assert_eq!(found, [inspection, changes].concat(), "{address}, {case}");
        }
    }
}

#[test]
fn an_adoption_of_a_renamed_socket_makes_only_the_documented_calls() {
    if !has_sock_diag() {
        return;
    }
    let (absolute, relative) = ([STAT].as_slice(), [OPEN, STAT_RELATIVE, CLOSE].as_slice());
    for (text, stat) in [(ABSOLUTE, absolute), ("unix:b", relative)] {
        for nonblocking in [false, true] {
            let address: BindAddress = text.parse().unwrap();
            let open = || {
                let fd = foreign("unix:a");
                fs::rename("a", "b").unwrap();
                fd
            };
            let found = calls_of(open, |fd, arena| {
                let options = ListenOptions::new().nonblocking(nonblocking);
                options.adopt_as(fd, &address, arena).unwrap().into_fd()
            });
            let changes: &[_] = if nonblocking {
                &[GET_MODE, SET_MODE, CLOSE_ON_EXEC]
            } else {
                &[GET_MODE, CLOSE_ON_EXEC]
            };
            let inspection: &[_] = &[DOMAIN, TYPE, LISTENS];
            assert_eq!(found, [inspection, &DIAG, stat, changes].concat(), "{text}");
        }
    }
}

#[test]
fn a_request_to_remove_the_path_makes_the_calls_that_verify_it() {
    if !has_sock_diag() {
        return;
    }
    let (absolute, relative) = ([STAT].as_slice(), [OPEN, STAT_RELATIVE, CLOSE].as_slice());
    for (text, stat) in [(ABSOLUTE, absolute), ("unix:b", relative)] {
        for is_own in [false, true] {
            let directory = directory();
            let ((), calls) = traced(|| {
                std::env::set_current_dir(directory.path()).unwrap();
                let arena = Arena::new();
                let mut listener = if is_own {
                    netbind::listen(text, &arena).unwrap()
                } else {
                    ListenOptions::new().adopt(foreign(text), &arena).unwrap()
                };
                watched(|| {
                    if is_own {
                        listener.remove_path(true).unwrap(); // it is known from the bind
                    }
                    listener.remove_path(false).unwrap();
                    listener.keep_path();
                    listener.remove_path(true).unwrap();
                    listener.remove_path(true).unwrap();
                    listener.remove_path(false).unwrap();
                });
            });
            assert_eq!(calls, [&DIAG, stat].concat(), "{text}");
        }
    }
}

#[test]
fn the_end_of_an_adopted_listener_makes_only_the_documented_calls() {
    let unlink = |text| match text {
        ABSOLUTE => vec![STAT, "unlink(/proc/thread-self/cwd/b)"],
        _ => vec![OPEN, STAT_RELATIVE, "unlinkat(4, b)", CLOSE],
    };
    for text in ["127.0.0.1:0", ABSOLUTE, "unix:b"] {
        for removed in [false, true] {
            if removed && !has_sock_diag() {
                continue;
            }
            let ends: [fn(Listener<&Arena>); 2] =
                [|listener| drop(listener), |listener| listener.close().unwrap()];
            for end in ends {
                let directory = directory();
                let ((), calls) = traced(|| {
                    std::env::set_current_dir(directory.path()).unwrap();
                    let arena = Arena::new();
                    let mut listener = ListenOptions::new().adopt(foreign(text), &arena).unwrap();
                    listener.remove_path(removed).unwrap();
                    watched(|| end(listener));
                });
                let mut expected =
                    if removed && text != "127.0.0.1:0" { unlink(text) } else { vec![] };
                expected.push("close(3)");
                assert_eq!(calls, expected, "{text}");
            }
        }
    }
}

#[test]
fn an_adoption_that_is_refused_first_makes_no_system_call() {
    type Change = for<'o> fn(ListenOptions<'o>) -> ListenOptions<'o>;
    const OPTIONS: &[(SocketOption, Change)] = &[
        (SocketOption::ReuseAddress, |o| o.reuse_address(false)),
        (SocketOption::V6Only, |o| o.dual_stack(true)),
        (SocketOption::Backlog, |o| o.backlog(1)),
        (SocketOption::Mode, |o| o.mode(0o600)),
        (SocketOption::BeforeBind, |o| o.before_bind(&|_| Ok(()))),
    ];
    let new = "unix:b".parse().unwrap();
    let refused = |options: &ListenOptions<'_>, error: SocketError| {
        let calls = calls_of(
            || foreign("127.0.0.1:0"),
            |fd, arena| {
                let refused = options.adopt(fd, arena).unwrap_err();
                assert_eq!(refused.error(), error);
                let refused = options.adopt_as(refused.into_fd(), &new, arena).unwrap_err();
                assert_eq!(refused.error(), error);
                refused.into_fd()
            },
        );
        assert_eq!(calls, [""; 0], "{error}");
    };
    for (option, change) in OPTIONS {
        let options = change(ListenOptions::new().nonblocking(true));
        refused(&options, SocketError::InvalidOption(*option));
    }
    let (clock, stop) = (ScriptedClock::never_expires(), CancelFlag::new());
    stop.cancel();
    let cancelled = Context::new(&clock).with_cancel(&stop);
    refused(&ListenOptions::new().context(&cancelled), SocketError::Timeout);
    let expired = ScriptedClock::expires_at(1);
    let expired = Context::new(&expired).with_deadline(DEADLINE);
    refused(&ListenOptions::new().context(&expired), SocketError::Timeout);
}

/// It is decided after the calls that read the address, and before those that change anything.
#[test]
fn an_adoption_that_is_denied_or_has_no_memory_changes_nothing() {
    for (address, inspection) in families("denied-calls") {
        let denied = calls_of(
            || foreign(&address),
            |fd, arena| {
                let capability = NetBind::empty("web").unwrap();
                let options = ListenOptions::new().capability(&capability).nonblocking(true);
                let error = options.adopt(fd, arena).unwrap_err();
                assert_eq!(error.error(), SocketError::CapabilityDenied);
                error.into_fd()
            },
        );
        assert_eq!(denied, inspection, "{address}");
        let no_memory = calls_of(
            || foreign(&address),
            |fd, arena| {
                arena.refuse(true);
                let error = ListenOptions::new().nonblocking(true).adopt(fd, arena).unwrap_err();
                assert_eq!(error.error(), SocketError::OutOfMemory);
                error.into_fd()
            },
        );
        assert_eq!(no_memory, inspection, "{address}");
    }
}

#[test]
fn an_adopted_dual_stack_socket_is_asked_the_same() {
    if !can_open("[::1]:0") {
        return;
    }
    for v6_only in [false, true] {
        let calls = calls_of(
            || {
                let fd = foreign_ipv6(std::net::Ipv6Addr::UNSPECIFIED, v6_only);
                set_close_on_exec(&fd, false);
                fd
            },
            |fd, arena| ListenOptions::new().adopt(fd, arena).unwrap().into_fd(),
        );
        assert_eq!(calls, [IPV6, &[GET_MODE, CLOSE_ON_EXEC]].concat());
    }
}

/// The calls end at the first answer that refuses the socket.
#[test]
fn a_socket_of_another_kind_is_refused_at_the_first_call_that_tells() {
    type Open = fn() -> OwnedFd;
    let cases: [(Open, &[&str]); 4] = [
        (|| tempfile::tempfile().unwrap().into(), &[DOMAIN]),
        (|| std::os::unix::net::UnixDatagram::unbound().unwrap().into(), &[DOMAIN, TYPE]),
        (|| std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into(), &[DOMAIN, TYPE]),
        (|| std::os::unix::net::UnixStream::pair().unwrap().0.into(), &[DOMAIN, TYPE, LISTENS]),
    ];
    for (open, expected) in cases {
        let calls = calls_of(open, |fd, arena| {
            ListenOptions::new().adopt(fd, arena).unwrap_err().into_fd()
        });
        assert_eq!(calls, expected);
    }
}

#[test]
fn local_address_of_an_adopted_unix_socket_makes_no_call() {
    let directory = directory();
    let ((), calls) = traced(|| {
        std::env::set_current_dir(directory.path()).unwrap();
        let arena = Arena::new();
        let unix = ListenOptions::new().adopt(foreign("unix:b"), &arena).unwrap();
        let tcp = ListenOptions::new().adopt(foreign("127.0.0.1:0"), &arena).unwrap();
        watched(|| (unix.local_address().unwrap(), tcp.local_address().unwrap()));
        assert_accepts(&unix);
    });
    assert_eq!(calls, ["getsockname(4)"]);
}
