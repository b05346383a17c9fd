//! A million openings and closings over all forms and all three entry points: descriptors, resident memory and socket files
//! are in the end as they were at the start.
//!
//! `NETBIND_SOAK=20000` sets another number of cycles.

use std::fs;
use std::path::Path;

use allocator_api2::alloc::Global;
use netbind::{
    AuditRing, Context, Listener, MonotonicClock, NetBind, Rights, SocketError, listen,
    listen_with_capability, listen_with_context,
};

use crate::own_descriptors;
use crate::targets::descriptors;

/// What must not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    resident_pages: usize,
    files: usize,
}

impl Held {
    fn now(directory: &Path) -> Self {
        let statm = fs::read_to_string("/proc/self/statm").expect("there is /proc");
        let resident_pages =
            statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages");
        let files = fs::read_dir(directory).unwrap().count();
        Self { descriptors: descriptors(), resident_pages, files }
    }
}

/// The address forms, one of which is `:PORT`; a kernel without IPv6 is no place for this test.
fn addresses(directory: &Path) -> Vec<String> {
    let path = directory.join("soak.sock").display().to_string();
    vec![
        ":0".into(),
        "127.0.0.1:0".into(),
        "[::1]:0".into(),
        "[::1%0]:0".into(),
        path.clone(),
        format!("unix:{path}"),
        format!("unix:@netbind-soak-{}", std::process::id()),
    ]
}

fn soak(cycles: usize) {
    own_descriptors();
    let directory = tempfile::tempdir().unwrap();
    let addresses = addresses(directory.path());
    let clock = MonotonicClock::new();
    let context = Context::new(&clock).with_timeout(std::time::Duration::from_secs(1 << 20));
    let ring = AuditRing::new_in(64, Global).unwrap().with_clock(&clock);
    let mut capability = NetBind::new("soak").unwrap().with_sink(&ring);
    capability.grant(Rights::NET_BIND_ABSTRACT).allow_port(0).unwrap();

    let mut reader = ring.reader();
    let mut open = |cycle: usize| -> Result<Listener<Global>, SocketError> {
        let address = &addresses[cycle % addresses.len()];
        match cycle / addresses.len() % 3 {
            0 => listen(address, Global),
            1 => listen_with_context(address, &context, Global),
            _ => {
                let listener = listen_with_capability(address, &capability, Global);
                assert_eq!(reader.by_ref().count(), 2, "the decision and the bind");
                listener
            }
        }
    };
    let mut cycle = |cycle: usize| {
        let listener = open(cycle).unwrap_or_else(|error| panic!("cycle {cycle}: {error}"));
        if cycle.is_multiple_of(2) { listener.close().unwrap() } else { drop(listener) }
    };
    // What is set up once, by the allocator and the first use of each page of code, is there before it is measured.
    (0..2_000).for_each(&mut cycle);
    let before = Held::now(directory.path());
    (0..cycles).for_each(&mut cycle);
    let after = Held::now(directory.path());
    println!(
        "{cycles} cycles of {} addresses and 3 entry points: {before:?} before, {after:?} after",
        addresses.len()
    );
    assert_eq!((after.descriptors, after.files), (before.descriptors, before.files));
    // Code and heap that were not touched before; 16 bytes leaked in each of a million cycles are 4,000 pages.
    assert!(after.resident_pages < before.resident_pages + 128, "the process has grown");
}

/// Runs this test's cycles in a process of its own: what other tests have in memory is none of its business.
fn soak_alone(test: &str, cycles: usize) {
    const ALONE: &str = "NETBIND_SOAK_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return soak(cycles);
    }
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&alone.stdout);
    print!("{told}");
    assert!(
        told.contains("1 passed"),
        "{cycles} cycles left something behind: {}",
        String::from_utf8_lossy(&alone.stderr)
    );
}

fn cycles(otherwise: usize) -> usize {
    std::env::var("NETBIND_SOAK")
        .map_or(otherwise, |cycles| cycles.parse().expect("NETBIND_SOAK is a number"))
}

#[test]
fn a_few_thousand_openings_leave_nothing_behind() {
    soak_alone("soak::a_few_thousand_openings_leave_nothing_behind", 5_000);
}

#[test]
#[ignore = "a million openings: NETBIND_SOAK for fewer"]
fn a_million_openings_leave_nothing_behind() {
    soak_alone("soak::a_million_openings_leave_nothing_behind", cycles(1_000_000));
}
