//! Runs a body under a supervisor.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

use netbind::NetBind;
use netbind::enforce::{Answered, Supervised, Supervisor};

use super::harness::End;
pub(crate) use super::harness::{fork, wait};

/// A supervised child process, and its supervisor, which is this process.
pub(crate) struct Pair<'c> {
    pub(crate) supervisor: Supervisor<'c>,
    pub(crate) child: libc::pid_t,
}

impl<'c> Pair<'c> {
    /// Forks. The child enters and runs `body`, and exits with its number, or 255 for a panic.
    pub(crate) fn start(
        capability: &'c NetBind<'c>,
        configure: impl FnOnce(Supervisor<'c>) -> Supervisor<'c>,
        body: impl FnOnce() -> i32,
    ) -> Self {
        let (supervisor, supervised) = Supervisor::new(capability).expect("a supervisor");
        let own_end = supervisor.descriptor().unwrap().as_raw_fd();
        let child = fork(move || {
            // As by `exec`, which the cases do without.
            // SAFETY: this process does not use its copy of the supervisor.
            unsafe { libc::close(own_end) };
            supervised.enter().expect("the child enters");
            drop::<Supervised>(supervised);
            // Also as after `exec`.
            // SAFETY: the call takes only numbers.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
            body()
        });
        Self { supervisor: configure(supervisor), child }
    }

    /// Answers until no supervised process is left. Returns how the child ended and the answers.
    pub(crate) fn finish(mut self) -> (End, Vec<Answered>) {
        let mut answers = Vec::new();
        while let Some(answered) = self.supervisor.step().expect("a step") {
            answers.push(answered);
        }
        (wait(self.child), answers)
    }
}

/// Runs `body` in a supervised child. Returns how it ended, and the answers.
pub(crate) fn supervised(
    capability: &NetBind<'_>,
    body: impl FnOnce() -> i32,
) -> (End, Vec<Answered>) {
    Pair::start(capability, |supervisor| supervisor, body).finish()
}
