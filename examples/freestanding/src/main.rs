//! A static server without std, libc and heap.
//!
//! ```text
//! freestanding [--allow-port N]... ADDRESS...
//! ```
//!
//! It opens up to eight addresses under a deadline of 10 seconds and a capability, which allows
//! Unix paths, the ports 3000 to 8080, and those of `--allow-port`. It prints
//! `listening on ADDRESS` to standard output and the audit trail to standard error. It answers the
//! first bytes of each client with `hello`, and closes each connection after 5 seconds at most.
//! SIGINT and SIGTERM end it; then it removes its socket files.
//!
//! Exit status: 0 after a signal, 1 if an address could not be opened or the usage is wrong.
//!
//! To build it, run `cargo build --release` in this directory.

#![no_std]
#![no_main]

mod arena;
mod connections;
#[cfg(feature = "pid1")]
mod pid1;
mod print;
mod runtime;
mod server;

use netbind::MonotonicClock;

use crate::arena::Arena;
use crate::runtime::{Arguments, STOP};
use crate::server::{Failure, Server};

static MEMORY: Arena<8192> = Arena::new();

fn main(arguments: Arguments) -> i32 {
    #[cfg(feature = "pid1")]
    if rustix::process::getpid().is_init() {
        return pid1::run(arguments);
    }
    match serve(arguments) {
        Ok(()) => 0,
        Err(failure) => {
            print::failure(&failure);
            1
        }
    }
}

/// Serves until a signal. Dropping the server then removes its socket files.
fn serve(arguments: Arguments) -> Result<(), Failure> {
    let clock = MonotonicClock::new();
    let mut server = Server::new(&clock)?;
    server.open(arguments, &MEMORY)?;
    while !STOP.is_cancelled() {
        server.serve_once();
    }
    Ok(())
}
