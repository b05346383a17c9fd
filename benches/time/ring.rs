//! Records into the ring, against a `VecDeque` behind a mutex that keeps as many records, with their numbers.
//!
//! Alone the ring has one writer; in company it has two, and a reader that takes what it finds and gives way when there is
//! nothing. What is timed there is the writers: from the first's start to the last's end.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use bumpalo::Bump;
use netbind::{AuditResult, AuditRing, AuditSink, CapabilityId, Operation, Record};

use crate::Rows;
use crate::support::is_measured;
use crate::support::pairs::{batch, compare};
use crate::support::peers::LockedRing;
use crate::support::report::Reach;

const KEPT: usize = 256;

pub(crate) fn measure(rows: &mut Rows) {
    let capability = CapabilityId::new("bench").unwrap();
    let record =
        Record { capability, operation: Operation::BindSocket, port: Some(8080), result: AuditResult::Allowed };
    let peer = "a mutex around `VecDeque`";
    rows.add("record, one writer", peer, Reach::Ratio(1.0), || {
        let memory = Bump::new();
        let ring = AuditRing::new_in(KEPT, &memory).unwrap();
        let locked = LockedRing::new(KEPT);
        compare(
            400,
            batch(2000, || black_box(&ring).record(black_box(&record))),
            batch(2000, || black_box(&locked).record(black_box(&record))),
        )
    });
    rows.add("record, two writers and a reader", peer, Reach::Faster(3.0), || {
        compare(
            40,
            || {
                let memory = Bump::new();
                let ring = AuditRing::new_in(KEPT, &memory).unwrap();
                let mut reader = ring.reader();
                let mut read = 0;
                let time = company(&ring, &record, || reader.next().inspect(|_| read += 1).is_some());
                read += reader.by_ref().count() as u64;
                assert_eq!(read + reader.missed(), ring.written());
                time
            },
            || {
                let locked = LockedRing::new(KEPT);
                company(&locked, &record, || black_box(locked.take()).is_some())
            },
        )
    });
}

/// The nanoseconds of one record, where two threads make them and a third runs `read` until both are done.
fn company(sink: &dyn AuditSink, record: &Record, mut read: impl FnMut() -> bool + Send) -> f64 {
    let records = if is_measured() { 100_000 } else { 1000 };
    let start = Barrier::new(3);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let write = || {
            start.wait();
            let began = Instant::now();
            for _ in 0..records {
                black_box(sink).record(black_box(record));
            }
            (began, Instant::now())
        };
        let writers = [scope.spawn(write), scope.spawn(write)];
        scope.spawn(|| {
            start.wait();
            while !over.load(Ordering::Relaxed) {
                if !read() {
                    thread::yield_now();
                }
            }
        });
        let [one, other] = writers.map(|writer| writer.join().unwrap());
        over.store(true, Ordering::Relaxed);
        let time = one.1.max(other.1) - one.0.min(other.0);
        time.as_secs_f64() * 1e9 / f64::from(2 * records)
    })
}
