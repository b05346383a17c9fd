//! Another process changes the entry between two calls, without the lock.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use allocator_api2::alloc::Global;
use netbind::{Existing, SocketError};
use rustix::net::SocketType;

use super::elsewhere::{Elsewhere, with_elsewhere};
use super::{
    DENIED_ENTRY, EXCHANGE, IN_USE, PUBLISHED, SOCKET_CALL, STAT_TEMP, TO_EMPTY, assert_serves,
    assert_unlocked, audited, connect, identity, in_directory, leave_stale, names, nth, with,
};
use crate::existing::bind_only;
use crate::support::calls::Call;
use crate::support::memory::Arena;
use crate::support::supervisor::{supervised, watched};
use crate::support::thread::descriptors;

/// What another process does with the entry `s`, and the socket that it then has.
type Act = fn() -> Option<OwnedFd>;

fn remove() {
    fs::remove_file("s").unwrap();
}

const REBINDS: Act = || {
    remove();
    Some(UnixListener::bind("s").unwrap().into())
};
const REBINDS_AND_WAITS: Act = || {
    remove();
    Some(bind_only(Path::new("s"), SocketType::STREAM))
};
const PUTS_A_FILE: Act = || {
    remove();
    fs::write("s", "foreign").unwrap();
    None
};
const PUTS_A_DIRECTORY: Act = || {
    remove();
    fs::create_dir("s").unwrap();
    fs::write("s/file", "foreign").unwrap();
    None
};
const PUTS_A_LINK: Act = || {
    remove();
    symlink("file", "s").unwrap();
    None
};
const REMOVES: Act = || {
    remove();
    None
};

/// The options, the call before which another process acts, and the result.
struct Row {
    existing: Existing,
    call: &'static str,
    number: usize,
    act: Act,
    name: &'static str,
    result: Result<(), SocketError>,
}

const fn row(
    existing: Existing,
    (call, number): (&'static str, usize),
    act: Act,
    name: &'static str,
    result: Result<(), SocketError>,
) -> Row {
    Row { existing, call, number, act, name, result }
}

const MOVE: (&str, usize) = (TO_EMPTY, 1);
const LOOK: (&str, usize) = ("fstatat(4, s)", 1);
const PROBE: (&str, usize) = (SOCKET_CALL, 2);
const TAKE: (&str, usize) = (EXCHANGE, 1);
const STALE: Existing = Existing::ReplaceStale;
const ANY: Existing = Existing::Replace;

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row(STALE, MOVE, REBINDS, "rebinds", Err(IN_USE)),
    row(STALE, LOOK, REBINDS, "rebinds", Err(IN_USE)),
    row(STALE, PROBE, REBINDS, "rebinds", Err(IN_USE)),
    row(STALE, TAKE, REBINDS, "rebinds", Err(IN_USE)),
    row(STALE, MOVE, PUTS_A_FILE, "puts a file", Err(IN_USE)),
    row(STALE, LOOK, PUTS_A_FILE, "puts a file", Err(IN_USE)),
    row(STALE, TAKE, PUTS_A_FILE, "puts a file", Err(IN_USE)),
    row(STALE, TAKE, PUTS_A_DIRECTORY, "puts a directory", Err(IN_USE)),
    row(STALE, TAKE, PUTS_A_LINK, "puts a link", Err(IN_USE)),
    row(STALE, MOVE, REMOVES, "removes it", Ok(())),
    row(STALE, LOOK, REMOVES, "removes it", Ok(())),
    row(STALE, PROBE, REMOVES, "removes it", Ok(())),
    row(STALE, TAKE, REMOVES, "removes it", Ok(())),
    row(ANY, MOVE, REBINDS, "rebinds", Ok(())),
    row(ANY, TAKE, REBINDS, "rebinds", Ok(())),
    row(ANY, TAKE, REBINDS_AND_WAITS, "rebinds and waits", Ok(())),
    row(ANY, MOVE, PUTS_A_FILE, "puts a file", Err(IN_USE)),
    row(ANY, TAKE, PUTS_A_FILE, "puts a file", Err(IN_USE)),
    row(ANY, TAKE, PUTS_A_DIRECTORY, "puts a directory", Err(IN_USE)),
    row(ANY, TAKE, PUTS_A_LINK, "puts a link", Err(IN_USE)),
    row(ANY, LOOK, REMOVES, "removes it", Ok(())),
    row(ANY, TAKE, REMOVES, "removes it", Ok(())),
];

/// Runs `body` under a supervisor, and `act` before this call of it. Returns the value of `body`
/// and the calls.
fn before<T: Send>(
    call: &str,
    number: usize,
    body: impl FnOnce() -> T + Send,
    act: impl FnOnce(&Elsewhere) + Send,
) -> (T, Vec<String>) {
    with_elsewhere(|other| {
        let (mut is_time, mut act) = (nth(call, number), Some(act));
        let on_call = |call: &Call| {
            if is_time(call) {
                act.take().unwrap()(other);
            }
            None
        };
        supervised(on_call, body)
    })
}

/// Opens `s`. Asserts that a listener has the path, and that nothing leaks.
fn open(existing: Existing, case: &str) -> Result<(), SocketError> {
    let (arena, before) = (Arena::new(), descriptors());
    let (opened, operations) = audited("unix:s", |capability| {
        let options = with(existing).capability(capability);
        watched(|| options.listen("unix:s", &arena))
    });
    let expected = if opened.is_ok() { &PUBLISHED[..] } else { &DENIED_ENTRY };
    assert_eq!(operations, expected, "{case}");
    let opened = opened.map(|listener| {
        assert_serves(&listener, "s");
        listener.close().unwrap();
    });
    assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0), "{case}");
    opened
}

#[test]
fn an_entry_that_changes_meanwhile_is_replaced_only_if_it_may_be() {
    for Row { existing, call, number, act, name, result } in ROWS {
        let case = format!("{existing:?}: another process {name} before {call}");
        in_directory(|_| {
            leave_stale("s");
            let mut foreign = None;
            let (opened, calls) = before(
                call,
                *number,
                || open(*existing, &case),
                |other| {
                    let socket = other.run(act);
                    let found = Path::new("s").symlink_metadata().ok().map(|_| identity("s"));
                    foreign = Some((socket, found));
                },
            );
            assert_eq!(opened, *result, "{case}: {calls:#?}");
            let (socket, found) = foreign.unwrap_or_else(|| panic!("{case}: {calls:#?}"));
            if opened.is_err() {
                assert_eq!((Some(identity("s")), names(".")), (found, vec!["s".into()]), "{case}");
                if let Some(socket) = socket {
                    assert_serves(socket, "s");
                }
            } else {
                assert_eq!(names("."), [""; 0], "{case}");
            }
            assert_unlocked(&case);
        });
    }
}

/// A server binds, and listens later. It is not stale, although it refuses connections at first.
#[test]
fn a_socket_that_starts_to_listen_after_the_probe_is_put_back() {
    for call in ["fstatat(4, s)", EXCHANGE, STAT_TEMP] {
        in_directory(|_| {
            let server = Arc::new(bind_only(Path::new("s"), SocketType::STREAM));
            let found = identity("s");
            let number = if call == STAT_TEMP { 2 } else { 1 };
            let (opened, _) = before(
                call,
                number,
                || open(STALE, call),
                |other| {
                    let server = Arc::clone(&server);
                    other.run(move || rustix::net::listen(&server, 9)).unwrap();
                },
            );
            assert_eq!(opened, Err(IN_USE), "{call}");
            assert_eq!((identity("s"), names(".")), (found, vec!["s".into()]), "{call}");
            assert_serves(&*server, "s");
        });
    }
}

/// The path always exists while it is replaced. Before the last step it has the new listener, which
/// serves, and the former one is at the temporary name.
#[test]
fn a_client_can_connect_before_every_call_of_a_replacement() {
    in_directory(|_| {
        let former = UnixListener::bind("s").unwrap();
        let mut connected = 0;
        let on_call = |_: &Call| {
            connect(Path::new("s")).unwrap();
            connected += 1;
            None
        };
        let (opened, calls) = supervised(on_call, || {
            let arena = Arena::new();
            watched(|| with(ANY).listen("unix:s", &arena)).map(|listener| {
                let accepted = std::iter::from_fn(|| listener.accept().ok()).count();
                listener.close().unwrap();
                accepted
            })
        });
        former.set_nonblocking(true).unwrap();
        let of_former = std::iter::from_fn(|| former.accept().ok()).count();
        let of_new = opened.unwrap();
        assert!(of_former > 0 && of_new > 0, "{calls:#?}");
        assert_eq!(of_former + of_new, connected, "{calls:#?}");
    });
}

/// The former server ends while another one takes over. The end looks at the path and removes it
/// under the lock of the directory, so the other one has to wait. Here it waits in vain.
#[test]
fn the_end_of_a_listener_never_removes_the_path_of_its_successor() {
    in_directory(|_| {
        let mut successor = None;
        let body = || {
            let arena = Arena::new();
            let listener = with(ANY).listen("unix:s", &arena).unwrap();
            watched(|| listener.close())
        };
        let (closed, calls) = before("unlinkat(", 1, body, |other| {
            successor = Some(other.run(|| with(ANY).listen("unix:s", Global)));
        });
        assert_eq!(closed, Ok(()));
        let successor = successor.unwrap_or_else(|| panic!("{calls:#?}"));
        assert_eq!(successor.map(drop), Err(IN_USE), "{calls:#?}");
        assert_eq!(names("."), [""; 0]);
        assert_serves(with(ANY).listen("unix:s", Global).unwrap(), "s");
    });
}
