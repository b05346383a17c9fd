#![doc = include_str!("../README.md")]
#![no_std]
// No panic is reachable. Code that could panic is refused here, and `proofs/no-panic` checks the rest.
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unwrap_used
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Without Linux nothing opens a socket, so some helpers of the portable modules have no caller.
#![cfg_attr(not(target_os = "linux"), allow(dead_code))]

#[cfg(feature = "std")]
extern crate std;

// Modules in dependency order; each uses only those above it.
pub mod error;

pub mod address;

mod clock;

pub mod context;

mod id;

pub mod audit;

pub mod capability;

pub mod sockaddr;

#[cfg(target_os = "linux")]
mod linux;

/// Clocks and points in time.
pub mod time {
    pub use crate::clock::{Clock, Instant};
    #[cfg(target_os = "linux")]
    pub use crate::linux::CoarseClock;
}

/// The allocator interface of `allocator-api2` 0.2, which bumpalo and hashbrown share.
pub mod alloc {
    #[cfg(feature = "alloc")]
    pub use allocator_api2::alloc::Global;
    pub use allocator_api2::alloc::{AllocError, Allocator, Layout};
}

/// The descriptor types and traits of this build: std's with the feature `std`, otherwise rustix's.
///
/// Both have the same names and methods. A descriptor goes from one to the other by its number:
/// `into_raw_fd`, then `from_raw_fd`.
#[cfg(target_os = "linux")]
pub mod fd {
    #[cfg(feature = "std")]
    pub use crate::linux::WrongFamily;
    pub use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
}

pub use address::BindAddress;
#[cfg(audit_ring)]
pub use audit::AuditRing;
pub use capability::{NetBind, Permit, Rights};
pub use context::{CancelFlag, Context};
pub use error::SocketError;
#[cfg(target_os = "linux")]
pub use linux::{
    ListenOptions, Listener, MonotonicClock, listen, listen_with_capability, listen_with_context,
};
