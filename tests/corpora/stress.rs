//! The audit ring under load: several writers and readers at the same time, on few slots. At the
//! end the counts must agree.
//!
//! `proofs/tsan/run` runs it under `ThreadSanitizer`.

use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;

use allocator_api2::alloc::Global;
use netbind::audit::{AuditResult, AuditSink, Entry, Operation, Reader, Record};
use netbind::capability::CapabilityId;
use netbind::{AuditRing, BindAddress};

/// Returns the record of this number. A mixture of two records is not the record of any number.
fn record(number: u16) -> Record<'static> {
    let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
    let id = String::from(letter).repeat(1 + usize::from(number % 32));
    Record::new(
        CapabilityId::new(&id).unwrap(),
        if number.is_multiple_of(2) { Operation::CheckBindAddress } else { Operation::BindSocket },
        &ADDRESSES[usize::from(number)],
        if number.is_multiple_of(3) { AuditResult::Denied } else { AuditResult::Allowed },
    )
}

/// An address for each number: an IPv6 address whose port is the number.
static ADDRESSES: LazyLock<Vec<BindAddress>> = LazyLock::new(|| {
    let ip = |number| Ipv6Addr::from_bits(u128::from(number) * 0x0001_0001_0001_0001);
    (0..=u16::MAX)
        .map(|port| BindAddress::Ipv6 { ip: ip(port), port, scope_id: u32::from(port) })
        .collect()
});

/// Counts the entries of a reader, and checks each of them.
#[derive(Default)]
struct Checker {
    read: u64,
    next: u64,
}

impl Checker {
    fn check(&mut self, entry: &Entry, missed: u64) {
        assert!(entry.sequence >= self.next, "sequence numbers rise");
        let found = entry.record();
        assert_eq!(Some(found), found.port.map(record), "a torn record");
        self.read += 1;
        self.next = entry.sequence + 1;
        assert_eq!(self.read + missed, self.next, "the number of missed records is exact");
    }

    fn drain(&mut self, reader: &mut Reader<'_>) {
        while let Some(entry) = reader.next() {
            self.check(&entry, reader.missed());
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
                // The records are made before the loop, so that the loop only writes to the ring.
                let records: Vec<_> =
                    (0..61).map(|number| record(number * writers + writer)).collect();
                for (count, record) in (0..each).zip(records.iter().cycle()) {
                    ring.record(record);
                    // On few processors, readers would otherwise run only between time slices.
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
                let (mut reader, mut checker) = (ring.reader(), Checker::default());
                while !done.load(Ordering::Acquire) {
                    checker.drain(&mut reader);
                }
                checker.drain(&mut reader);
                assert_eq!(checker.read + reader.missed(), ring.written());
                read.lock().unwrap().push(checker.read);
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
fn no_record_is_torn_or_lost_without_a_count() {
    for capacity in [1, 2, 8, 256] {
        stress(capacity, 3, 2, 20_000);
    }
}

#[test]
#[ignore = "10^8 records; use a release build"]
fn no_record_of_100_million_is_torn_or_lost_without_a_count() {
    for capacity in [1, 2, 8, 256] {
        stress(capacity, 4, 2, 6_250_000);
    }
}

#[test]
fn a_reader_past_the_end_of_an_empty_ring_returns_nothing() {
    let ring = AuditRing::new_in(8, Global).unwrap();
    for sequence in
        [u64::MAX, u64::MAX - 7, u64::MAX - 8, u64::MAX - 100, 1 << 63, (1 << 63) - 1, 1 << 62, 1]
    {
        let mut reader = ring.reader_from(sequence);
        assert_eq!((reader.next(), reader.missed()), (None, 0), "{sequence}");
    }
}
