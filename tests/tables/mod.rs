//! Checks that need no std. The host's tests and the bare-metal program run the same ones.

pub(crate) mod addresses;
pub(crate) mod contexts;
pub(crate) mod decisions;
pub(crate) mod memory;
pub(crate) mod ring;
pub(crate) mod sockaddrs;
