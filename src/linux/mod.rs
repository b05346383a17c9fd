//! Everything that only Linux has: the system calls, the clocks, and the sockets made with them.

mod errno;

mod timespec;

mod descriptor;

mod query;

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

mod cancel_event;

mod wait;

mod calls;

mod lock;

mod unix_diag;

mod unix_file;

mod existing;

mod options;

mod listener;

mod staged;

mod listen;

mod accept;

mod adopt;

pub mod inherit;

#[cfg(feature = "std")]
mod std_listener;

#[cfg(feature = "enforce")]
pub(crate) use descriptor::own_raw;
#[cfg(feature = "enforce")]
pub(crate) use errno::from_rustix;
#[cfg(all(feature = "enforce", raw_syscalls))]
pub(crate) use raw::syscall;
#[cfg(feature = "enforce")]
pub(crate) use unix_file::TerminatedPath;

pub use cancel_event::CancelEvent;
pub use clock::{CoarseClock, MonotonicClock};
pub use existing::Existing;
pub use listen::{listen, listen_with_capability, listen_with_context};
pub use listener::Listener;
pub use options::ListenOptions;
