//! Every system call fails in turn, with the errnos of its man page: the error names call and errno, what was made so far
//! is undone, and the audit trail says what happened. One row of a table is one fault.

mod undoing;

use std::net::TcpStream;

use netbind::error::{Errno, SocketOption, Step};
use netbind::{ListenOptions, Listener, NetBind, Rights, SocketError, listen};

use crate::support::calls::Call;
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::supervisor::{supervised, take_forced, watched};
use crate::support::thread::descriptors;

type Change = fn(ListenOptions<'_>) -> ListenOptions<'_>;

const AS_IT_IS: Change = |options| options;
const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";
/// An absolute path in the working directory of the thread.
const PATH: &str = "unix:/proc/thread-self/cwd/run.sock";
const RELATIVE: &str = "unix:run.sock";
const NAME: &str = "unix:@netbind-faults";

/// What is left in the working directory.
const NOTHING: &[&str] = &[];

/// An opening under audit in which each call that begins with `call` fails, once with each errno.
struct Opening {
    address: &'static str,
    change: Change,
    call: &'static str,
    errnos: &'static [Errno],
    step: Step,
    /// Whether the trail has a `bind_socket` behind its check.
    bound: bool,
}

const fn row(
    address: &'static str,
    change: Change,
    call: &'static str,
    errnos: &'static [Errno],
    step: Step,
    bound: bool,
) -> Opening {
    Opening { address, change, call, errnos, step, bound }
}

const SOCKET: &[Errno] = &[
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::NOBUFS,
    Errno::ACCESS,
    Errno::PERM,
    Errno::AFNOSUPPORT,
    Errno::PROTONOSUPPORT,
    Errno::INVAL,
    Errno::INTR,
    Errno::NOSYS,
];
const OPTION: &[Errno] = &[Errno::NOPROTOOPT, Errno::NOMEM, Errno::INVAL, Errno::PERM];
const BIND: &[Errno] = &[
    Errno::ADDRINUSE,
    Errno::ADDRNOTAVAIL,
    Errno::ACCESS,
    Errno::PERM,
    Errno::NOMEM,
    Errno::NODEV,
    Errno::INVAL,
];
const BIND_PATH: &[Errno] = &[
    Errno::ADDRINUSE,
    Errno::ACCESS,
    Errno::NOENT,
    Errno::NOTDIR,
    Errno::LOOP,
    Errno::NAMETOOLONG,
    Errno::ROFS,
    Errno::NOSPC,
    Errno::DQUOT,
    Errno::IO,
    Errno::INTR,
];
const ASK: &[Errno] = &[Errno::NOBUFS, Errno::NOMEM, Errno::INVAL, Errno::PERM];
const OPEN: &[Errno] = &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::INTR];
const STAT: &[Errno] = &[Errno::ACCESS, Errno::IO, Errno::NOMEM, Errno::LOOP, Errno::INTR];
const LISTEN: &[Errno] = &[Errno::ADDRINUSE, Errno::OPNOTSUPP, Errno::NOMEM, Errno::PERM];

#[rustfmt::skip]
const OPENINGS: &[Opening] = &[
    row(V4, AS_IT_IS, "socket(", SOCKET, Step::Socket, false),
    row(V6, AS_IT_IS, "socket(", SOCKET, Step::Socket, false),
    row(PATH, AS_IT_IS, "socket(", SOCKET, Step::Socket, false),
    row(NAME, AS_IT_IS, "socket(", SOCKET, Step::Socket, false),
    row(V4, AS_IT_IS, "setsockopt(3, SO_REUSEADDR", OPTION, Step::Option(SocketOption::ReuseAddress), false),
    row(V6, AS_IT_IS, "setsockopt(3, SO_REUSEADDR", OPTION, Step::Option(SocketOption::ReuseAddress), false),
    row(V6, AS_IT_IS, "setsockopt(3, IPV6_V6ONLY, 1", OPTION, Step::Option(SocketOption::V6Only), false),
    row(V6, |o| o.dual_stack(true), "setsockopt(3, IPV6_V6ONLY, 0", OPTION, Step::Option(SocketOption::V6Only), false),
    row(V4, |o| o.reuse_port(true), "setsockopt(3, SO_REUSEPORT", OPTION, Step::Option(SocketOption::ReusePort), false),
    row(V4, |o| o.free_bind(true), "setsockopt(3, IP_FREEBIND", OPTION, Step::Option(SocketOption::FreeBind), false),
    row(V6, |o| o.free_bind(true), "setsockopt(3, IPV6_FREEBIND", OPTION, Step::Option(SocketOption::FreeBind), false),
    row(V4, |o| o.keep_alive(true), "setsockopt(3, SO_KEEPALIVE", OPTION, Step::Option(SocketOption::KeepAlive), false),
    row(V4, |o| o.no_delay(true), "setsockopt(3, TCP_NODELAY", OPTION, Step::Option(SocketOption::NoDelay), false),
    row(V4, |o| o.receive_buffer(1), "setsockopt(3, SO_RCVBUF", OPTION, Step::Option(SocketOption::ReceiveBuffer), false),
    row(V4, |o| o.send_buffer(1), "setsockopt(3, SO_SNDBUF", OPTION, Step::Option(SocketOption::SendBuffer), false),
    row(PATH, |o| o.mode(0o600), "fchmod(", OPTION, Step::Option(SocketOption::Mode), false),
    row(V4, AS_IT_IS, "bind(", BIND, Step::Bind, false),
    row(V6, AS_IT_IS, "bind(", BIND, Step::Bind, false),
    row(PATH, AS_IT_IS, "bind(", BIND_PATH, Step::Bind, false),
    row(NAME, AS_IT_IS, "bind(", BIND, Step::Bind, false),
    row(V4, AS_IT_IS, "getsockname(", ASK, Step::LocalAddress, true),
    row(V6, AS_IT_IS, "getsockname(", ASK, Step::LocalAddress, true),
    row(PATH, AS_IT_IS, "lstat(", STAT, Step::Stat, true),
    row(RELATIVE, AS_IT_IS, "openat(", OPEN, Step::Stat, false),
    row(RELATIVE, AS_IT_IS, "fstatat(", STAT, Step::Stat, false),
    row(RELATIVE, AS_IT_IS, "bind(", BIND_PATH, Step::Bind, false),
    row(RELATIVE, AS_IT_IS, "listen(", LISTEN, Step::Listen, true),
    row(V4, AS_IT_IS, "listen(", LISTEN, Step::Listen, true),
    row(V6, AS_IT_IS, "listen(", LISTEN, Step::Listen, true),
    row(PATH, AS_IT_IS, "listen(", LISTEN, Step::Listen, true),
    row(NAME, AS_IT_IS, "listen(", LISTEN, Step::Listen, true),
];

/// Fails every call whose text begins with one of `calls`.
fn fails(calls: &[&str], errno: Errno) -> impl FnMut(&Call) -> Option<i32> {
    let calls: Vec<String> = calls.iter().map(|call| (*call).into()).collect();
    move |call| {
        let text = call.to_string();
        calls.iter().any(|start| text.starts_with(start)).then(|| errno.raw_os_error())
    }
}

/// Runs `body` with these faults in an empty working directory, and says what it left there.
fn with_faults<T: Send>(
    calls: &[&str],
    errno: Errno,
    body: impl FnOnce() -> T + Send,
) -> (T, Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let (value, calls) = supervised(fails(calls, errno), || {
        std::env::set_current_dir(directory.path()).unwrap();
        body()
    });
    let left = directory
        .path()
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    (value, left.collect(), calls)
}

/// How many faults the test has forced, for the end of a run.
fn print_forced(what: &str) {
    println!("{} faults forced {what}", take_forced());
}

/// The other threads notice nothing.
fn assert_others_can_listen(address: &str) {
    if address != PATH && address != RELATIVE {
        listen(address, &Arena::new()).expect("another thread can not listen").close().unwrap();
    }
}

#[test]
fn an_opening_that_fails_names_the_call_and_leaves_nothing() {
    for Opening { address, change, call, errnos, step, bound } in OPENINGS {
        for &errno in *errnos {
            let (error, left, calls) =
                with_faults(&[call], errno, || open_under_audit(address, *change, *bound));
            assert_eq!(error, SocketError::System { step: *step, errno }, "{address}: {call}");
            assert_eq!(left, NOTHING, "{address}: {call} {errno:?}");
            let failed = calls.iter().filter(|made| made.starts_with(call)).count();
            assert!(failed == 1 || *call == "lstat(", "{call} was made again: {calls:?}");
        }
        assert_others_can_listen(address);
    }
    print_forced("on openings");
}

/// Opens, and looks for leftovers in the thread and for what the trail says.
fn open_under_audit(address: &str, change: Change, bound: bool) -> SocketError {
    let (sink, arena) = (Lines::default(), Arena::new());
    let mut capability = NetBind::empty("web").unwrap().with_sink(&sink);
    capability.grant(Rights::all()).allow_port(0).unwrap();
    let before = descriptors();
    let options = change(ListenOptions::new()).capability(&capability);
    let error = watched(|| options.listen(address, &arena)).unwrap_err();
    assert_eq!((descriptors(), arena.live()), (before, 0), "{address}: {error}");
    let records = sink.take();
    let operations: Vec<_> =
        records.iter().map(|record| record.split(' ').nth(1).unwrap()).collect();
    let expected = ["operation=check_bind_address", "operation=bind_socket"];
    assert_eq!(operations, expected[..if bound { 2 } else { 1 }], "{address}: {error}");
    assert!(records.iter().all(|record| record.ends_with(" result=allowed")), "{records:?}");
    error
}

/// What the kernel's answer to the removal is, nobody can be told: the first error is the one that counts.
#[test]
fn an_opening_whose_clean_up_fails_too_tells_the_first_error() {
    for (calls, step) in
        [(["listen(", "unlink("], Step::Listen), (["lstat(", "unlink("], Step::Stat)]
    {
        let (error, left, _) =
            with_faults(&calls, Errno::IO, || open_under_audit(PATH, AS_IT_IS, true));
        assert_eq!(error, SocketError::System { step, errno: Errno::IO });
        assert_eq!(left, ["run.sock"], "{calls:?}");
    }
    print_forced("on openings and their clean-up");
}

/// What stands at the path by the time of an unlink would be somebody else's.
#[test]
fn a_file_that_is_gone_before_the_bind_is_through_is_not_removed() {
    let (error, left, calls) =
        with_faults(&["lstat("], Errno::NOENT, || open_under_audit(PATH, AS_IT_IS, true));
    assert_eq!(error, SocketError::System { step: Step::Stat, errno: Errno::NOENT });
    assert!(!calls.iter().any(|call| call.starts_with("unlink(")), "{calls:?}");
    assert_eq!(left, ["run.sock"], "the fault is only said to be");
    print_forced("on the look at a new path");
}

/// Between `bind` and `lstat` somebody puts a file in the place of the socket.
#[test]
fn a_file_that_takes_the_place_during_the_opening_stays() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("run.sock");
    let mut is_first = true;
    let replace = |call: &Call| {
        if call.to_string().starts_with("lstat(") && std::mem::take(&mut is_first) {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "theirs").unwrap();
        }
        None
    };
    let (ended, calls) = supervised(replace, || {
        let arena = Arena::new();
        watched(|| listen(path.to_str().unwrap(), &arena).and_then(Listener::close))
    });
    assert_eq!(ended, Ok(()));
    assert_eq!(std::fs::read(&path).unwrap(), b"theirs", "{calls:?}");
}

/// A descriptor whose close fails is gone all the same: it may not be closed twice.
#[test]
fn a_close_that_fails_in_an_opening_is_not_repeated() {
    for errno in [Errno::INTR, Errno::IO] {
        let (error, _, calls) = with_faults(&["bind(", "close("], errno, || {
            let arena = Arena::new();
            watched(|| listen(V4, &arena)).unwrap_err()
        });
        assert_eq!(error, SocketError::System { step: Step::Bind, errno });
        assert_eq!(calls.iter().filter(|call| call.starts_with("close(")).count(), 1, "{calls:?}");
    }
    print_forced("on the close of an opening that failed");
}

type Ended = Result<(), SocketError>;

/// Address, the calls that fail, with which errno, the step that `close` tells, and what is left.
type End = (&'static str, &'static [&'static str], Errno, Step, &'static [&'static str]);

#[test]
fn close_tells_the_first_of_its_failures_and_does_everything_all_the_same() {
    #[rustfmt::skip]
    let rows: &[End] = &[
        (V4, &["close("], Errno::IO, Step::Close, NOTHING),
        (V4, &["close("], Errno::INTR, Step::Close, NOTHING),
        (V6, &["close("], Errno::NOSPC, Step::Close, NOTHING),
        ("unix:@netbind-faults-close", &["close("], Errno::DQUOT, Step::Close, NOTHING),
        (PATH, &["close("], Errno::IO, Step::Close, NOTHING),
        (PATH, &["unlink("], Errno::ACCESS, Step::Unlink, &["run.sock"]),
        (PATH, &["unlink("], Errno::ROFS, Step::Unlink, &["run.sock"]),
        (PATH, &["lstat("], Errno::IO, Step::Stat, &["run.sock"]),
        (PATH, &["unlink(", "close("], Errno::IO, Step::Unlink, &["run.sock"]),
        (PATH, &["lstat(", "close("], Errno::IO, Step::Stat, &["run.sock"]),
        (RELATIVE, &["openat("], Errno::MFILE, Step::Stat, &["run.sock"]),
        (RELATIVE, &["fstatat("], Errno::IO, Step::Stat, &["run.sock"]),
        (RELATIVE, &["unlinkat("], Errno::ACCESS, Step::Unlink, &["run.sock"]),
    ];
    let ends: [fn(Listener<&'_ Arena>) -> Ended; 2] = [
        |listener| listener.close(),
        |listener| {
            drop(listener);
            Ok(())
        },
    ];
    for &(address, calls, errno, step, left) in rows {
        for (end, told) in ends.into_iter().zip([Err(SocketError::System { step, errno }), Ok(())])
        {
            let (ended, found, made) = with_faults(calls, errno, || {
                let arena = Arena::new();
                let listener = listen(address, &arena).unwrap();
                let ended = watched(|| end(listener));
                assert_eq!(arena.live(), 0);
                ended
            });
            assert_eq!(ended, told, "{address}: {calls:?}");
            assert_eq!(found, left, "{address}: {calls:?}");
            assert_eq!(made.iter().filter(|call| *call == "close(3)").count(), 1, "{made:?}");
        }
        assert_others_can_listen(address);
    }
    print_forced("on the end of listeners");
}

#[test]
fn a_path_that_goes_away_while_it_is_removed_is_no_error() {
    let (ended, ..) = with_faults(&["unlink("], Errno::NOENT, || {
        let arena = Arena::new();
        let listener = listen(PATH, &arena).unwrap();
        watched(|| listener.close())
    });
    assert_eq!(ended, Ok(()));
    print_forced("on the removal of a path");
}

#[test]
fn accept_tells_its_errno_and_the_connection_stays_in_the_queue() {
    const ACCEPT: &[Errno] = &[
        Errno::AGAIN,
        Errno::INTR,
        Errno::CONNABORTED,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::PERM,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::OPNOTSUPP,
        Errno::INVAL,
        Errno::TIMEDOUT,
    ];
    for &errno in ACCEPT {
        let ((), _, calls) = with_faults(&["accept4("], errno, || {
            let arena = Arena::new();
            let listener = listen(V4, &arena).unwrap();
            let client =
                TcpStream::connect(listener.local_address().unwrap().to_socket_addr().unwrap())
                    .unwrap();
            let before = descriptors();
            for answer in watched(|| [listener.accept(), listener.accept_nonblocking()]) {
                assert_eq!(
                    answer.map(drop),
                    Err(SocketError::System { step: Step::Accept, errno })
                );
            }
            assert_eq!(descriptors(), before);
            let (_connection, peer) = listener.accept().unwrap();
            assert_eq!(peer.unwrap().to_socket_addr(), client.local_addr().ok());
        });
        assert_eq!(calls.len(), 2, "nothing is tried again behind the caller's back: {calls:?}");
    }
    print_forced("on accept");
}

#[test]
fn an_address_that_can_not_be_asked_for_is_an_error() {
    for &errno in ASK {
        let (found, ..) = with_faults(&["getsockname("], errno, || {
            let arena = Arena::new();
            let listener = listen(V6, &arena).unwrap();
            watched(|| listener.local_address())
        });
        assert_eq!(found, Err(SocketError::System { step: Step::LocalAddress, errno }));
    }
    print_forced("on getsockname");
}

#[test]
fn an_answer_that_is_no_address_is_an_error_too() {
    let unreadable = Err(SocketError::System { step: Step::LocalAddress, errno: Errno::INVAL });
    // The call succeeds and has written nothing.
    let says_nothing = |call: &Call| call.to_string().starts_with("getsockname(").then_some(0);
    for address in [V4, V6] {
        let ((asked, opened, trail, held), _) = supervised(says_nothing, || {
            let arena = Arena::new();
            let listener = listen(address, &arena).unwrap();
            let asked = watched(|| listener.local_address());
            drop(listener);
            let before = descriptors();
            let sink = Lines::default();
            let mut capability = NetBind::new("faults").unwrap().with_sink(&sink);
            capability.allow_port(0).unwrap();
            let opened = watched(|| {
                ListenOptions::new().capability(&capability).listen(address, &arena).map(drop)
            });
            (asked, opened, sink.take(), descriptors() == before)
        });
        assert_eq!((asked.map(drop), opened, held), (unreadable, unreadable, true));
        // The bind was made, and at which port nobody knows.
        assert_eq!(
            trail,
            [
                "capability=faults operation=check_bind_address port=0 result=allowed",
                "capability=faults operation=bind_socket port=0 result=allowed",
            ]
        );
    }
    print_forced("that is an answer");
}
