//! More records than can be written: the numbers are set forward, which no caller can.
#![allow(clippy::unwrap_used)]

use bumpalo::Bump;

use super::*;
use crate::audit::{AuditResult, CapabilityId, Operation};

/// As far as numbers may be apart; their stamps, which are twice as far, have come round by then.
const FAR: [Count; 4] = [Count::MAX / 8, Count::MAX / 4 - 64, Count::MAX / 4 + 64, Count::MAX / 2 - 64];

fn record() -> Record {
    let capability = CapabilityId::new("far").unwrap();
    Record { capability, operation: Operation::BindSocket, port: None, result: AuditResult::Allowed }
}

fn write(ring: &AuditRing<'_, &Bump>, records: u64) {
    (0..records).for_each(|_| ring.record(&record()));
}

/// As if so many records had been written, of which some laps are; answers with the exact number.
fn write_far(ring: &AuditRing<'_, &Bump>, far: Count) -> Count {
    for part in 1..=16 {
        ring.head.0.store(far / 16 * part, Ordering::Relaxed);
        write(ring, 4);
    }
    far / 16 * 16 + 4
}

#[test]
fn a_reader_that_stopped_in_the_middle_finds_the_newest_however_far_the_writers_have_come() {
    for far in FAR {
        let memory = Bump::new();
        let ring = AuditRing::new_in(4, &memory).unwrap();
        write(&ring, 3);
        let mut reader = ring.reader();
        assert_eq!(reader.next().unwrap().sequence, 0);

        let written = widen(write_far(&ring, far));
        assert!(reader.by_ref().map(|entry| entry.sequence).eq(written - 4..written));
        assert_eq!(reader.missed(), written - 5);
    }
}

#[test]
fn a_record_is_waited_for_however_long_its_place_has_lost_none() {
    for far in FAR {
        let memory = Bump::new();
        let ring = AuditRing::new_in(4, &memory).unwrap();
        let written = write_far(&ring, far);
        let mut reader = ring.reader();
        assert_eq!((reader.by_ref().count(), reader.missed()), (4, widen(written) - 4));

        // A writer has drawn its number, and is interrupted.
        ring.head.0.store(written + 1, Ordering::Relaxed);
        assert_eq!((reader.next(), reader.missed()), (None, widen(written) - 4));
        slot(ring.slots(), written).unwrap().store(written, &record(), None);
        assert_eq!(reader.next().map(|entry| entry.sequence), Some(widen(written)));
    }
}
