//! The exact system calls of an event, and of an opening whose context has one.

use netbind::{CancelEvent, CancelFlag, Context, Listener, MonotonicClock, listen_with_context};

use crate::support::memory::Arena;
use crate::support::supervisor::{traced, watched};

#[test]
fn each_function_of_an_event_makes_one_call() {
    let ((), calls) = traced(|| {
        let event = watched(CancelEvent::new).unwrap();
        watched(|| {
            assert!(!event.is_cancelled());
            event.cancel();
            assert!(event.is_cancelled());
            event.cancel();
        });
        watched(|| drop(event));
    });
    assert_eq!(
        calls,
        [
            "eventfd2(0, EFD_CLOEXEC|EFD_NONBLOCK)",
            "ppoll([3], 0ns)",
            "write(3, 1)",
            "ppoll([3], 0ns)",
            "write(3, 1)",
            "close(3)",
        ]
    );
}

#[test]
fn each_check_of_an_opening_polls_the_event_once() {
    const CHECK: &str = "ppoll([3], 0ns)";
    let ((), calls) = traced(|| {
        let (clock, event, arena) =
            (MonotonicClock::new(), CancelEvent::new().unwrap(), Arena::new());
        let context = Context::new(&clock).with_cancel_event(&event);
        let open = || listen_with_context("127.0.0.1:0", &context, &arena).map(Listener::into_fd);
        let _socket = watched(open).unwrap();
        event.cancel();
        assert!(watched(open).is_err());
    });
    assert_eq!(
        calls,
        [
            CHECK,
            "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)",
            CHECK,
            "setsockopt(4, SO_REUSEADDR, 1)",
            CHECK,
            CHECK,
            "bind(4, 127.0.0.1:0)",
            CHECK,
            "listen(4, 2147483647)",
            // The second opening stops at its first check.
            CHECK,
        ]
    );
}

/// A flag costs no call, so a context checks it first.
#[test]
fn a_set_flag_saves_the_poll_of_the_events() {
    let ((), calls) = traced(|| {
        let (clock, flag) = (MonotonicClock::new(), CancelFlag::new());
        let [above, own] = [(); 2].map(|()| CancelEvent::new().unwrap());
        let parent = Context::new(&clock).with_cancel_event(&above);
        let context = parent.child().with_cancel_event(&own).with_cancel(&flag);
        watched(|| context.check()).unwrap();
        flag.cancel();
        watched(|| context.check()).unwrap_err();
    });
    assert_eq!(calls, ["ppoll([4], 0ns)", "ppoll([3], 0ns)"]);
}
