//! Unix paths that try to leave the allowed directory.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use libc::{AF_UNIX, SOCK_STREAM};
use netbind::error::Errno;
use tempfile::TempDir;

use super::races::{Tally, while_another};
use super::{bind_bytes, bind_to, succeeds_under};
use crate::suite::attempts::directories;
use crate::suite::probe::{Address, Outcome, check, errno, listen, socket};

fn unix() -> OwnedFd {
    socket(AF_UNIX, SOCK_STREAM, 0).unwrap()
}

fn bind_name(name: &[u8]) -> Outcome {
    bind_to(&unix(), &Address::new(AF_UNIX, name))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs `body` with a directory in which only `in` and what is below it is allowed.
fn with_directory(more: &[&str], body: impl FnOnce(&Path)) {
    let directory: TempDir = directories();
    let rule = format!("beneath {}/in", directory.path().display());
    let rules: Vec<_> = [&[rule.as_str()], more].concat();
    succeeds_under(&rules, || body(directory.path()));
}

pub(super) fn a_name_that_is_not_what_it_seems_is_refused() {
    const ACCES: Outcome = Err(Errno::ACCESS);
    let invalid: Outcome = Err(errno(libc::EINVAL));
    with_directory(&["abstract-prefix a"], |directory| {
        let name = |rest: &[u8]| [directory.as_os_str().as_bytes(), rest].concat();
        let padded = |length| {
            let mut name = name(b"/in/");
            name.resize(length, b'x');
            name
        };
        let attempts: &[(Vec<u8>, Outcome)] = &[
            (padded(108), ACCES),
            (padded(107), Ok(())),
            ([padded(106), vec![0; 2]].concat(), Ok(())),
            (padded(109), invalid),
            (name(b"/in/padded\0\0/../../out/s\0"), Ok(())),
            (name(b"/in/../out/s\0"), ACCES),
            (name(b"/in/./../out/s\0"), ACCES),
            (name(b"/in/sub/../../out/s\0"), ACCES),
            (name(b"/input\0"), ACCES),
            (name(b"/in\0"), ACCES),
            (name(b"/out/s\0"), ACCES),
            (name(b"/out/s"), ACCES),
            (b"in/s\0".to_vec(), ACCES),
            (b"s\0".to_vec(), ACCES),
            (b"\0a".to_vec(), Ok(())),
            (b"\0a\0".to_vec(), ACCES),
            (b"\0a\0b".to_vec(), ACCES),
            (b"\0\0a".to_vec(), ACCES),
            (b"\0".to_vec(), ACCES),
            (b"\0b".to_vec(), ACCES),
            (b"".to_vec(), ACCES),
        ];
        for (name, expected) in attempts {
            assert_eq!(bind_name(name), *expected, "{}", name.escape_ascii());
        }
        assert_eq!(bind_bytes(&unix(), [1].as_ptr(), 1), invalid);
        assert_eq!(names(&directory.join("out")), [""; 0]);
        let made = names(&directory.join("in"));
        assert_eq!((made.len(), made.contains(&"padded".into())), (4, true), "{made:?}");
    });
}

/// Links are not looked at, as documented: a rule about a directory protects only if the program
/// cannot write to it.
pub(super) fn a_link_leads_out_of_an_allowed_directory() {
    with_directory(&[], |directory| {
        std::os::unix::fs::symlink("../out", directory.join("in/link")).unwrap();
        let path = directory.join("in/link/s");
        assert_eq!(bind_to(&unix(), &Address::path(&path)), Ok(()));
        assert_eq!(names(&directory.join("out")), ["s"]);
        // The last part is not followed.
        std::os::unix::fs::symlink("../out/t", directory.join("in/last")).unwrap();
        let last = bind_to(&unix(), &Address::path(&directory.join("in/last")));
        assert_eq!(last, Err(Errno::ADDRINUSE));
        // A file is renamed by no call that is judged.
        fs::rename(&path, directory.join("out/renamed")).unwrap();
    });
}

pub(super) fn a_path_that_changes_meanwhile_is_bound_as_it_was_judged() {
    with_directory(&[], |directory| {
        let allowed = [directory.as_os_str().as_bytes(), b"/in/sub/s\0"].concat();
        let refused = [directory.as_os_str().as_bytes(), b"/out/////s\0"].concat();
        let family = (AF_UNIX as u16).to_ne_bytes();
        let bytes: Vec<_> = family.iter().chain(&allowed).copied().map(AtomicU8::new).collect();
        let change = || {
            for name in [&refused, &allowed] {
                for (byte, value) in bytes[2..].iter().zip(name) {
                    byte.store(*value, Ordering::Relaxed);
                }
            }
        };
        while_another(change, || {
            let mut tally = Tally::default();
            for _ in 0..1000 {
                // The other thread changes the memory.
                let bound = bind_bytes(&unix(), bytes.as_ptr().cast(), bytes.len() as u32);
                tally.add(bound);
                let _ = fs::remove_file(directory.join("in/sub/s"));
            }
            tally.assert_both();
        });
        assert_eq!(names(&directory.join("out")), [""; 0]);
    });
}

pub(super) fn a_relative_path_is_that_of_the_thread() {
    succeeds_under(&["port 8000"], || assert_eq!(bind_name(b"s\0"), Err(Errno::ACCESS)));
    let directory = directories();
    let own = std::env::current_dir().unwrap();
    succeeds_under(&["any-path"], || {
        let [first, second] = ["in", "out"].map(|name| directory.path().join(name));
        let change = || {
            for path in [&first, &second] {
                std::env::set_current_dir(path).unwrap();
            }
        };
        std::env::set_current_dir(&first).unwrap();
        while_another(change, || {
            let mut made = [0; 2];
            for _ in 0..500 {
                bind_name(b"s\0").unwrap();
                for (path, made) in [&first, &second].into_iter().zip(&mut made) {
                    *made += usize::from(fs::remove_file(path.join("s")).is_ok());
                }
            }
            assert!(made[0] > 0 && made[1] > 0 && made[0] + made[1] == 500, "{made:?}");
        });
    });
    assert_eq!(std::env::current_dir().unwrap(), own, "the supervisor's own");
}

fn change_root(path: &Path) -> Outcome {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a NUL and outlives the call.
    check(unsafe { libc::chroot(path.as_ptr()) }.into()).map(drop)
}

/// Makes the directory `in` of `directory` again below `directory/jail`.
fn make_jail(directory: &Path) -> (PathBuf, PathBuf) {
    let jail = directory.join("jail");
    let inside = jail.join(directory.strip_prefix("/").unwrap()).join("in");
    fs::create_dir_all(&inside).unwrap();
    (jail, inside)
}

fn unshare(what: i32) -> bool {
    // SAFETY: the call takes only a number.
    unsafe { libc::unshare(what) == 0 }
}

/// An ordinary user needs a user namespace for it.
pub(super) fn an_allowed_path_in_another_root_is_refused() {
    let change: [fn(&Path) -> bool; 4] = [
        |jail| change_root(jail).is_ok(),
        |jail| unshare(libc::CLONE_NEWUSER) && change_root(jail).is_ok(),
        |_| unshare(libc::CLONE_NEWNS),
        |_| unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS),
    ];
    for (index, change) in change.into_iter().enumerate() {
        with_directory(&[], |directory| {
            let (jail, inside) = make_jail(directory);
            let own_root = fs::File::open("/").unwrap();
            if !change(&jail) {
                return eprintln!("skipped: another root, the way {index}");
            }
            let path = Address::path(&directory.join("in/s"));
            assert_eq!(bind_to(&unix(), &path), Err(Errno::ACCESS), "{index}");
            rustix::process::fchdir(own_root).unwrap();
            let names = |path: &Path| names(path.strip_prefix("/").unwrap());
            assert_eq!([names(&directory.join("in")).len(), names(&inside).len()], [1, 0]);
        });
    }
}

/// The root changes all the time. A file is made where the path is allowed, or nowhere.
pub(super) fn a_root_that_changes_meanwhile_gains_nothing() {
    with_directory(&[], |directory| {
        let (jail, inside) = make_jail(directory);
        let root = std::fs::File::open("/").unwrap();
        let change = || {
            change_root(&jail).unwrap();
            rustix::process::fchdir(&root).unwrap();
            change_root(Path::new(".")).unwrap();
        };
        while_another(change, || {
            let mut tally = Tally::default();
            for _ in 0..500 {
                let bound = bind_to(&unix(), &Address::path(&directory.join("in/s")));
                assert!(matches!(bound, Ok(()) | Err(Errno::ACCESS | Errno::ADDRINUSE)));
                tally.add(bound);
                let _ = fs::remove_file(directory.join("in/s"));
            }
            tally.assert_both();
        });
        let unexpected = inside.join("s");
        assert!(!unexpected.exists(), "a file in another root");
    });
}

/// The name of a program is a part of what the supervisor reads about it.
pub(super) fn the_name_of_a_program_is_no_identity() {
    with_directory(&[], |directory| {
        for name in [c"x\nUmask:\t0000", c"\nUid:\t0\t0\t0\t0", c"\nGroups:\t0", c"\xff\nGid:\t0"] {
            // SAFETY: the name ends with a NUL and outlives the call.
            unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
            // SAFETY: the call takes only a number.
            unsafe { libc::umask(0o27) };
            let path = directory.join("in/s");
            let listener = unix();
            assert_eq!(bind_to(&listener, &Address::path(&path)), Ok(()));
            assert_eq!(listen(&listener), Ok(()));
            let file = fs::metadata(&path).unwrap();
            // SAFETY: the calls take nothing.
            let (user, group) = (unsafe { libc::geteuid() }, unsafe { libc::getegid() });
            assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (user, group, 0o750));
            fs::remove_file(path).unwrap();
        }
    });
}
