// The front page; where there is no Linux its example has nothing to open.
#![cfg_attr(any(target_os = "linux", not(doctest)), doc = include_str!("../README.md"))]
#![no_std]
// No panic is reachable: what could panic does not pass review, and what got past it does not link (see the README).
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unwrap_used
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The rooms, in the order of the way: text, address, decision, steps, listener. Each uses those above it alone.
mod error;

mod address;

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    target_pointer_width = "64",
    target_endian = "little",
    not(miri)
))]
#[allow(unsafe_code)]
mod syscall;
#[cfg(target_os = "linux")]
mod vdso;

mod time;

mod context;

mod audit;

mod capability;

mod sockaddr;

mod options;

#[cfg(target_os = "linux")]
mod sys;

#[cfg(target_os = "linux")]
mod socket_file;

#[cfg(target_os = "linux")]
mod listener;

#[cfg(target_os = "linux")]
mod listen;

#[cfg(feature = "std")]
extern crate std;

pub use address::{AbstractName, BindAddress, ParseError, UnixPath};
pub use audit::{AuditResult, AuditRing, AuditSink, CapabilityId, Entry, InvalidId, Operation, Reader, Record};
pub use capability::{CapabilityError, NetBind, Permit, Rights};
pub use context::{CancelFlag, Cause, Context};
pub use error::{Errno, SocketError, SocketOption, Step};
pub use options::ListenOptions;
pub use sockaddr::{SockAddr, sockaddr_in, sockaddr_in6};
pub use time::{Clock, Instant};

#[cfg(target_os = "linux")]
pub use listen::{listen, listen_with_capability, listen_with_context};
#[cfg(target_os = "linux")]
pub use listener::Listener;
#[cfg(target_os = "linux")]
pub use time::{CoarseClock, MonotonicClock};

/// What the caller's memory comes from: the `Allocator` trait of `allocator-api2` 0.2, which bumpalo and hashbrown share.
pub use allocator_api2::alloc::Allocator;
/// The global allocator as an [`Allocator`], for those who have one.
///
/// ```
/// # #[cfg(target_os = "linux")] {
/// let listener = netbind::listen("127.0.0.1:0", netbind::Global)?;
/// assert_ne!(listener.local_address()?.port(), Some(0));
/// # }
/// # Ok::<(), netbind::SocketError>(())
/// ```
#[cfg(feature = "alloc")]
pub use allocator_api2::alloc::Global;
