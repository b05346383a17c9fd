use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io;

use super::descriptor::borrow;
use super::errno::system_error;
use crate::context::{Context, Event};
use crate::error::{SocketError, Step};

/// A cancellation that wakes
/// [`Listener::accept_with_context`](crate::Listener::accept_with_context) from its wait: an
/// [eventfd(2)](https://man7.org/linux/man-pages/man2/eventfd.2.html).
///
/// It is cancelled when the eventfd is readable. So a forked child that inherits the descriptor can
/// cancel too, and an event loop can wait for it. It stays cancelled, unless its descriptor is
/// read.
///
/// Each check of a context with an event makes one `ppoll`, and an event that cannot be polled
/// counts as cancelled. A [`CancelFlag`](crate::CancelFlag) costs no system call, but does not wake
/// anything.
///
/// ```
/// use netbind::{CancelEvent, Context, ListenOptions, MonotonicClock, SocketError};
///
/// # let memory = bumpalo::Bump::new();
/// let clock = MonotonicClock::new();
/// let stop = CancelEvent::new()?;
/// let listener = ListenOptions::new().nonblocking(true).listen("127.0.0.1:0", &memory)?;
///
/// let context = Context::new(&clock).with_cancel_event(&stop);
/// std::thread::scope(|scope| {
///     scope.spawn(|| stop.cancel());
///     let error = listener.accept_with_context(&context).unwrap_err();
///     assert_eq!(error, SocketError::Timeout);
/// });
/// # Ok::<(), SocketError>(())
/// ```
#[derive(Debug)]
pub struct CancelEvent(OwnedFd);

impl CancelEvent {
    /// Makes an event that is not cancelled: `eventfd2(0, EFD_CLOEXEC|EFD_NONBLOCK)`.
    ///
    /// # Errors
    ///
    /// [`SocketError::System`] with [`Step::CancelEvent`]: `EMFILE`, `ENFILE`, `ENOMEM` or
    /// `ENODEV`.
    pub fn new() -> Result<Self, SocketError> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        made.map(Self).map_err(system_error(Step::CancelEvent))
    }

    /// Cancels: one `write`, which is async-signal-safe.
    pub fn cancel(&self) {
        // The counter can be full, and then the event is cancelled already.
        let _ = io::write(borrow(&self.0), &1_u64.to_ne_bytes());
    }

    /// Returns true if the event is cancelled: one `ppoll`.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut event = [PollFd::from_borrowed_fd(borrow(&self.0), PollFlags::IN)];
        loop {
            match poll(&mut event, Some(&NO_WAIT)) {
                // A signal can interrupt the call, although it does not wait.
                Err(io::Errno::INTR) => {}
                result => return result != Ok(0),
            }
        }
    }
}

impl Event for CancelEvent {
    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for CancelEvent {
    /// Borrows the eventfd, to wait until it is readable.
    fn as_fd(&self) -> BorrowedFd<'_> {
        borrow(&self.0)
    }
}

impl<'a> Context<'a> {
    /// Sets the cancellation event of this context, replacing its own earlier one.
    ///
    /// Events of ancestors stay in force. To have two events, give the second to a
    /// [`child`](Self::child). A chain of contexts has at most eight of them.
    #[must_use]
    pub const fn with_cancel_event(self, event: &'a CancelEvent) -> Self {
        self.with_event(event)
    }
}
