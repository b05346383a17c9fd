//! A [`NetBind`](crate::NetBind) that the kernel enforces, on a whole process.
//!
//! The check of this crate applies to its own calls only. The types here ask the kernel to apply a
//! capability to every call of the process, and to the programs that it executes:
//!
//! - [`Confinement`] restricts which addresses can be bound from now on, by
//!   [landlock(7)](https://man7.org/linux/man-pages/man7/landlock.7.html) and
//!   [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html).
//! - [`Supervisor`] makes the binds of another process and of all that it starts, by user
//!   notifications of seccomp. It enforces every rule.
//! - [`Seal`] forbids every bind and listen from now on. Sockets that listen go on accepting.
//!
//! Both are irrevocable. [`Gaps`] names the restrictions that the kernel cannot enforce. If there
//! is a gap that the caller does not tolerate, the call fails, and nothing is restricted.
//!
//! They need x86-64 or aarch64. On other processors they return [`EnforceError::Unsupported`].

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
