//! Reads netbind's own clock. See `run` for why it is set apart.

#![no_std]
#![no_main]

mod runtime;

use netbind::{Clock, MonotonicClock};

use runtime::{MEMORY, any, used};

#[unsafe(no_mangle)]
extern "C" fn start() -> i32 {
    let clock = any(MonotonicClock::new());
    used((clock.now(), any(MonotonicClock::default())));
    used(&MEMORY);
    0
}
