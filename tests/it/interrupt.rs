//! A record that is interrupted at every instruction, one after the other, by a handler that records itself.
//!
//! The processor's trap flag stops the thread behind each instruction. So what a stress test meets once in a million times
//! is met here for certain: the writer is stopped before, between and behind each of its stores.
#![allow(unsafe_code)]

use std::arch::asm;
use std::cell::Cell;
use std::sync::{LazyLock, Mutex};

use allocator_api2::alloc::Global;
use netbind::AuditRing;
use netbind::audit::{AuditResult, AuditSink, Operation, Record};
use netbind::capability::CapabilityId;

const TRAP_FLAG: i64 = 1 << 8;

thread_local! {
    /// How many instructions still go before the handler records, and with which ring.
    static COUNTDOWN: Cell<u32> = const { Cell::new(0) };
    static RING: Cell<Option<&'static AuditRing<'static, Global>>> = const { Cell::new(None) };
}

fn record(port: u16) -> Record {
    Record::new(
        CapabilityId::new(&format!("writer-{port}")).unwrap(),
        Operation::BindSocket,
        Some(port),
        AuditResult::Allowed,
    )
}

static INTERRUPTED: LazyLock<Record> = LazyLock::new(|| record(1));
static INTERRUPTING: LazyLock<Record> = LazyLock::new(|| record(2));

/// Counts down behind each instruction; at zero it records, and lets the thread run on unwatched.
extern "C" fn on_trap(_signal: i32, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let left = COUNTDOWN.get();
    COUNTDOWN.set(left.wrapping_sub(1));
    if left != 0 {
        return;
    }
    if let Some(ring) = RING.get() {
        ring.record(&INTERRUPTING);
    }
    let context: *mut libc::ucontext_t = context.cast();
    // SAFETY: the kernel passes the context of the thread that it stopped, and nobody else looks at it now.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    registers[libc::REG_EFL as usize] &= !TRAP_FLAG;
}

fn install() {
    // SAFETY: a structure of numbers, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_trap as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler touches thread locals without destructors and the ring; nothing else in this process traps.
    let installed =
        unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()) };
    assert_eq!(installed, 0);
}

/// Makes one record that is interrupted behind the `instruction`-th instruction, and tells how many were left to go.
fn record_interrupted(ring: &'static AuditRing<'static, Global>, instruction: u32) -> u32 {
    RING.set(Some(ring));
    COUNTDOWN.set(instruction);
    set_trap_flag(true);
    ring.record(&INTERRUPTED);
    set_trap_flag(false);
    RING.set(None);
    COUNTDOWN.replace(0)
}

/// A ring for good: the handler may come at any time. They are kept where a search for leaks finds them.
fn ring(capacity: usize) -> &'static AuditRing<'static, Global> {
    static KEPT: Mutex<Vec<&AuditRing<'_, Global>>> = Mutex::new(Vec::new());
    let ring = Box::leak(Box::new(AuditRing::new_in(capacity, Global).unwrap()));
    KEPT.lock().unwrap().push(ring);
    ring
}

fn set_trap_flag(on: bool) {
    let (set, keep) = if on { (TRAP_FLAG, !0) } else { (0, !TRAP_FLAG) };
    // SAFETY: it changes the trap flag alone, for which there is a handler; the stack is as before.
    unsafe {
        asm!("pushfq", "and [rsp], {keep}", "or [rsp], {set}", "popfq", keep = in(reg) keep, set = in(reg) set)
    };
}

/// More instructions than a record has.
const NEVER: u32 = u32::MAX / 2;

#[test]
fn a_record_that_is_interrupted_anywhere_is_read_or_counted_as_missed() {
    LazyLock::force(&INTERRUPTED);
    LazyLock::force(&INTERRUPTING);
    install();
    let instructions = NEVER - record_interrupted(ring(1), NEVER);
    assert!(instructions > 50, "the flag stops nothing");
    // A debug build has too many; there the stores are also further apart.
    let step = if cfg!(debug_assertions) { instructions / 50 } else { 1 };
    for instruction in (0..instructions).step_by(step as usize) {
        for capacity in [1, 2] {
            let ring = ring(capacity);
            record_interrupted(ring, instruction);
            let mut reader = ring.reader();
            let read: Vec<_> = reader.by_ref().map(|entry| entry.record).collect();
            let missed = reader.missed();
            let what = format!(
                "{read:?} and {missed} missed of {} in {capacity}, {instruction}",
                ring.written()
            );
            assert!(
                read.iter().all(|record| [*INTERRUPTED, *INTERRUPTING].contains(record)),
                "torn: {what}"
            );
            assert_eq!(read.len() as u64 + missed, ring.written(), "{what}");
            assert!(capacity == 1 || missed == 0, "there was room for both: {what}");
        }
    }
}
