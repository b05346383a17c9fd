//! Signals that go to the program.

use std::io;
use std::mem;

use rustix::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// The signals that the tool takes and forwards.
const FORWARDED: [i32; 9] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
    libc::SIGCONT,
    libc::SIGTSTP,
];

/// The size of `struct signalfd_siginfo`.
const INFO: usize = 128;

/// A set of signals. A copy restores the mask in the child.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

/// Takes the signals of the tool from a descriptor, instead of being interrupted by them.
pub(crate) struct Signals {
    descriptor: OwnedFd,
    original: Mask,
}

/// A signal that was sent to the tool.
pub(crate) enum Received {
    /// A child has ended or stopped.
    Child,
    /// A process has sent it to the tool.
    Sent(i32),
    /// The terminal has sent it to the whole process group.
    FromTerminal(i32),
}

impl Mask {
    fn of(signals: impl IntoIterator<Item = i32>) -> Self {
        // SAFETY: the set is an array of numbers, and without signals it is zero.
        #[allow(unsafe_code)]
        let mut set: libc::sigset_t = unsafe { mem::zeroed() };
        for signal in signals {
            // SAFETY: it changes the set, which is valid.
            #[allow(unsafe_code)]
            unsafe {
                libc::sigaddset(&raw mut set, signal)
            };
        }
        Self(set)
    }

    /// Sets the mask of this thread, and returns the mask that it had.
    pub(crate) fn set(&self) -> io::Result<Self> {
        let mut before = Self::of([]);
        // SAFETY: both sets are valid for the call.
        #[allow(unsafe_code)]
        let error = unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, &raw mut before.0)
        };
        if error == 0 { Ok(before) } else { Err(io::Error::from_raw_os_error(error)) }
    }
}

impl Signals {
    /// Blocks the signals, and opens the descriptor.
    pub(crate) fn block() -> io::Result<Self> {
        // If it was ignored, the kernel would not tell how children end.
        // SAFETY: the default action needs no handler.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(libc::SIGCHLD, libc::SIG_DFL)
        };
        let mask = Mask::of(FORWARDED.into_iter().chain([libc::SIGCHLD]));
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is valid for the call.
        #[allow(unsafe_code)]
        let descriptor = unsafe { libc::signalfd(-1, &raw const mask.0, flags) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call has returned a new descriptor.
        #[allow(unsafe_code)]
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { descriptor, original: mask.set()? })
    }

    /// Returns the mask from before, which the program gets.
    pub(crate) const fn original_mask(&self) -> Mask {
        self.original
    }

    /// Returns the next signal, if there is one.
    pub(crate) fn next(&self) -> Option<Received> {
        let mut info = [0; INFO];
        let length = rustix::io::read(&self.descriptor, &mut info).ok()?;
        if length < INFO {
            return None;
        }
        let [s0, s1, s2, s3, _, _, _, _, c0, c1, c2, c3, ..] = info;
        let signal = i32::from_ne_bytes([s0, s1, s2, s3]);
        let code = i32::from_ne_bytes([c0, c1, c2, c3]);
        Some(match signal {
            libc::SIGCHLD => Received::Child,
            signal if code == libc::SI_KERNEL => Received::FromTerminal(signal),
            signal => Received::Sent(signal),
        })
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// Sends a signal to a process.
pub(crate) fn send(to: Pid, signal: i32) -> io::Result<()> {
    let signal = Signal::from_named_raw(signal).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(kill_process(to, signal)?)
}

/// Stops the tool, because the program has stopped: the shell waits for that.
pub(crate) fn stop_self() {
    let _ = kill_process(getpid(), Signal::STOP);
}

/// Returns true for the signals by which a terminal stops a job.
pub(crate) const fn stops_job(signal: i32) -> bool {
    matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU)
}

/// Returns true for the forwarded signals that end a program by default.
pub(crate) const fn is_deadly(signal: i32) -> bool {
    matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)
}
