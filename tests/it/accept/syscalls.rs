//! The exact system calls of a wait. Each check of a context polls each of its events once.

use std::sync::Mutex;
use std::time::Duration;

use allocator_api2::alloc::Global;
use netbind::time::{Clock, Instant};
use netbind::{CancelEvent, CancelFlag, Context, ListenOptions, MonotonicClock, SocketError};

use super::{LIMIT, V4, client_of, open};
use crate::support::calls::Call;
use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::supervisor::{supervised, traced, watched};

const ACCEPT: &str = "accept4(3, SOCK_CLOEXEC)";

#[test]
fn a_waiting_client_is_accepted_by_one_call() {
    let ((), calls) = traced(|| {
        let (clock, flag) = (ScriptedClock::expires_at(2), CancelFlag::new());
        let listener = open(V4);
        let _client = client_of(&listener, None);
        let context = Context::new(&clock).with_deadline(DEADLINE).with_cancel(&flag);
        let _connection = watched(|| listener.accept_with_context(&context)).unwrap();
    });
    assert_eq!(calls, [ACCEPT]);
}

#[test]
fn an_event_adds_one_poll_to_an_accept() {
    let ((), calls) = traced(|| {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        let _client = client_of(&listener, None);
        let stop = CancelEvent::new().unwrap();
        let context = Context::new(&clock).with_cancel_event(&stop);
        let _connection = watched(|| listener.accept_with_context(&context)).unwrap();
    });
    assert_eq!(calls, ["ppoll([5], 0ns)", ACCEPT]);
}

/// The clock shows one nanosecond before the deadline, and the shortest wait is a millisecond.
#[test]
fn an_expiring_wait_makes_two_calls() {
    let ((), calls) = traced(|| {
        let (clock, listener) = (ScriptedClock::expires_at(3), open(V4));
        let context = Context::new(&clock).with_deadline(DEADLINE);
        let accepted = watched(|| listener.accept_with_context(&context));
        assert_eq!(accepted.map(drop), Err(SocketError::Timeout));
        assert_eq!(clock.readings(), 3, "two checks and the computation of the wait");
    });
    assert_eq!(calls, [ACCEPT, "ppoll([3], 1ms)"]);
}

/// The client connects while the thread is about to wait. The events are those of the context, its
/// parent and its grandparent; the parent has none.
#[test]
fn a_client_that_comes_during_the_wait_is_accepted_after_another_check() {
    let connect = Mutex::new(None);
    let fault = |call: &Call| {
        let is_wait = call.to_string().starts_with("ppoll([3");
        if let Some(address) = connect.lock().unwrap().take_if(|_| is_wait) {
            // The connection stays in the queue when the client has gone.
            drop(std::net::TcpStream::connect(address).unwrap());
        }
        None
    };
    let ((), calls) = supervised(fault, || {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        *connect.lock().unwrap() = listener.local_address().unwrap().to_socket_addr();
        let [above, own] = [(); 2].map(|()| CancelEvent::new().unwrap());
        let grandparent = Context::new(&clock).with_cancel_event(&above);
        let parent = grandparent.child();
        let context = parent.child().with_cancel_event(&own);
        let _connection = watched(|| listener.accept_with_context(&context)).unwrap();
    });
    let check = ["ppoll([5], 0ns)", "ppoll([4], 0ns)", ACCEPT];
    assert_eq!(calls, [&check[..], &["ppoll([3, 5, 4], NULL)"], &check[..]].concat());
}

/// A clock that always shows this time.
struct Fixed(u64);

impl Clock for Fixed {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0)
    }
}

#[test]
fn the_wait_is_the_time_to_the_deadline_and_at_least_a_millisecond() {
    for (now, deadline, wait) in [
        (0, Some(1), "1ms"),
        (0, Some(999_999), "1ms"),
        (0, Some(1_000_000), "1ms"),
        (0, Some(1_000_001), "1.000001ms"),
        (500, Some(2_500_000_500), "2.5s"),
        (0, Some(999_999_999), "999.999999ms"),
        (0, Some(60_000_000_000), "60s"),
        (u64::MAX - 1, Some(u64::MAX), "1ms"),
        (0, Some(u64::MAX), "18446744073.709551615s"),
        (7, None, "NULL"),
    ] {
        let flag = CancelFlag::new();
        // The wait returns at once, as if it had ended.
        let fault = |call: &Call| {
            let is_wait = call.to_string().starts_with("ppoll(");
            if is_wait {
                flag.cancel();
            }
            is_wait.then_some(0)
        };
        let ((), calls) = supervised(fault, || {
            let (clock, listener) = (Fixed(now), open(V4));
            let mut context = Context::new(&clock).with_cancel(&flag);
            if let Some(deadline) = deadline {
                context = context.with_deadline(Instant::from_nanos(deadline));
            }
            let accepted = watched(|| listener.accept_with_context(&context));
            assert_eq!(accepted.map(drop), Err(SocketError::Timeout));
        });
        assert_eq!(calls, [ACCEPT, &format!("ppoll([3], {wait})")], "{now} of {deadline:?}");
    }
}

/// It sleeps in the kernel all the time.
#[test]
fn a_wait_of_a_second_makes_a_handful_of_calls() {
    let ((), calls) = traced(|| {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        let stop = CancelEvent::new().unwrap();
        let context = Context::new(&clock).with_cancel_event(&stop);
        let context = context.child().with_timeout(Duration::from_secs(1));
        let accepted = watched(|| listener.accept_with_context(&context));
        assert_eq!(accepted.map(drop), Err(SocketError::Timeout));
    });
    assert!(calls.len() <= 6, "{calls:?}");
}

#[test]
fn a_stopped_context_or_a_blocking_listener_makes_no_call() {
    let ((), calls) = traced(|| {
        let (clock, flag) = (MonotonicClock::new(), CancelFlag::new());
        flag.cancel();
        // A set flag saves the poll of the event.
        let stop = CancelEvent::new().unwrap();
        let cancelled = Context::new(&clock).with_cancel(&flag).with_cancel_event(&stop);
        let expired = Context::new(&clock).with_timeout(Duration::ZERO);
        let (listener, blocking) = (open(V4), ListenOptions::new().listen(V4, Global).unwrap());
        for context in [&cancelled, &cancelled.child(), &expired] {
            let accepted = watched(|| listener.accept_with_context(context));
            assert_eq!(accepted.map(drop), Err(SocketError::Timeout));
        }
        let _client = client_of(&blocking, None);
        let running = Context::new(&clock).with_timeout(LIMIT).with_cancel_event(&stop);
        assert!(watched(|| blocking.accept_with_context(&running)).is_err());
    });
    assert_eq!(calls, [""; 0]);
}
