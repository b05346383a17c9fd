//! The mode and the owner of a socket. Both are complete before the socket appears under its path.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use netbind::error::{Errno, SocketOption, Step};
use netbind::{Existing, ListenOptions, SocketError};
use rustix::fs::Mode;
use rustix::process::{getegid, geteuid, umask};

use super::{
    AtEnd, DENIED_ENTRY, IN_USE, assert_serves, audited, identity, in_directory, leave_stale,
    names, system_error, with,
};
use crate::support::machine::skip;
use crate::support::memory::Arena;
use crate::support::thread::{become_ordinary_user, descriptors, join, spawn};

pub(super) const EVERY: [Existing; 3] =
    [Existing::Refuse, Existing::ReplaceStale, Existing::Replace];

/// Returns the permission bits, the user and the group of a file.
pub(super) fn rights(path: impl AsRef<Path>) -> (u32, u32, u32) {
    let data = fs::symlink_metadata(path).unwrap();
    (data.mode() & 0o7777, data.uid(), data.gid())
}

/// Returns an owner that differs from the usual one, if this process may set one.
pub(super) fn another_owner() -> (u32, u32) {
    if geteuid().is_root() {
        return (12_345, 54_321);
    }
    skip("another owner, which needs root");
    (u32::MAX, getegid().as_raw())
}

/// Returns the user and the group of a new file with this owner.
pub(super) fn expected(owner: (u32, u32)) -> (u32, u32) {
    let (user, group) = owner;
    (
        if user == u32::MAX { geteuid().as_raw() } else { user },
        if group == u32::MAX { getegid().as_raw() } else { group },
    )
}

#[test]
fn the_owner_is_as_asked_and_a_part_can_stay() {
    in_directory(|_| {
        if !geteuid().is_root() {
            return skip("owners, which need root");
        }
        for owner in [(1, 2), (u32::MAX, 2), (1, u32::MAX), (u32::MAX, u32::MAX), (0, 0)] {
            for existing in EVERY {
                let arena = Arena::new();
                let options = with(existing).owner(owner.0, owner.1).mode(0o600);
                let listener = options.listen("unix:s", &arena).unwrap();
                let (user, group) = expected(owner);
                assert_eq!(rights("s"), (0o600, user, group), "{owner:?}, {existing:?}");
                assert_serves(&listener, "s");
                listener.close().unwrap();
                assert_eq!(names("."), [""; 0], "{owner:?}, {existing:?}");
            }
        }
    });
}

#[test]
fn an_ordinary_user_can_set_its_own_group() {
    in_directory(|_| {
        let arena = Arena::new();
        let (user, group) = expected((u32::MAX, u32::MAX));
        for owner in [(u32::MAX, group), (user, group), (user, u32::MAX), (u32::MAX, u32::MAX)] {
            let options = ListenOptions::new().owner(owner.0, owner.1);
            let _listener = options.listen("unix:s", &arena).unwrap();
            assert_eq!((rights("s").1, rights("s").2), (user, group), "{owner:?}");
        }
    });
}

#[test]
fn an_owner_that_may_not_be_set_is_an_error_and_leaves_nothing() {
    for existing in EVERY {
        for is_empty in [true, false] {
            in_directory(|directory| {
                fs::set_permissions(directory, fs::Permissions::from_mode(0o777)).unwrap();
                if !is_empty {
                    leave_stale("s");
                }
                std::thread::scope(|scope| join(spawn(scope, || refused_owner(existing))));
            });
        }
    }
}

/// Asks for owners that need `CAP_CHOWN`, as an ordinary user.
fn refused_owner(existing: Existing) {
    if !become_ordinary_user() {
        return;
    }
    let arena = Arena::new();
    let before = (names("."), descriptors());
    for owner in [(0, u32::MAX), (0, 0), (12_345, u32::MAX), (u32::MAX, 54_321)] {
        let options = with(existing).owner(owner.0, owner.1);
        let (error, operations) = audited("unix:s", |capability| {
            options.capability(capability).listen("unix:s", &arena).map(drop).unwrap_err()
        });
        let refused = system_error(Step::Option(SocketOption::Owner), Errno::PERM);
        assert_eq!(error, refused, "{owner:?}");
        assert!(error.is_permission_denied());
        assert_eq!(operations, DENIED_ENTRY);
        assert_eq!(((names("."), descriptors()), arena.bytes_in_use()), (before.clone(), 0));
    }
}

#[test]
fn an_owner_replaces_nothing_by_itself() {
    in_directory(|_| {
        leave_stale("s");
        let before = identity("s");
        let arena = Arena::new();
        let options = ListenOptions::new().owner(u32::MAX, u32::MAX).mode(0o600);
        assert_eq!(options.listen("unix:s", &arena).map(drop), Err(IN_USE));
        assert_eq!((identity("s"), names(".")), (before, vec!["s".into()]));
    });
}

#[test]
fn other_addresses_have_no_owner_and_replace_nothing() {
    in_directory(|_| {
        let arena = Arena::new();
        let owner = ListenOptions::new().owner(u32::MAX, u32::MAX);
        let stale = ListenOptions::new().existing(Existing::ReplaceStale);
        let any = ListenOptions::new().existing(Existing::Replace);
        for (options, option) in [
            (owner, SocketOption::Owner),
            (stale, SocketOption::Existing),
            (any, SocketOption::Existing),
        ] {
            let inapplicable = Err(SocketError::InvalidOption(option));
            for address in ["127.0.0.1:0", "[::1]:0", ":0", "unix:@netbind-owner"] {
                assert_eq!(options.listen(address, &arena).map(drop), inapplicable, "{address}");
            }
            let listener = ListenOptions::new().listen("unix:s", &arena).unwrap();
            let error = options.adopt(listener.into_fd(), &arena).map(drop).unwrap_err();
            assert_eq!(Err(error.error()), inapplicable, "an adopted socket");
            fs::remove_file("s").unwrap();
        }
    });
}

#[test]
fn the_umask_applies_to_the_mode() {
    in_directory(|_| {
        let arena = Arena::new();
        for (mask, mode, found) in [
            (0o022, None, 0o755),
            (0o077, None, 0o700),
            (0o022, Some(0o660), 0o640),
            (0o077, Some(0o666), 0o600),
            (0, Some(0o666), 0o666),
            (0, Some(0o7777), 0o777),
            (0, Some(0), 0),
            (0o777, Some(0o777), 0),
        ] {
            umask(Mode::from_raw_mode(mask));
            for existing in EVERY {
                let mut options = with(existing).owner(u32::MAX, u32::MAX);
                if let Some(mode) = mode {
                    options = options.mode(mode);
                }
                let _listener = options.listen("unix:s", &arena).unwrap();
                assert_eq!(rights("s").0, found, "{mode:?} under {mask:o}, {existing:?}");
            }
        }
    });
}

/// Another thread looks at the path all the time.
#[test]
fn nobody_sees_another_mode_or_owner_at_the_path() {
    const OPENINGS: usize = 50;
    for existing in EVERY {
        in_directory(|directory| {
            let path = directory.join("s");
            let (owner, done, seen) = (another_owner(), AtomicBool::new(false), AtomicU32::new(0));
            let (user, group) = expected(owner);
            let watch = || {
                while !done.load(Ordering::Relaxed) {
                    let Ok(data) = fs::symlink_metadata(&path) else { continue };
                    let rights = (data.mode() & 0o7777, data.uid(), data.gid());
                    assert_eq!(rights, (0o600, user, group), "{existing:?}");
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            };
            std::thread::scope(|scope| {
                let watcher = spawn(scope, watch);
                let at_end = AtEnd(|| done.store(true, Ordering::Relaxed));
                let options = with(existing).mode(0o600).owner(owner.0, owner.1);
                for opening in 0..OPENINGS {
                    let arena = Arena::new();
                    let mut listener = options.listen("unix:s", &arena).unwrap();
                    if existing != Existing::Refuse && opening % 2 == 0 {
                        listener.keep_path();
                    }
                    let before = seen.load(Ordering::Relaxed);
                    while seen.load(Ordering::Relaxed) == before && !watcher.is_finished() {
                        std::thread::yield_now();
                    }
                }
                drop(at_end);
                join(watcher);
            });
        });
    }
}
