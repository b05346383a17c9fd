//! Every kind of entry that can be at a path, and what each value of [`Existing`] does with it.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use netbind::{BindAddress, Existing, ListenOptions, Listener};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::SocketType;

use super::{
    DENIED_ENTRY, IN_USE, PUBLISHED, assert_serves, audited, bind_only, connect, identity,
    in_directory, inode, leave_stale, names, with,
};
use crate::support::machine::has_sock_diag;
use crate::support::memory::Arena;
use crate::support::thread::descriptors;

/// Makes an entry at a path. Returns the descriptors that keep it as it is.
type Make = fn(&Path) -> Vec<OwnedFd>;

struct Row {
    entry: &'static str,
    make: Make,
    /// True if the entry is replaced by `ReplaceStale`, and by `Replace`.
    replaced: [bool; 2],
}

const fn row(entry: &'static str, make: Make, replaced: [bool; 2]) -> Row {
    Row { entry, make, replaced }
}

fn live(path: &Path) -> Vec<OwnedFd> {
    vec![UnixListener::bind(path).unwrap().into()]
}

fn listening(path: &Path, kind: SocketType, backlog: i32) -> OwnedFd {
    let socket = bind_only(path, kind);
    rustix::net::listen(&socket, backlog).unwrap();
    socket
}

/// Makes a listener whose queue has no room, so that a client gets `EAGAIN`.
fn full(path: &Path) -> Vec<OwnedFd> {
    let mut kept = vec![listening(path, SocketType::STREAM, 0)];
    loop {
        match connect(path) {
            Ok(client) => kept.push(client),
            Err(errno) => {
                assert_eq!(errno, rustix::io::Errno::AGAIN);
                return kept;
            }
        }
    }
}

/// Makes the target of a link next to it.
fn link_to(path: &Path, target: Make) -> Vec<OwnedFd> {
    symlink("target", path).unwrap();
    target(&path.with_file_name("target"))
}

fn stale(path: &Path) -> Vec<OwnedFd> {
    leave_stale(path);
    vec![]
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("a stale socket", stale, [true, true]),
    row("a live listener", live, [false, true]),
    row("a live listener with a full queue", full, [false, true]),
    row("a socket that does not listen", |p| vec![bind_only(p, SocketType::STREAM)], [true, true]),
    row("a packet listener", |p| vec![listening(p, SocketType::SEQPACKET, 9)], [false, true]),
    row("a stale packet socket", |p| { bind_only(p, SocketType::SEQPACKET); vec![] }, [true, true]),
    row("a datagram socket", |p| vec![bind_only(p, SocketType::DGRAM)], [false, true]),
    row("a stale datagram socket", |p| { bind_only(p, SocketType::DGRAM); vec![] }, [true, true]),
    row("a file", |p| { std::fs::write(p, "kept").unwrap(); vec![] }, [false, false]),
    row("a directory", |p| { std::fs::create_dir(p).unwrap(); vec![] }, [false, false]),
    row("a full directory", full_directory, [false, false]),
    row("a FIFO", |p| { make_fifo(p); vec![] }, [false, false]),
    row("a link to a live listener", |p| link_to(p, live), [false, false]),
    row("a link to a stale socket", |p| link_to(p, stale), [false, false]),
    row("a dangling link", |p| link_to(p, |_| vec![]), [false, false]),
    row("a link to itself", |p| { symlink("s", p).unwrap(); vec![] }, [false, false]),
];

fn full_directory(path: &Path) -> Vec<OwnedFd> {
    std::fs::create_dir(path).unwrap();
    live(&path.join("s"))
}

fn make_fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// The options, and the index in [`Row::replaced`], or `None` if nothing is replaced.
fn columns() -> [(ListenOptions<'static>, Option<usize>); 4] {
    let refuse = with(Existing::Refuse);
    [
        (refuse.clone(), None),
        // With an owner, even an unchanged one, the socket gets its path by a rename.
        (refuse.owner(u32::MAX, u32::MAX), None),
        (with(Existing::ReplaceStale), Some(0)),
        (with(Existing::Replace), Some(1)),
    ]
}

#[test]
fn only_sockets_are_replaced_and_every_other_entry_stays_as_it_is() {
    for Row { entry, make, replaced } in ROWS {
        for (options, column) in columns() {
            for is_absolute in [true, false] {
                in_directory(|directory| {
                    let path = directory.join("s");
                    let kept = make(&path);
                    let address = address(&path, is_absolute);
                    if column.is_some_and(|column| replaced[column]) {
                        assert_replaces(&options, &address, entry);
                    } else {
                        assert_refuses(&options, &address, entry);
                    }
                    drop(kept);
                });
            }
        }
    }
}

fn address(path: &Path, is_absolute: bool) -> String {
    if is_absolute { format!("unix:{}", path.display()) } else { "unix:s".into() }
}

/// Asserts that the entry `s` stays.
fn assert_refuses(options: &ListenOptions<'_>, address: &str, entry: &str) {
    let path = Path::new("s");
    let arena = Arena::new();
    let content = || path.is_file().then(|| std::fs::read(path).unwrap());
    let state = || (identity(path), names("."), connect(path).map(drop), content());
    let (before, open) = (state(), descriptors());
    let (error, operations) = audited(address, |capability| {
        let listener = options.clone().capability(capability).listen(address, &arena);
        listener.map(drop).unwrap_err()
    });
    assert_eq!(error, IN_USE, "{entry}, {options:?}");
    assert_eq!(state(), before, "{entry}, {options:?}");
    assert_eq!(operations, DENIED_ENTRY, "{entry}, {options:?}");
    assert_eq!((descriptors(), arena.bytes_in_use()), (open, 0), "{entry}, {options:?}");
}

/// Asserts that a listener gets the path `s`, and that its end removes it, or leaves it.
fn assert_replaces(options: &ListenOptions<'_>, address: &str, entry: &str) {
    let arena = Arena::new();
    let (open, others) = (descriptors(), other_names());
    for keeps in [true, false] {
        let before = Path::new("s").exists().then(|| inode("s"));
        let (listener, operations) = audited(address, |capability| {
            options.clone().capability(capability).listen(address, &arena).unwrap()
        });
        assert_eq!(operations, PUBLISHED, "{entry}");
        assert_complete(listener, address, keeps);
        assert_eq!(Path::new("s").exists(), keeps, "{entry}");
        if keeps {
            assert_ne!(Some(inode("s")), before, "{entry}");
            assert_eq!(connect(Path::new("s")).err(), Some(rustix::io::Errno::CONNREFUSED));
        }
        assert_eq!(other_names(), others, "{entry}");
        assert_eq!((descriptors(), arena.bytes_in_use()), (open.clone(), 0), "{entry}");
    }
}

/// Returns the names except that of the path.
fn other_names() -> Vec<String> {
    names(".").into_iter().filter(|name| name != "s").collect()
}

/// Asserts that the listener has its path, and ends it.
fn assert_complete(mut listener: Listener<&Arena>, address: &str, keeps: bool) {
    let path = address.strip_prefix("unix:").unwrap();
    assert!(Path::new("s").symlink_metadata().unwrap().file_type().is_socket());
    assert_eq!(listener.local_address().unwrap(), BindAddress::parse(address).unwrap());
    assert_eq!(listener.sockaddr()[2..], *[path.as_bytes(), b"\0"].concat());
    assert_serves(&listener, path);
    let client = connect(Path::new(path)).unwrap();
    let (connection, peer) = listener.accept().unwrap();
    assert_eq!(peer, None);
    crate::listen::talk(&mut std::fs::File::from(client), connection);
    assert!(listener.accept().unwrap_err().is_would_block());
    if keeps {
        listener.keep_path();
    }
    listener.close().unwrap();
}

#[test]
fn an_empty_place_is_taken_and_left_empty_again() {
    for (options, _) in columns() {
        for is_absolute in [true, false] {
            in_directory(|directory| {
                let address = address(&directory.join("s"), is_absolute);
                let arena = Arena::new();
                let (listener, operations) = audited(&address, |capability| {
                    options.clone().capability(capability).listen(&address, &arena).unwrap()
                });
                assert_eq!(
                    (operations, names(".")),
                    (PUBLISHED.map(Into::into).into(), vec!["s".into()])
                );
                assert_complete(listener, &address, false);
                assert_eq!(names("."), [""; 0], "{options:?}");
            });
        }
    }
}

/// Such a path can only be a directory.
#[test]
fn a_path_without_a_last_component_is_in_use() {
    for (options, _) in columns() {
        in_directory(|directory| {
            std::fs::create_dir("d").unwrap();
            let before = identity("d");
            let arena = Arena::new();
            for path in ["d/", "d//", "d/.", "d/..", ".", "..", "./", "../", "d/../"] {
                let absolute = format!("{}/{path}", directory.display());
                for path in [path, &absolute, "/", "/."] {
                    let address = format!("unix:{path}");
                    let error = options.listen(address, &arena).map(drop).unwrap_err();
                    assert_eq!(error, IN_USE, "{path}, {options:?}");
                }
            }
            assert_eq!((identity("d"), names("."), names("d")), (before, vec!["d".into()], vec![]));
        });
    }
}

#[test]
fn a_path_is_replaced_again_and_again_and_only_the_last_listener_removes_it() {
    in_directory(|_| {
        let arena = Arena::new();
        let mut listeners = Vec::new();
        for _ in 0..20 {
            listeners.push(with(Existing::Replace).listen("unix:s", &arena).unwrap());
            assert_serves(listeners.last().unwrap(), "s");
        }
        let last = listeners.pop().unwrap();
        for former in listeners {
            former.close().unwrap();
            assert_eq!(names("."), ["s"]);
        }
        assert_serves(&last, "s");
        drop(last);
        assert_eq!((names("."), arena.bytes_in_use()), (vec![], 0));
    });
}

/// An option that was replaced by its default has no effect.
#[test]
fn the_last_value_of_existing_counts() {
    in_directory(|_| {
        leave_stale("s");
        let arena = Arena::new();
        let refuses = with(Existing::Replace).existing(Existing::Refuse);
        assert_eq!(refuses.listen("unix:s", &arena).map(drop), Err(IN_USE));
        assert!(refuses.listen("127.0.0.1:0", &arena).is_ok(), "it applies to paths only");
        assert!(refuses.existing(Existing::ReplaceStale).listen("unix:s", &arena).is_ok());
    });
}

/// The kernel reports the temporary name, so the new owner states the path.
#[test]
fn a_listener_that_was_moved_to_its_path_can_be_adopted_by_it() {
    if !has_sock_diag() {
        return;
    }
    in_directory(|_| {
        leave_stale("s");
        let arena = Arena::new();
        let listener = with(Existing::ReplaceStale).listen("unix:s", &arena).unwrap();
        let address = BindAddress::parse("unix:s").unwrap();
        let options = ListenOptions::new().nonblocking(true);
        let mut adopted = options.adopt_as(listener.into_fd(), &address, &arena).unwrap();
        assert_serves(&adopted, "s");
        assert_eq!(adopted.local_address(), Ok(address));
        adopted.remove_path(true).unwrap();
        drop(adopted);
        assert_eq!(names("."), [""; 0]);
    });
}
