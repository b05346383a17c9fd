//! Every system call fails in turn, with the errnos of its man page. The error has the step and the
//! errno, everything done so far is undone, and the audit trail is true.

mod undoing;

use std::net::TcpStream;

use netbind::error::SocketOption::{
    FreeBind, KeepAlive, NoDelay, ReceiveBuffer, ReuseAddress, ReusePort, SendBuffer, V6Only,
};
use netbind::error::{Errno, SocketOption, Step};
use netbind::{ListenOptions, Listener, NetBind, SocketError, listen};

use crate::support::allow_port_0_and_unix;
use crate::support::calls::Call;
use crate::support::machine::{can_open, directory, openable};
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::supervisor::{supervised, take_forced, watched};
use crate::support::thread::descriptors;

type Change = fn(ListenOptions<'_>) -> ListenOptions<'_>;

const UNCHANGED: Change = |options| options;
const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";
/// An absolute path in the thread's working directory.
const PATH: &str = "unix:/proc/thread-self/cwd/run.sock";
const RELATIVE: &str = "unix:run.sock";
const NAME: &str = "unix:@netbind-faults";

const NOTHING: &[&str] = &[];

/// An audited opening in which each call that begins with `call` fails, once with each errno.
struct Opening {
    address: &'static str,
    change: Change,
    call: &'static str,
    errnos: &'static [Errno],
    step: Step,
    /// True if the trail has `bind_socket` after `check_bind_address`.
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
const GETSOCKNAME: &[Errno] = &[Errno::NOBUFS, Errno::NOMEM, Errno::INVAL, Errno::PERM];
const OPEN: &[Errno] = &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::INTR];
const STAT: &[Errno] = &[Errno::ACCESS, Errno::IO, Errno::NOMEM, Errno::LOOP, Errno::INTR];
const LISTEN: &[Errno] = &[Errno::ADDRINUSE, Errno::OPNOTSUPP, Errno::NOMEM, Errno::PERM];

const fn option(option: SocketOption) -> Step {
    Step::Option(option)
}

#[rustfmt::skip]
const OPENINGS: &[Opening] = &[
    row(V4, UNCHANGED, "socket(", SOCKET, Step::Socket, false),
    row(V6, UNCHANGED, "socket(", SOCKET, Step::Socket, false),
    row(PATH, UNCHANGED, "socket(", SOCKET, Step::Socket, false),
    row(NAME, UNCHANGED, "socket(", SOCKET, Step::Socket, false),
    row(V4, UNCHANGED, "setsockopt(3, SO_REUSEADDR", OPTION, option(ReuseAddress), false),
    row(V6, UNCHANGED, "setsockopt(3, SO_REUSEADDR", OPTION, option(ReuseAddress), false),
    row(V6, UNCHANGED, "setsockopt(3, IPV6_V6ONLY, 1", OPTION, option(V6Only), false),
    row(V6, |o| o.dual_stack(true), "setsockopt(3, IPV6_V6ONLY, 0", OPTION, option(V6Only), false),
    row(V4, |o| o.reuse_port(true), "setsockopt(3, SO_REUSEPORT", OPTION, option(ReusePort), false),
    row(V4, |o| o.free_bind(true), "setsockopt(3, IP_FREEBIND", OPTION, option(FreeBind), false),
    row(V6, |o| o.free_bind(true), "setsockopt(3, IPV6_FREEBIND", OPTION, option(FreeBind), false),
    row(V4, |o| o.keep_alive(true), "setsockopt(3, SO_KEEPALIVE", OPTION, option(KeepAlive), false),
    row(V4, |o| o.no_delay(true), "setsockopt(3, TCP_NODELAY", OPTION, option(NoDelay), false),
    row(V4, |o| o.receive_buffer(1), "setsockopt(3, SO_RCV", OPTION, option(ReceiveBuffer), false),
    row(V4, |o| o.send_buffer(1), "setsockopt(3, SO_SNDBUF", OPTION, option(SendBuffer), false),
    row(PATH, |o| o.mode(0o600), "fchmod(", OPTION, option(SocketOption::Mode), false),
    row(V4, UNCHANGED, "bind(", BIND, Step::Bind, false),
    row(V6, UNCHANGED, "bind(", BIND, Step::Bind, false),
    row(PATH, UNCHANGED, "bind(", BIND_PATH, Step::Bind, false),
    row(NAME, UNCHANGED, "bind(", BIND, Step::Bind, false),
    row(V4, UNCHANGED, "getsockname(", GETSOCKNAME, Step::LocalAddress, true),
    row(V6, UNCHANGED, "getsockname(", GETSOCKNAME, Step::LocalAddress, true),
    row(PATH, UNCHANGED, "lstat(", STAT, Step::Stat, true),
    row(RELATIVE, UNCHANGED, "openat(", OPEN, Step::OpenDirectory, false),
    row(RELATIVE, UNCHANGED, "fstatat(", STAT, Step::Stat, false),
    row(RELATIVE, UNCHANGED, "bind(", BIND_PATH, Step::Bind, false),
    row(RELATIVE, UNCHANGED, "listen(", LISTEN, Step::Listen, true),
    row(V4, UNCHANGED, "listen(", LISTEN, Step::Listen, true),
    row(V6, UNCHANGED, "listen(", LISTEN, Step::Listen, true),
    row(PATH, UNCHANGED, "listen(", LISTEN, Step::Listen, true),
    row(NAME, UNCHANGED, "listen(", LISTEN, Step::Listen, true),
];

/// Returns a function that fails every call whose text begins with one of `calls`.
fn fails(calls: &[&str], errno: Errno) -> impl FnMut(&Call) -> Option<i32> {
    let calls: Vec<String> = calls.iter().map(|call| (*call).into()).collect();
    move |call| {
        let text = call.to_string();
        calls.iter().any(|start| text.starts_with(start)).then(|| errno.raw_os_error())
    }
}

/// Runs `body` with these faults in an empty working directory. Returns its value, the names that
/// it left there, and the calls.
fn with_faults<T: Send>(
    calls: &[&str],
    errno: Errno,
    body: impl FnOnce() -> T + Send,
) -> (T, Vec<String>, Vec<String>) {
    let directory = directory();
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

/// Prints how many faults the test has forced.
fn print_forced(place: &str) {
    println!("{} faults forced {place}", take_forced());
}

/// Asserts that the faults were forced in one thread only.
fn assert_others_can_listen(address: &str) {
    if address != PATH && address != RELATIVE {
        listen(address, &Arena::new()).expect("this thread has no fault").close().unwrap();
    }
}

#[test]
fn an_opening_that_fails_has_the_step_in_its_error_and_leaves_nothing() {
    for Opening { address, change, call, errnos, step, bound } in OPENINGS {
        if !can_open(address) {
            continue;
        }
        for &errno in *errnos {
            let (error, left, calls) =
                with_faults(&[call], errno, || open_under_audit(address, *change, *bound));
            assert_eq!(error, SocketError::System { step: *step, errno }, "{address}: {call}");
            assert_eq!(left, NOTHING, "{address}: {call} {errno:?}");
            let failed = calls.iter().filter(|made| made.starts_with(call)).count();
            assert!(failed == 1 || *call == "lstat(", "{call} was repeated: {calls:?}");
        }
        assert_others_can_listen(address);
    }
    print_forced("on openings");
}

/// Opens with an audit sink, and checks that nothing is left and that the trail is true. Returns
/// the error.
fn open_under_audit(address: &str, change: Change, bound: bool) -> SocketError {
    let (sink, arena) = (Lines::default(), Arena::new());
    let mut capability = NetBind::empty("web").unwrap().with_sink(&sink);
    allow_port_0_and_unix(&mut capability);
    let before = descriptors();
    let options = change(ListenOptions::new()).capability(&capability);
    let error = watched(|| options.listen(address, &arena)).unwrap_err();
    assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0), "{address}: {error}");
    let records = sink.take();
    let operations: Vec<_> =
        records.iter().map(|record| record.split(' ').nth(1).unwrap()).collect();
    let expected = ["operation=check_bind_address", "operation=bind_socket"];
    assert_eq!(operations, expected[..if bound { 2 } else { 1 }], "{address}: {error}");
    assert!(records.iter().all(|record| record.ends_with(" result=allowed")), "{records:?}");
    error
}

#[test]
fn an_opening_whose_clean_up_fails_too_returns_the_first_error() {
    for (calls, step) in
        [(["listen(", "unlink("], Step::Listen), (["lstat(", "unlink("], Step::Stat)]
    {
        let (error, left, _) =
            with_faults(&calls, Errno::IO, || open_under_audit(PATH, UNCHANGED, true));
        assert_eq!(error, SocketError::System { step, errno: Errno::IO });
        assert_eq!(left, ["run.sock"], "{calls:?}");
    }
    print_forced("on openings and their clean-up");
}

/// By the time of an `unlink`, the path could have a foreign file.
#[test]
fn a_path_that_is_gone_after_the_bind_is_not_removed() {
    let (error, left, calls) =
        with_faults(&["lstat("], Errno::NOENT, || open_under_audit(PATH, UNCHANGED, true));
    assert_eq!(error, SocketError::System { step: Step::Stat, errno: Errno::NOENT });
    assert!(!calls.iter().any(|call| call.starts_with("unlink(")), "{calls:?}");
    assert_eq!(left, ["run.sock"], "a forced fault removes nothing");
    print_forced("on the lstat of a new path");
}

/// Between `bind` and `lstat`, another process replaces the socket by a file.
#[test]
fn a_file_that_replaces_the_socket_during_the_opening_is_not_removed() {
    let directory = directory();
    let path = directory.path().join("run.sock");
    let mut is_first = true;
    let replace = |call: &Call| {
        if call.to_string().starts_with("lstat(") && std::mem::take(&mut is_first) {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "foreign").unwrap();
        }
        None
    };
    let (ended, calls) = supervised(replace, || {
        let arena = Arena::new();
        watched(|| listen(path.to_str().unwrap(), &arena).and_then(Listener::close))
    });
    assert_eq!(ended, Ok(()));
    assert_eq!(std::fs::read(&path).unwrap(), b"foreign", "{calls:?}");
}

/// A descriptor whose `close` fails is closed; a second `close` could close another one.
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

/// The address, the calls that fail, their errno, the step in the error of `close`, and the names
/// that are left.
type End = (&'static str, &'static [&'static str], Errno, Step, &'static [&'static str]);

#[test]
fn close_returns_its_first_error_and_attempts_every_step() {
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
        (RELATIVE, &["openat("], Errno::MFILE, Step::OpenDirectory, &["run.sock"]),
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
        if !can_open(address) {
            continue;
        }
        let results = [Err(SocketError::System { step, errno }), Ok(())];
        for (end, result) in ends.into_iter().zip(results) {
            let (ended, found, made) = with_faults(calls, errno, || {
                let arena = Arena::new();
                let listener = listen(address, &arena).unwrap();
                let ended = watched(|| end(listener));
                assert_eq!(arena.bytes_in_use(), 0);
                ended
            });
            assert_eq!(ended, result, "{address}: {calls:?}");
            assert_eq!(found, left, "{address}: {calls:?}");
            assert_eq!(made.iter().filter(|call| *call == "close(3)").count(), 1, "{made:?}");
        }
        assert_others_can_listen(address);
    }
    print_forced("on the ends of listeners");
}

#[test]
fn a_path_that_disappears_before_its_unlink_is_not_an_error() {
    let (ended, ..) = with_faults(&["unlink("], Errno::NOENT, || {
        let arena = Arena::new();
        let listener = listen(PATH, &arena).unwrap();
        watched(|| listener.close())
    });
    assert_eq!(ended, Ok(()));
    print_forced("on the removal of a path");
}

#[test]
fn a_failed_accept_returns_its_errno_and_loses_no_client() {
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
        assert_eq!(calls.len(), 2, "an accept was repeated: {calls:?}");
    }
    print_forced("on accept");
}

#[test]
fn a_failed_getsockname_is_an_error() {
    for address in openable(&[V4, V6]) {
        for &errno in GETSOCKNAME {
            let (found, ..) = with_faults(&["getsockname("], errno, || {
                let arena = Arena::new();
                let listener = listen(address, &arena).unwrap();
                watched(|| listener.local_address())
            });
            assert_eq!(found, Err(SocketError::System { step: Step::LocalAddress, errno }));
        }
    }
    print_forced("on getsockname");
}

#[test]
fn a_local_address_that_the_kernel_did_not_write_is_an_error() {
    let unreadable = Err(SocketError::System { step: Step::LocalAddress, errno: Errno::INVAL });
    // The call succeeds and writes nothing.
    let write_nothing = |call: &Call| call.to_string().starts_with("getsockname(").then_some(0);
    for address in openable(&[V4, V6]) {
        let ((asked, opened, trail, is_clean), _) = supervised(write_nothing, || {
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
        assert_eq!((asked.map(drop), opened, is_clean), (unreadable, unreadable, true));
        // The bind succeeded, but its port is unknown.
        let line = |operation| {
            format!(
                "capability=faults operation={operation} address={address} port=0 result=allowed"
            )
        };
        assert_eq!(trail, ["check_bind_address", "bind_socket"].map(line));
    }
    print_forced("that write no address");
}
