//! Enforcement of a [`NetBind`](crate::NetBind) on a whole process, by the kernel or by a
//! supervisor.
//!
//! The check of this crate applies to its own calls only. The types here apply a capability to
//! every call of a process, and to the programs that it executes:
//!
//! - [`Confinement`] restricts which addresses this process can bind from now on, by
//!   [landlock(7)](https://man7.org/linux/man-pages/man7/landlock.7.html) and
//!   [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html).
//! - [`Seal`] forbids every bind and listen of this process from now on. Sockets that listen go on
//!   accepting.
//! - [`Supervisor`] makes the binds of another process and of all that it starts, by user
//!   notifications of seccomp. It enforces every rule.
//!
//! None of them can be undone. [`Gaps`] names what a confinement or a seal cannot enforce. If there
//! is a gap that the caller does not tolerate, the call fails, and nothing is restricted.
//!
//! They need x86-64 or aarch64. On other processors with Linux, the calls that restrict return
//! [`EnforceError::Unsupported`].

mod bpf;
mod confine;
mod error;
mod gaps;
mod landlock;
mod seal;
mod seccomp;
mod supervise;
mod sys;
mod tasks;
mod trial;

pub use confine::Confinement;
pub use error::EnforceError;
pub use gaps::Gaps;
pub use seal::Seal;
pub use supervise::{Answered, Outcome, SocketCall, Supervised, Supervisor};
