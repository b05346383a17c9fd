//! Many openings and closings with every address form and all three entry points. Afterwards the
//! numbers of descriptors and socket files and the resident memory must be the same as before.
//!
//! `NETBIND_SOAK=20000` sets the number of cycles of the long test.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use allocator_api2::alloc::Global;
use netbind::{
    AuditRing, Context, Listener, MonotonicClock, NetBind, Rights, Rule, SocketError, listen,
    listen_with_capability, listen_with_context,
};

use crate::targets::descriptors;
use crate::unshare_descriptors;

/// The resources that must not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Resources {
    descriptors: usize,
    resident_pages: usize,
    files: usize,
}

impl Resources {
    fn now(directory: &Path) -> Self {
        let statm = fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
        let resident_pages =
            statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
        let files = fs::read_dir(directory).unwrap().count();
        Self { descriptors: descriptors(), resident_pages, files }
    }
}

/// Returns an address of each form. The kernel must support IPv6.
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
    unshare_descriptors();
    let directory = tempfile::tempdir().unwrap();
    let addresses = addresses(directory.path());
    let clock = MonotonicClock::new();
    let context = Context::new(&clock).with_timeout(Duration::from_secs(1 << 20));
    let ring = AuditRing::new_in(64, Global).unwrap().with_clock(&clock);
    let mut capability = NetBind::new("soak").unwrap().with_sink(&ring);
    capability.grant(Rights::NET_BIND_ABSTRACT).allow_port(0).unwrap();
    capability.allow(Rule::any_abstract()).unwrap();

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
    // The first cycles load pages of code and fill the caches of the allocator.
    (0..2_000).for_each(&mut cycle);
    let before = Resources::now(directory.path());
    (0..cycles).for_each(&mut cycle);
    let after = Resources::now(directory.path());
    println!(
        "{cycles} cycles of {} addresses and 3 entry points: {before:?} before, {after:?} after",
        addresses.len()
    );
    assert_eq!((after.descriptors, after.files), (before.descriptors, before.files));
    // A leak of 16 bytes in each of a million cycles is 4,000 pages.
    assert!(after.resident_pages < before.resident_pages + 128, "the process has grown");
}

/// Runs the cycles of `test` in a process of its own, so that the memory of other tests does not
/// count.
fn soak_in_own_process(test: &str, cycles: usize) {
    const IS_CHILD: &str = "NETBIND_SOAK_CHILD";
    if env::var_os(IS_CHILD).is_some() {
        return soak(cycles);
    }
    let child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--include-ignored", "--nocapture"])
        .env(IS_CHILD, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    print!("{output}");
    assert!(
        output.contains("1 passed"),
        "{cycles} cycles leaked or failed: {}",
        String::from_utf8_lossy(&child.stderr)
    );
}

fn cycles(default: usize) -> usize {
    env::var("NETBIND_SOAK").map_or(default, |cycles| cycles.parse().expect("a number"))
}

#[test]
fn a_few_thousand_openings_leak_nothing() {
    soak_in_own_process("soak::a_few_thousand_openings_leak_nothing", 5_000);
}

#[test]
#[ignore = "a million openings; NETBIND_SOAK sets another number"]
fn a_million_openings_leak_nothing() {
    soak_in_own_process("soak::a_million_openings_leak_nothing", cycles(1_000_000));
}
