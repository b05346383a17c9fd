//! Others move files while a listener is open. Its end removes the socket if it still is at its
//! path, and no other file. `unix_path` tests files that are removed or created.

use std::fs::{self, hard_link, rename};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use netbind::error::{Errno, Step};
use netbind::{Listener, listen};

use super::system_error;
use crate::support::machine::directory;
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated};

/// A change of `d/s`, the errno of `close`, and the names that are left.
type Row = (&'static str, fn(), Option<Errno>, &'static [&'static str]);

fn socket(path: &str) {
    drop(UnixListener::bind(path).unwrap());
}

fn make_directory(path: &str) {
    fs::create_dir(path).unwrap();
}

fn moved(from: &str, to: &str) {
    rename(from, to).unwrap();
}

fn link(to: &str, path: &str) {
    symlink(to, path).unwrap();
}

const ROWS: &[Row] = &[
    (
        "another socket moved over it",
        || {
            socket("t");
            moved("t", "d/s");
        },
        None,
        &["d", "d/s"],
    ),
    (
        "a file moved over it",
        || {
            fs::write("t", "").unwrap();
            moved("t", "d/s");
        },
        None,
        &["d", "d/s"],
    ),
    (
        "a link moved over it",
        || {
            socket("t");
            link("../t", "l");
            moved("l", "d/s");
        },
        None,
        &["d", "d/s", "t"],
    ),
    (
        "moved away and back",
        || {
            moved("d/s", "t");
            moved("t", "d/s");
        },
        None,
        &["d"],
    ),
    ("a second name made", || hard_link("d/s", "d/t").unwrap(), None, &["d", "d/t"]),
    (
        "a link to it in its place",
        || {
            moved("d/s", "t");
            link("../t", "d/s");
        },
        None,
        &["d", "d/s", "t"],
    ),
    ("its directory moved", || moved("d", "e"), None, &["e", "e/s"]),
    (
        "its directory moved, and a link to it",
        || {
            moved("d", "e");
            link("e", "d");
        },
        None,
        &["d", "e"],
    ),
    (
        "another directory with a socket",
        || {
            moved("d", "e");
            make_directory("d");
            socket("d/s");
        },
        None,
        &["d", "d/s", "e", "e/s"],
    ),
    (
        "a link to another directory with a socket",
        || {
            moved("d", "e");
            make_directory("f");
            socket("f/s");
            link("f", "d");
        },
        None,
        &["d", "e", "e/s", "f", "f/s"],
    ),
    (
        "moved into a directory in its place",
        || {
            moved("d/s", "t");
            make_directory("d/s");
            moved("t", "d/s/s");
        },
        None,
        &["d", "d/s", "d/s/s"],
    ),
    (
        "its directory replaced by a file",
        || {
            moved("d", "e");
            fs::write("d", "").unwrap();
        },
        Some(Errno::NOTDIR),
        &["d", "e", "e/s"],
    ),
    (
        "its directory replaced by a link to itself",
        || {
            moved("d", "e");
            link("d", "d");
        },
        Some(Errno::LOOP),
        &["d", "e", "e/s"],
    ),
];

/// Returns every name below a directory. It does not follow links.
fn names(below: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(below).unwrap().map(Result::unwrap) {
        let path = entry.path();
        names.push(path.strip_prefix(".").unwrap().to_str().unwrap().into());
        if entry.file_type().unwrap().is_dir() {
            names.extend(self::names(&path));
        }
    }
    names.sort();
    names
}

#[test]
fn the_end_of_a_listener_never_removes_a_file_that_was_moved_to_its_path() {
    for (change, act, errno, left) in ROWS {
        for closes in [true, false] {
            isolated(|| {
                let empty = directory();
                std::env::set_current_dir(empty.path()).unwrap();
                make_directory("d");
                let arena = Arena::new();
                let before = descriptors();
                let listener: Listener<&Arena> = listen("unix:d/s", &arena).unwrap();
                act();
                if closes {
                    let expected =
                        errno.map_or(Ok(()), |errno| Err(system_error(Step::Stat, errno)));
                    assert_eq!(listener.close(), expected, "{change}");
                } else {
                    drop(listener);
                }
                assert_eq!(names(Path::new(".")), *left, "{change}, closed: {closes}");
                assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0), "{change}");
            });
        }
    }
}
