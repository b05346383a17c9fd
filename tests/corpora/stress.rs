//! The audit ring under load: several writers on few slots, readers beside them, and the books balanced at the end.
//!
//! `proofs/tsan/run` runs it under `ThreadSanitizer`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use allocator_api2::alloc::Global;
use netbind::AuditRing;
use netbind::audit::{AuditResult, AuditSink, Entry, Operation, Reader, Record};
use netbind::capability::CapabilityId;

/// A record whose every field follows from its number: a mixture of two is none of them.
fn record(number: u16) -> Record {
    let digit = char::from(b'a' + u8::try_from(number % 26).unwrap());
    let mut id = [0; 32];
    Record::new(
        CapabilityId::new(fill(&mut id, digit, 1 + usize::from(number % 32))).unwrap(),
        if number.is_multiple_of(2) { Operation::CheckBindAddress } else { Operation::BindSocket },
        Some(number),
        if number.is_multiple_of(3) { AuditResult::Denied } else { AuditResult::Allowed },
    )
}

fn fill(id: &mut [u8; 32], with: char, length: usize) -> &str {
    id.fill(with as u8);
    std::str::from_utf8(&id[..length]).unwrap()
}

/// What a reader was told, checked record by record.
#[derive(Default)]
struct Told {
    read: u64,
    next: u64,
}

impl Told {
    fn take(&mut self, entry: &Entry, missed: u64) {
        assert!(entry.sequence >= self.next, "sequence numbers rise");
        assert_eq!(Some(&entry.record), entry.record.port.map(record).as_ref(), "a torn record");
        self.read += 1;
        self.next = entry.sequence + 1;
        assert_eq!(self.read + missed, self.next, "the loss is exact at every moment");
    }

    fn drain(&mut self, reader: &mut Reader<'_>) {
        while let Some(entry) = reader.next() {
            self.take(&entry, reader.missed());
        }
    }
}

fn stress(capacity: usize, writers: u16, readers: usize, each: u64) {
    let ring = AuditRing::new_in(capacity, Global).unwrap();
    let (working, done) = (AtomicUsize::new(usize::from(writers)), AtomicBool::new(false));
    let read = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for writer in 0..writers {
            let (ring, working, done) = (&ring, &working, &done);
            scope.spawn(move || {
                // A few records made beforehand: the ring is to be under load, not the making of ids.
                let records: Vec<_> =
                    (0..61).map(|number| record(number * writers + writer)).collect();
                for (count, record) in (0..each).zip(records.iter().cycle()) {
                    ring.record(record);
                    // On few processors the readers would see nothing but the end of each writer's turn.
                    if count.is_multiple_of(512) {
                        thread::yield_now();
                    }
                }
                if working.fetch_sub(1, Ordering::AcqRel) == 1 {
                    done.store(true, Ordering::Release);
                }
            });
        }
        for _ in 0..readers {
            scope.spawn(|| {
                let (mut reader, mut told) = (ring.reader(), Told::default());
                while !done.load(Ordering::Acquire) {
                    told.drain(&mut reader);
                }
                told.drain(&mut reader);
                assert_eq!(told.read + reader.missed(), ring.written(), "read + missed = written");
                read.lock().unwrap().push(told.read);
            });
        }
    });
    let written = u64::from(writers) * each;
    assert_eq!(ring.written(), written);
    println!(
        "{writers} writers, capacity {capacity}: {written} records written, {:?} read",
        read.into_inner().unwrap()
    );
}

#[test]
fn no_record_is_torn_or_lost_uncounted_under_load() {
    for capacity in [1, 2, 8, 256] {
        stress(capacity, 3, 2, 20_000);
    }
}

#[test]
#[ignore = "10^8 records: for a release build"]
fn no_record_of_100_million_is_torn_or_lost_uncounted() {
    for capacity in [1, 2, 8, 256] {
        stress(capacity, 4, 2, 6_250_000);
    }
}

#[test]
fn a_reader_from_far_beyond_the_end_is_handed_nothing_that_was_never_written() {
    let ring = AuditRing::new_in(8, Global).unwrap();
    for sequence in
        [u64::MAX, u64::MAX - 7, u64::MAX - 8, u64::MAX - 100, 1 << 63, (1 << 63) - 1, 1 << 62, 1]
    {
        let mut reader = ring.reader_from(sequence);
        assert_eq!((reader.next(), reader.missed()), (None, 0), "{sequence}");
    }
}
