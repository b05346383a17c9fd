//! Many open listeners at the same time. The time of one must not grow with their number.
//!
//! Half of the listeners are ours, with a capability and a ring, and half are the bare calls. They
//! are opened in chunks in turn, and closed in the same way, so that the kernel's tables are
//! equally full for both. The kernel chooses every port, and both sides call `getsockname`.

use std::hint::black_box;
use std::time::Instant;

use bumpalo::Bump;
use netbind::{AuditRing, ListenOptions, Listener, NetBind};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Rows;
use crate::support::pairs::{Compared, nanoseconds, summary};
use crate::support::report::Budget;
use crate::support::{is_measured, peers};

const CHUNK: usize = 25;

pub(crate) fn measure(rows: &mut Rows) {
    let room = descriptors(11_000).saturating_sub(500);
    for count in [100, 1000, 10_000] {
        if count > room {
            eprintln!(
                "{count} listeners: skipped, the limit of descriptors is too low (ulimit -n)"
            );
            continue;
        }
        let what = format!("{count} listeners opened and closed, each");
        rows.add(what, "the bare calls", Budget::None, || rounds(count));
    }
}

/// Raises the limit of descriptors to `wanted` if possible, and returns the limit.
fn descriptors(wanted: u64) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let higher =
        Rlimit { current: Some(wanted), maximum: maximum.map(|maximum| maximum.max(wanted)) };
    if current.is_some_and(|current| current < wanted) {
        let _ = setrlimit(Resource::Nofile, higher);
    }
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |current| usize::try_from(current).unwrap_or(usize::MAX))
}

/// Repeats the round, so that each count opens 100,000 listeners.
fn rounds(count: usize) -> Compared {
    let rounds = if is_measured() { 100_000 / count } else { 1 };
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        round(count, &mut pairs);
    }
    summary(&pairs)
}

/// Opens and closes `count` listeners. A chunk of ours and the next bare chunk are a pair.
fn round(count: usize, pairs: &mut Vec<(f64, f64)>) {
    let memory = Bump::new();
    let ring = AuditRing::new_in(64, &memory).unwrap();
    let mut capability = NetBind::new("bench").unwrap().with_sink(&ring);
    capability.allow_port(0).unwrap();
    let open = || {
        ListenOptions::new()
            .capability(&capability)
            .listen(black_box("127.0.0.1:0"), &memory)
            .unwrap()
    };

    let chunks = count / (2 * CHUNK);
    let mut ours: Vec<Vec<Listener<&Bump>>> =
        (0..chunks).map(|_| Vec::with_capacity(CHUNK)).collect();
    let mut bare: Vec<Vec<OwnedFd>> = (0..chunks).map(|_| Vec::with_capacity(CHUNK)).collect();
    #[allow(clippy::cast_precision_loss)] // tens
    let each = |time: f64| time / CHUNK as f64;
    let mut times = Vec::with_capacity(chunks);
    for (at, (ours, bare)) in ours.iter_mut().zip(&mut bare).enumerate() {
        times.push(in_turn(
            at,
            || ours.extend((0..CHUNK).map(|_| open())),
            || bare.extend((0..CHUNK).map(|_| peers::bare_on_any_port().unwrap())),
        ));
    }
    for (at, (ours, bare)) in ours.into_iter().zip(bare).enumerate() {
        let (close_ours, close_bare) = in_turn(at, || drop(ours), || drop(bare));
        pairs.push((each(times[at].0 + close_ours), each(times[at].1 + close_bare)));
    }
}

/// Returns the nanoseconds of both. The order alternates with `turn`.
fn in_turn(turn: usize, ours: impl FnOnce(), bare: impl FnOnce()) -> (f64, f64) {
    if turn.is_multiple_of(2) {
        let ours = timed(ours);
        (ours, timed(bare))
    } else {
        let bare = timed(bare);
        (timed(ours), bare)
    }
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    nanoseconds(start)
}
