//! The system calls of a clock. The look-up finds the vDSO, and then a reading makes no call.
//!
//! Forced faults hide the vDSO and refuse the clock, as a sandbox can.
#![allow(unsafe_code)]

use netbind::time::{Clock, CoarseClock, Instant};
use netbind::{Context, MonotonicClock, SocketError, listen_with_context};

use crate::support::calls::{Call, PR_GET_AUXV};
use crate::support::machine::skip;
use crate::support::memory::Arena;
use crate::support::supervisor::{supervised, traced, watched};

const PRCTL: &str = "prctl(PR_GET_AUXV)";
const OPENAT: &str = "openat(/proc/self/auxv)";
const MINCORE: &str = "mincore(4096)";
const FINE: &str = "clock_gettime(CLOCK_MONOTONIC)";
const COARSE: &str = "clock_gettime(CLOCK_MONOTONIC_COARSE)";

/// Returns a function that fails every call whose text begins with one of `calls`.
fn fail(calls: &'static [&'static str]) -> impl FnMut(&Call) -> Option<i32> {
    move |call| {
        let text = call.to_string();
        calls.iter().any(|start| text.starts_with(start)).then_some(libc::EPERM)
    }
}

/// Returns the calls of a look-up, and those of two readings of each clock, under these faults.
fn calls_with_faults(faults: &'static [&'static str]) -> (Vec<String>, Vec<String>) {
    let look_up = supervised(fail(faults), || watched(MonotonicClock::new)).1;
    let mut calls = supervised(fail(faults), || {
        let fine = watched(MonotonicClock::new);
        let coarse = CoarseClock::from(fine);
        watched(|| [fine.now(), fine.now(), coarse.now(), coarse.now()]);
    })
    .1;
    let readings = calls.split_off(look_up.len());
    assert_eq!(calls, look_up);
    (look_up, readings)
}

/// Returns true if the kernel has `PR_GET_AUXV`, since Linux 6.4.
fn has_pr_get_auxv() -> bool {
    let mut vector = [0_usize; 128];
    // SAFETY: the kernel writes at most this number of bytes to the vector, which outlives the
    // call.
    let length = unsafe {
        libc::prctl(PR_GET_AUXV, vector.as_mut_ptr(), size_of_val(&vector), 0_usize, 0_usize)
    };
    length > 0
}

/// Returns true if std reads the clock without a system call.
fn has_vdso_clock() -> bool {
    traced(|| watched(std::time::Instant::now)).1.is_empty()
}

#[test]
fn a_clock_makes_two_calls_once_and_none_for_a_reading() {
    if !has_pr_get_auxv() {
        return skip("PR_GET_AUXV, because the kernel does not have it");
    }
    if !has_vdso_clock() {
        return skip("the vDSO, because it has no clock here");
    }
    let (look_up, readings) = calls_with_faults(&[]);
    assert_eq!(look_up, [PRCTL, MINCORE]);
    assert_eq!(readings, [""; 0]);
    assert_eq!(traced(|| watched(CoarseClock::new)).1, look_up);
    assert_eq!(traced(|| watched(|| CoarseClock::from(MonotonicClock::new()))).1, look_up);
}

#[test]
fn a_clock_reads_the_auxiliary_vector_from_proc_if_prctl_fails() {
    if !has_vdso_clock() {
        return skip("the vDSO, because it has no clock here");
    }
    let (look_up, readings) = calls_with_faults(&["prctl("]);
    assert_eq!(look_up, [PRCTL, OPENAT, "read(3)", "close(3)", MINCORE]);
    assert_eq!(readings, [""; 0]);
}

#[test]
fn a_clock_without_its_vdso_makes_one_call_for_each_reading() {
    #[rustfmt::skip]
    let rows: [(&[&str], &[&str]); 3] = [
        (&["prctl(", "openat("], &[PRCTL, OPENAT]),
        (&["prctl(", "read("], &[PRCTL, OPENAT, "read(3)", "close(3)"]),
        (&["prctl(", "mincore("], &[PRCTL, OPENAT, "read(3)", "close(3)", MINCORE]),
    ];
    for (faults, calls) in rows {
        let (look_up, readings) = calls_with_faults(faults);
        assert_eq!(look_up, calls, "{faults:?}");
        assert_eq!(readings, [FINE, FINE, COARSE, COARSE], "{faults:?}");
    }
}

/// valgrind unmaps the vDSO. The look-up must not read its memory then.
#[test]
fn a_vdso_that_is_not_mapped_is_not_used() {
    if !has_pr_get_auxv() {
        return skip("PR_GET_AUXV, because the kernel does not have it");
    }
    let (look_up, readings) = calls_with_faults(&["mincore("]);
    assert_eq!(look_up, [PRCTL, MINCORE]);
    assert_eq!(readings, [FINE, FINE, COARSE, COARSE]);
}

#[test]
fn a_deadline_has_expired_if_the_kernel_refuses_the_clock() {
    let refused = fail(&["prctl(", "openat(", "clock_gettime("]);
    let ((), calls) = supervised(refused, || {
        let (fine, coarse) = watched(|| (MonotonicClock::new(), CoarseClock::new()));
        let clocks: [&dyn Clock; 2] = [&fine, &coarse];
        for clock in clocks {
            assert_eq!(watched(|| clock.now()), Instant::FAR_FUTURE);
            let context = Context::new(clock).with_deadline(Instant::FAR_FUTURE);
            let arena = Arena::new();
            let opened = watched(|| listen_with_context("127.0.0.1:0", &context, &arena).map(drop));
            assert_eq!(opened, Err(SocketError::Timeout));
        }
    });
    assert_eq!(calls, [PRCTL, OPENAT, PRCTL, OPENAT, FINE, FINE, COARSE, COARSE]);
}
