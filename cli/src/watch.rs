//! The program as a child: its signals, its stops and its end.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitOptions, WaitStatus, getpgid, getpgrp, wait};

use crate::report::report;
use crate::signals::{self, Received, Signals};

/// The state of the thread that handles signals.
pub(crate) struct Watch<'s> {
    signals: &'s Signals,
    program: Pid,
    /// The exit status, as soon as the program has ended.
    status: Option<u8>,
    /// It is called before the tool ends although processes are still supervised.
    on_abandon: &'s (dyn Fn() + Sync),
}

impl<'s> Watch<'s> {
    pub(crate) const fn new(
        signals: &'s Signals,
        program: Pid,
        on_abandon: &'s (dyn Fn() + Sync),
    ) -> Self {
        Self { signals, program, status: None, on_abandon }
    }

    /// Forwards and reaps until the program has ended, and `supervision` is closed. If it has
    /// `failed`, every bind fails from then on, so the program gets `SIGTERM`.
    pub(crate) fn run(mut self, supervision: BorrowedFd<'_>, failed: &AtomicBool) -> u8 {
        let mut is_supervised = true;
        loop {
            let mut polled = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
            if is_supervised {
                polled.push(PollFd::from_borrowed_fd(supervision, PollFlags::IN));
            }
            // It fails only if the kernel has no memory, and is then repeated.
            let _ = retry_on_intr(|| poll(&mut polled, None));
            self.take_signals();
            if polled.get(1).is_some_and(|end| !end.revents().is_empty()) {
                is_supervised = false;
                if failed.load(Ordering::Acquire) && self.status.is_none() {
                    self.forward(libc::SIGTERM);
                }
            }
            if let (Some(status), false) = (self.status, is_supervised) {
                return status;
            }
        }
    }

    fn take_signals(&mut self) {
        while let Some(received) = self.signals.next() {
            match received {
                Received::Child => self.reap(),
                Received::FromTerminal(_) if self.is_in_own_group() => {}
                Received::FromTerminal(signal) | Received::Sent(signal) => self.forward(signal),
            }
        }
    }

    /// Returns true if a signal of the terminal has reached the program too.
    fn is_in_own_group(&self) -> bool {
        self.status.is_none() && getpgid(Some(self.program)).is_ok_and(|group| group == getpgrp())
    }

    /// Sends a signal to the program. If the program has ended, but processes that it started have
    /// not, the tool ends: it does not know their ids.
    fn forward(&self, signal: i32) {
        if self.status.is_none() {
            if let Err(error) = signals::send(self.program, signal) {
                report(&format!("signal {signal} did not reach the program: {error}"));
            }
        } else if signals::is_deadly(signal) {
            (self.on_abandon)();
            std::process::exit(by_signal(signal).into());
        }
    }

    /// Takes the ends and stops of all children. Process 1 has children that it did not start.
    fn reap(&mut self) {
        while let Ok(Some((child, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if child != self.program {
                continue;
            }
            if status.stopping_signal().is_some_and(signals::stops_job) {
                signals::stop_self();
            }
            self.status = self.status.or(exit_status(status));
        }
    }
}

/// Returns the exit status of a process that has ended.
fn exit_status(status: WaitStatus) -> Option<u8> {
    let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
    code.or(status.terminating_signal().map(by_signal))
}

/// Returns the exit status for a program that a signal has ended: 128 plus the signal.
fn by_signal(signal: i32) -> u8 {
    u8::try_from(signal).map_or(u8::MAX, |signal| signal.saturating_add(128))
}
