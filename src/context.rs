//! Contexts: a deadline and a cancellation flag that stop an operation.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use crate::clock::{Clock, Instant};
use crate::error::SocketError;

/// A flag that stops every operation under a [`Context`] that has it.
///
/// Another thread, a signal handler or an interrupt sets it. Setting it is one atomic store, which
/// is async-signal-safe. It cannot be cleared.
///
/// ```
/// use netbind::CancelFlag;
///
/// static STOP: CancelFlag = CancelFlag::new();
///
/// assert!(!STOP.is_cancelled());
/// STOP.cancel();
/// assert!(STOP.is_cancelled());
/// ```
#[derive(Debug, Default)]
pub struct CancelFlag(AtomicBool);

impl CancelFlag {
    /// Makes a flag that is not set.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Sets the flag.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Returns true if the flag is set.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A cancellation that an operation can wait for.
pub(crate) trait Event: Sync {
    fn is_cancelled(&self) -> bool;

    /// Returns the descriptor that becomes readable with the cancellation. The event owns it.
    fn descriptor(&self) -> core::ffi::c_int;
}

/// The reason why a context stops an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// A cancellation flag of the context or of one of its ancestors is set, or an event is
    /// cancelled.
    Cancelled,
    /// The clock has reached the deadline.
    DeadlineExceeded,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline exceeded",
        })
    }
}

/// A clock, an optional deadline and an optional cancellation flag.
///
/// A [`child`](Self::child) has its parent's clock and can only be stricter: its deadline is the
/// earlier of the two, and every flag of an ancestor stops it. A context cannot be copied or
/// changed through a reference, so code that is given a reference can only derive children. Nothing
/// is allocated.
///
/// ```
/// use core::time::Duration;
/// use netbind::context::Cause;
/// use netbind::{CancelFlag, Context, MonotonicClock};
///
/// let clock = MonotonicClock::new();
/// let stop = CancelFlag::new();
/// let service = Context::new(&clock).with_cancel(&stop);
/// let opening = service.child().with_timeout(Duration::from_secs(5));
/// assert_eq!(opening.cause(), None);
///
/// stop.cancel();
/// assert_eq!(opening.cause(), Some(Cause::Cancelled));
/// ```
pub struct Context<'a> {
    clock: &'a dyn Clock,
    /// The earliest deadline of this context and its ancestors.
    deadline: Option<Instant>,
    flag: Option<&'a CancelFlag>,
    event: Option<&'a dyn Event>,
    parent: Option<&'a Context<'a>>,
}

impl<'a> Context<'a> {
    /// Makes a context without a deadline and without a flag.
    #[must_use]
    pub const fn new(clock: &'a dyn Clock) -> Self {
        Self { clock, deadline: None, flag: None, event: None, parent: None }
    }

    /// Makes a context that is stopped by everything that stops this one.
    ///
    /// ```
    /// # use netbind::{Context, MonotonicClock, time::Instant};
    /// # let clock = MonotonicClock::new();
    /// let parent = Context::new(&clock).with_deadline(Instant::from_nanos(7));
    /// let child = parent.child().with_deadline(Instant::from_nanos(9));
    /// assert_eq!(child.deadline(), Some(Instant::from_nanos(7)));
    /// ```
    #[must_use]
    pub const fn child(&'a self) -> Self {
        let Self { clock, deadline, .. } = *self;
        Self { clock, deadline, flag: None, event: None, parent: Some(self) }
    }

    /// Sets the deadline, a point on this context's clock. An earlier deadline stays in force.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netbind::time::Clock;
    /// use netbind::{Context, MonotonicClock};
    ///
    /// let clock = MonotonicClock::new();
    /// let end = clock.now() + Duration::from_secs(5);
    /// assert_eq!(Context::new(&clock).with_deadline(end).deadline(), Some(end));
    /// ```
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        let earliest = self.deadline.map_or(deadline, |earlier| earlier.min(deadline));
        self.deadline = Some(earliest);
        self
    }

    /// Sets the deadline to `timeout` from now. It reads the clock once.
    ///
    /// A timeout of zero has expired at once.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        let deadline = self.clock.now() + timeout;
        self.with_deadline(deadline)
    }

    /// Sets the cancellation flag of this context, replacing its own earlier one.
    ///
    /// Flags of ancestors stay in force. To have two flags, give the second to a
    /// [`child`](Self::child).
    ///
    /// ```
    /// # use netbind::{CancelFlag, Context, MonotonicClock, context::Cause};
    /// # let clock = MonotonicClock::new();
    /// let (all, one) = (CancelFlag::new(), CancelFlag::new());
    /// let service = Context::new(&clock).with_cancel(&all);
    /// let connection = service.child().with_cancel(&one);
    /// one.cancel();
    /// assert_eq!((service.cause(), connection.cause()), (None, Some(Cause::Cancelled)));
    /// ```
    #[must_use]
    pub const fn with_cancel(mut self, flag: &'a CancelFlag) -> Self {
        self.flag = Some(flag);
        self
    }

    /// Sets the event of this context, see `with_cancel_event`.
    pub(crate) const fn with_event(mut self, event: &'a dyn Event) -> Self {
        self.event = Some(event);
        self
    }

    /// Returns the clock.
    #[must_use]
    pub const fn clock(&self) -> &'a dyn Clock {
        self.clock
    }

    /// Returns the deadline in force: the earliest of this context and its ancestors.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the reason why this context stops an operation, if it does.
    ///
    /// Flags and events come first. The clock is read at most once, and only if there is a deadline
    /// and nothing is cancelled. A deadline has expired when the clock has reached it.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        if self.is_cancelled() {
            return Some(Cause::Cancelled);
        }
        let expired = self.deadline.is_some_and(|deadline| self.clock.now() >= deadline);
        expired.then_some(Cause::DeadlineExceeded)
    }

    /// Returns true if a flag or an event of this context or of an ancestor stops it.
    fn is_cancelled(&self) -> bool {
        self.with_ancestors().any(|context| {
            context.flag.is_some_and(CancelFlag::is_cancelled)
                || context.event.is_some_and(Event::is_cancelled)
        })
    }

    /// Returns the events of this context and its ancestors.
    pub(crate) fn events(&self) -> impl Iterator<Item = &dyn Event> {
        self.with_ancestors().filter_map(|context| context.event)
    }

    /// Returns this context, its parent, and so on.
    fn with_ancestors(&self) -> impl Iterator<Item = &Context<'_>> {
        core::iter::successors(Some(self), |context| context.parent)
    }

    /// Returns an error if the context is cancelled or expired.
    ///
    /// # Errors
    ///
    /// [`SocketError::Timeout`]; [`cause`](Self::cause) returns the cause at the time of that
    /// call.
    pub fn check(&self) -> Result<(), SocketError> {
        self.cause().map_or(Ok(()), |_| Err(SocketError::Timeout))
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("deadline", &self.deadline)
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
