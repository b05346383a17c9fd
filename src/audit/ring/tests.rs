//! Tests after very many records: they set the head forward instead of writing all of them.
#![allow(clippy::unwrap_used)]

use core::net::Ipv4Addr;

use bumpalo::Bump;

use super::slot::atomic::Count;
use super::*;
use crate::address::BindAddress;
use crate::audit::{AuditResult, Operation};
use crate::id::CapabilityId;

/// Numbers of records after which a stamp has moved by a quarter of its range, by about half of it,
/// and by almost all of it. A stamp grows by 2 for each record.
#[allow(clippy::useless_conversion)] // a count can have 32 bits
fn far() -> [u64; 4] {
    [Count::MAX / 8, Count::MAX / 4 - 64, Count::MAX / 4 + 64, Count::MAX / 2 - 64].map(u64::from)
}

static ADDRESS: BindAddress = BindAddress::Ipv4 { ip: Ipv4Addr::LOCALHOST, port: 80 };

fn record() -> Record<'static> {
    let capability = CapabilityId::new("far").unwrap();
    Record::new(capability, Operation::BindSocket, &ADDRESS, AuditResult::Allowed)
}

fn write(ring: &AuditRing<'_, &Bump>, records: u64) {
    (0..records).for_each(|_| ring.record(&record()));
}

/// Sets the head to about `far`, in 16 parts with some records after each, and returns the number
/// of records.
fn write_far(ring: &AuditRing<'_, &Bump>, far: u64) -> u64 {
    for part in 1..=16 {
        ring.head.set(far / 16 * part);
        write(ring, 4);
    }
    far / 16 * 16 + 4
}

#[test]
fn a_reader_finds_the_newest_records_however_far_the_writers_have_come() {
    for far in far() {
        let memory = Bump::new();
        let ring = AuditRing::new_in(4, &memory).unwrap();
        write(&ring, 3);
        let mut reader = ring.reader();
        assert_eq!(reader.next().unwrap().sequence, 0);

        let written = write_far(&ring, far);
        assert!(reader.by_ref().map(|entry| entry.sequence).eq(written - 4..written));
        assert_eq!(reader.missed(), written - 5);
    }
}

#[test]
fn a_record_that_is_being_written_is_not_counted_as_an_old_loss() {
    for far in far() {
        let memory = Bump::new();
        let ring = AuditRing::new_in(4, &memory).unwrap();
        let written = write_far(&ring, far);
        let mut reader = ring.reader();
        assert_eq!((reader.by_ref().count(), reader.missed()), (4, written - 4));

        // A writer has taken its number and is interrupted.
        let sequence = ring.head.next_sequence();
        assert_eq!((reader.next(), reader.missed()), (None, written - 4));
        slot_of(ring.slots(), written).unwrap().store(sequence, &record(), None);
        assert_eq!(reader.next().map(|entry| entry.sequence), Some(written));
    }
}

#[test]
fn a_fresh_reader_reads_the_newest_and_has_missed_the_rest() {
    // As 32-bit counts, some of these have the highest bit set, and some wrap around.
    for start in [1 << 31, (1 << 31) + 5, (1 << 32) - 2, 1 << 32, 3 << 31, (7 << 32) + 1] {
        let memory = Bump::new();
        let ring = AuditRing::new_in(8, &memory).unwrap();
        // In steps, so that no slot keeps a stamp of half the range ago. A stamp grows by 2 for
        // each record, so a step must be shorter than 2^30 records.
        for part in 1..64 {
            ring.head.set(start / 64 * part);
            write(&ring, 8);
        }
        ring.head.set(start);
        write(&ring, 8);
        assert_eq!(ring.written(), start + 8);
        let mut reader = ring.reader();
        assert!(reader.by_ref().map(|entry| entry.sequence).eq(start..start + 8));
        assert_eq!(reader.missed(), start);
    }
}

#[test]
fn written_is_exact_on_both_sides_of_every_boundary() {
    for boundary in [1_u64 << 31, 1 << 32, 3 << 31, 1 << 33] {
        let head = Head::new(boundary - 2);
        for taken in 0..4 {
            assert_eq!(head.written(), boundary - 2 + taken);
            head.next_sequence();
        }
    }
}

#[test]
fn a_reader_that_starts_after_the_newest_record_misses_nothing() {
    let memory = Bump::new();
    let ring = AuditRing::new_in(8, &memory).unwrap();
    for written in 0..3 {
        let mut reader = ring.reader_from(u64::MAX);
        assert_eq!((reader.next(), reader.missed()), (None, 0));
        write(&ring, 1);
        assert_eq!(reader.next().map(|entry| entry.sequence), Some(written));
    }
}
