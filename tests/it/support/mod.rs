//! What the modules share: allocators that count, clocks and sinks that follow a script, and on Linux threads with a
//! descriptor table of their own and a supervisor that sees every system call.

pub(crate) mod clock;
pub(crate) mod memory;
pub(crate) mod sink;

#[cfg(target_os = "linux")]
pub(crate) mod kernel;
#[cfg(target_os = "linux")]
pub(crate) mod thread;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) mod calls;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) mod supervisor;
