//! A supervisor that sees every system call of one thread before the kernel does it, notes it, and lets it go on or answers
//! it with an errno.
//!
//! It is a seccomp filter with user notification, on the thread alone, so the proof is the kernel's: a call that is not in
//! the list was not made. The filter cannot be taken off again; the thread ends with it.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicI64, Ordering};

use libc::{seccomp_notif, seccomp_notif_resp};

use super::calls::Call;
use super::kernel::answer;
use super::thread::in_isolation;

/// Where the thread of [`supervised`] has not installed its filter yet.
const PENDING: i64 = i64::MAX;

thread_local! {
    static FORCED: Cell<usize> = const { Cell::new(0) };
}

/// How many calls this thread's supervisors have made fail since it was asked last.
pub(crate) fn take_forced() -> usize {
    FORCED.take()
}

/// Lists the system calls that `body` makes within [`watched`], with their arguments.
pub(crate) fn traced<T: Send>(body: impl FnOnce() -> T + Send) -> (T, Vec<String>) {
    supervised(|_| None, body)
}

/// The same, and each call for which `fault` has an errno fails with it and is not made.
pub(crate) fn supervised<T: Send>(
    fault: impl FnMut(&Call) -> Option<i32>,
    body: impl FnOnce() -> T + Send,
) -> (T, Vec<String>) {
    let listener = AtomicI64::new(PENDING);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            listener.store(install(), Ordering::Release);
            in_isolation(body)
        });
        while listener.load(Ordering::Acquire) == PENDING {
            std::thread::yield_now();
        }
        let fd = RawFd::try_from(listener.load(Ordering::Acquire)).unwrap();
        assert!(fd >= 0, "no seccomp here: {}", io::Error::from_raw_os_error(-fd));
        // SAFETY: the kernel has just made this descriptor for the filter, and its thread has given it up to us.
        let calls = supervise(&unsafe { OwnedFd::from_raw_fd(fd) }, fault);
        (thread.join().unwrap_or_else(|panic| resume_unwind(panic)), calls)
    })
}

/// What `body` does is listed. The two marks are calls that nothing else in this binary makes.
pub(crate) fn watched<T>(body: impl FnOnce() -> T) -> T {
    mark();
    let value = body();
    mark();
    value
}

const MARK: libc::c_long = libc::SYS_getpgid;

fn mark() {
    // SAFETY: the call takes a number alone.
    unsafe { libc::syscall(MARK, 0) };
}

/// Puts the filter on this thread. The descriptor of its notifications, or minus the errno.
fn install() -> i64 {
    const fn statement(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    // `exit` needs nobody's leave, so the thread can end whatever becomes of the supervisor.
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_exit as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    ];
    let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: the call takes numbers alone.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the program has as many statements as it says, and outlives the call, which copies it.
    let made = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    answer(made).unwrap_or_else(|error| -i64::from(error.raw_os_error().unwrap_or(libc::EINVAL)))
}

/// Answers the thread's calls until it has ended.
fn supervise(listener: &OwnedFd, mut fault: impl FnMut(&Call) -> Option<i32>) -> Vec<String> {
    let mut calls = Vec::new();
    let mut watching = false;
    while let Some(notice) = next(listener) {
        let mut errno = None;
        if libc::c_long::from(notice.data.nr) == MARK {
            watching = !watching;
        } else if watching {
            let call = Call::new(notice.data.nr.into(), notice.data.args);
            if !call.is_stds_debug_check() {
                errno = fault(&call);
                FORCED.set(FORCED.get() + usize::from(errno.is_some()));
                calls.push(call.to_string());
            }
        }
        reply(listener, notice.id, errno);
    }
    calls
}

/// The next call that waits for an answer; `None` when the thread has ended.
fn next(listener: &OwnedFd) -> Option<seccomp_notif> {
    loop {
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: there is one entry, and it outlives the call.
        unsafe { libc::poll(&raw mut poll, 1, -1) };
        if poll.revents & libc::POLLIN == 0 {
            if poll.revents & libc::POLLHUP != 0 {
                return None;
            }
            continue;
        }
        let zero = libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
        let mut notice = seccomp_notif { id: 0, pid: 0, flags: 0, data: zero };
        // SAFETY: the structure is the one that this request fills, zeroed as it wants it.
        let got = unsafe {
            libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice)
        };
        if got == 0 {
            return Some(notice);
        }
    }
}

fn reply(listener: &OwnedFd, id: u64, errno: Option<i32>) {
    let go_on = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let flags = if errno.is_some() { 0 } else { go_on };
    let reply = seccomp_notif_resp { id, val: 0, error: -errno.unwrap_or(0), flags };
    // SAFETY: the structure is the one that this request takes. It fails only where the caller is gone.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const reply) };
}
