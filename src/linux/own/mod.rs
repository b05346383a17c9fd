//! The system calls that the crate makes itself, on the processors that `build.rs` names.
//!
//! rustix's `accept4` and `getsockname` panic on a socket address of unexpected length, such as
//! that of a 108-byte path. Its look-up of the clock crashes under valgrind and takes 1.7 KiB of
//! stack.

mod sockets;
mod syscall;
mod vdso;

pub(super) use sockets::{accept4, getsockname};
pub(super) use vdso::ClockSource;
