//! The events of a context and of its ancestors end the wait.

use std::time::Duration;

use netbind::error::SocketOption;
use netbind::{CancelEvent, Context, MonotonicClock, SocketError};

use super::{LIMIT, V4, accept_asleep, assert_cancelled, client_of, open};
use crate::listen::talk;
use crate::support::memory::global_requests;
use crate::support::thread::isolated;

/// Calls `body` with a child of `parent` that has all of these events, one for each context of the
/// chain.
fn with_events<T>(
    parent: &Context<'_>,
    events: &[CancelEvent],
    body: &mut dyn FnMut(&Context<'_>) -> T,
) -> T {
    match events.split_first() {
        Some((event, rest)) => with_events(&parent.child().with_cancel_event(event), rest, body),
        None => body(parent),
    }
}

#[test]
fn each_of_eight_events_in_a_chain_ends_the_wait() {
    isolated(|| {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        for cancelled in 0..8 {
            let events = [(); 8].map(|()| CancelEvent::new().unwrap());
            let limit = Context::new(&clock).with_timeout(LIMIT);
            with_events(&limit, &events, &mut |context| {
                let cancel = |_| events[cancelled].cancel();
                assert_cancelled(accept_asleep(&listener, context, cancel).0, context, &limit);
            });
        }
    });
}

#[test]
fn a_chain_of_eight_events_accepts_a_client() {
    isolated(|| {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        let events = [(); 8].map(|()| CancelEvent::new().unwrap());
        let limit = Context::new(&clock).with_timeout(LIMIT);
        with_events(&limit, &events, &mut |context| {
            let (accepted, mut client) =
                accept_asleep(&listener, context, |_| client_of(&listener, None));
            talk(&mut client, accepted.unwrap().0);
        });
    });
}

/// The crate never uses a global allocator.
#[test]
fn a_wait_for_eight_events_allocates_nothing() {
    isolated(|| {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        let events = [(); 8].map(|()| CancelEvent::new().unwrap());
        let limit = Context::new(&clock).with_timeout(Duration::from_millis(5));
        with_events(&limit, &events, &mut |context| {
            let before = global_requests();
            let accepted = listener.accept_with_context(context);
            assert_eq!(global_requests(), before);
            assert_eq!(accepted.map(drop), Err(SocketError::Timeout));
        });
    });
}

#[test]
fn nine_events_in_a_chain_are_refused() {
    isolated(|| {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        let events = [(); 9].map(|()| CancelEvent::new().unwrap());
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let refused = Err(SocketError::InvalidOption(SocketOption::CancelEvent));
        with_events(&limit, &events, &mut |context| {
            assert_eq!(listener.accept_with_context(context).map(drop), refused);
        });
        // A replaced event does not count.
        let spare = CancelEvent::new().unwrap();
        with_events(&limit, &events[..7], &mut |context| {
            let context = context.child().with_cancel_event(&spare).with_cancel_event(&events[8]);
            let cancel = |_| events[8].cancel();
            assert_cancelled(accept_asleep(&listener, &context, cancel).0, &context, &limit);
        });
    });
}

/// Otherwise the mistake shows only when the server is idle.
#[test]
fn nine_events_in_a_chain_are_refused_even_if_a_client_is_waiting() {
    isolated(|| {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        let events = [(); 9].map(|()| CancelEvent::new().unwrap());
        let _client = client_of(&listener, None);
        with_events(&Context::new(&clock), &events, &mut |context| {
            assert_eq!(
                listener.accept_with_context(context).map(drop),
                Err(SocketError::InvalidOption(SocketOption::CancelEvent))
            );
        });
    });
}

#[test]
fn a_parents_event_ends_the_waits_of_its_children_and_no_others() {
    isolated(|| {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        let [parents, own] = [(); 2].map(|()| CancelEvent::new().unwrap());
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let parent = limit.child().with_cancel_event(&parents);
        let child = parent.child().with_cancel_event(&own);

        assert_cancelled(accept_asleep(&listener, &child, |_| own.cancel()).0, &child, &limit);
        assert_eq!(parent.cause(), None, "a child's event does not stop its parent");
        let (accepted, mut client) =
            accept_asleep(&listener, &parent, |_| client_of(&listener, None));
        talk(&mut client, accepted.unwrap().0);

        let sibling = parent.child();
        let grandchild = sibling.child();
        let (accepted, ()) = accept_asleep(&listener, &grandchild, |_| parents.cancel());
        assert_cancelled(accepted, &grandchild, &limit);
        for context in [&parent, &child, &sibling] {
            assert_cancelled(listener.accept_with_context(context), context, &limit);
        }
    });
}
