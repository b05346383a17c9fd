//! The file of a Unix path. The bind creates it, and the end of the listener removes it, if it
//! still is the same socket. A foreign file is never removed.

mod other_file_system;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use netbind::error::{Errno, Step};
use netbind::{Listener, SocketError, listen};

use crate::support::machine::directory;
use crate::support::memory::Arena;
use crate::support::thread::{become_ordinary_user, descriptors, isolated, join, spawn};

type End = fn(Listener<&Arena>) -> Result<(), SocketError>;

/// The two ways to end a listener.
const ENDS: [(&str, End); 2] = [
    ("drop", |listener| {
        drop(listener);
        Ok(())
    }),
    ("close", |listener| listener.close()),
];

/// Runs `body` in an isolated thread whose working directory is empty.
fn in_directory(body: impl FnOnce(&Path) + Send) {
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        body(directory.path());
    });
}

/// Returns the sorted names in the working directory.
fn names() -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_path_exists_as_long_as_its_listener() {
    in_directory(|directory| {
        let absolute = format!("{}/s", directory.display());
        let unix = format!("unix:{absolute}");
        let longest = format!("unix:{}/{}", directory.display(), "x".repeat(107));
        let longest = &longest[.."unix:".len() + 107];
        let arena = Arena::new();
        for address in ["unix:s", "unix:./@s", &absolute, &unix, longest] {
            for (end, ended) in ENDS {
                let listener = listen(address, &arena).unwrap();
                assert_eq!(names().len(), 1, "{address}");
                assert!(fs::symlink_metadata(&names()[0]).unwrap().file_type().is_socket());
                ended(listener).unwrap();
                assert_eq!(names(), [""; 0], "{end} of {address}");
            }
        }
    });
}

#[test]
fn a_path_that_exists_is_in_use_and_not_changed() {
    in_directory(|_| {
        fs::write("file", "kept").unwrap();
        fs::create_dir("directory").unwrap();
        symlink("missing", "dangling").unwrap();
        symlink("file", "link").unwrap();
        let stale = UnixListener::bind("stale").unwrap();
        let _live = UnixListener::bind("live").unwrap();
        drop(stale);
        let identity = |name: &str| {
            fs::symlink_metadata(name).map(|data| (data.ino(), data.mode(), data.len())).unwrap()
        };
        for name in ["file", "directory", "dangling", "link", "stale", "live"] {
            let before = identity(name);
            let error = listen(format!("unix:{name}"), &Arena::new()).unwrap_err();
            assert_eq!(
                error,
                SocketError::System { step: Step::Bind, errno: Errno::ADDRINUSE },
                "{name}"
            );
            assert_eq!(identity(name), before, "{name}");
        }
        assert_eq!(fs::read("file").unwrap(), b"kept");
        assert_eq!(names(), ["dangling", "directory", "file", "link", "live", "stale"]);
    });
}

#[test]
fn drop_never_removes_a_foreign_file() {
    let replacements: [(&str, fn()); 6] = [
        ("a file", || fs::write("s", "foreign").unwrap()),
        ("a socket", || drop(UnixListener::bind("s").unwrap())),
        ("a directory", || fs::create_dir("s").unwrap()),
        ("a dangling link", || symlink("missing", "s").unwrap()),
        ("a link to a socket", || {
            drop(UnixListener::bind("t").unwrap());
            symlink("t", "s").unwrap();
        }),
        ("a link to the moved socket", || {
            symlink("moved", "s").unwrap();
        }),
    ];
    for (replacement, replace) in replacements {
        for (end, ended) in ENDS {
            in_directory(|_| {
                let arena = Arena::new();
                let listener = listen("unix:s", &arena).unwrap();
                match replacement {
                    "a link to the moved socket" => fs::rename("s", "moved").unwrap(),
                    _ => fs::remove_file("s").unwrap(),
                }
                replace();
                let foreign = fs::symlink_metadata("s").unwrap().ino();
                let before = descriptors();
                assert_eq!(ended(listener), Ok(()), "{end}, {replacement}");
                assert_eq!(
                    fs::symlink_metadata("s").unwrap().ino(),
                    foreign,
                    "{end} removed {replacement}"
                );
                assert_eq!(descriptors().len(), before.len() - 1);
            });
        }
    }
}

#[test]
fn the_end_of_a_listener_does_not_remove_the_path_of_the_next_one() {
    in_directory(|_| {
        let arena = Arena::new();
        for (end, ended) in ENDS {
            let first = listen("unix:s", &arena).unwrap();
            fs::remove_file("s").unwrap();
            let second = listen("unix:s", &arena).unwrap();
            ended(first).unwrap();
            assert_eq!(names(), ["s"], "{end}");
            drop(std::os::unix::net::UnixStream::connect("s").unwrap());
            drop(second);
            assert_eq!(names(), [""; 0]);
        }
    });
}

#[test]
fn a_path_that_is_already_gone_is_not_an_error() {
    let removals: [(&str, fn()); 2] = [
        ("the file", || fs::remove_file("d/s").unwrap()),
        ("its directory", || fs::remove_dir_all("d").unwrap()),
    ];
    for (removal, remove) in removals {
        for (end, ended) in ENDS {
            in_directory(|_| {
                fs::create_dir("d").unwrap();
                let arena = Arena::new();
                let listener = listen("unix:d/s", &arena).unwrap();
                let before = descriptors();
                remove();
                assert_eq!(ended(listener), Ok(()), "{end} without {removal}");
                assert_eq!((descriptors().len(), arena.bytes_in_use()), (before.len() - 1, 0));
            });
        }
    }
}

/// A relative path is looked up again at the end, from the working directory at that time.
#[test]
fn a_foreign_socket_in_a_new_working_directory_is_not_removed() {
    in_directory(|directory| {
        fs::create_dir("d").unwrap();
        let arena = Arena::new();
        let listener = listen("unix:s", &arena).unwrap();
        std::env::set_current_dir("d").unwrap();
        drop(UnixListener::bind("s").unwrap());
        listener.close().unwrap();
        assert_eq!(names(), ["s"]);
        assert!(directory.join("s").exists());
    });
}

#[test]
fn into_fd_does_not_remove_the_path() {
    in_directory(|_| {
        let arena = Arena::new();
        let fd = listen("unix:s", &arena).unwrap().into_fd();
        assert_eq!((names(), arena.bytes_in_use()), (vec!["s".into()], 0));
        drop(fd);
        assert_eq!(names(), ["s"]);
    });
}

#[test]
fn close_returns_the_error_of_a_path_that_cannot_be_removed() {
    for (mode, step) in [(0o555, Step::Unlink), (0, Step::Stat)] {
        for (end, ended) in ENDS {
            in_directory(|directory| {
                fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
                fs::create_dir("d").unwrap();
                // Another thread gives its rights up, so that this one can remove the directory.
                let ended =
                    std::thread::scope(|scope| join(spawn(scope, || end_in_closed(mode, ended))));
                fs::set_permissions("d", fs::Permissions::from_mode(0o755)).unwrap();
                let Some(ended) = ended else { return };
                let refused = SocketError::System { step, errno: Errno::ACCESS };
                assert_eq!(ended, if end == "close" { Err(refused) } else { Ok(()) });
                assert!(directory.join("d/s").exists());
            });
        }
    }
}

/// Opens `d/s`, and ends it as a user that may not remove it. The descriptor must be closed and the
/// memory freed in any case.
fn end_in_closed(mode: u32, end: End) -> Option<Result<(), SocketError>> {
    let arena = Arena::new();
    let listener = listen("unix:d/s", &arena).unwrap();
    let before = descriptors();
    fs::set_permissions("d", fs::Permissions::from_mode(mode)).unwrap();
    if !become_ordinary_user() {
        return None;
    }
    let ended = end(listener);
    assert_eq!((descriptors().len(), arena.bytes_in_use()), (before.len() - 1, 0));
    Some(ended)
}

#[test]
fn an_abstract_name_has_exactly_its_bytes_and_ends_with_its_listener() {
    in_directory(|_| {
        let arena = Arena::new();
        let longest = format!("netbind-{}", "x".repeat(99));
        for name in ["netbind-exact", "netbind-exact ", "netbind/exact", &longest] {
            let first = listen(format!("unix:@{name}"), &arena).unwrap();
            let table = fs::read_to_string("/proc/net/unix").unwrap();
            assert!(table.lines().any(|line| line.ends_with(&format!(" @{name}"))), "{name:?}");
            let error = listen(format!("unix:@{name}"), &arena).unwrap_err();
            assert!(error.is_address_in_use(), "{name:?}");
            drop(first);
            listen(format!("unix:@{name}"), &arena).unwrap().close().unwrap();
        }
        assert_eq!(names(), [""; 0], "a name creates no file");
    });
}

/// Another thread changes between two working directories all the time. In one of them, the name
/// has a foreign socket.
#[test]
fn a_foreign_socket_is_never_removed_while_another_thread_calls_chdir() {
    const OPENINGS: u32 = 20_000;
    in_directory(|directory| {
        let (ours, foreign) = (directory.join("ours"), directory.join("foreign"));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&foreign).unwrap();
        let _foreign = UnixListener::bind(foreign.join("s")).unwrap();
        std::env::set_current_dir(&ours).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::env::set_current_dir(&foreign).unwrap();
                    std::env::set_current_dir(&ours).unwrap();
                }
            });
            let mut opened = 0;
            for _ in 0..OPENINGS {
                opened += u32::from(listen("unix:s", &Arena::new()).is_ok());
                if !foreign.join("s").exists() {
                    break;
                }
                // An opening or its end can miss the file, which then stays.
                let _ = fs::remove_file(ours.join("s"));
            }
            done.store(true, Ordering::Relaxed);
            assert!(opened > 0, "no opening succeeded");
        });
        assert!(foreign.join("s").exists(), "the foreign socket was removed");
    });
}
