//! The two at once: a context stops an opening between two steps, and what undoes those before fails too.
//!
//! The caller is told of the stop, everything that can be undone is, and what the trail says stays true.

use netbind::error::Errno;
use netbind::{CancelFlag, Context, ListenOptions, NetBind, Rights, SocketError, listen};

use super::{NOTHING, PATH, V4, V6, print_forced};
use crate::support::calls::Call;
use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::supervisor::{supervised, watched};
use crate::support::thread::{close, descriptors, private_network};

const NAME: &str = "unix:@netbind-undoing";

/// Calls that fail: how their text begins, and the how-manieth of them it is.
type Faults = &'static [(&'static str, usize)];

const CLOSE: (&str, usize) = ("close(", 1);
const UNLINK: (&str, usize) = ("unlink(", 1);
/// The first is the bind's own.
const LSTAT: (&str, usize) = ("lstat(", 2);

/// An address, the checks at which it is stopped, what fails then with each of the errnos, and what is left.
type Row = (
    &'static str,
    std::ops::RangeInclusive<u64>,
    Faults,
    &'static [Errno],
    &'static [&'static str],
);

/// A `close` that fails has closed: [close(2)](https://man7.org/linux/man-pages/man2/close.2.html).
const OF_CLOSE: &[Errno] = &[Errno::IO, Errno::INTR];
const OF_FILE: &[Errno] = &[Errno::IO, Errno::ACCESS];
const LEFT: &[&str] = &["run.sock"];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    (V4, 1..=5, &[CLOSE], OF_CLOSE, NOTHING),
    (V6, 1..=5, &[CLOSE], OF_CLOSE, NOTHING),
    (NAME, 1..=5, &[CLOSE], OF_CLOSE, NOTHING),
    (PATH, 1..=5, &[CLOSE], OF_CLOSE, NOTHING),
    (PATH, 5..=5, &[UNLINK], OF_FILE, LEFT),
    (PATH, 5..=5, &[LSTAT], OF_FILE, LEFT),
    (PATH, 5..=5, &[UNLINK, CLOSE], OF_FILE, LEFT),
    (PATH, 5..=5, &[LSTAT, CLOSE], OF_FILE, LEFT),
    (PATH, 5..=5, &[UNLINK, CLOSE], &[Errno::INTR], LEFT),
    (PATH, 5..=5, &[LSTAT, CLOSE], &[Errno::INTR], LEFT),
    // Somebody else has removed it meanwhile; here that is only said.
    (PATH, 5..=5, &[LSTAT], &[Errno::NOENT], LEFT),
    (PATH, 5..=5, &[UNLINK], &[Errno::NOENT], LEFT),
];

/// What stops the opening at a check.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// The clock has reached the deadline at its reading of this number.
    Deadline,
    /// The flag was raised in the reading before, or before the first.
    Flag,
}

#[test]
fn an_opening_that_is_stopped_says_so_whatever_fails_in_undoing_it() {
    let mut combinations = 0;
    for (address, checks, faults, errnos, left) in ROWS {
        for (check, errno) in
            checks.clone().flat_map(|check| errnos.iter().map(move |errno| (check, *errno)))
        {
            for stop in [Stop::Deadline, Stop::Flag] {
                assert_undone(address, check, stop, faults, errno, left);
                combinations += 1;
            }
        }
    }
    print_forced(&format!("while {combinations} stopped openings were undone"));
}

fn assert_undone(
    address: &str,
    check: u64,
    stop: Stop,
    faults: Faults,
    errno: Errno,
    left: &[&str],
) {
    let what = format!("{address} by {stop:?} at check {check}, {faults:?} {errno:?}");
    let directory = tempfile::tempdir().unwrap();
    let (records, calls) = supervised(fail_each(faults, errno), || {
        std::env::set_current_dir(directory.path()).unwrap();
        if address == NAME {
            // The name is the whole network's, and another run of the tests may have it.
            private_network();
        }
        let records = open_and_stop(address, check, stop, faults.contains(&CLOSE), &what);
        assert_next_opening_works(address, left, &what);
        records
    });
    let count = |start: &str| calls.iter().filter(|call| call.starts_with(start)).count();
    assert_eq!(count("close(3)"), usize::from(check > 1), "{what}: {calls:?}");
    assert_eq!(count("close("), count("close(3)"), "{what}: {calls:?}");
    let looked = address == PATH && check == 5;
    assert_eq!(count("lstat("), if looked { 2 } else { 0 }, "{what}: {calls:?}");
    assert_eq!(
        count("unlink("),
        usize::from(looked && !faults.contains(&LSTAT)),
        "{what}: {calls:?}"
    );
    assert_eq!(count("listen("), 0, "{what}: {calls:?}");
    let found: Vec<_> =
        directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(found, left, "{what}");
    let operations: Vec<_> =
        records.iter().map(|record| record.split(' ').nth(1).unwrap()).collect();
    let expected = ["operation=check_bind_address", "operation=bind_socket"];
    assert_eq!(operations, expected[..if check == 5 { 2 } else { 1 }], "{what}");
    assert!(
        records.iter().all(|record| record.ends_with(" result=allowed")),
        "{what}: {records:?}"
    );
}

/// Fails the calls of these numbers, each once.
fn fail_each(faults: Faults, errno: Errno) -> impl FnMut(&Call) -> Option<i32> {
    let mut seen = vec![0; faults.len()];
    move |call| {
        let text = call.to_string();
        let mut fails = false;
        for ((start, number), seen) in faults.iter().zip(&mut seen) {
            *seen += usize::from(text.starts_with(start));
            fails |= text.starts_with(start) && *seen == *number;
        }
        fails.then(|| errno.raw_os_error())
    }
}

/// The records of an opening that is stopped. It looks for leftovers in the thread.
fn open_and_stop(
    address: &str,
    check: u64,
    stop: Stop,
    close_fails: bool,
    what: &str,
) -> Vec<String> {
    let (sink, arena, flag) = (Lines::default(), Arena::new(), CancelFlag::new());
    let clock = match stop {
        Stop::Deadline => ScriptedClock::expires_at(check),
        Stop::Flag => ScriptedClock::cancels_at(check - 1, &flag),
    };
    if matches!(stop, Stop::Flag) && check == 1 {
        flag.cancel();
    }
    let context = Context::new(&clock).with_deadline(DEADLINE).with_cancel(&flag);
    let mut capability = NetBind::empty("web").unwrap().with_sink(&sink);
    capability.grant(Rights::all()).allow_port(0).unwrap();
    let options = ListenOptions::new().context(&context).capability(&capability);
    let before = descriptors();
    let opened = watched(|| options.listen(address, &arena));
    assert_eq!(opened.map(drop), Err(SocketError::Timeout), "{what}");
    if close_fails && check > 1 {
        // The kernel's own failure would have closed it; a forced one has only said so.
        close(3);
    }
    assert_eq!((descriptors(), arena.live()), (before, 0), "{what}");
    sink.take()
}

fn assert_next_opening_works(address: &str, left: &[&str], what: &str) {
    let arena = Arena::new();
    let next = listen(address, &arena).and_then(netbind::Listener::close);
    if left.is_empty() {
        assert_eq!(next, Ok(()), "{what}");
    } else {
        assert!(next.unwrap_err().is_address_in_use(), "{what}");
    }
}
