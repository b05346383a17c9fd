//! Forked processes.
#![allow(unsafe_code)]

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, waitpid};

/// A child process, which is killed at the end.
pub(super) struct Child(Pid);

impl Child {
    /// Forks. The child runs `body` and ends; its status is 1 if `body` panics.
    ///
    /// Only for isolated threads: the child has copies of all descriptors of this thread, and the
    /// other threads do not exist there.
    pub(super) fn new(body: impl FnOnce()) -> Self {
        // SAFETY: the child allocates, which glibc supports after a fork, and does not return.
        let child = unsafe { libc::fork() };
        assert_ne!(child, -1, "fork: {}", std::io::Error::last_os_error());
        if let Some(child) = Pid::from_raw(child) {
            return Self(child);
        }
        // SAFETY: the call takes only numbers. The child ends with the thread of the test.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        let ended = catch_unwind(AssertUnwindSafe(body));
        if let Err(panic) = &ended {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            let _ = std::io::stderr().write_all(format!("in a child: {text}\n").as_bytes());
        }
        // SAFETY: the call takes only a number, and does not return.
        unsafe { libc::_exit(ended.is_err().into()) }
    }

    pub(super) const fn id(&self) -> Pid {
        self.0
    }

    /// Kills the child. It cannot do anything any more when this returns.
    pub(super) fn kill(self) {
        drop(self);
    }

    /// Waits for the end of the child, and asserts that its body has not panicked.
    pub(super) fn join(self) {
        let (_, status) = waitpid(Some(self.0), WaitOptions::empty()).unwrap().unwrap();
        std::mem::forget(self);
        assert_eq!(status.exit_status(), Some(0), "the child failed: {status:?}");
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
        let _: Result<Option<(Pid, WaitStatus)>, _> = waitpid(Some(self.0), WaitOptions::empty());
    }
}
