//! The lock of a directory in which a Unix socket is replaced.

use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, flock};
use rustix::io;

use super::descriptor::borrow;
use super::errno::system_error;
use super::wait::wait;
use crate::context::{Cause, Context};
use crate::error::{Errno, SocketError, Step};

type Result<T> = core::result::Result<T, SocketError>;

/// The time between two attempts to lock the directory, in nanoseconds.
const LOCK_PAUSE: u64 = 10_000_000;
/// The number of attempts without a deadline: they take a second.
const LOCK_ATTEMPTS: usize = 100;

/// The lock of a directory: `flock`.
pub(super) struct Lock<'d>(&'d OwnedFd);

impl<'d> Lock<'d> {
    /// Waits for the lock until the deadline of the context, or for a second if there is none.
    pub(super) fn new(directory: &'d OwnedFd, context: Option<&Context<'_>>) -> Result<Self> {
        let has_deadline = context.is_some_and(|context| context.deadline().is_some());
        let mut attempts = 0;
        loop {
            match flock(borrow(directory), FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(directory)),
                Err(io::Errno::AGAIN | io::Errno::INTR) => {}
                Err(errno) => return Err(system_error(Step::Lock)(errno)),
            }
            attempts += 1;
            match context.and_then(Context::cause) {
                None if has_deadline || attempts < LOCK_ATTEMPTS => {}
                Some(Cause::Cancelled) => return Err(SocketError::Timeout),
                _ => return Err(SocketError::system(Step::Bind, Errno::ADDRINUSE)),
            }
            wait(None, context, Some(LOCK_PAUSE))?;
        }
    }
}

impl Drop for Lock<'_> {
    /// Unlocks. Closing the directory is not enough if another thread has forked meanwhile.
    fn drop(&mut self) {
        let _ = flock(borrow(self.0), FlockOperation::Unlock);
    }
}
