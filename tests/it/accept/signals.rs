//! Signals during the wait. A handler can cancel, and a signal that cancels nothing has no effect.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use netbind::{CancelEvent, CancelFlag, Context, MonotonicClock};

use super::{Acceptor, LIMIT, V4, accept_and, accept_asleep, assert_cancelled, client_of, open};
use crate::listen::talk;
use crate::support::thread::isolated;

/// No other module uses this signal.
const SIGNAL: libc::c_int = libc::SIGALRM;

/// What the handler does in one thread.
#[derive(Default)]
struct Reaction<'a> {
    handled: AtomicU32,
    event: Option<&'a CancelEvent>,
    flag: Option<&'a CancelFlag>,
}

thread_local! {
    static REACTION: Cell<*const Reaction<'static>> = const { Cell::new(std::ptr::null()) };
}

extern "C" fn on_signal(_signal: libc::c_int) {
    // SAFETY: `with_handler` borrows the value as long as the pointer is set.
    let Some(reaction) = (unsafe { REACTION.get().as_ref() }) else { return };
    if let Some(event) = reaction.event {
        event.cancel();
    }
    if let Some(flag) = reaction.flag {
        flag.cancel();
    }
    reaction.handled.fetch_add(1, Ordering::Release);
}

/// Runs `body`. The signal has this reaction in this thread until then.
fn with_handler<T>(reaction: &Reaction<'_>, body: impl FnOnce() -> T) -> T {
    // SAFETY: a structure of numbers can be zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    // A wait that a signal interrupts is not restarted, even with this flag.
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler uses a thread local without a destructor, atomics and `write`, and only
    // this module uses the signal.
    let installed = unsafe { libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut()) };
    assert_eq!(installed, 0);
    REACTION.set(std::ptr::from_ref(reaction).cast());
    let value = body();
    REACTION.set(std::ptr::null());
    value
}

impl Acceptor {
    fn signal(self) {
        // SAFETY: the thread waits for this one, so it exists.
        let sent = unsafe { libc::pthread_kill(self.handle, SIGNAL) };
        assert_eq!(sent, 0);
    }
}

#[test]
fn a_signal_handler_ends_the_wait_of_its_thread_by_an_event() {
    isolated(|| {
        let (clock, stop, listener) =
            (MonotonicClock::new(), CancelEvent::new().unwrap(), open(V4));
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let context = limit.child().with_cancel_event(&stop);
        let reaction = Reaction { event: Some(&stop), ..Reaction::default() };
        let (accepted, ()) =
            with_handler(&reaction, || accept_asleep(&listener, &context, Acceptor::signal));
        assert_cancelled(accepted, &context, &limit);
        assert_eq!(reaction.handled.into_inner(), 1);
    });
}

#[test]
fn a_signal_handler_ends_the_wait_of_another_thread_by_an_event() {
    isolated(|| {
        let (clock, stop, listener) =
            (MonotonicClock::new(), CancelEvent::new().unwrap(), open(V4));
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let context = limit.child().with_cancel_event(&stop);
        let reaction = Reaction { event: Some(&stop), ..Reaction::default() };
        let (accepted, ()) = accept_asleep(&listener, &context, |_| {
            with_handler(&reaction, || Acceptor::this_thread().signal());
        });
        assert_cancelled(accepted, &context, &limit);
        assert_eq!(reaction.handled.into_inner(), 1);
    });
}

/// The signal wakes the thread, and the context is checked then.
#[test]
fn a_flag_that_a_signal_handler_sets_is_noticed_when_the_signal_ends_the_wait() {
    isolated(|| {
        let (clock, flag, listener) = (MonotonicClock::new(), CancelFlag::new(), open(V4));
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let context = limit.child().with_cancel(&flag);
        let reaction = Reaction { flag: Some(&flag), ..Reaction::default() };
        let (accepted, ()) =
            with_handler(&reaction, || accept_asleep(&listener, &context, Acceptor::signal));
        assert_cancelled(accepted, &context, &limit);
    });
}

const SIGNALS: u32 = 5_000;

/// Sends signals, each when the one before was handled. On a slow machine it sends fewer. Returns
/// their number.
fn storm(acceptor: Acceptor, reaction: &Reaction<'_>) -> u32 {
    let begin = Instant::now();
    for signal in 0..SIGNALS {
        if begin.elapsed() > LIMIT / 10 {
            return signal;
        }
        // So that the signals come at different points between two waits.
        for _ in 0..signal % 64 * 16 {
            std::hint::spin_loop();
        }
        acceptor.signal();
        while reaction.handled.load(Ordering::Acquire) <= signal {
            std::thread::yield_now();
        }
    }
    SIGNALS
}

/// Accepts during a storm, and asserts that a client is accepted after it.
fn assert_accepts_after_storm(context: &Context<'_>) {
    let (reaction, listener) = (Reaction::default(), open(V4));
    let (accepted, (signals, mut client)) = with_handler(&reaction, || {
        accept_and(&listener, context, |acceptor| {
            let signals = storm(acceptor, &reaction);
            acceptor.until_asleep();
            (signals, client_of(&listener, None))
        })
    });
    assert_eq!(reaction.handled.into_inner(), signals);
    talk(&mut client, accepted.unwrap().0);
}

#[test]
fn a_wait_goes_on_during_a_storm_of_signals() {
    isolated(|| {
        let (clock, flag) = (MonotonicClock::new(), CancelFlag::new());
        let context = Context::new(&clock).with_timeout(LIMIT).with_cancel(&flag);
        assert_accepts_after_storm(&context);
    });
}

/// A check of the context polls the event, and the signal can interrupt that call too.
#[test]
fn a_storm_of_signals_does_not_count_as_a_cancellation_by_an_event() {
    isolated(|| {
        let (clock, stop) = (MonotonicClock::new(), CancelEvent::new().unwrap());
        let context = Context::new(&clock).with_timeout(LIMIT).with_cancel_event(&stop);
        assert_accepts_after_storm(&context);
    });
}
