//! Sleeping in the kernel under a context.

use heapless::Vec;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io;

use super::descriptor::borrow_raw;
use super::errno::system_error;
use crate::context::{Context, Event};
use crate::error::{Errno, SocketError, SocketOption, Step};

/// The maximum number of events in a chain of contexts.
const EVENTS: usize = 8;

/// Returns an error if a context has more events than one call can wait for.
pub(super) fn check_events(context: &Context<'_>) -> Result<(), SocketError> {
    if context.events().count() > EVENTS {
        return Err(SocketError::InvalidOption(SocketOption::CancelEvent));
    }
    Ok(())
}

/// The shortest wait in nanoseconds. With a clock that stands still, shorter ones would be a busy
/// loop.
const SHORTEST: u64 = 1_000_000;

/// Waits until the listener is readable, an event of the context is cancelled, its deadline is
/// reached, `at_most` nanoseconds have passed, or a signal comes: `ppoll`.
pub(super) fn wait(
    listener: Option<BorrowedFd<'_>>,
    context: Option<&Context<'_>>,
    at_most: Option<u64>,
) -> Result<(), SocketError> {
    context.map_or(Ok(()), check_events)?;
    let mut fds = Vec::<_, { 1 + EVENTS }>::new();
    let events = context.into_iter().flat_map(Context::events).map(descriptor);
    for fd in listener.into_iter().chain(events) {
        let _ = fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN | PollFlags::RDHUP));
    }
    let left = context.and_then(time_left);
    let nanos = left.map_or(at_most, |left| Some(at_most.map_or(left, |most| most.min(left))));
    let timeout = nanos.and_then(|nanos| {
        let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        Some(Timespec { tv_sec: seconds.try_into().ok()?, tv_nsec: nanos.try_into().ok()? })
    });
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) => {}
        Err(io::Errno::INTR) => return Ok(()),
        Err(errno) => return Err(system_error(Step::Poll)(errno)),
    }
    // After `shutdown`, a Unix socket is always readable, and `accept4` returns `EAGAIN`.
    let is_shut_down = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::HUP | PollFlags::RDHUP);
    if listener.is_some() && fds.first().is_some_and(is_shut_down) {
        return Err(SocketError::system(Step::Accept, Errno::INVAL));
    }
    Ok(())
}

fn descriptor(event: &dyn Event) -> BorrowedFd<'_> {
    // SAFETY: the event owns the descriptor, and is borrowed as long.
    #[allow(unsafe_code)]
    unsafe {
        borrow_raw(event.descriptor())
    }
}

/// Returns the nanoseconds until the deadline, or `None` without one.
fn time_left(context: &Context<'_>) -> Option<u64> {
    let deadline = context.deadline()?.as_nanos();
    Some(deadline.saturating_sub(context.clock().now().as_nanos()).max(SHORTEST))
}
