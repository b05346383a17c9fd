//! Relative paths, long paths, and directories that forbid something or move.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use netbind::error::{Errno, Step};
use netbind::{Existing, ListenOptions, SocketError};
use rustix::process::geteuid;

use super::{
    AtEnd, assert_serves, identity, in_directory, inode, leave_stale, names, names_and_temporaries,
    system_error, with,
};
use crate::support::machine::skip;
use crate::support::memory::Arena;
use crate::support::thread::{become_ordinary_user, descriptors, join, spawn};

#[test]
fn a_stale_socket_is_replaced_whatever_leads_to_its_directory() {
    in_directory(|directory| {
        let arena = Arena::new();
        fs::create_dir_all("d/e").unwrap();
        symlink("d", "l").unwrap();
        let absolute = directory.join("d").display().to_string();
        for (parent, name, found) in [
            ("", "s", "s"),
            ("./", "s", "s"),
            ("./", "@s", "@s"),
            ("d/", "s", "d/s"),
            ("d//", "s", "d/s"),
            ("d/../", "s", "s"),
            ("l/", "s", "d/s"),
            ("l/e/", "s", "d/e/s"),
            ("l/../", "s", "s"),
            (&format!("{absolute}/"), "s", "d/s"),
            (&format!("{absolute}/e/../"), "s", "d/s"),
            (&format!("//{absolute}//"), "s", "d/s"),
            ("/proc/thread-self/cwd/", "s", "s"),
        ] {
            for existing in [Existing::ReplaceStale, Existing::Replace] {
                leave_stale(found);
                let path = format!("{parent}{name}");
                let address = format!("unix:{path}");
                let listener = with(existing).listen(&address, &arena).unwrap();
                assert_eq!(listener.local_address().unwrap().to_string(), address);
                assert_serves(&listener, found);
                assert_serves(&listener, &path);
                listener.close().unwrap();
                assert_eq!(names("."), ["d", "l"], "{path}");
                assert_eq!((names("d"), names("d/e")), (vec!["e".into()], vec![]), "{path}");
            }
        }
    });
}

/// The length of `.netbind-` and ten digits.
const TEMPORARY: usize = 19;

/// The temporary name is longer than that of the path.
#[test]
fn a_directory_is_too_long_if_the_temporary_name_does_not_fit() {
    in_directory(|directory| {
        let absolute = format!("{}/", directory.display());
        for prefix in ["", "./", &absolute] {
            for length in 80_usize..=105 {
                let Some(missing) = length.checked_sub(prefix.len() + 1) else { continue };
                let parent = format!("{prefix}{}/", "d".repeat(missing));
                fs::create_dir(&parent).unwrap();
                let is_too_long = parent.len() + TEMPORARY > 107;
                for existing in [Existing::Refuse, Existing::ReplaceStale, Existing::Replace] {
                    assert_length_matters(existing, &parent, is_too_long);
                }
                fs::remove_dir(&parent).unwrap();
            }
        }
    });
}

fn assert_length_matters(existing: Existing, parent: &str, is_too_long: bool) {
    let arena = Arena::new();
    let before = descriptors();
    let options = with(existing).owner(u32::MAX, u32::MAX);
    let address = format!("unix:{parent}s");
    let opened = options.listen(&address, &arena).and_then(netbind::Listener::close);
    let too_long = system_error(Step::Bind, Errno::NAMETOOLONG);
    assert_eq!(opened, if is_too_long { Err(too_long) } else { Ok(()) }, "{}", parent.len());
    assert_eq!((names(parent), descriptors(), arena.bytes_in_use()), (vec![], before, 0));
    // The path itself fits, so it can be opened without replacement.
    assert_eq!(ListenOptions::new().listen(&address, &arena).map(drop), Ok(()));
}

/// A longer name than the temporary one is no problem.
#[test]
fn the_longest_path_can_be_replaced() {
    in_directory(|directory| {
        let arena = Arena::new();
        let parent = format!("{}/", directory.display());
        let path = format!("{parent}{}", "s".repeat(107 - parent.len()));
        leave_stale(&path);
        let listener = with(Existing::ReplaceStale).listen(&path, &arena).unwrap();
        assert_serves(&listener, &path);
    });
}

#[test]
fn a_missing_directory_is_an_error_of_its_own_step() {
    in_directory(|_| {
        fs::write("file", "").unwrap();
        symlink("loop", "loop").unwrap();
        symlink("gone", "dangling").unwrap();
        let arena = Arena::new();
        let before = descriptors();
        for (parent, errno) in [
            ("missing", Errno::NOENT),
            ("missing/..", Errno::NOENT),
            ("dangling", Errno::NOENT),
            ("file", Errno::NOTDIR),
            ("loop", Errno::LOOP),
        ] {
            for existing in [Existing::ReplaceStale, Existing::Replace] {
                let error = with(existing).listen(format!("unix:{parent}/s"), &arena).unwrap_err();
                assert_eq!(error, system_error(Step::OpenDirectory, errno), "{parent}");
            }
        }
        assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
        assert_eq!(names("."), ["dangling", "file", "loop"]);
    });
}

/// Runs `body` as an ordinary user, unless that is impossible.
fn as_ordinary_user(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        join(spawn(scope, || {
            if become_ordinary_user() {
                body();
            }
        }));
    });
}

#[test]
fn a_directory_that_forbids_something_is_an_error_and_nothing_changes() {
    for (mode, step) in [
        (0o000, Step::OpenDirectory),
        (0o300, Step::OpenDirectory), // not readable
        (0o500, Step::Bind),          // not writable
        (0o600, Step::Bind),          // not searchable
    ] {
        for existing in [Existing::ReplaceStale, Existing::Replace] {
            in_directory(|directory| {
                fs::set_permissions(directory, Permissions::from_mode(0o777)).unwrap();
                fs::create_dir("d").unwrap();
                leave_stale("d/s");
                let before = identity("d/s");
                if geteuid().is_root() {
                    std::os::unix::fs::chown("d", Some(65_534), Some(65_534)).unwrap();
                }
                fs::set_permissions("d", Permissions::from_mode(mode)).unwrap();
                as_ordinary_user(|| {
                    let (arena, before) = (Arena::new(), descriptors());
                    let error = with(existing).listen("unix:d/s", &arena).unwrap_err();
                    assert_eq!(error, system_error(step, Errno::ACCESS), "{mode:o}");
                    assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
                });
                fs::set_permissions("d", Permissions::from_mode(0o700)).unwrap();
                assert_eq!((identity("d/s"), names("d")), (before, vec!["s".into()]));
            });
        }
    }
}

/// In a directory such as `/tmp`, only the owner of a file may move it.
#[test]
fn a_stale_socket_of_another_user_stays_in_a_sticky_directory() {
    for (mode, existing, step, errno) in [
        (0o777, Existing::ReplaceStale, Step::Rename, Errno::PERM),
        (0o777, Existing::Replace, Step::Rename, Errno::PERM),
        (0o755, Existing::ReplaceStale, Step::Probe, Errno::ACCESS),
    ] {
        in_directory(|directory| {
            if !geteuid().is_root() {
                return skip("a socket of another user, which needs root");
            }
            fs::set_permissions(directory, Permissions::from_mode(0o1777)).unwrap();
            leave_stale("s");
            fs::set_permissions("s", Permissions::from_mode(mode)).unwrap();
            let before = identity("s");
            as_ordinary_user(|| {
                let (arena, before) = (Arena::new(), descriptors());
                let error = with(existing).listen("unix:s", &arena).unwrap_err();
                assert_eq!(error, system_error(step, errno), "{existing:?}");
                assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
            });
            assert_eq!((identity("s"), names(".")), (before, vec!["s".into()]));
        });
    }
}

/// Another thread changes between two working directories all the time. In one of them, the name
/// belongs to a live server.
#[test]
fn a_live_listener_in_another_working_directory_is_never_replaced() {
    const OPENINGS: u32 = 1_000;
    in_directory(|directory| {
        let (ours, foreign) = (directory.join("ours"), directory.join("foreign"));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&foreign).unwrap();
        let live = UnixListener::bind(foreign.join("s")).unwrap();
        live.set_nonblocking(true).unwrap();
        let before = inode(foreign.join("s"));
        std::env::set_current_dir(&ours).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            spawn(scope, || {
                while !done.load(Ordering::Relaxed) {
                    std::env::set_current_dir(&foreign).unwrap();
                    std::env::set_current_dir(&ours).unwrap();
                }
            });
            let _at_end = AtEnd(|| done.store(true, Ordering::Relaxed));
            let opened = (0..OPENINGS).filter(|_| opens_here(&ours, &live)).count();
            assert!(opened > 0, "no opening succeeded");
        });
        assert_eq!(inode(foreign.join("s")), before, "the live listener was replaced");
        assert_serves(&live, foreign.join("s"));
        let temporaries = names_and_temporaries(&ours).1 + names_and_temporaries(&foreign).1;
        println!("{temporaries} temporary names left in {OPENINGS} openings");
    });
}

/// Opens `s` and returns true if that succeeds. The listener must then be in this directory.
fn opens_here(ours: &Path, live: &UnixListener) -> bool {
    while live.accept().is_ok() {} // the probes of earlier openings
    let arena = Arena::new();
    match with(Existing::ReplaceStale).listen("unix:s", &arena) {
        Ok(listener) => {
            assert_serves(&listener, ours.join("s"));
            true
        }
        Err(SocketError::System { step: Step::Bind | Step::Stat, .. }) => false,
        Err(error) => panic!("{error}"),
    }
}
