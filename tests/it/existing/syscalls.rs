//! The exact system calls of every kind of replacement, and the state of the socket before it gets
//! its path.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use netbind::{CancelFlag, Context, Existing, ListenOptions, MonotonicClock};

use super::faults::text_of;
use super::owner::{EVERY, another_owner, expected, rights};
use super::{audited, in_directory, leave_stale};
use crate::support::calls::Call;
use crate::support::memory::Arena;
use crate::support::supervisor::{supervised, watched};

const SOCKET: &str = "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)";
const LISTEN: &str = "listen(3, 2147483647)";
const STAT_TEMP: &str = "fstatat(4, TEMP)";
const LOCK: &str = "flock(4, LOCK_EX|LOCK_NB)";
const TO_EMPTY: &str = "renameat2(4, TEMP, 4, s, RENAME_NOREPLACE)";
const STAT: &str = "fstatat(4, s)";
const PROBE_SOCKET: &str = "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0)";
const EXCHANGE: &str = "renameat2(4, TEMP, 4, s, RENAME_EXCHANGE)";
const UNLINK_TEMP: &str = "unlinkat(4, TEMP)";
const UNLOCK: &str = "flock(4, LOCK_UN)";
const CLOSE: &str = "close(4)";
const END: &[&str] = &[UNLOCK, STAT_TEMP, CLOSE];
/// The end of an opening that fails.
const UNDONE: &[&str] = &[UNLOCK, STAT_TEMP, UNLINK_TEMP, CLOSE, "close(3)"];

/// The part of the path before its last component.
const PARENTS: [&str; 3] = ["", "./", "/proc/thread-self/cwd/"];

fn start(parent: &str) -> Vec<String> {
    let directory = if parent.is_empty() { "." } else { parent };
    [
        SOCKET,
        &format!("openat({directory})"),
        "getpid()",
        &format!("bind(3, unix \"{parent}TEMP\\x00\")"),
        STAT_TEMP,
    ]
    .map(Into::into)
    .into()
}

fn probe(path: &str) -> Vec<String> {
    [PROBE_SOCKET, &format!("connect(5, unix \"{path}\\x00\")"), "close(5)"].map(Into::into).into()
}

/// Returns the calls of an opening of `s` in the working directory, without those of the end of the
/// listener. Another listener must be found in use.
fn calls_of(options: &ListenOptions<'_>, parent: &str) -> Vec<String> {
    let mut calls = Vec::new();
    let list = |call: &Call| {
        calls.push(text_of(call));
        None
    };
    let address = format!("unix:{parent}s");
    let ((), _) = supervised(list, || {
        let arena = Arena::new();
        let opened = watched(|| options.listen(&address, &arena).map(netbind::Listener::into_fd));
        if let Err(error) = opened {
            assert!(error.is_address_in_use(), "{error}");
        }
    });
    calls
}

fn concat(parts: &[&[&str]]) -> Vec<String> {
    parts.concat().into_iter().map(Into::into).collect()
}

fn options(existing: Existing) -> ListenOptions<'static> {
    ListenOptions::new().existing(existing)
}

#[test]
fn an_empty_place_takes_one_rename() {
    for parent in PARENTS {
        for existing in [Existing::ReplaceStale, Existing::Replace] {
            in_directory(|_| {
                let rest = concat(&[&[LISTEN, LOCK, TO_EMPTY], END]);
                assert_eq!(calls_of(&options(existing), parent), [start(parent), rest].concat());
            });
        }
    }
}

#[test]
fn a_stale_socket_is_probed_before_and_after_the_exchange() {
    for parent in PARENTS {
        in_directory(|_| {
            leave_stale("s");
            let calls = calls_of(&options(Existing::ReplaceStale), parent);
            let expected = [
                start(parent),
                concat(&[&[LISTEN, LOCK, TO_EMPTY, STAT]]),
                probe(&format!("{parent}s")),
                concat(&[&[EXCHANGE, STAT_TEMP]]),
                probe(&format!("{parent}TEMP")),
                concat(&[&[UNLINK_TEMP], END]),
            ];
            assert_eq!(calls, expected.concat());
        });
    }
}

#[test]
fn any_socket_is_replaced_without_a_probe() {
    for parent in PARENTS {
        for is_live in [true, false] {
            in_directory(|_| {
                let live = UnixListener::bind("s").unwrap();
                let _live = is_live.then_some(live);
                let calls = calls_of(&options(Existing::Replace), parent);
                let replaced = &[LISTEN, LOCK, TO_EMPTY, STAT, EXCHANGE, STAT_TEMP, UNLINK_TEMP];
                assert_eq!(calls, [start(parent), concat(&[replaced, END])].concat());
            });
        }
    }
}

#[test]
fn a_live_listener_that_stays_is_probed_once() {
    for parent in PARENTS {
        in_directory(|_| {
            let _live = UnixListener::bind("s").unwrap();
            let calls = calls_of(&options(Existing::ReplaceStale), parent);
            let looked = concat(&[&[LISTEN, LOCK, TO_EMPTY, STAT]]);
            let probed = probe(&format!("{parent}s"));
            assert_eq!(calls, [start(parent), looked, probed, concat(&[UNDONE])].concat());
        });
    }
}

#[test]
fn an_entry_of_another_kind_is_not_probed() {
    for existing in [Existing::ReplaceStale, Existing::Replace] {
        in_directory(|_| {
            std::fs::write("s", "").unwrap();
            let looked = concat(&[&[LISTEN, LOCK, TO_EMPTY, STAT], UNDONE]);
            assert_eq!(calls_of(&options(existing), ""), [start(""), looked].concat());
        });
    }
}

#[test]
fn a_path_without_a_last_component_only_makes_a_socket() {
    in_directory(|_| {
        std::fs::create_dir("s").unwrap();
        for parent in ["s/../", ""] {
            let options = options(Existing::Replace);
            let calls = [SOCKET, "close(3)"];
            std::fs::create_dir_all("d").unwrap();
            let ((), found) = crate::support::supervisor::traced(|| {
                let arena = Arena::new();
                for name in [".", "..", "d/"] {
                    let address = format!("unix:{parent}{name}");
                    assert!(watched(|| options.listen(&address, &arena).map(drop)).is_err());
                }
            });
            assert_eq!(found, calls.repeat(3));
        }
    });
}

/// The owner comes before `listen`, and the mode before `bind`. Without a replacement there is no
/// lock.
#[test]
fn an_owner_adds_one_call_and_a_mode_another() {
    const OWNER: &str = "fchownat(4, TEMP, -1, -1)";
    in_directory(|_| {
        let options = options(Existing::Refuse).owner(u32::MAX, u32::MAX);
        let moved = &[OWNER, LISTEN, TO_EMPTY];
        let calls = [start(""), concat(&[moved, &[STAT_TEMP, CLOSE]])].concat();
        assert_eq!(calls_of(&options, ""), calls);
        // The listener was not removed.
        let undone = [&concat(&[moved])[..], &concat(&[&UNDONE[1..]])].concat();
        assert_eq!(calls_of(&options, ""), [start(""), undone].concat());

        std::fs::remove_file("s").unwrap();
        let options = options.mode(0o600).existing(Existing::Replace);
        let mut calls = [start(""), concat(&[&[OWNER, LISTEN, LOCK, TO_EMPTY], END])].concat();
        calls.insert(1, "fchmod(3, 0o600)".into());
        assert_eq!(calls_of(&options, ""), calls);
    });
}

/// Another process has the first temporary name.
#[test]
fn a_temporary_name_in_use_is_followed_by_another() {
    in_directory(|_| {
        let mut calls = Vec::new();
        let take = |call: &Call| {
            let text = text_of(call);
            let is_first = text.starts_with("bind(") && !calls.contains(&text);
            calls.push(text);
            is_first.then_some(libc::EADDRINUSE)
        };
        let (opened, raw) = supervised(take, || {
            let arena = Arena::new();
            watched(|| options(Existing::Replace).listen("unix:s", &arena).map(drop))
        });
        assert_eq!(opened, Ok(()));
        let names: Vec<_> = raw.iter().filter(|call| call.starts_with("bind(")).collect();
        assert_eq!(names.len(), 2);
        assert_ne!(names[0], names[1]);
        // The last seven remove the path, and close the socket.
        let first = start("");
        let expected = [&first[..4], &first[2..], &concat(&[&[LISTEN, LOCK, TO_EMPTY], END])];
        assert_eq!(calls[..calls.len() - 7], expected.concat());
    });
}

/// After a process was killed many times, or by someone who wants that.
#[test]
fn sixteen_temporary_names_in_use_are_in_use() {
    in_directory(|_| {
        let take = |call: &Call| call.to_string().starts_with("bind(").then_some(libc::EADDRINUSE);
        let (error, calls) = supervised(take, || {
            let arena = Arena::new();
            watched(|| options(Existing::Replace).listen("unix:s", &arena).map(drop)).unwrap_err()
        });
        assert_eq!(error, super::IN_USE);
        let binds: std::collections::BTreeSet<_> =
            calls.iter().filter(|call| call.starts_with("bind(")).collect();
        assert_eq!((binds.len(), super::names(".")), (16, vec![]));
        assert_eq!(calls[calls.len() - 2..], [CLOSE, "close(3)"]);
    });
}

#[test]
fn a_context_and_a_capability_add_no_call() {
    in_directory(|_| {
        leave_stale("s");
        let without = calls_of(&options(Existing::ReplaceStale), "");
        let (clock, stop) = (MonotonicClock::new(), CancelFlag::new());
        let context = Context::new(&clock)
            .with_cancel(&stop)
            .with_timeout(std::time::Duration::from_secs(3600));
        let under_context = options(Existing::ReplaceStale).context(&context);
        assert_eq!(calls_of(&under_context, ""), without);
        let ring = netbind::AuditRing::new_in(4, allocator_api2::alloc::Global).unwrap();
        let capability = netbind::NetBind::new("test").unwrap().with_sink(&ring);
        let with_capability = options(Existing::ReplaceStale).capability(&capability);
        assert_eq!(calls_of(&with_capability, ""), without);
        assert_eq!(ring.reader().count(), 2);
    });
}

/// A client that comes directly after the rename sees the mode and the owner, and is not refused.
#[test]
fn a_socket_is_complete_before_it_is_moved_to_its_path() {
    for existing in EVERY {
        in_directory(|directory| {
            if existing != Existing::Refuse {
                leave_stale("s");
            }
            let (owner, mut moves) = (another_owner(), Vec::new());
            let look = |call: &Call| {
                if text_of(call).starts_with("renameat2(") {
                    let raw = call.to_string();
                    let temporary = directory.join(raw.split(", ").nth(1).unwrap());
                    let is_listening = super::connect(&temporary).is_ok();
                    let inode = temporary.symlink_metadata().unwrap().ino();
                    moves.push((rights(&temporary), is_listening, inode));
                }
                None
            };
            let (found, operations) = supervised(look, || {
                let arena = Arena::new();
                audited("unix:s", |capability| {
                    let options = options(existing).capability(capability);
                    let options = options.mode(0o600).owner(owner.0, owner.1);
                    let _listener = watched(|| options.listen("unix:s", &arena)).unwrap();
                    (rights("s"), true, super::inode("s"))
                })
            })
            .0;
            assert_eq!(operations, super::PUBLISHED);
            let (user, group) = expected(owner);
            assert_eq!(found.0, (0o600, user, group));
            assert_eq!(moves.len(), if existing == Existing::Refuse { 1 } else { 2 });
            for complete in moves {
                assert_eq!(complete, found, "{existing:?}");
            }
        });
    }
}

/// The records come when the socket has appeared, so that a reader of them can connect.
#[test]
fn bind_socket_is_recorded_after_the_move() {
    struct Connects;
    impl netbind::audit::AuditSink for Connects {
        fn record(&self, record: &netbind::audit::Record<'_>) {
            let is_bind = record.operation == netbind::audit::Operation::BindSocket;
            let connected = super::connect(std::path::Path::new("s")).is_ok();
            assert_eq!((is_bind, super::names(".").len()), (connected, 1), "{record}");
        }
    }
    for existing in [Existing::ReplaceStale, Existing::Replace] {
        in_directory(|_| {
            leave_stale("s");
            let arena = Arena::new();
            let capability = netbind::NetBind::new("test").unwrap().with_sink(&Connects);
            let options = options(existing).capability(&capability);
            options.listen("unix:s", &arena).unwrap().close().unwrap();
        });
    }
}
