//! Each call of a wait fails in turn, with the errnos of its man page. Errors of one connection are
//! skipped, the others are returned, and the client stays in the queue.

use std::net::TcpStream;

use netbind::error::{Errno, Step};
use netbind::{CancelEvent, CancelFlag, Context, MonotonicClock, SocketError};

use super::{Accepted, LIMIT, V4, assert_cancelled, client_of, open};
use crate::support::calls::Call;
use crate::support::supervisor::{supervised, take_forced, watched};
use crate::support::thread::descriptors;

const ACCEPT: &str = "accept4(3, SOCK_CLOEXEC)";

/// The calls of the same name that fail, counted from 0, and their errno.
type Fault = (&'static str, std::ops::Range<usize>, Errno);

/// Returns a function that makes these calls fail.
fn fails(faults: &[Fault]) -> impl FnMut(&Call) -> Option<i32> {
    let mut faults: Vec<_> = faults.iter().map(|fault| (0, fault.clone())).collect();
    move |call| {
        let text = call.to_string();
        faults.iter_mut().find_map(|(seen, (start, failing, errno))| {
            let is_named = text.starts_with(*start);
            *seen += usize::from(is_named);
            (is_named && failing.contains(&(*seen - 1))).then(|| errno.raw_os_error())
        })
    }
}

/// Accepts a client that is waiting, with these faults, and asserts that no descriptor is lost.
///
/// If it fails, asserts that the client is still there. Returns the error and the calls.
fn accept_with_faults(
    faults: &[Fault],
    context: impl Fn(&mut dyn FnMut(&Context<'_>) -> Accepted) -> Accepted + Sync,
) -> (Option<SocketError>, Vec<String>) {
    supervised(fails(faults), || {
        let listener = open(V4);
        let client = TcpStream::from(std::os::fd::OwnedFd::from(client_of(&listener, None)));
        let before = descriptors();
        let accepted = context(&mut |context| {
            let before = descriptors();
            let accepted = watched(|| listener.accept_with_context(context));
            assert_eq!(descriptors().len(), before.len() + usize::from(accepted.is_ok()));
            accepted
        });
        let error = accepted.as_ref().err().copied();
        let (connection, peer) = accepted.or_else(|_| listener.accept()).unwrap();
        assert_eq!(peer.unwrap().to_socket_addr(), client.local_addr().ok());
        drop(connection);
        assert_eq!(descriptors(), before, "{faults:?}");
        error
    })
}

/// Accepts under a context with a deadline only.
fn under_deadline(accept: &mut dyn FnMut(&Context<'_>) -> Accepted) -> Accepted {
    let clock = MonotonicClock::new();
    accept(&Context::new(&clock).with_timeout(LIMIT))
}

/// Accepts under a context with a deadline and an event, which is never cancelled.
fn under_event(accept: &mut dyn FnMut(&Context<'_>) -> Accepted) -> Accepted {
    let (clock, stop) = (MonotonicClock::new(), CancelEvent::new().unwrap());
    accept(&Context::new(&clock).with_timeout(LIMIT).with_cancel_event(&stop))
}

const fn system_error(step: Step, errno: Errno) -> SocketError {
    SocketError::System { step, errno }
}

fn count(calls: &[String], start: &str) -> usize {
    calls.iter().filter(|call| call.starts_with(start)).count()
}

fn errno(number: i32) -> Errno {
    Errno::from_raw_os_error(number).unwrap()
}

#[test]
fn errors_of_one_connection_are_skipped_and_the_next_client_is_returned() {
    const SKIPPED: &[Errno] = &[
        Errno::CONNABORTED,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::TIMEDOUT,
        // It is of no connection, but the next call can succeed at once too.
        Errno::INTR,
    ];
    for &errno in SKIPPED {
        for times in [1, 20] {
            let faults = [("accept4(", 0..times, errno)];
            let (error, calls) = accept_with_faults(&faults, under_deadline);
            assert_eq!((error, calls), (None, vec![ACCEPT.to_owned(); times + 1]), "{errno:?}");
        }
        let (error, calls) = accept_with_faults(&[("accept4(", 0..1, errno)], under_event);
        assert_eq!((error, count(&calls, "accept4(")), (None, 2), "{errno:?}");
    }
    println!("{} faults forced on accepts that go on", take_forced());
}

#[test]
fn every_other_error_of_accept_is_returned_and_loses_no_client() {
    let returned = [
        Errno::PERM,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::INVAL,
        Errno::BADF,
        Errno::FAULT,
        Errno::NOTSOCK,
        Errno::SOCKTNOSUPPORT,
        Errno::PROTONOSUPPORT,
        errno(libc::ENOSR),
        // A sandbox can return these.
        Errno::ACCESS,
        Errno::NOSYS,
    ];
    for errno in returned {
        for context in [under_deadline, under_event] {
            let (error, calls) = accept_with_faults(&[("accept4(", 0..1, errno)], context);
            assert_eq!(error, Some(system_error(Step::Accept, errno)));
            assert_eq!(count(&calls, "accept4("), 1, "an accept was repeated: {calls:?}");
            assert_eq!(count(&calls, "ppoll([3"), 0, "{errno:?}: {calls:?}");
        }
    }
    println!("{} faults forced on accepts that return", take_forced());
}

/// As if another thread had taken the client after the wait.
#[test]
fn a_client_that_another_thread_takes_does_not_end_the_wait() {
    for times in [1, 20] {
        let faults = [("accept4(", 0..times, Errno::AGAIN)];
        let (error, calls) = accept_with_faults(&faults, under_deadline);
        assert_eq!((error, count(&calls, "accept4(")), (None, times + 1), "{calls:?}");
        assert_eq!(count(&calls, "ppoll([3], "), times, "each waits: {calls:?}");
    }
}

/// Connections that fail one after the other do not keep the context from stopping.
#[test]
fn the_context_is_checked_between_skipped_connections() {
    for errno in [Errno::CONNABORTED, Errno::INTR, Errno::AGAIN] {
        let (flag, mut left) = (CancelFlag::new(), 10);
        let fault = |call: &Call| {
            let fails = call.to_string().starts_with("accept4(");
            left -= i32::from(fails);
            if left == 0 {
                flag.cancel();
            }
            // In case that the flag has no effect.
            (fails && left > -10).then(|| errno.raw_os_error())
        };
        let (accepted, calls) = supervised(fault, || {
            let (clock, listener) = (MonotonicClock::new(), open(V4));
            let _client = client_of(&listener, None);
            let context = Context::new(&clock).with_timeout(LIMIT).with_cancel(&flag);
            watched(|| listener.accept_with_context(&context)).map(drop)
        });
        assert_eq!(accepted, Err(SocketError::Timeout), "{errno:?}: {calls:?}");
        assert_eq!(count(&calls, "accept4("), 10, "{errno:?}: {calls:?}");
    }
}

#[test]
fn a_wait_that_a_signal_interrupts_goes_on() {
    for times in [1, 20] {
        let wait: &[Fault] =
            &[("accept4(", 0..times, Errno::AGAIN), ("ppoll([3", 0..times, Errno::INTR)];
        for context in [under_deadline, under_event] {
            let (error, calls) = accept_with_faults(wait, context);
            assert_eq!((error, count(&calls, "ppoll([3")), (None, times), "{calls:?}");
            assert_eq!(count(&calls, "accept4("), times + 1, "{calls:?}");
        }
    }
}

#[test]
fn every_other_error_of_the_wait_is_returned_and_loses_no_client() {
    for errno in [Errno::NOMEM, Errno::INVAL, Errno::FAULT, Errno::PERM, Errno::NOSYS] {
        let wait: &[Fault] = &[("accept4(", 0..1, Errno::AGAIN), ("ppoll([3", 0..1, errno)];
        for context in [under_deadline, under_event] {
            let (error, calls) = accept_with_faults(wait, context);
            assert_eq!(error, Some(system_error(Step::Poll, errno)));
            assert_eq!(count(&calls, "accept4("), 1, "{calls:?}");
            assert_eq!(count(&calls, "ppoll([3"), 1, "a wait was repeated: {calls:?}");
        }
    }
    println!("{} faults forced on waits", take_forced());
}

/// An event that cannot be polled counts as cancelled, also between two waits.
#[test]
fn an_event_that_cannot_be_polled_ends_the_wait() {
    for errno in [Errno::NOMEM, Errno::INVAL, Errno::FAULT, Errno::PERM, Errno::NOSYS] {
        let faults: [&[Fault]; 2] = [
            &[("ppoll([5]", 0..1, errno)],
            &[("accept4(", 0..1, Errno::AGAIN), ("ppoll([5]", 1..2, errno)],
        ];
        for (round, faults) in faults.into_iter().enumerate() {
            let (error, calls) = accept_with_faults(faults, under_event);
            assert_eq!(error, Some(SocketError::Timeout), "{errno:?}");
            assert_eq!(count(&calls, "accept4("), round, "{calls:?}");
        }
    }
}

/// The kernel returns `EINTR` for a poll without a wait too, if no descriptor is ready.
#[test]
fn an_interrupted_check_of_an_event_does_not_end_the_wait() {
    let (error, calls) = accept_with_faults(&[("ppoll([5]", 0..1, Errno::INTR)], under_event);
    assert_eq!(error, None, "{calls:?}");
}

/// A signal handler sets the flag, and its signal interrupts the wait.
#[test]
fn a_flag_is_noticed_when_a_signal_interrupts_the_wait() {
    let flag = CancelFlag::new();
    let fault = |call: &Call| {
        let is_wait = call.to_string().starts_with("ppoll([3], ");
        if is_wait {
            flag.cancel();
        }
        is_wait.then_some(libc::EINTR)
    };
    let ((), calls) = supervised(fault, || {
        let (clock, listener) = (MonotonicClock::new(), open(V4));
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let context = limit.child().with_cancel(&flag);
        let accepted = watched(|| listener.accept_with_context(&context));
        assert_cancelled(accepted, &context, &limit);
    });
    assert_eq!(calls.len(), 2, "{calls:?}");
}
