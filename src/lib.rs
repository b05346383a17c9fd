//! Opens listening sockets under a capability, with a deadline and an audit trail. Needs no std, no
//! libc and no global allocator.
//!
//! An address text becomes a listening socket by three to five system calls, or seven for a
//! relative Unix path:
//!
//! - [`listen`] parses, binds and listens.
//! - [`listen_with_context`] can also be stopped by the deadline or the flag of a [`Context`].
//! - [`listen_with_capability`] first asks a [`NetBind`], which records its decision if it has a
//!   sink.
//! - [`ListenOptions`] combines them, has the socket options, replaces Unix sockets, and adopts
//!   sockets of other processes.
//! - [`Listener`] accepts, also under a context. `inherit` receives and hands over sockets.
//!
//! The caller provides the memory (an [`Allocator`](alloc::Allocator)) and the time (a
//! [`Clock`](time::Clock)).
//!
//! ```
//! use netbind::{AuditRing, ListenOptions, NetBind};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = bumpalo::Bump::new(); // any allocator
//! let ring = AuditRing::new_in(64, &memory)?;
//! let mut capability = NetBind::new("web")?.with_sink(&ring);
//! capability.allow_port(0)?; // any free port
//!
//! let options = ListenOptions::new().capability(&capability);
//! let listener = options.listen("127.0.0.1:0", &memory)?;
//! let port = listener.local_address()?.port().unwrap();
//!
//! let client = std::net::TcpStream::connect(("127.0.0.1", port))?;
//! let (_connection, peer) = listener.accept()?;
//! assert_eq!(peer.unwrap().to_socket_addr(), Some(client.local_addr()?));
//!
//! for entry in ring.reader() {
//!     println!("{entry}"); // check_bind_address, then bind_socket
//! }
//! assert_eq!(ring.written(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `std`, a [`Listener`] converts into std's listeners, and so into tokio's and
//! mio's. With the feature `alloc`, `alloc::Global` is the global allocator.
//!
//! The check is made in user space. It does not stop code in the same process that makes its own
//! system calls.
#![no_std]
// No panic is reachable. Code that could panic is refused here, and `proofs/no-panic` checks the
// rest.
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

#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// The examples for users of other libraries.
#[cfg(all(doctest, feature = "std", target_os = "linux"))]
mod coming_from {
    macro_rules! pages {
        ($($Page:ident = $file:literal)*) => {
            $(#[doc = include_str!(concat!("../docs/coming-from/", $file))] struct $Page;)*
        };
    }
    pages! {
        Std = "std.md"
        Socket2 = "socket2.md"
        Tokio = "tokio.md"
        Listenfd = "listenfd.md"
        CapStd = "cap-std.md"
        Systemd = "systemd.md"
    }
}

// Modules in dependency order; each uses only those above it.
pub mod error;

pub mod address;

mod clock;

pub mod context;

pub mod sockaddr;

mod rule;

#[cfg(feature = "serde")]
mod serde;

mod id;

pub mod audit;

pub mod capability;

#[cfg(target_os = "linux")]
mod linux;

#[cfg(all(feature = "enforce", target_os = "linux"))]
pub mod enforce;

/// Clocks and points in time.
pub mod time {
    pub use crate::clock::{Clock, Instant};
    #[cfg(target_os = "linux")]
    pub use crate::linux::{CoarseClock, MonotonicClock};
}

/// The allocator interface of `allocator-api2` 0.2, which bumpalo and hashbrown share.
pub mod alloc {
    #[cfg(feature = "alloc")]
    pub use allocator_api2::alloc::Global;
    pub use allocator_api2::alloc::{AllocError, Allocator, Layout};
}

/// The descriptor types and traits of this build: std's with the feature `std`, otherwise rustix's.
///
/// Both have the same names and methods. To convert between the two, use `into_raw_fd` and
/// `from_raw_fd`.
#[cfg(target_os = "linux")]
pub mod fd {
    pub use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
}

#[cfg(target_os = "linux")]
#[doc(inline)]
pub use linux::inherit;

#[doc(inline)]
pub use address::BindAddress;
#[cfg(audit_ring)]
#[doc(inline)]
pub use audit::AuditRing;
#[doc(inline)]
pub use capability::{NetBind, Permit, Rights};
#[doc(inline)]
pub use context::{CancelFlag, Context};
#[doc(inline)]
pub use error::SocketError;
#[cfg(target_os = "linux")]
pub use linux::{
    CancelEvent, Existing, ListenOptions, Listener, MonotonicClock, listen, listen_with_capability,
    listen_with_context,
};
pub use rule::Rule;
