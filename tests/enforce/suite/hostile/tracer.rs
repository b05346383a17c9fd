//! Faults of any system call of another process, by `ptrace`.
#![allow(unsafe_code)]

use libc::{c_long, pid_t};

use crate::suite::harness::{await_condition, skip};
use crate::suite::probe::check;
use crate::suite::supervised::fork;

/// What happens at the call whose number is reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The call is not made, and returns this.
    Answer(c_long),
    /// The first child of the process is killed before the call is made.
    KillChild,
    /// The call becomes another one, with the same arguments.
    Become(c_long),
}

/// Calls that do not fail in practice, those of [`mark`], and `fcntl`, by which `OwnedFd` checks
/// itself.
const IGNORED: &[c_long] = &[
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_umask,
    libc::SYS_getpid,
    libc::SYS_kill,
    libc::SYS_exit_group,
];

/// Ends a part of a traced process: faults are made between the first mark and the second one.
pub(super) fn mark() {
    let own = std::process::id().cast_signed();
    // SAFETY: the call takes only numbers.
    unsafe { libc::kill(own, libc::SIGSTOP) };
}

// C libraries differ in the type of these.
const CONT: i32 = 7;
const DETACH: i32 = 17;
const SYSCALL: i32 = 24;
const SET_OPTIONS: i32 = 0x4200;

fn request(request: i32, process: pid_t, address: usize, data: usize) -> c_long {
    // SAFETY: the callers pass numbers, or memory that outlives the call.
    let answer = unsafe { libc::ptrace(request as _, process, address, data) };
    check(answer).expect("ptrace")
}

/// Forks a process that is traced by this one. It waits for [`run`] at its first mark.
pub(super) fn start(body: impl FnOnce() -> i32) -> Option<pid_t> {
    let process = fork(|| {
        // SAFETY: the call takes only numbers.
        if unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } == -1 {
            return 254;
        }
        mark();
        body()
    });
    if !libc::WIFSTOPPED(stop(process)) {
        skip("faults, because a process may not be traced");
        return None;
    }
    let options = libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL;
    request(SET_OPTIONS, process, 0, options as usize);
    Some(process)
}

/// Waits for the next stop or the end.
fn stop(process: pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the call writes one `int`.
    while unsafe { libc::waitpid(process, &raw mut status, 0) } == -1 {}
    status
}

/// Goes on until the next mark or the end. Returns the signal at which it stops, and the status.
fn go_on(how: i32, process: pid_t, signal: i32) -> (i32, i32) {
    request(how, process, 0, signal as usize);
    let status = stop(process);
    (if libc::WIFSTOPPED(status) { libc::WSTOPSIG(status) } else { 0 }, status)
}

/// Lets the process run up to its second mark, with a fault at one of its calls, and then without
/// the tracer. Returns the numbers of the calls. If it ended before, its status is second.
pub(super) fn run(process: pid_t, index: usize, fault: Fault) -> (Vec<c_long>, Option<i32>) {
    const CALL: i32 = libc::SIGTRAP | 0x80;
    let mut signal = 0;
    loop {
        let status;
        (signal, status) = go_on(CONT, process, signal);
        match signal {
            libc::SIGSTOP => break,
            0 => return (Vec::new(), Some(status)),
            _ => {}
        }
    }
    let (mut calls, mut enters, mut answer) = (Vec::new(), true, None);
    signal = 0;
    loop {
        let status;
        (signal, status) = go_on(SYSCALL, process, signal);
        match signal {
            0 => return (calls, Some(status)),
            libc::SIGSTOP => break,
            CALL => signal = 0,
            _ => continue,
        }
        if enters {
            let number = registers::number(process);
            if !IGNORED.contains(&number) {
                if calls.len() == index {
                    answer = meet(process, fault);
                }
                calls.push(number);
            }
        } else if let Some(answer) = answer.take() {
            registers::set_answer(process, answer);
        }
        enters = !enters;
    }
    request(DETACH, process, 0, 0);
    (calls, None)
}

fn meet(process: pid_t, fault: Fault) -> Option<c_long> {
    match fault {
        Fault::Answer(answer) => {
            registers::set_number(process, -1);
            return Some(answer);
        }
        Fault::Become(number) => registers::set_number(process, number),
        Fault::KillChild => {
            let path = format!("/proc/{process}/task/{process}/children");
            let children = std::fs::read_to_string(path).unwrap_or_default();
            let first = children.split(' ').next().and_then(|child| child.parse().ok());
            let child: pid_t = first.expect("a child");
            // SAFETY: the call takes only numbers.
            unsafe { libc::kill(child, libc::SIGKILL) };
            // Until it runs, it still waits for its answer.
            let stat = || std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
            await_condition("the end of the child", || stat().contains(") Z "));
        }
    }
    None
}

/// The registers of a traced process at a call.
#[cfg(target_arch = "x86_64")]
mod registers {
    use super::{c_long, pid_t, request};

    const POKE_USER: i32 = 6;
    const NUMBER: usize = 8 * libc::ORIG_RAX as usize;
    const ANSWER: usize = 8 * libc::RAX as usize;

    pub(super) fn number(process: pid_t) -> c_long {
        // SAFETY: the call takes only numbers. It returns a register, which can be -1.
        unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, process, NUMBER, 0) }
    }

    pub(super) fn set_number(process: pid_t, number: c_long) {
        request(POKE_USER, process, NUMBER, number as usize);
    }

    pub(super) fn set_answer(process: pid_t, answer: c_long) {
        request(POKE_USER, process, ANSWER, answer as usize);
    }
}

#[cfg(target_arch = "aarch64")]
mod registers {
    use super::{c_long, pid_t, request};

    const GET_SET: i32 = 0x4204;
    const SET_SET: i32 = 0x4205;
    const GENERAL: usize = 1; // NT_PRSTATUS
    const SYSTEM_CALL: usize = 0x404; // NT_ARM_SYSTEM_CALL

    fn transfer<T>(how: i32, process: pid_t, set: usize, value: &mut T) {
        let mut span = [(&raw mut *value).expose_provenance(), size_of::<T>()];
        request(how, process, set, span.as_mut_ptr().expose_provenance());
    }

    pub(super) fn number(process: pid_t) -> c_long {
        let mut number = 0_i32;
        transfer(GET_SET, process, SYSTEM_CALL, &mut number);
        number.into()
    }

    pub(super) fn set_number(process: pid_t, number: c_long) {
        transfer(SET_SET, process, SYSTEM_CALL, &mut (number as i32));
    }

    pub(super) fn set_answer(process: pid_t, answer: c_long) {
        let mut all = [0_u64; 34]; // x0 to x30, sp, pc, pstate
        transfer(GET_SET, process, GENERAL, &mut all);
        all[0] = answer as u64;
        transfer(SET_SET, process, GENERAL, &mut all);
    }
}
