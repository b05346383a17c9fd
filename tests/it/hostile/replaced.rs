//! What others move about while a listener is open: its end removes the socket where it is still at its path, and nothing
//! else. What is removed or made anew in its place is in `unix_path`.

use std::fs::{self, hard_link, rename};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use netbind::error::{Errno, Step};
use netbind::{Listener, listen};

use super::refused;
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated};

/// What happens to `d/s`, what `close` says of it, and what is there behind the end.
type Row = (&'static str, fn(), Option<Errno>, &'static [&'static str]);

fn socket(path: &str) {
    drop(UnixListener::bind(path).unwrap());
}

fn directory(path: &str) {
    fs::create_dir(path).unwrap();
}

fn moved(from: &str, to: &str) {
    rename(from, to).unwrap();
}

fn link(to: &str, path: &str) {
    symlink(to, path).unwrap();
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("another socket moved over it", || { socket("t"); moved("t", "d/s"); }, None, &["d", "d/s"]),
    ("a file moved over it", || { fs::write("t", "").unwrap(); moved("t", "d/s"); }, None, &["d", "d/s"]),
    ("a link moved over it", || { socket("t"); link("../t", "l"); moved("l", "d/s"); }, None, &["d", "d/s", "t"]),
    ("moved away and back", || { moved("d/s", "t"); moved("t", "d/s"); }, None, &["d"]),
    ("a second name made", || hard_link("d/s", "d/t").unwrap(), None, &["d", "d/t"]),
    ("a link to itself in its place", || { moved("d/s", "t"); link("../t", "d/s"); }, None, &["d", "d/s", "t"]),
    ("its directory moved", || moved("d", "e"), None, &["e", "e/s"]),
    ("its directory moved, and a link to it", || { moved("d", "e"); link("e", "d"); }, None, &["d", "e"]),
    ("another directory with a socket", || { moved("d", "e"); directory("d"); socket("d/s"); }, None,
        &["d", "d/s", "e", "e/s"]),
    ("a link to one", || { moved("d", "e"); directory("f"); socket("f/s"); link("f", "d"); }, None,
        &["d", "e", "e/s", "f", "f/s"]),
    ("a directory in its place, with it inside", || { moved("d/s", "t"); directory("d/s"); moved("t", "d/s/s"); }, None,
        &["d", "d/s", "d/s/s"]),
    ("its directory a file", || { moved("d", "e"); fs::write("d", "").unwrap(); }, Some(Errno::NOTDIR),
        &["d", "e", "e/s"]),
    ("its directory a loop", || { moved("d", "e"); link("d", "d"); }, Some(Errno::LOOP), &["d", "e", "e/s"]),
];

/// Everything below a directory; links are not followed.
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
fn what_others_move_about_is_removed_where_it_is_the_socket_and_at_its_path() {
    for (what, act, told, left) in ROWS {
        for closes in [true, false] {
            isolated(|| {
                let empty = tempfile::tempdir().unwrap();
                std::env::set_current_dir(empty.path()).unwrap();
                directory("d");
                let arena = Arena::new();
                let before = descriptors();
                let listener: Listener<&Arena> = listen("unix:d/s", &arena).unwrap();
                act();
                if closes {
                    let told = told.map_or(Ok(()), |errno| Err(refused(Step::Stat, errno)));
                    assert_eq!(listener.close(), told, "{what}");
                } else {
                    drop(listener);
                }
                assert_eq!(names(Path::new(".")), *left, "{what}, closed: {closes}");
                assert_eq!((descriptors(), arena.live()), (before, 0), "{what}");
            });
        }
    }
}
