//! Everything that only Linux has: the system calls, the clocks, and the sockets made with them.

#[cfg(own_syscalls)]
#[allow(unsafe_code)]
mod own;
#[cfg(own_syscalls)]
use own as backend;
#[cfg(not(own_syscalls))]
mod through_rustix;
#[cfg(not(own_syscalls))]
use through_rustix as backend;

mod clock;

mod calls;

mod unix_file;

mod options;

mod listener;

mod listen;

#[cfg(feature = "std")]
mod std_listener;

pub use clock::{CoarseClock, MonotonicClock};
pub use listen::{listen, listen_with_capability, listen_with_context};
pub use listener::Listener;
pub use options::ListenOptions;
#[cfg(feature = "std")]
pub use std_listener::WrongFamily;
