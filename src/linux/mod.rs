//! Everything that only Linux has: the system calls, the clocks, and the sockets made with them.

mod errno;

mod timespec;

#[cfg(raw_syscalls)]
#[allow(unsafe_code)]
mod raw;
#[cfg(raw_syscalls)]
use raw as backend;
#[cfg(not(raw_syscalls))]
mod through_rustix;
#[cfg(not(raw_syscalls))]
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
