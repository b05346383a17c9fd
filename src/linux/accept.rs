//! Accepting under a context.

use allocator_api2::alloc::Allocator;
use rustix::fd::{AsFd, OwnedFd};

use super::listener::Listener;
use super::wait::{check_events, wait};
use crate::address::BindAddress;
use crate::context::Context;
use crate::error::{Errno, SocketError, SocketOption};

impl<A: Allocator> Listener<A> {
    /// Accepts like [`accept`](Self::accept), and waits for a client until the context stops it.
    ///
    /// The listener must be [`nonblocking`](crate::ListenOptions::nonblocking): another thread can
    /// take the client after the wait, and then `accept4` on a blocking descriptor waits without a
    /// limit.
    ///
    /// Calls `accept4`. If no client is waiting, it calls `ppoll` of the listener and of the events
    /// of the context, and tries again. It sleeps in the kernel until a client comes, an event is
    /// cancelled or the deadline is reached. The wait is computed from the clock of the context,
    /// and is at least a millisecond. A signal interrupts `ppoll`; the context is checked, and
    /// the wait continues.
    ///
    /// A [`CancelFlag`](crate::CancelFlag) does not end the wait. It is noticed at the next
    /// wake-up, such as by a signal in this thread. To cancel from another thread, use a
    /// [`CancelEvent`](crate::CancelEvent). A flag that a signal handler sets directly before the
    /// wait is not noticed either.
    ///
    /// Several threads can wait on one listener. If another one takes the client, the wait goes on.
    ///
    /// # Errors
    ///
    /// - [`SocketError::Timeout`] if the context is cancelled or expired, even if a client is
    ///   waiting.
    /// - [`SocketError::InvalidOption`] with [`SocketOption::Nonblocking`] if the listener is
    ///   blocking, and with [`SocketOption::CancelEvent`] if the context and its ancestors have
    ///   more than eight events.
    /// - [`SocketError::System`] with [`Step::Accept`](crate::error::Step::Accept) and `EINVAL` if
    ///   the socket was shut down.
    /// - [`SocketError::System`] with the errno of `accept4` or `ppoll`. `ECONNABORTED` and the
    ///   network errors of a single connection are skipped; `EPERM`, `EMFILE` and other errors of
    ///   [`is_exhausted`](SocketError::is_exhausted) are returned, and the caller must pause before
    ///   the next call.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netbind::{Context, ListenOptions, MonotonicClock, SocketError};
    ///
    /// # let memory = bumpalo::Bump::new();
    /// let listener = ListenOptions::new().nonblocking(true).listen("127.0.0.1:0", &memory)?;
    /// let clock = MonotonicClock::new();
    /// let context = Context::new(&clock).with_timeout(Duration::from_millis(5));
    /// let error = listener.accept_with_context(&context).unwrap_err();
    /// assert_eq!(error, SocketError::Timeout);
    /// # Ok::<(), SocketError>(())
    /// ```
    pub fn accept_with_context(
        &self,
        context: &Context<'_>,
    ) -> Result<(OwnedFd, Option<BindAddress>), SocketError> {
        if !self.is_nonblocking() {
            return Err(SocketError::InvalidOption(SocketOption::Nonblocking));
        }
        check_events(context)?;
        loop {
            context.check()?;
            match self.accept() {
                Err(error) if error.is_would_block() => {
                    wait(Some(self.as_fd()), Some(context), None)?;
                }
                Err(error) if error.is_interrupted() || is_of_one_connection(error) => {}
                result => return result,
            }
        }
    }
}

/// Returns true if the next call of accept can succeed at once.
fn is_of_one_connection(error: SocketError) -> bool {
    error.is_connection_lost() && error.errno() != Some(Errno::PERM)
}
