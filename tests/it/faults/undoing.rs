//! A context stops an opening between two steps, and undoing the earlier steps fails too.
//!
//! The error is that of the context, every other step is undone, and the audit trail is true.

use netbind::error::Errno;
use netbind::{CancelFlag, Context, ListenOptions, NetBind, SocketError, listen};

use super::{NOTHING, PATH, V4, V6, print_forced};
use crate::support::allow_port_0_and_unix;
use crate::support::calls::Call;
use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::machine::{can_open, directory};
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::supervisor::{supervised, watched};
use crate::support::thread::{close, descriptors, private_network};

const NAME: &str = "unix:@netbind-undoing";

/// The calls that fail: how their text begins, and the number of the call, counted from 1.
type Faults = &'static [(&'static str, usize)];

const CLOSE: (&str, usize) = ("close(", 1);
const UNLINK: (&str, usize) = ("unlink(", 1);
/// The first one belongs to the bind.
const LSTAT: (&str, usize) = ("lstat(", 2);

/// The address, the checks that stop it, the calls that fail with each errno, and the names left.
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
    // As if another process had removed it. A forced fault removes nothing.
    (PATH, 5..=5, &[LSTAT], &[Errno::NOENT], LEFT),
    (PATH, 5..=5, &[UNLINK], &[Errno::NOENT], LEFT),
];

/// The reason why a check stops the opening.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// The clock reaches the deadline in the reading of this check.
    Deadline,
    /// The flag is raised in the reading before, or before the first check.
    Flag,
}

#[test]
fn a_stopped_opening_is_a_timeout_even_if_its_clean_up_fails() {
    let mut combinations = 0;
    for (address, checks, faults, errnos, left) in ROWS {
        if !can_open(address) {
            continue;
        }
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
    let case = format!("{address} by {stop:?} at check {check}, {faults:?} {errno:?}");
    let directory = directory();
    let (records, calls) = supervised(fail_each(faults, errno), || {
        std::env::set_current_dir(directory.path()).unwrap();
        if address == NAME {
            // A name is unique in its network, and another run of the tests may have it.
            private_network();
        }
        let records = open_and_stop(address, check, stop, faults.contains(&CLOSE), &case);
        assert_next_opening(address, left, &case);
        records
    });
    let count = |start: &str| calls.iter().filter(|call| call.starts_with(start)).count();
    assert_eq!(count("close(3)"), usize::from(check > 1), "{case}: {calls:?}");
    assert_eq!(count("close("), count("close(3)"), "{case}: {calls:?}");
    let is_bound = address == PATH && check == 5;
    assert_eq!(count("lstat("), if is_bound { 2 } else { 0 }, "{case}: {calls:?}");
    assert_eq!(
        count("unlink("),
        usize::from(is_bound && !faults.contains(&LSTAT)),
        "{case}: {calls:?}"
    );
    assert_eq!(count("listen("), 0, "{case}: {calls:?}");
    let found: Vec<_> =
        directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(found, left, "{case}");
    let operations: Vec<_> =
        records.iter().map(|record| record.split(' ').nth(1).unwrap()).collect();
    let expected = ["operation=check_bind_address", "operation=bind_socket"];
    assert_eq!(operations, expected[..if check == 5 { 2 } else { 1 }], "{case}");
    assert!(
        records.iter().all(|record| record.ends_with(" result=allowed")),
        "{case}: {records:?}"
    );
}

/// Returns a function that fails each of these calls once.
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

/// Opens until the context stops it, and checks that nothing is left. Returns the audit records.
fn open_and_stop(
    address: &str,
    check: u64,
    stop: Stop,
    close_fails: bool,
    case: &str,
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
    allow_port_0_and_unix(&mut capability);
    let options = ListenOptions::new().context(&context).capability(&capability);
    let before = descriptors();
    let opened = watched(|| options.listen(address, &arena));
    assert_eq!(opened.map(drop), Err(SocketError::Timeout), "{case}");
    if close_fails && check > 1 {
        // A `close` that really fails has closed the descriptor. A forced fault has not.
        close(3);
    }
    assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0), "{case}");
    sink.take()
}

fn assert_next_opening(address: &str, left: &[&str], case: &str) {
    let arena = Arena::new();
    let next = listen(address, &arena).and_then(netbind::Listener::close);
    if left.is_empty() {
        assert_eq!(next, Ok(()), "{case}");
    } else {
        assert!(next.unwrap_err().is_address_in_use(), "{case}");
    }
}
