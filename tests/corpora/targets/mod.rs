//! The assertions of the fuzz targets. The fuzz package includes this file, so `cargo test`, which
//! replays the corpora, and the fuzzer check the same things.
#![allow(unreachable_pub)] // public in the fuzz package

mod capability;
mod draw;
#[path = "../../tables/memory.rs"]
mod memory;
mod open;
pub mod oracle;
mod parse;
mod plan;
mod ring;
mod sockaddr;

pub use capability::capability;
pub use open::{descriptors, open};
pub use parse::{parse, round_trip};
pub use ring::ring;
pub use sockaddr::sockaddr;
