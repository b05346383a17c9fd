//! The counted functions. None of them has a closure, because callgrind would take its name for the
//! name of the function.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::{AddrParseError, SocketAddrV4, SocketAddrV6, TcpListener};
use std::time::Duration;

use bumpalo::Bump;
use netbind::address::ParseError;
use netbind::audit::{AuditResult, AuditSink, Operation, Record};
use netbind::capability::CapabilityId;
use netbind::time::{Clock, Instant};
use netbind::{
    AuditRing, BindAddress, CancelFlag, Context, ListenOptions, Listener, NetBind, Rights,
};
use rustix::fd::OwnedFd;

use crate::support::peers::{self, Copied, LockedRing};
use crate::support::report::{Budget, Row};
use crate::support::{FORMS, paths, peer_of_form};

/// The names of the functions below.
pub(crate) const NAMES: [&str; 12] = [
    "parse",
    "core_v4",
    "core_v6",
    "bounded_copy",
    "with_all_checks",
    "with_capability",
    "core",
    "bare",
    "of_std",
    "decide",
    "record",
    "record_locked",
];

#[inline(never)]
fn parse(text: &str) -> Result<BindAddress, ParseError> {
    BindAddress::parse(text)
}

#[inline(never)]
fn core_v4(text: &str) -> Result<SocketAddrV4, AddrParseError> {
    text.parse()
}

#[inline(never)]
fn core_v6(text: &str) -> Result<SocketAddrV6, AddrParseError> {
    text.parse()
}

#[inline(never)]
fn bounded_copy(path: &str) -> Copied {
    peers::bounded_copy(path)
}

#[inline(never)]
fn with_all_checks<'a>(
    address: &str,
    context: &Context<'_>,
    capability: &NetBind<'_>,
    memory: &'a Bump,
) -> Listener<&'a Bump> {
    ListenOptions::new().context(context).capability(capability).listen(address, memory).unwrap()
}

#[inline(never)]
fn with_capability<'a>(
    address: &str,
    capability: &NetBind<'_>,
    memory: &'a Bump,
) -> Listener<&'a Bump> {
    netbind::listen_with_capability(address, capability, memory).unwrap()
}

#[inline(never)]
fn core<'a>(address: &str, memory: &'a Bump) -> Listener<&'a Bump> {
    netbind::listen(address, memory).unwrap()
}

#[inline(never)]
fn bare(port: u16) -> OwnedFd {
    peers::bare(port).unwrap()
}

#[inline(never)]
fn of_std(address: &str) -> TcpListener {
    peers::std_listener(address).unwrap()
}

#[inline(never)]
fn decide(capability: &NetBind<'_>, address: &BindAddress) -> bool {
    capability.check(address).is_ok()
}

#[inline(never)]
fn record(ring: &AuditRing<'_, &Bump>, record: &Record<'_>) {
    ring.record(record);
}

#[inline(never)]
fn record_locked(ring: &LockedRing, record: &Record<'_>) {
    ring.record(record);
}

struct ConstantClock;

impl Clock for ConstantClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(5)
    }
}

/// Calls every function twice. The line after each call has the function and the label of the call.
pub(crate) fn run() {
    for _ in 0..2 {
        run_parsers();
        run_listeners();
        run_capability_and_rings();
    }
}

fn run_parsers() {
    for (form, of_core) in FORMS {
        let _ = black_box(parse(black_box(form)));
        println!("parse\tparse {form}");
        if form.starts_with('[') {
            let _ = black_box(core_v6(black_box(of_core)));
            println!("core_v6\tcore {form}");
        } else {
            let _ = black_box(core_v4(black_box(of_core)));
            println!("core_v4\tcore {form}");
        }
    }
    for (name, path) in paths() {
        let _ = black_box(parse(black_box(&path)));
        println!("parse\tparse {name}");
        let _ = black_box(bounded_copy(black_box(&path)));
        println!("bounded_copy\tcopy {name}");
    }
}

fn run_listeners() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Always five digits.
    let address = format!("127.0.0.1:{port:05}");
    let memory = Bump::new();
    let clock = ConstantClock;
    let stop = CancelFlag::new();
    let context = Context::new(&clock).with_cancel(&stop).with_timeout(Duration::from_secs(3600));
    let ring = AuditRing::new_in(64, &memory).unwrap().with_clock(&clock);
    let mut capability = NetBind::new("bench").unwrap().with_sink(&ring);
    capability.allow_port(port).unwrap();

    drop(black_box(with_all_checks(black_box(&address), &context, &capability, &memory)));
    println!("with_all_checks\twith_all_checks");
    // Without a deadline, and without times in the records.
    let timeless_ring = AuditRing::new_in(64, &memory).unwrap();
    let mut timeless = NetBind::new("bench").unwrap().with_sink(&timeless_ring);
    timeless.allow_port(port).unwrap();
    drop(black_box(with_capability(black_box(&address), &timeless, &memory)));
    println!("with_capability\twith_capability");
    drop(black_box(core(black_box(&address), &memory)));
    println!("core\tcore");
    drop(black_box(bare(black_box(port))));
    println!("bare\tbare");
    drop(black_box(of_std(black_box(&address))));
    println!("of_std\tstd");
}

fn run_capability_and_rings() {
    let mut capability = NetBind::empty("bench").unwrap();
    capability.grant(Rights::NET_BIND);
    for port in 1..=16 {
        capability.allow_port(port).unwrap();
    }
    let address = BindAddress::parse("127.0.0.1:16").unwrap();
    black_box(decide(black_box(&capability), black_box(&address)));
    println!("decide\tdecide");

    let memory = Bump::new();
    let ring = AuditRing::new_in(64, &memory).unwrap();
    let locked = LockedRing::new(64);
    let id = CapabilityId::new("bench").unwrap();
    let entry = Record::new(id, Operation::BindSocket, &address, AuditResult::Allowed);
    for _ in 0..64 {
        // A full ring is the usual case.
        ring.record(&entry);
        locked.record(&entry);
    }
    record(black_box(&ring), black_box(&entry));
    println!("record\trecord");
    record_locked(black_box(&locked), black_box(&entry));
    println!("record_locked\trecord_locked");
}

/// Returns the table of these counts.
pub(crate) fn rows(counts: &HashMap<String, u64>) -> Vec<Row> {
    #[allow(clippy::cast_precision_loss)] // thousands
    let of = |name: &str| counts.get(name).map_or(f64::NAN, |count| *count as f64);
    let row = |what: &str, ours: &str, peer: Option<(&str, &str)>, budget| {
        Row::exact(what, "instructions", of(ours), peer.map(|(name, key)| (name, of(key))), budget)
    };
    let mut rows = Vec::new();
    for (form, of_core) in FORMS {
        let (ours, core) = (format!("parse {form}"), format!("core {form}"));
        let peer = peer_of_form(form, of_core);
        rows.push(row(&format!("parse `{form}`"), &ours, Some((&peer, &core)), Budget::None));
    }
    for (name, _) in paths() {
        let (ours, copy) = (format!("parse {name}"), format!("copy {name}"));
        let peer = Some(("a bounded copy", copy.as_str()));
        rows.push(row(&format!("parse Unix path {name}"), &ours, peer, Budget::None));
    }
    let std = Some(("std", "std"));
    let locked = Some(("a mutex around `VecDeque`", "record_locked"));
    rows.push(row("listen with all checks", "with_all_checks", std, Budget::Most(1200.0)));
    let what = "listen with all checks, without time";
    rows.push(row(what, "with_capability", std, Budget::None));
    rows.push(row("plain listen", "core", std, Budget::None));
    rows.push(row("the bare calls", "bare", std, Budget::None));
    rows.push(row("decision with 16 rules", "decide", None, Budget::None));
    rows.push(row("record, one writer", "record", locked, Budget::None));
    rows
}
