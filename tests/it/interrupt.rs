//! A signal handler records after each instruction of another record, one after the other.
//!
//! The processor's trap flag interrupts the thread after each instruction. So the writer is
//! interrupted before, between and after all of its stores, which a stress test can miss.
#![allow(unsafe_code)]

use std::arch::asm;
use std::cell::Cell;
use std::sync::{LazyLock, Mutex};

use allocator_api2::alloc::Global;
use netbind::audit::{AuditResult, AuditSink, Operation, Record};
use netbind::capability::CapabilityId;
use netbind::{AuditRing, BindAddress};

const TRAP_FLAG: i64 = 1 << 8;

thread_local! {
    /// The number of instructions before the handler records, and its ring.
    static COUNTDOWN: Cell<u32> = const { Cell::new(0) };
    static RING: Cell<Option<&'static AuditRing<'static, Global>>> = const { Cell::new(None) };
}

fn record(writer: &str, address: &'static BindAddress) -> Record<'static> {
    let id = CapabilityId::new(writer).unwrap();
    Record::new(id, Operation::BindSocket, address, AuditResult::Allowed)
}

static PORT: LazyLock<BindAddress> = LazyLock::new(|| "[fe80::1%7]:443".parse().unwrap());
static PATH: LazyLock<BindAddress> = LazyLock::new(|| "/run/interrupting.sock".parse().unwrap());
static INTERRUPTED: LazyLock<Record<'static>> = LazyLock::new(|| record("interrupted", &PORT));
static INTERRUPTING: LazyLock<Record<'static>> = LazyLock::new(|| record("interrupting", &PATH));

/// Counts down after each instruction. At zero it records and clears the trap flag.
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
    // SAFETY: the kernel passes the context of the interrupted thread, and nothing else uses it
    // now.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    registers[libc::REG_EFL as usize] &= !TRAP_FLAG;
}

fn install() {
    // SAFETY: a structure of numbers can be zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_trap as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler uses the ring and thread locals without destructors. Nothing else in this
    // process traps.
    let installed =
        unsafe { libc::sigaction(libc::SIGTRAP, &raw const action, std::ptr::null_mut()) };
    assert_eq!(installed, 0);
}

/// Makes one record that is interrupted after this instruction. Returns the rest of the countdown.
fn record_interrupted(ring: &'static AuditRing<'static, Global>, instruction: u32) -> u32 {
    RING.set(Some(ring));
    COUNTDOWN.set(instruction);
    set_trap_flag(true);
    ring.record(&INTERRUPTED);
    set_trap_flag(false);
    RING.set(None);
    COUNTDOWN.replace(0)
}

/// Makes a ring that is never dropped, because the handler can run at any time. The list keeps it
/// reachable, so that a leak checker does not report it.
fn ring(capacity: usize) -> &'static AuditRing<'static, Global> {
    static KEPT: Mutex<Vec<&AuditRing<'_, Global>>> = Mutex::new(Vec::new());
    let ring = Box::leak(Box::new(AuditRing::new_in(capacity, Global).unwrap()));
    KEPT.lock().unwrap().push(ring);
    ring
}

fn set_trap_flag(on: bool) {
    let (set, keep) = if on { (TRAP_FLAG, !0) } else { (0, !TRAP_FLAG) };
    // SAFETY: it changes only the trap flag, which has a handler, and restores the stack.
    unsafe {
        asm!(
            "pushfq",
            "and [rsp], {keep}",
            "or [rsp], {set}",
            "popfq",
            keep = in(reg) keep,
            set = in(reg) set,
        );
    };
}

/// More instructions than a record has.
const NEVER: u32 = u32::MAX / 2;

#[test]
fn a_record_interrupted_at_any_instruction_is_read_or_counted_as_missed() {
    LazyLock::force(&INTERRUPTED);
    LazyLock::force(&INTERRUPTING);
    install();
    let instructions = NEVER - record_interrupted(ring(1), NEVER);
    assert!(instructions > 50, "the trap flag has no effect");
    // A debug build has too many instructions to try them all.
    let step = if cfg!(debug_assertions) { instructions / 50 } else { 1 };
    for instruction in (0..instructions).step_by(step as usize) {
        for capacity in [1, 2] {
            let ring = ring(capacity);
            record_interrupted(ring, instruction);
            let mut reader = ring.reader();
            let read: Vec<_> = reader.by_ref().collect();
            let missed = reader.missed();
            let case = format!(
                "{read:?} and {missed} missed of {} in {capacity}, {instruction}",
                ring.written()
            );
            assert!(
                read.iter().all(|entry| [*INTERRUPTED, *INTERRUPTING].contains(&entry.record())),
                "a mixture of two records: {case}"
            );
            assert_eq!(read.len() as u64 + missed, ring.written(), "{case}");
            assert!(capacity == 1 || missed == 0, "the ring has room for both: {case}");
        }
    }
}
