//! The accept loop of all listeners.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bumpalo::Bump;
use netbind::address::AddressedError;
use netbind::{BindAddress, Context, Listener, SocketError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::connection::exchange;
use crate::print_error;

/// The number of connections that are served at the same time, one thread each.
const CONNECTIONS: usize = 64;
/// The longest pause after a failed accept.
const MAX_PAUSE: Duration = Duration::from_millis(128);

/// Accepts connections of all listeners until the context is cancelled.
pub(crate) fn serve(
    listeners: &[(BindAddress, Listener<&Bump>)],
    context: &Context<'_>,
) -> io::Result<()> {
    // A signal just before `poll` does not interrupt it, so the wait is short.
    let timeout = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
    let mut pause = Duration::ZERO;
    while context.cause().is_none() {
        if BUSY.load(Ordering::Relaxed) >= CONNECTIONS {
            thread::sleep(Duration::from_millis(20));
            continue;
        }
        let mut polled: Vec<_> =
            listeners.iter().map(|(_, listener)| PollFd::new(listener, PollFlags::IN)).collect();
        match poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<_> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        for ((address, listener), _) in listeners.iter().zip(ready).filter(|(_, ready)| *ready) {
            match accept(listener) {
                Ok(()) => pause = Duration::ZERO,
                Err(error) => back_off(&mut pause, &error.at(address)),
            }
        }
    }
    Ok(())
}

fn accept(listener: &Listener<&Bump>) -> Result<(), SocketError> {
    match listener.accept() {
        Ok((connection, _peer)) => {
            spawn(File::from(connection));
            Ok(())
        }
        Err(error) if error.is_would_block() || error.is_interrupted() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sleeps, because the client stays in the queue and `poll` returns at once. The pause doubles as
/// long as accept fails, and an error that lasts is reported once.
fn back_off(pause: &mut Duration, error: &AddressedError) {
    if *pause < MAX_PAUSE && *pause * 2 >= MAX_PAUSE {
        print_error(format_args!("{error}, trying again"));
    }
    *pause = (*pause * 2).clamp(Duration::from_millis(1), MAX_PAUSE);
    thread::sleep(*pause);
}

/// The number of connections that are being served.
static BUSY: AtomicUsize = AtomicUsize::new(0);

/// Serves a connection in a thread of its own. If none can be started, the connection is closed.
fn spawn(connection: File) {
    BUSY.fetch_add(1, Ordering::Relaxed);
    let serve = move || {
        let _ = exchange(&connection);
        BUSY.fetch_sub(1, Ordering::Relaxed);
    };
    if thread::Builder::new().spawn(serve).is_err() {
        BUSY.fetch_sub(1, Ordering::Relaxed);
    }
}
