//! What can stop an operation: a deadline and a cancellation flag.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use crate::error::SocketError;
use crate::time::{Clock, Instant};

/// A flag that another thread, a signal handler or an interrupt raises to stop what runs under a [`Context`].
///
/// It is never lowered again. Raising it is one atomic store: async-signal-safe.
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
    /// A flag that is not raised.
    ///
    /// ```
    /// assert!(!netbind::CancelFlag::new().is_cancelled());
    /// ```
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Raises the flag.
    ///
    /// ```
    /// use netbind::CancelFlag;
    ///
    /// let stop = CancelFlag::new();
    /// std::thread::scope(|scope| scope.spawn(|| stop.cancel()).join().unwrap());
    /// assert!(stop.is_cancelled());
    /// ```
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the flag is raised.
    ///
    /// ```
    /// # let stop = netbind::CancelFlag::new();
    /// let mut served = 0;
    /// while !stop.is_cancelled() {
    ///     served += 1; // one connection
    ///     stop.cancel(); // by a signal, say
    /// }
    /// assert_eq!(served, 1);
    /// ```
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Why a context stops what runs under it.
///
/// ```
/// use netbind::{Cause, Context, Instant, MonotonicClock};
///
/// let clock = MonotonicClock::new();
/// let late = Context::new(&clock).with_deadline(Instant::from_nanos(0));
/// assert_eq!(late.cause(), Some(Cause::DeadlineExceeded));
/// assert_eq!(Cause::DeadlineExceeded.to_string(), "deadline exceeded");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A cancellation flag of the context, or of one above it, is raised.
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

/// A clock, an optional deadline and an optional cancellation flag. It needs no allocation.
///
/// A [`child`](Self::child) has its parent's clock and can only be stricter: its deadline is the earlier of the two, and a
/// flag above it stops it as its own does. A context cannot be copied, so whoever is handed a reference can derive from it
/// but not loosen it.
///
/// ```
/// use core::time::Duration;
/// use netbind::{CancelFlag, Cause, Context, MonotonicClock};
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
    deadline: Option<Instant>,
    parent: Option<&'a Context<'a>>,
    /// Its own, or [`NEVER`].
    flag: &'a CancelFlag,
    // A check compares the time of `timer` with `end`, whatever the context is; so it is the same two questions for all, and
    // what they mean is decided where the context is made.
    timer: &'a dyn Clock,
    end: Instant,
}

/// The flag of a context that was given none.
static NEVER: CancelFlag = CancelFlag::new();

/// The timer of a context whose clock is not to be read.
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Instant {
        Instant::from_nanos(0)
    }
}

impl<'a> Context<'a> {
    /// A context that nothing stops yet. Of a clock that is a `static`, it can be one too.
    ///
    /// ```
    /// # use netbind::{Context, MonotonicClock};
    /// let clock = MonotonicClock::new();
    /// let context = Context::new(&clock);
    /// assert_eq!((context.deadline(), context.cause()), (None, None));
    /// ```
    #[must_use]
    pub const fn new(clock: &'a dyn Clock) -> Self {
        // The timer never reaches the end.
        Self { clock, deadline: None, parent: None, flag: &NEVER, timer: &Stopped, end: Instant::FAR_FUTURE }
    }

    /// A context that is as strict as this one, to be made stricter.
    ///
    /// ```
    /// # use netbind::{Context, Instant, MonotonicClock};
    /// # let clock = MonotonicClock::new();
    /// let parent = Context::new(&clock).with_deadline(Instant::from_nanos(7));
    /// let child = parent.child().with_deadline(Instant::from_nanos(9));
    /// assert_eq!(child.deadline(), Some(Instant::from_nanos(7)));
    /// ```
    #[must_use]
    pub fn child(&'a self) -> Self {
        // The timer has reached the end, so that every check looks closer: at the contexts above.
        let end = Instant::from_nanos(0);
        Self { clock: self.clock, deadline: self.deadline, parent: Some(self), flag: &NEVER, timer: &Stopped, end }
    }

    /// Sets the deadline, a point on this context's clock. The earlier one stays where there is one already.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netbind::{Clock, Context, MonotonicClock};
    ///
    /// let clock = MonotonicClock::new();
    /// let end = clock.now() + Duration::from_secs(5);
    /// assert_eq!(Context::new(&clock).with_deadline(end).deadline(), Some(end));
    /// ```
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        let deadline = self.deadline.map_or(deadline, |earlier| earlier.min(deadline));
        self.deadline = Some(deadline);
        if self.parent.is_none() {
            (self.timer, self.end) = (self.clock, deadline);
        }
        self
    }

    /// Sets the deadline `timeout` from the clock's time, which is read once. A timeout of zero has expired at once.
    ///
    /// ```
    /// use core::time::Duration;
    /// use netbind::{Context, MonotonicClock, SocketError};
    ///
    /// let clock = MonotonicClock::new();
    /// assert_eq!(Context::new(&clock).with_timeout(Duration::from_secs(3600)).check(), Ok(()));
    /// assert_eq!(Context::new(&clock).with_timeout(Duration::ZERO).check(), Err(SocketError::Timeout));
    /// ```
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        let deadline = self.clock.now() + timeout;
        self.with_deadline(deadline)
    }

    /// Adds a cancellation flag, in the place of this context's own; flags of contexts above it stay. For two flags, add the
    /// second to a [`child`](Self::child).
    ///
    /// ```
    /// # use netbind::{CancelFlag, Cause, Context, MonotonicClock};
    /// # let clock = MonotonicClock::new();
    /// let (all, one) = (CancelFlag::new(), CancelFlag::new());
    /// let service = Context::new(&clock).with_cancel(&all);
    /// let connection = service.child().with_cancel(&one);
    /// one.cancel();
    /// assert_eq!((service.cause(), connection.cause()), (None, Some(Cause::Cancelled)));
    /// ```
    #[must_use]
    pub const fn with_cancel(mut self, flag: &'a CancelFlag) -> Self {
        self.flag = flag;
        self
    }

    /// The clock.
    ///
    /// ```
    /// # use netbind::{Clock, Context, MonotonicClock};
    /// let clock = MonotonicClock::new();
    /// let context = Context::new(&clock);
    /// assert!(clock.now() <= context.clock().now());
    /// ```
    #[must_use]
    pub const fn clock(&self) -> &'a dyn Clock {
        self.clock
    }

    /// The deadline in force: the earliest of this context and those above it.
    ///
    /// ```
    /// # use netbind::{Context, Instant, MonotonicClock};
    /// # let clock = MonotonicClock::new();
    /// let parent = Context::new(&clock).with_deadline(Instant::from_nanos(7));
    /// assert_eq!(parent.child().deadline(), parent.deadline());
    /// ```
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What stops this context, if anything does. A raised flag is told first; the clock is read at most once, and only
    /// where there is a deadline. A deadline has expired when the clock has reached it.
    ///
    /// ```
    /// # use netbind::{CancelFlag, Cause, Context, Instant, MonotonicClock};
    /// # let clock = MonotonicClock::new();
    /// let stop = CancelFlag::new();
    /// let context = Context::new(&clock).with_cancel(&stop).with_deadline(Instant::from_nanos(0));
    /// assert_eq!(context.cause(), Some(Cause::DeadlineExceeded));
    /// stop.cancel();
    /// assert_eq!(context.cause(), Some(Cause::Cancelled));
    /// ```
    #[must_use]
    #[inline]
    pub fn cause(&self) -> Option<Cause> {
        if self.is_cancelled() {
            Some(Cause::Cancelled)
        } else if self.is_expired() {
            Some(Cause::DeadlineExceeded)
        } else {
            None
        }
    }

    /// Goes on, or not.
    ///
    /// # Errors
    ///
    /// [`SocketError::Timeout`] where [`cause`](Self::cause) has something to tell.
    ///
    /// ```
    /// # use netbind::{CancelFlag, Context, MonotonicClock, SocketError};
    /// # let clock = MonotonicClock::new();
    /// let stop = CancelFlag::new();
    /// let context = Context::new(&clock).with_cancel(&stop);
    /// assert_eq!(context.check(), Ok(()));
    /// stop.cancel();
    /// assert_eq!(context.check(), Err(SocketError::Timeout));
    /// ```
    #[inline]
    pub fn check(&self) -> Result<(), SocketError> {
        if self.flag.is_cancelled() || self.timer.now() >= self.end { self.look_closer() } else { Ok(()) }
    }

    /// Without a context above, what the check has seen is what stops; with one, nothing was decided.
    #[inline(never)]
    fn look_closer(&self) -> Result<(), SocketError> {
        let is_stopped = self.parent.is_none() || self.cause().is_some();
        if is_stopped { Err(SocketError::Timeout) } else { Ok(()) }
    }

    #[inline]
    fn is_expired(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.clock.now() >= deadline)
    }

    #[inline]
    fn is_cancelled(&self) -> bool {
        let mut context = self;
        loop {
            if context.flag.is_cancelled() {
                return true;
            }
            let Some(parent) = context.parent else { return false };
            context = parent;
        }
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("deadline", &self.deadline)
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
