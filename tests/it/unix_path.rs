//! The file of a Unix path: made by the bind, removed with the listener while it is still that socket, and never anybody
//! else's.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use netbind::error::{Errno, Step};
use netbind::{Listener, SocketError, listen};

use crate::support::memory::Arena;
use crate::support::thread::{become_nobody, descriptors, isolated};

type End = fn(Listener<&Arena>) -> Result<(), SocketError>;

/// The two ends of a listener.
const ENDS: [(&str, End); 2] = [
    ("drop", |listener| {
        drop(listener);
        Ok(())
    }),
    ("close", |listener| listener.close()),
];

/// Runs `body` in an empty working directory.
fn in_directory(body: impl FnOnce(&Path) + Send) {
    isolated(|| {
        let directory = tempfile::tempdir().unwrap();
        std::env::set_current_dir(directory.path()).unwrap();
        body(directory.path());
    });
}

fn names() -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(".").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn a_path_is_there_while_the_listener_is() {
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
fn a_path_that_is_there_already_is_in_use_and_stays_untouched() {
    in_directory(|_| {
        fs::write("file", "kept").unwrap();
        fs::create_dir("directory").unwrap();
        symlink("nowhere", "dangling").unwrap();
        symlink("file", "link").unwrap();
        let stale = UnixListener::bind("stale").unwrap();
        let _live = UnixListener::bind("live").unwrap();
        drop(stale);
        let look = |name: &str| {
            fs::symlink_metadata(name).map(|data| (data.ino(), data.mode(), data.len())).unwrap()
        };
        for name in ["file", "directory", "dangling", "link", "stale", "live"] {
            let before = look(name);
            let error = listen(format!("unix:{name}"), &Arena::new()).unwrap_err();
            assert_eq!(
                error,
                SocketError::System { step: Step::Bind, errno: Errno::ADDRINUSE },
                "{name}"
            );
            assert_eq!(look(name), before, "{name}");
        }
        assert_eq!(fs::read("file").unwrap(), b"kept");
        assert_eq!(names(), ["dangling", "directory", "file", "link", "live", "stale"]);
    });
}

#[test]
fn what_somebody_else_puts_in_the_place_stays() {
    #[rustfmt::skip]
    let replacements: [(&str, fn()); 6] = [
        ("a file", || fs::write("s", "theirs").unwrap()),
        ("a socket", || drop(UnixListener::bind("s").unwrap())),
        ("a directory", || fs::create_dir("s").unwrap()),
        ("a dangling link", || symlink("nowhere", "s").unwrap()),
        ("a link to a socket", || { drop(UnixListener::bind("t").unwrap()); symlink("t", "s").unwrap(); }),
        ("a link to where the socket went", || { symlink("moved", "s").unwrap(); }),
    ];
    for (what, replace) in replacements {
        for (end, ended) in ENDS {
            in_directory(|_| {
                let arena = Arena::new();
                let listener = listen("unix:s", &arena).unwrap();
                if what.contains("went") { fs::rename("s", "moved") } else { fs::remove_file("s") }
                    .unwrap();
                replace();
                let theirs = fs::symlink_metadata("s").unwrap().ino();
                let before = descriptors();
                assert_eq!(ended(listener), Ok(()), "{end}, {what}");
                assert_eq!(
                    fs::symlink_metadata("s").unwrap().ino(),
                    theirs,
                    "{end} removed {what}"
                );
                assert_eq!(descriptors().len(), before.len() - 1);
            });
        }
    }
}

#[test]
fn the_next_listener_on_the_path_outlives_the_one_before() {
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
fn a_path_that_is_gone_already_is_no_error() {
    let removals: [(&str, fn()); 2] = [
        ("the file", || fs::remove_file("d/s").unwrap()),
        ("its directory", || fs::remove_dir_all("d").unwrap()),
    ];
    for (what, remove) in removals {
        for (end, ended) in ENDS {
            in_directory(|_| {
                fs::create_dir("d").unwrap();
                let arena = Arena::new();
                let listener = listen("unix:d/s", &arena).unwrap();
                let before = descriptors();
                remove();
                assert_eq!(ended(listener), Ok(()), "{end} without {what}");
                assert_eq!((descriptors().len(), arena.live()), (before.len() - 1, 0));
            });
        }
    }
}

/// A relative path is looked up again at the end, so it belongs to the working directory of that time.
#[test]
fn a_relative_path_in_another_working_directory_is_somebody_elses() {
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
fn a_descriptor_that_is_given_away_leaves_the_path() {
    in_directory(|_| {
        let arena = Arena::new();
        let fd = listen("unix:s", &arena).unwrap().into_fd();
        assert_eq!((names(), arena.live()), (vec!["s".into()], 0));
        drop(fd);
        assert_eq!(names(), ["s"]);
    });
}

#[test]
fn close_tells_of_a_path_that_can_not_be_removed_and_drop_does_not() {
    for (mode, step) in [(0o755, Step::Unlink), (0o700, Step::Stat)] {
        for (end, ended) in ENDS {
            in_directory(|directory| {
                fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
                fs::create_dir("d").unwrap();
                fs::set_permissions("d", fs::Permissions::from_mode(mode)).unwrap();
                // Another thread loses its rights, so that this one can tidy up.
                let ended = std::thread::scope(|scope| {
                    scope.spawn(|| end_as_nobody(ended)).join().unwrap()
                });
                let Some(ended) = ended else {
                    return eprintln!("not root: every path of ours can be removed");
                };
                let refused = SocketError::System { step, errno: Errno::ACCESS };
                assert_eq!(ended, if end == "close" { Err(refused) } else { Ok(()) });
                assert!(directory.join("d/s").exists());
            });
        }
    }
}

/// Opens `d/s` as root and ends it as `nobody`, who may not remove it; its descriptor and memory have to go all the same.
fn end_as_nobody(end: End) -> Option<Result<(), SocketError>> {
    let arena = Arena::new();
    let listener = listen("unix:d/s", &arena).unwrap();
    let before = descriptors();
    if !become_nobody() {
        return None;
    }
    let ended = end(listener);
    assert_eq!((descriptors().len(), arena.live()), (before.len() - 1, 0));
    Some(ended)
}

#[test]
fn an_abstract_name_is_exactly_its_bytes_and_gone_with_the_listener() {
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
        assert_eq!(names(), [""; 0], "a name is no file");
    });
}

/// Another thread moves the process to and fro between two directories. In one of them, the name that
/// is bound belongs to somebody else.
#[test]
fn a_foreign_socket_is_never_removed_while_another_thread_changes_the_directory() {
    const OPENINGS: u32 = 20_000;
    in_directory(|directory| {
        let (ours, theirs) = (directory.join("ours"), directory.join("theirs"));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&theirs).unwrap();
        let _foreign = UnixListener::bind(theirs.join("s")).unwrap();
        std::env::set_current_dir(&ours).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::env::set_current_dir(&theirs).unwrap();
                    std::env::set_current_dir(&ours).unwrap();
                }
            });
            let mut opened = 0;
            for _ in 0..OPENINGS {
                opened += u32::from(listen("unix:s", &Arena::new()).is_ok());
                if !theirs.join("s").exists() {
                    break;
                }
                // An opening or its end can have missed the file, which then stays.
                let _ = fs::remove_file(ours.join("s"));
            }
            done.store(true, Ordering::Relaxed);
            assert!(opened > 0, "nothing was opened");
        });
        assert!(theirs.join("s").exists(), "the foreign socket was removed");
    });
}
