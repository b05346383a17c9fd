//! A server that is the whole program: no std, no libc, no heap, no runtime but its own thirty lines of assembly.
//!
//! ```text
//! freestanding [--allow-port N]... ADDRESS...
//! ```
//!
//! It opens each address under a deadline and a capability (8080, 3000, 8000 and the ports allowed), prints
//! `listening on ADDRESS` to standard output and the audit trail to standard error, and answers each request with `hello`
//! until SIGINT or SIGTERM. Then it removes its socket files and exits with 0.
//!
//! `cargo build --release` in this directory builds it.

#![no_std]
#![no_main]

mod arena;
mod connections;
#[cfg(feature = "pid1")]
mod pid1;
mod print;
mod runtime;
mod server;

use netbind::{MonotonicClock, SocketError};

use crate::arena::Arena;
use crate::print::Line;
use crate::runtime::{Arguments, STOP};
use crate::server::{Failure, Server, waiting};

static MEMORY: Arena<8192> = Arena::new();

fn main(arguments: Arguments) -> i32 {
    #[cfg(feature = "pid1")]
    if rustix::process::getpid().is_init() {
        return pid1::run(arguments);
    }
    match serve(arguments) {
        Ok(()) => 0,
        Err(()) => 1,
    }
}

/// Until a signal; dropping the server then removes its socket files. What went wrong has been explained.
fn serve(arguments: Arguments) -> Result<(), ()> {
    let clock = MonotonicClock::new();
    let mut server = Server::new(waiting().map_err(|_| explain(&Failure::Usage))?);
    server.open(arguments, &clock, &MEMORY).map_err(|failure| explain(&failure))?;
    while !STOP.is_cancelled() {
        server.turn();
    }
    Ok(())
}

#[inline(never)]
fn explain(failure: &Failure) {
    let mut line = Line::err();
    let Failure::Open(address, error) = failure else {
        line.bytes(b"usage: freestanding [--allow-port N]... ADDRESS..., at most 8");
        return;
    };
    line.bytes(address).bytes(match error {
        SocketError::InvalidAddress => b": not an address",
        SocketError::InvalidPort => b": not a port",
        SocketError::Timeout => b": cancelled or too late",
        SocketError::CapabilityDenied => b": denied by the capability",
        SocketError::OutOfMemory => b": out of memory",
        _ => b": errno ",
    });
    if let Some(errno) = error.errno() {
        line.number(errno.raw_os_error().unsigned_abs().into());
    }
}
