//! A supervisor that sees every system call of one thread before the kernel makes it. It lists the
//! call, and lets it continue or fails it with an errno.
//!
//! It is a seccomp filter with user notification, so a call that is not listed was not made. The
//! filter cannot be removed, so each use has a new thread.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI64, Ordering};

use libc::{seccomp_notif, seccomp_notif_resp};

use super::calls::Call;
use super::kernel::check_return;
use super::thread::{in_isolation, isolated, join, spawn};

/// The thread of [`supervised`] has not installed its filter yet.
const PENDING: i64 = i64::MAX;

thread_local! {
    static FORCED: Cell<usize> = const { Cell::new(0) };
}

/// Returns how many calls this thread's supervisors have failed since the last call.
pub(crate) fn take_forced() -> usize {
    FORCED.take()
}

/// Runs `body`, and lists the system calls that it makes within [`watched`], with their arguments.
pub(crate) fn traced<T: Send>(body: impl FnOnce() -> T + Send) -> (T, Vec<String>) {
    supervised(|_| None, body)
}

/// Does the same as [`traced`]. A call for which `fault` returns an errno fails with it, and is not
/// made. Both threads have their own descriptor table, so one test's descriptors do not count
/// against another's limit.
pub(crate) fn supervised<T: Send>(
    fault: impl FnMut(&Call) -> Option<i32> + Send,
    body: impl FnOnce() -> T + Send,
) -> (T, Vec<String>) {
    let (value, calls, forced) = isolated(|| {
        let (value, calls) = run(fault, body);
        (value, calls, take_forced())
    });
    FORCED.set(FORCED.get() + forced);
    (value, calls)
}

fn run<T: Send>(
    fault: impl FnMut(&Call) -> Option<i32>,
    body: impl FnOnce() -> T + Send,
) -> (T, Vec<String>) {
    let listener = AtomicI64::new(PENDING);
    std::thread::scope(|scope| {
        let thread = spawn(scope, || {
            listener.store(install(), Ordering::Release);
            in_isolation(body)
        });
        while listener.load(Ordering::Acquire) == PENDING {
            std::thread::yield_now();
        }
        let fd = RawFd::try_from(listener.load(Ordering::Acquire)).unwrap();
        assert!(fd >= 0, "seccomp failed: {}", io::Error::from_raw_os_error(-fd));
        // SAFETY: the kernel has just made this descriptor, and the other thread does not use it.
        let calls = supervise(&unsafe { OwnedFd::from_raw_fd(fd) }, fault);
        (join(thread), calls)
    })
}

/// Runs `body`, whose system calls are listed. Nothing else in this binary makes the call that
/// marks the beginning and the end.
pub(crate) fn watched<T>(body: impl FnOnce() -> T) -> T {
    mark();
    let value = body();
    mark();
    value
}

const MARK: libc::c_long = libc::SYS_getpgid;

fn mark() {
    // SAFETY: the call takes only a number.
    unsafe { libc::syscall(MARK, 0) };
}

/// Installs the filter on this thread. Returns the descriptor of its notifications, or minus the
/// errno.
fn install() -> i64 {
    const fn statement(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    // `exit` is always allowed, so the thread can end even without the supervisor.
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_exit as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_USER_NOTIF),
    ];
    let program = libc::sock_fprog { len: 4, filter: program.as_mut_ptr() };
    // SAFETY: the call takes only numbers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: the program has this number of statements and outlives the call, which copies it.
    let made = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    check_return(made)
        .unwrap_or_else(|error| -i64::from(error.raw_os_error().unwrap_or(libc::EINVAL)))
}

/// Answers the calls of the thread until it ends.
fn supervise(listener: &OwnedFd, mut fault: impl FnMut(&Call) -> Option<i32>) -> Vec<String> {
    let mut calls = Vec::new();
    let mut watching = false;
    while let Some(notice) = next(listener) {
        let mut errno = None;
        if libc::c_long::from(notice.data.nr) == MARK {
            watching = !watching;
        } else if watching {
            let call = Call::new(notice.data.nr.into(), notice.data.args);
            if !call.is_of_std() {
                errno = fault(&call);
                FORCED.set(FORCED.get() + usize::from(errno.is_some()));
                calls.push(call.to_string());
            }
        }
        reply(listener, notice.id, errno);
    }
    calls
}

/// Returns the next call that waits for an answer, or `None` when the thread has ended.
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
        // SAFETY: this request fills this structure, which must be zeroed.
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
    // SAFETY: this request takes this structure. It fails only if the thread has ended.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const reply) };
}
