//! The audit ring under a model checker: every interleaving of its writers and a reader, and every value that the memory
//! model lets a load return.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --test loom -- --nocapture --test-threads 1`
#![cfg(loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allocator_api2::alloc::Global;
use loom::thread;
use netbind::{AuditResult, AuditRing, AuditSink, CapabilityId, Operation, Reader, Record};

type Ring = AuditRing<'static, Global>;

/// A record whose every word tells whose it is: a mixture of two is none of them.
fn record(writer: u16) -> Record {
    let letter = char::from(b'a' + u8::try_from(writer).unwrap());
    Record {
        capability: CapabilityId::new(&String::from(letter).repeat(8)).unwrap(),
        operation: if writer % 2 == 0 { Operation::CheckBindAddress } else { Operation::BindSocket },
        port: Some(writer),
        result: if writer % 2 == 0 { AuditResult::Denied } else { AuditResult::Allowed },
    }
}

/// What a reader was told so far.
#[derive(Default)]
struct Told {
    read: u64,
    next: u64,
}

impl Told {
    /// Reads what there is, and looks at each record.
    fn drain(&mut self, reader: &mut Reader<'_>) {
        while let Some(entry) = reader.next() {
            assert!(entry.sequence >= self.next, "sequence numbers rise");
            let writer = entry.record.port.expect("every record has one");
            assert_eq!(entry.record, record(writer), "a torn record");
            self.read += 1;
            self.next = entry.sequence + 1;
            assert_eq!(self.read + reader.missed(), self.next, "the loss is exact at every moment");
        }
    }
}

/// Every interleaving of `writers` with one record each, `more` records by the first of them, and a reader that looks once
/// beside them and once behind them.
fn explore(name: &str, capacity: usize, writers: u16, more: u16, preemptions: Option<usize>) {
    let explored = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&explored);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.max_branches = 100_000;
    model.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let ring = Arc::new(Ring::new_in(capacity, Global).unwrap());
        let handles: Vec<_> = (0..writers)
            .map(|writer| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || {
                    for _ in 0..=if writer == 0 { more } else { 0 } {
                        ring.record(&record(writer));
                    }
                })
            })
            .collect();
        let mut reader = ring.reader();
        let mut told = Told::default();
        told.drain(&mut reader);
        for handle in handles {
            handle.join().unwrap();
        }
        // The writers are done: everything is told, one way or the other.
        told.drain(&mut reader);
        let written = u64::from(writers + more);
        assert_eq!(ring.written(), written);
        assert_eq!(told.read + reader.missed(), written);
    });
    println!("{name}: {} interleavings explored", explored.load(Ordering::Relaxed));
}

#[test]
fn one_writer_that_laps_a_slot_under_a_reader() {
    explore("1 writer of 2 records, capacity 1", 1, 1, 1, None);
}

#[test]
fn two_writers_on_one_slot_and_a_reader() {
    explore("2 writers, capacity 1", 1, 2, 0, None);
}

#[test]
fn two_writers_side_by_side_and_a_reader() {
    explore("2 writers, capacity 2", 2, 2, 0, None);
}

// More records than can be tried in every order: all orders in which no more than two turns are taken away by force.

#[test]
fn two_writers_of_which_one_comes_round_and_a_reader() {
    explore("2 writers of 3 records, capacity 1, 2 preemptions", 1, 2, 1, Some(2));
    explore("2 writers of 3 records, capacity 2, 2 preemptions", 2, 2, 1, Some(2));
}
