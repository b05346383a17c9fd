//! Records, with one writer and with two writers and a reader. The peer is a `VecDeque` with a
//! mutex that keeps the same number of records, with their numbers.
//!
//! The reader reads all the time, and yields its processor if there is nothing to read. The figure
//! is the time per record of the writers, each of which has a processor of its own.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bumpalo::Bump;
use netbind::audit::{AuditResult, AuditSink, Operation, Record};
use netbind::capability::CapabilityId;
use netbind::{AuditRing, BindAddress};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Rows;
use crate::support::is_measured;
use crate::support::pairs::{Compared, batch, compare, nanoseconds};
use crate::support::peers::LockedRing;
use crate::support::report::Budget;

const KEPT: usize = 256;

pub(crate) fn measure(rows: &mut Rows) {
    let capability = CapabilityId::new("bench").unwrap();
    let address = BindAddress::parse("127.0.0.1:8080").unwrap();
    let record = Record::new(capability, Operation::BindSocket, &address, AuditResult::Allowed);
    let peer = "a mutex around `VecDeque`";
    rows.add("record, one writer", peer, Budget::Ratio(1.0), || {
        let memory = Bump::new();
        let ring = AuditRing::new_in(KEPT, &memory).unwrap();
        let locked = LockedRing::new(KEPT);
        compare(
            400,
            batch(2000, || black_box(&ring).record(black_box(&record))),
            batch(2000, || black_box(&locked).record(black_box(&record))),
        )
    });
    rows.add("record, two writers and a reader", peer, Budget::Ratio(1.0), || {
        compare_shared(&record, 0)
    });
    rows.add("the same with other work between", peer, Budget::None, || {
        compare_shared(&record, 1000)
    });
}

fn compare_shared(record: &Record<'_>, work: u32) -> Compared {
    compare(
        40,
        || {
            let memory = Bump::new();
            let ring = AuditRing::new_in(KEPT, &memory).unwrap();
            let mut reader = ring.reader();
            let mut read = 0;
            let time =
                shared(&ring, record, work, || reader.next().inspect(|_| read += 1).is_some());
            read += reader.by_ref().count() as u64;
            assert_eq!(read + reader.missed(), ring.written());
            time
        },
        || {
            let locked = LockedRing::new(KEPT);
            shared(&locked, record, work, || black_box(locked.take()).is_some())
        },
    )
}

/// Returns the nanoseconds of one record while two threads record and a third one calls `read`.
///
/// Between two records, a writer runs an empty loop for `work` turns on average.
fn shared(
    sink: &dyn AuditSink,
    record: &Record<'_>,
    work: u32,
    mut read: impl FnMut() -> bool + Send,
) -> f64 {
    let time = Duration::from_millis(if is_measured() { 40 } else { 1 });
    let start = Barrier::new(3);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let start = &start;
        let writers = [1, 2].map(|writer: u8| {
            scope.spawn(move || {
                pin(writer.into());
                start.wait();
                let mut random = u32::from(writer);
                write_for(time, || {
                    spend(work, &mut random);
                    black_box(sink).record(black_box(record));
                })
            })
        });
        scope.spawn(|| {
            start.wait();
            while !done.load(Ordering::Relaxed) {
                if !read() {
                    thread::yield_now();
                }
            }
        });
        let throughput: f64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        done.store(true, Ordering::Relaxed);
        1.0 / throughput
    })
}

/// Returns the number of calls per nanosecond.
fn write_for(time: Duration, mut write: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut written = 0.0;
    while start.elapsed() < time {
        for _ in 0..100 {
            write();
        }
        written += 100.0;
    }
    written / nanoseconds(start)
}

/// Runs a loop for 0 to `2 * turns` turns, at random (xorshift): two writers in step would never
/// conflict, or always.
fn spend(turns: u32, random: &mut u32) {
    if turns > 0 {
        *random ^= *random << 13;
        *random ^= *random >> 17;
        *random ^= *random << 5;
        for _ in 0..*random % (2 * turns) {
            black_box(());
        }
    }
}

/// Gives each writer a processor of its own. Otherwise the scheduler may run one after the other on
/// the same processor, and they never conflict.
fn pin(writer: usize) {
    let mine = sched_getaffinity(None).unwrap();
    let mut own = CpuSet::new();
    own.set((0..CpuSet::MAX_CPU).filter(|cpu| mine.is_set(*cpu)).cycle().nth(writer).unwrap());
    sched_setaffinity(None, &own).unwrap();
}
