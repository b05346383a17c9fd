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
pub(crate) use for_enforce::*;

/// The functions that `enforce` uses.
#[cfg(feature = "enforce")]
mod for_enforce {
    pub(crate) use super::backend::{getsockname, getsockopt};
    pub(crate) use super::calls::{bind, listen as listen_on};
    pub(crate) use super::descriptor::{borrow, own_raw};
    pub(crate) use super::errno::from_rustix;
    pub(crate) use super::query::Query;
    #[cfg(raw_syscalls)]
    pub(crate) use super::raw::syscall6;
    pub(crate) use super::staged::hexadecimal;
    pub(crate) use super::unix_file::{FileId, TerminatedPath, remove_at, socket_id};
}

pub use cancel_event::CancelEvent;
pub use clock::{CoarseClock, MonotonicClock};
pub use existing::Existing;
pub use listen::{listen, listen_with_capability, listen_with_context};
pub use listener::Listener;
pub use options::ListenOptions;
