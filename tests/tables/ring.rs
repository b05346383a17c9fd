//! The audit ring: the records that it keeps, the count of those that it lost, and its memory.

use core::net::Ipv4Addr;

use netbind::audit::{AuditResult, AuditSink, Operation, Record};
use netbind::capability::CapabilityId;
use netbind::time::{Clock, Instant};
use netbind::{AuditRing, BindAddress, SocketError};

use super::memory::Arena;

/// A clock whose time has a different value in every byte.
struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(0x1234_5678_9abc_def0)
    }
}

/// Returns an address of this port, or a path for port 0.
fn address(port: u16) -> BindAddress {
    match port {
        0 => BindAddress::parse("/run/ring.sock").expect("a path"),
        _ => BindAddress::Ipv4 { ip: Ipv4Addr::LOCALHOST, port },
    }
}

fn record(port: u16, address: &BindAddress) -> Record<'_> {
    Record::new(
        CapabilityId::new("ring").expect("an id"),
        if port.is_multiple_of(2) { Operation::BindSocket } else { Operation::CheckBindAddress },
        address,
        if port.is_multiple_of(3) { AuditResult::Denied } else { AuditResult::Allowed },
    )
}

pub(crate) fn the_newest_records_are_kept_and_the_others_counted() {
    let memory = Arena::new();
    let ring = AuditRing::new_in(5, &memory).expect("memory").with_clock(&FixedClock);
    assert_eq!(ring.capacity(), 8);
    for port in 0..20 {
        ring.record(&record(port, &address(port)));
    }
    let mut reader = ring.reader();
    for port in 12..20 {
        let entry = reader.next().expect("a record");
        assert_eq!(entry.sequence, u64::from(port));
        assert_eq!(entry.time, Some(FixedClock.now()));
        assert_eq!(entry.record(), record(port, &address(port)));
    }
    assert_eq!((reader.next(), reader.missed(), ring.written()), (None, 12, 20));
    let last = ring.reader_from(19).next().expect("a record");
    assert_eq!(last.record(), record(19, &address(19)));
}

pub(crate) fn a_reader_returns_later_records() {
    let memory = Arena::new();
    let ring = AuditRing::new_in(2, &memory).expect("memory");
    let mut reader = ring.reader();
    assert_eq!(reader.next(), None);
    for port in 0..1000 {
        ring.record(&record(port, &address(port)));
        assert_eq!(
            reader.next().map(|entry| (entry.sequence, entry.time)),
            Some((u64::from(port), None))
        );
    }
    assert_eq!((reader.next(), reader.missed()), (None, 0));
}

pub(crate) fn a_ring_allocates_once_and_frees_its_memory() {
    let memory = Arena::new();
    drop(AuditRing::new_in(8, &memory).expect("memory"));
    assert_eq!((memory.requests().count(), memory.bytes_in_use()), (1, 0));
    let refusing = Arena::refusing_from(1);
    assert_eq!(AuditRing::new_in(8, &refusing).err(), Some(SocketError::OutOfMemory));
    assert_eq!(AuditRing::new_in(usize::MAX, &memory).err(), Some(SocketError::OutOfMemory));
}
