//! The audit ring against a simple model: a list of all records, and the position of each reader.

use std::sync::atomic::{AtomicU32, Ordering};

use arbitrary::{Result, Unstructured};
use netbind::audit::{AuditResult, AuditSink, Operation, Reader, Record};
use netbind::capability::CapabilityId;
use netbind::time::{Clock, Instant};
use netbind::{AuditRing, BindAddress};

use super::draw::{self, pick};
use super::memory::Arena;

/// A clock that advances by one at each reading.
struct Ticks(AtomicU32);

impl Clock for Ticks {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.fetch_add(1, Ordering::Relaxed).into())
    }
}

struct Model {
    capacity: u64,
    has_clock: bool,
    records: Vec<Owned>,
}

impl Model {
    fn written(&self) -> u64 {
        self.records.len() as u64
    }
}

/// A reader, and its expected position and number of missed records.
#[derive(Clone)]
struct Tracked<'r> {
    reader: Reader<'r>,
    next: u64,
    missed: u64,
}

impl Tracked<'_> {
    /// Compares one `next` with the model. Returns true if there was an entry.
    fn read(&mut self, model: &Model) -> bool {
        let oldest = model.written().saturating_sub(model.capacity);
        if self.next < oldest {
            self.missed += oldest - self.next;
            self.next = oldest;
        }
        let index = usize::try_from(self.next).unwrap_or(usize::MAX);
        let expected = model.records.get(index).map(|(id, operation, address, result)| {
            let time = model.has_clock.then_some(Instant::from_nanos(self.next));
            (self.next, time, Record::new(*id, *operation, address, *result))
        });
        let has_entry = expected.is_some();
        let entry = self.reader.next();
        let read = entry.as_ref().map(|entry| (entry.sequence, entry.time, entry.record()));
        assert_eq!(read, expected);
        self.next += u64::from(has_entry);
        assert_eq!(self.reader.missed(), self.missed);
        has_entry
    }
}

/// Interprets any bytes as a capacity and a sequence of writes and reads.
pub fn ring(plan: &[u8]) {
    let memory = Arena::new();
    // An error means that the input has ended, and the plan with it.
    let _ = run(&mut Unstructured::new(plan), &memory);
    assert_eq!((memory.blocks_in_use(), memory.bytes_in_use()), (0, 0));
}

fn run(u: &mut Unstructured<'_>, memory: &Arena) -> Result<()> {
    let clock = Ticks(AtomicU32::new(0));
    let requested: u8 = u.int_in_range(0..=40)?;
    let has_clock = u.arbitrary()?;
    let ring = AuditRing::new_in(usize::from(requested), memory).expect("memory");
    let ring = if has_clock { ring.with_clock(&clock) } else { ring };
    let capacity = ring.capacity();
    assert!(
        capacity.is_power_of_two()
            && capacity >= usize::from(requested)
            && capacity <= 2 * usize::from(requested.max(1))
    );

    let mut model = Model { capacity: capacity as u64, has_clock, records: Vec::new() };
    let mut readers = vec![Tracked { reader: ring.reader(), next: 0, missed: 0 }];
    while !u.is_empty() {
        step(u, &ring, &mut model, &mut readers)?;
        assert_eq!(ring.written(), model.written());
    }
    for reader in &mut readers {
        while reader.read(&model) {}
    }
    Ok(())
}

fn step<'r>(
    u: &mut Unstructured<'_>,
    ring: &'r AuditRing<'_, &Arena>,
    model: &mut Model,
    readers: &mut Vec<Tracked<'r>>,
) -> Result<()> {
    let which = |u: &mut Unstructured<'_>, readers: &[Tracked<'_>]| u.choose_index(readers.len());
    match u.int_in_range(0..=6_u8)? {
        0 => write(ring, model, &record(u)?, 1),
        1 => write(ring, model, &record(u)?, u.arbitrary()?),
        2 => {
            let reader = which(u, readers)?;
            readers[reader].read(model);
        }
        3 => {
            let reader = which(u, readers)?;
            while readers[reader].read(model) {}
        }
        4 => readers.push(Tracked { reader: ring.reader(), next: 0, missed: 0 }),
        5 => {
            // With a future number, the reader starts at the next record.
            let next = u.int_in_range(0..=model.written() + 3)?;
            let reader = ring.reader_from(next);
            readers.push(Tracked { reader, next: next.min(model.written()), missed: 0 });
        }
        _ => {
            let reader = readers[which(u, readers)?].clone();
            readers.push(reader);
        }
    }
    Ok(())
}

type Owned = (CapabilityId, Operation, BindAddress, AuditResult);

fn write(ring: &AuditRing<'_, &Arena>, model: &mut Model, record: &Owned, times: u8) {
    for _ in 0..times {
        let (id, operation, address, result) = record;
        ring.record(&Record::new(*id, *operation, address, *result));
        model.records.push(record.clone());
    }
}

fn record(u: &mut Unstructured<'_>) -> Result<Owned> {
    let id = pick(
        u,
        &["a", "janus", "seven-8", "exactly8", "nine-byte", "0123456789abcdef0123456789abcdef"],
    )?;
    Ok((
        CapabilityId::new(id).expect("an id"),
        pick(u, &[Operation::CheckBindAddress, Operation::BindSocket])?,
        draw::address(u)?,
        pick(u, &[AuditResult::Allowed, AuditResult::Denied])?,
    ))
}
