//! The directory is renamed during the opening, and another one has its name.

use std::fs;
use std::path::Path;

use netbind::error::{Errno, Step};
use netbind::{Existing, SocketError};

use super::{
    EXCHANGE, IN_USE, STAT_TEMP, TO_EMPTY, assert_serves, connect, identity, in_directory,
    leave_stale, names, nth, system_error, with,
};
use crate::support::calls::Call;
use crate::support::memory::Arena;
use crate::support::supervisor::{supervised, watched};
use crate::support::thread::descriptors;

/// Opens `d/s`, where a stale socket is. Before a call, `d` becomes `e`, and `d` is another
/// directory with a stale socket.
///
/// Returns the result, and the names in `d` and `e`. The stale socket in `d` must stay.
fn open_moved(
    existing: Existing,
    call: &str,
    is_absolute: bool,
) -> (Result<(), SocketError>, Vec<String>, Vec<String>) {
    in_directory(|directory| {
        fs::create_dir("d").unwrap();
        fs::create_dir("other").unwrap();
        leave_stale("d/s");
        leave_stale("other/s");
        let (old, other) = (identity("d/s"), identity("other/s"));
        let mut is_time = nth(call, 1);
        let on_call = |call: &Call| {
            if is_time(call) {
                fs::rename("d", "e").unwrap();
                fs::rename("other", "d").unwrap();
            }
            None
        };
        let prefix = if is_absolute { format!("{}/", directory.display()) } else { "unix:".into() };
        let (opened, calls) = supervised(on_call, || {
            let (arena, before) = (Arena::new(), descriptors());
            let opened = watched(|| with(existing).listen(format!("{prefix}d/s"), &arena));
            let opened = opened.map(|mut listener| {
                assert_serves(&listener, "e/s");
                // Its path leads elsewhere now, so its end must not remove anything.
                listener.remove_path(true).unwrap();
            });
            assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
            opened
        });
        assert_eq!(identity("d/s"), other, "{call}");
        assert_eq!(connect(Path::new("d/s")).err(), Some(rustix::io::Errno::CONNREFUSED));
        if opened.is_err() {
            assert_eq!(identity("e/s"), old, "{call}: {calls:#?}");
        }
        (opened, names("d"), names("e"))
    })
}

#[test]
fn a_directory_that_is_replaced_during_the_opening_does_not_mislead_it() {
    let only_s = || vec!["s".to_owned()];
    let missed = Err(system_error(Step::Stat, Errno::NOENT));
    for is_absolute in [true, false] {
        for (call, stale, any) in [
            // The bind is in the other directory.
            ("bind(", missed, missed),
            ("fstatat(4, TEMP)", Err(IN_USE), Ok(())),
            ("listen(", Err(IN_USE), Ok(())),
            (TO_EMPTY, Err(IN_USE), Ok(())),
            (EXCHANGE, Err(IN_USE), Ok(())),
            ("unlinkat(4, TEMP)", Ok(()), Ok(())),
        ] {
            for (existing, expected) in [(Existing::ReplaceStale, stale), (Existing::Replace, any)]
            {
                let (opened, others, left) = open_moved(existing, call, is_absolute);
                let case = format!("{existing:?}, {call}");
                assert_eq!((opened, others, left), (expected, only_s(), only_s()), "{case}");
            }
        }
    }
    assert_eq!(STAT_TEMP, "fstatat(4, TEMP)");
}
