//! The audit ring under the model checker: every interleaving of up to two records and a reader; of
//! three records, those with at most two preemptions. Each load returns every value that the memory
//! model allows. See `../run`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use allocator_api2::alloc::Global;
use loom::thread;
use netbind::address::AbstractName;
use netbind::audit::{AuditResult, AuditSink, Operation, Reader, Record};
use netbind::capability::CapabilityId;
use netbind::{AuditRing, BindAddress};

type Ring = AuditRing<'static, Global>;

/// Returns a record that differs from those of other writers in every word, so that a mixture of
/// two records equals neither.
fn record(writer: u16, address: &BindAddress) -> Record<'_> {
    let letter = char::from(b'a' + u8::try_from(writer).unwrap());
    Record::new(
        CapabilityId::new(&String::from(letter).repeat(8)).unwrap(),
        if writer % 2 == 0 { Operation::CheckBindAddress } else { Operation::BindSocket },
        address,
        if writer % 2 == 0 { AuditResult::Denied } else { AuditResult::Allowed },
    )
}

/// Returns an address that takes one word in the ring.
fn address(writer: u16) -> BindAddress {
    let letter = b'a' + u8::try_from(writer).unwrap();
    BindAddress::Abstract(AbstractName::new([letter]).unwrap())
}

/// The number of records that a reader has returned, and the sequence number after the last one.
#[derive(Default)]
struct Progress {
    read: u64,
    next: u64,
}

impl Progress {
    /// Reads until the reader returns `None`, and checks each record.
    fn drain(&mut self, reader: &mut Reader<'_>) {
        while let Some(entry) = reader.next() {
            assert!(entry.sequence >= self.next, "sequence numbers rise");
            let found = entry.record();
            let writer = u16::from(found.capability.as_str().as_bytes()[0] - b'a');
            assert_eq!(found, record(writer, &address(writer)), "a torn record");
            self.read += 1;
            self.next = entry.sequence + 1;
            assert_eq!(self.read + reader.missed(), self.next, "the loss is always exact");
        }
    }
}

/// Tries the interleavings of some writers and a reader: all of them, or those with at most this
/// number of `preemptions`.
///
/// Each writer writes one record, and the first one writes `more` records after it. The reader
/// reads once while the writers run, and once when they have ended.
fn explore(name: &str, capacity: usize, writers: u16, more: u16, preemptions: Option<usize>) {
    let explored = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&explored);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.max_branches = 100_000;
    model.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let ring = Arc::new(Ring::new_in(capacity, Global).unwrap());
        // The reader is made before the writers start, so that it loads the head with only one
        // possible result. That keeps the number of interleavings small.
        let mut reader = ring.reader();
        let handles: Vec<_> = (0..writers)
            .map(|writer| {
                let ring = Arc::clone(&ring);
                thread::spawn(move || {
                    for _ in 0..=if writer == 0 { more } else { 0 } {
                        ring.record(&record(writer, &address(writer)));
                    }
                })
            })
            .collect();
        let mut progress = Progress::default();
        progress.drain(&mut reader);
        for handle in handles {
            handle.join().unwrap();
        }
        // No writer runs any more: every record is read or counted as missed.
        progress.drain(&mut reader);
        let written = u64::from(writers + more);
        assert_eq!(ring.written(), written);
        assert_eq!(progress.read + reader.missed(), written);
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
fn two_writers_on_two_slots_and_a_reader() {
    explore("2 writers, capacity 2", 2, 2, 0, None);
}

// The interleavings of more records are too many. Those with at most two preemptions are tried.

#[test]
fn two_writers_of_which_one_laps_the_ring_and_a_reader() {
    explore("2 writers, 3 records in all, capacity 1, 2 preemptions", 1, 2, 1, Some(2));
    explore("2 writers, 3 records in all, capacity 2, 2 preemptions", 2, 2, 1, Some(2));
}
