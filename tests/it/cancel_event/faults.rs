//! The calls of an event fail, with the errnos of their man pages.

use netbind::context::Cause;
use netbind::error::{Errno, Step};
use netbind::{CancelEvent, Context, MonotonicClock, SocketError, listen_with_context};

use crate::support::calls::Call;
use crate::support::memory::Arena;
use crate::support::supervisor::{supervised, watched};
use crate::support::thread::descriptors;

/// Returns a function that fails each call whose text begins so.
fn fails(start: &'static str, errno: Errno) -> impl FnMut(&Call) -> Option<i32> {
    move |call| call.to_string().starts_with(start).then(|| errno.raw_os_error())
}

#[test]
fn an_event_that_the_kernel_refuses_is_an_error() {
    for errno in [
        Errno::INVAL,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NODEV,
        Errno::NOMEM,
        Errno::PERM,
        Errno::NOSYS,
    ] {
        let (error, calls) = supervised(fails("eventfd2(", errno), || {
            let before = descriptors();
            let error = watched(CancelEvent::new).map(drop).unwrap_err();
            assert_eq!(descriptors(), before);
            error
        });
        assert_eq!(error, SocketError::System { step: Step::CancelEvent, errno });
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert_eq!(error.to_string(), format!("eventfd failed: {errno}"));
    }
}

/// `EAGAIN` means that the counter is full, so the event is cancelled already.
#[test]
fn a_cancel_that_fails_returns_and_is_not_repeated() {
    for errno in [Errno::AGAIN, Errno::INVAL, Errno::IO] {
        let ((), calls) = supervised(fails("write(", errno), || {
            let event = CancelEvent::new().unwrap();
            watched(|| event.cancel());
            // The forced fault has left the counter at zero.
            assert!(!event.is_cancelled());
            event.cancel();
            assert!(event.is_cancelled());
        });
        assert_eq!(calls, ["write(3, 1)"]);
    }
}

#[test]
fn an_event_that_cannot_be_polled_counts_as_cancelled() {
    for errno in [Errno::FAULT, Errno::INVAL, Errno::NOMEM, Errno::PERM, Errno::NOSYS] {
        let ((), calls) = supervised(fails("ppoll(", errno), || {
            let (clock, event) = (MonotonicClock::new(), CancelEvent::new().unwrap());
            let parent = Context::new(&clock).with_cancel_event(&event);
            let (context, arena) = (parent.child(), Arena::new());
            assert!(watched(|| event.is_cancelled()), "{errno:?}");
            assert_eq!(watched(|| context.cause()), Some(Cause::Cancelled), "{errno:?}");
            assert_eq!(watched(|| context.check()), Err(SocketError::Timeout), "{errno:?}");
            let opened = watched(|| listen_with_context("127.0.0.1:0", &context, &arena).map(drop));
            assert_eq!(opened, Err(SocketError::Timeout), "{errno:?}");
            assert!(!event.is_cancelled() && context.cause().is_none(), "without the fault");
        });
        assert_eq!(calls, ["ppoll([3], 0ns)"; 4], "{errno:?}");
    }
}

/// The kernel returns `EINTR` for a poll without a wait too, when a signal comes during the call
/// and the descriptor is not readable.
#[test]
fn a_signal_during_the_poll_of_an_event_does_not_cancel_it() {
    let mut is_first = true;
    let interrupt = |call: &Call| {
        let is_poll = call.to_string().starts_with("ppoll(");
        (is_poll && std::mem::take(&mut is_first)).then_some(libc::EINTR)
    };
    let (is_cancelled, _) = supervised(interrupt, || {
        let event = CancelEvent::new().unwrap();
        watched(|| event.is_cancelled())
    });
    assert!(!is_cancelled);
}
