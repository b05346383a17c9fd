//! The audit ring: it keeps the newest records, counts the missed ones, and any number of writers
//! and readers can use it at once.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use allocator_api2::alloc::Global;
use netbind::audit::{AuditResult, AuditSink, Operation, Reader, Record};
use netbind::capability::CapabilityId;
use netbind::time::Instant;
use netbind::{AuditRing, BindAddress, SocketError};

use crate::support::clock::CountingClock;
use crate::support::memory::Arena;

/// Makes a record whose fields follow from two numbers, so that a mixture of two records is
/// detected.
fn record(writer: u16, number: u16) -> Record<'static> {
    let repeated = usize::from(number % 27) + 1;
    Record::new(
        CapabilityId::new(&format!("w{writer}-{}", "x".repeat(repeated))).unwrap(),
        if number.is_multiple_of(2) { Operation::CheckBindAddress } else { Operation::BindSocket },
        &ADDRESSES[usize::from(number)],
        if number.is_multiple_of(3) { AuditResult::Denied } else { AuditResult::Allowed },
    )
}

/// An address for each number, of different forms and lengths.
static ADDRESSES: LazyLock<Vec<BindAddress>> = LazyLock::new(|| {
    let address = |number: u16| match number % 5 {
        0 => format!("unix:{number}{}", "p".repeat(usize::from(number % 103))),
        1 | 2 => format!("127.0.{}.1:{number}", number % 251),
        _ => format!("[fe80::{number:x}%{number}]:{number}"),
    };
    (0..=u16::MAX).map(|number| address(number).parse().unwrap()).collect()
});

/// Returns the sequence numbers of all records that can be read.
fn drain(reader: &mut Reader<'_>) -> Vec<u64> {
    reader.map(|entry| entry.sequence).collect()
}

#[test]
fn records_are_read_in_order_with_sequence_numbers_from_zero() {
    let ring = AuditRing::new_in(64, Global).unwrap();
    let mut reader = ring.reader();
    assert_eq!((reader.next(), reader.missed(), ring.written()), (None, 0, 0));
    for number in 0..60 {
        ring.record(&record(number % 7, number));
    }
    for number in 0..60 {
        let entry = reader.next().unwrap();
        assert_eq!((entry.sequence, entry.time), (u64::from(number), None));
        assert_eq!(entry.record(), record(number % 7, number));
    }
    assert_eq!((reader.next(), reader.missed(), ring.written()), (None, 0, 60));
    ring.record(&record(1, 2));
    assert_eq!(reader.next().unwrap().sequence, 60, "a reader at the end continues");
}

#[test]
fn every_kind_of_record_is_read_unchanged() {
    let ring = AuditRing::new_in(64, Global).unwrap();
    let mut reader = ring.reader();
    for id in ["a", &"z".repeat(31), &"~".repeat(32)] {
        for operation in [Operation::CheckBindAddress, Operation::BindSocket] {
            for result in [AuditResult::Allowed, AuditResult::Denied] {
                for address in [":0", "[::1]:1", ":258", "[::]:65535", "/a", "unix:@a"] {
                    let address = address.parse().unwrap();
                    let id = CapabilityId::new(id).unwrap();
                    let record = Record::new(id, operation, &address, result);
                    ring.record(&record);
                    assert_eq!(reader.next().unwrap().record(), record);
                }
            }
        }
    }
}

#[test]
fn the_newest_records_are_kept_and_the_missed_ones_counted() {
    for (capacity, written) in
        [(1, 1), (1, 5), (2, 5), (8, 8), (8, 9), (8, 20), (8, 1_000), (64, 63)]
    {
        let ring = AuditRing::new_in(capacity, Global).unwrap();
        let (mut early, mut half) = (ring.reader(), ring.reader());
        for number in 0..written {
            if number == written / 2 {
                half.next();
            }
            ring.record(&record(0, number));
        }
        let (written, kept) = (u64::from(written), capacity as u64);
        let missed = written.saturating_sub(kept);
        assert_eq!(
            drain(&mut early),
            (missed..written).collect::<Vec<_>>(),
            "{written} in {capacity}"
        );
        assert_eq!(early.missed(), missed, "{written} in {capacity}");
        let rest = drain(&mut half);
        let first = u64::from(written >= 2);
        assert_eq!(rest.len() as u64 + half.missed() + first, written, "{written} in {capacity}");
        assert_eq!(ring.written(), written);
    }
}

#[test]
fn readers_do_not_disturb_each_other() {
    let ring = AuditRing::new_in(8, Global).unwrap();
    for number in 0..6 {
        ring.record(&record(0, number));
    }
    let (mut first, mut second, mut later) = (ring.reader(), ring.reader(), ring.reader_from(4));
    assert_eq!(drain(&mut first), [0, 1, 2, 3, 4, 5]);
    second.next();
    let mut third = second.clone();
    assert_eq!(drain(&mut second), [1, 2, 3, 4, 5]);
    assert_eq!(drain(&mut third), [1, 2, 3, 4, 5]);
    assert_eq!((drain(&mut later), later.missed()), (vec![4, 5], 0));
    assert_eq!(drain(&mut ring.reader_from(6)), [0; 0]);
    let mut ahead = ring.reader_from(7);
    assert_eq!(drain(&mut ahead), [0; 0]);
    ring.record(&record(0, 6));
    ring.record(&record(0, 7));
    assert_eq!((drain(&mut ahead), ahead.missed()), (vec![6, 7], 0));
}

#[test]
fn the_capacity_is_the_next_power_of_two_in_one_allocation() {
    for (asked, capacity) in [(0, 1), (1, 1), (2, 2), (3, 4), (5, 8), (32, 32), (33, 64)] {
        let arena = Arena::new();
        let ring = AuditRing::new_in(asked, &arena).unwrap();
        assert_eq!(ring.capacity(), capacity);
        if cfg!(target_pointer_width = "64") {
            assert_eq!(arena.requests().collect::<Vec<_>>(), [192 * capacity]);
        }
        assert_eq!(arena.requests().count(), 1);
        ring.record(&record(0, 0));
        drop(ring);
        assert_eq!(arena.bytes_in_use(), 0, "capacity {capacity}");
    }
}

#[test]
fn a_ring_without_memory_is_an_error() {
    let arena = Arena::refusing_from(1);
    assert_eq!(AuditRing::new_in(8, &arena).err(), Some(SocketError::OutOfMemory));
    for capacity in
        [usize::MAX, usize::MAX / 2 + 2, usize::MAX / 2, usize::MAX / 64, 1 << (usize::BITS - 2)]
    {
        assert_eq!(
            AuditRing::new_in(capacity, &Arena::new()).err(),
            Some(SocketError::OutOfMemory),
            "{capacity}"
        );
    }
}

#[test]
fn records_have_the_time_of_the_rings_clock() {
    let clock = CountingClock::default();
    let ring = AuditRing::new_in(4, Global).unwrap().with_clock(&clock);
    for number in 0..3 {
        ring.record(&record(0, number));
    }
    let times: Vec<_> = ring.reader().map(|entry| entry.time).collect();
    assert_eq!(times, [1, 2, 3].map(|nanos| Some(Instant::from_nanos(nanos))));
}

#[test]
fn an_entry_prints_as_one_line_of_keys_and_values() {
    let clock = CountingClock::default();
    let plain = AuditRing::new_in(4, Global).unwrap();
    let timed = AuditRing::new_in(4, Global).unwrap().with_clock(&clock);
    let (port, path) = (":22".parse().unwrap(), "/a".parse().unwrap());
    let id = CapabilityId::new("web").unwrap();
    let denied = Record::new(id, Operation::CheckBindAddress, &port, AuditResult::Denied);
    let bound = Record::new(id, Operation::BindSocket, &path, AuditResult::Allowed);
    for ring in [&plain, &timed] {
        ring.record(&denied);
        ring.record(&bound);
    }
    let lines = |ring: &AuditRing<'_, Global>| {
        ring.reader().map(|entry| entry.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&plain),
        [
            "sequence=0 capability=web operation=check_bind_address address=0.0.0.0:22 port=22 \
             result=denied",
            "sequence=1 capability=web operation=bind_socket address=unix:/a port=none result=allowed",
        ]
    );
    assert_eq!(
        lines(&timed),
        [
            "sequence=0 time=1 capability=web operation=check_bind_address address=0.0.0.0:22 port=22 \
             result=denied",
            "sequence=1 time=2 capability=web operation=bind_socket address=unix:/a port=none result=allowed",
        ]
    );
}

/// Reads until the writers are done. Checks every record, and that each is either read or counted
/// as missed.
fn read_all(ring: &AuditRing<'_, Global>, done: &AtomicBool) -> u64 {
    let (mut reader, mut read, mut last) = (ring.reader(), 0, None);
    loop {
        let finished = done.load(Ordering::Acquire);
        for entry in &mut reader {
            assert!(
                last.is_none_or(|last| last < entry.sequence),
                "the order of the sequence numbers"
            );
            last = Some(entry.sequence);
            let record = entry.record();
            let (writer, _) = record.capability.as_str()[1..].split_once('-').unwrap();
            let number = record.capability.as_str().len() - writer.len() - 3;
            assert_whole(&record, writer.parse().unwrap(), number as u16);
            read += 1;
        }
        assert!(read + reader.missed() <= ring.written());
        if finished {
            assert_eq!(read + reader.missed(), ring.written());
            return read;
        }
    }
}

/// Asserts that the fields of a record belong together. The length of the id gives the number
/// modulo 27, and the port gives the number, unless it is a multiple of 5.
fn assert_whole(found: &Record<'_>, writer: u16, modulo: u16) {
    let number = match found.address {
        BindAddress::Path(path) => {
            let digits = path.as_bytes().split(|byte| !byte.is_ascii_digit()).next().unwrap();
            str::from_utf8(digits).unwrap().parse().unwrap()
        }
        address => address.port().unwrap(),
    };
    assert_eq!(number % 27, modulo, "a mixture of two records: {found}");
    assert_eq!(*found, record(writer, number), "a mixture of two records: {found}");
}

#[test]
fn concurrent_writers_and_readers_lose_no_count_and_mix_no_records() {
    const WRITERS: u16 = 4;
    const EACH: u16 = 25_000;
    for capacity in [1, 8, 1_024] {
        let ring = AuditRing::new_in(capacity, Global).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers = [(); 2].map(|()| scope.spawn(|| read_all(&ring, &done)));
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let ring = &ring;
                    // Made first, so that the writers only write.
                    let records: Vec<_> =
                        (0..27 * 30).map(|number| record(writer, number)).collect();
                    scope.spawn(move || {
                        records
                            .iter()
                            .cycle()
                            .take(EACH.into())
                            .for_each(|record| ring.record(record));
                    })
                })
                .collect();
            for writer in writers {
                writer.join().unwrap();
            }
            done.store(true, Ordering::Release);
            let _read = readers.map(|reader| reader.join().unwrap());
        });
        assert_eq!(ring.written(), u64::from(WRITERS) * u64::from(EACH));
    }
}

#[cfg(target_os = "linux")]
mod signals {
    #![allow(unsafe_code)]

    use std::os::unix::thread::JoinHandleExt;
    use std::sync::atomic::AtomicU32;

    use super::*;

    static RING: LazyLock<AuditRing<'static, Global>> =
        LazyLock::new(|| AuditRing::new_in(8, Global).unwrap());
    static FROM_HANDLER: LazyLock<Record<'static>> = LazyLock::new(|| record(9, 26));
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    static STOP: AtomicBool = AtomicBool::new(false);

    #[test]
    fn a_signal_handler_can_record_while_its_thread_records() {
        LazyLock::force(&RING);
        LazyLock::force(&FROM_HANDLER);
        // SAFETY: the handler reads initialised statics and writes atomics, which is signal-safe.
        unsafe {
            signal_hook::low_level::register(libc::SIGUSR1, || {
                RING.record(&FROM_HANDLER);
                HANDLED.fetch_add(1, Ordering::Relaxed);
            })
        }
        .unwrap();
        let done = AtomicBool::new(false);
        let writer = std::thread::spawn(|| {
            let records: Vec<_> = (0..270).map(|number| record(1, number)).collect();
            let mut written = 0_u64;
            for record in records.iter().cycle() {
                RING.record(record);
                written += 1;
                if STOP.load(Ordering::Relaxed) {
                    break;
                }
            }
            written
        });
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| read_all(&RING, &done));
            while HANDLED.load(Ordering::Relaxed) < 200 {
                // SAFETY: the thread runs until `STOP` is set, below.
                unsafe { libc::pthread_kill(writer.as_pthread_t(), libc::SIGUSR1) };
                std::thread::yield_now();
            }
            STOP.store(true, Ordering::Relaxed);
            let written = writer.join().unwrap();
            assert_eq!(RING.written(), written + u64::from(HANDLED.load(Ordering::Relaxed)));
            done.store(true, Ordering::Release);
            assert!(reader.join().unwrap() > 0);
        });
    }
}
