//! The integration tests: one binary, so that it links once. The modules test on the real kernel;
//! their shared tools are in `support`.
#![cfg_attr(target_os = "linux", allow(clippy::cast_possible_truncation, clippy::cast_sign_loss))]

mod support;

#[path = "../tables/mod.rs"]
mod tables;

mod authority;
mod capability;
mod parse;
mod ring;
mod rules;
mod tables_on_host;
mod trail;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod interrupt;

#[cfg(target_os = "linux")]
mod accept;
#[cfg(target_os = "linux")]
mod adopt;
#[cfg(target_os = "linux")]
mod audit;
#[cfg(target_os = "linux")]
mod before_bind;
#[cfg(target_os = "linux")]
mod cancel_event;
#[cfg(target_os = "linux")]
mod clock;
#[cfg(all(target_os = "linux", feature = "std"))]
mod examples;
#[cfg(target_os = "linux")]
mod existing;
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(target_os = "linux")]
mod inherit;
#[cfg(target_os = "linux")]
mod listen;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod options;
#[cfg(target_os = "linux")]
mod peers;
#[cfg(target_os = "linux")]
mod refusals;
#[cfg(target_os = "linux")]
mod sockaddr;
#[cfg(all(target_os = "linux", feature = "std"))]
mod std_conversions;
#[cfg(target_os = "linux")]
mod unix_path;

// These modules need the supervisor of system calls.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod context;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod faults;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod syscalls;
