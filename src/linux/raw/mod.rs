//! The system calls that the crate makes itself, on the processors that `build.rs` names.
//!
//! rustix asserts that `accept4` and `getsockname` return an address of expected length. The
//! assertion never fails, but its panic path stays in the binary. rustix's look-up of the clock has
//! such assertions too, crashes under valgrind and takes 1.7 KiB of stack.

mod sockets;
mod syscall;
mod vdso;

pub(super) use sockets::accept4;
pub(crate) use sockets::{getsockname, getsockopt};
#[cfg(feature = "enforce")]
pub(crate) use syscall::syscall6;
pub(super) use vdso::ClockSource;
