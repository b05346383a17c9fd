//! Runs a body under a supervisor.
#![allow(unsafe_code)]

use std::os::fd::AsRawFd;

use netbind::NetBind;
use netbind::enforce::{Answered, Supervised, Supervisor};

use super::harness::End;

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

/// Forks. The child runs `body` and exits with its number, or 255 for a panic. The process must have
/// one thread.
pub(crate) fn fork(body: impl FnOnce() -> i32) -> libc::pid_t {
    use std::io::Write;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    let _ = std::io::stdout().flush();
    // SAFETY: the process has one thread, so the child can go on in every way.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1, "fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: the call takes only a number. A child that hangs is ended.
        unsafe { libc::alarm(60) };
        let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(255);
        let _ = std::io::stdout().flush();
        // SAFETY: the call does not return. It skips what runs at the end of the whole test.
        unsafe { libc::_exit(code) };
    }
    child
}

/// Waits for the end of a child.
pub(crate) fn wait(child: libc::pid_t) -> End {
    let mut status = 0;
    // SAFETY: the call writes one `int`.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {}
    if libc::WIFSIGNALED(status) {
        End::Killed(libc::WTERMSIG(status))
    } else {
        End::Exited(libc::WEXITSTATUS(status))
    }
}
