//! What holds wherever the crate runs, as tables and checks without std: the host's tests and those on a bare board share
//! them.

pub(crate) mod addresses;
pub(crate) mod contexts;
pub(crate) mod decisions;
pub(crate) mod memory;
pub(crate) mod ring;
pub(crate) mod sockaddrs;
