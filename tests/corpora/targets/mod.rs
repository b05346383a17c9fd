//! What each fuzz target asserts. The fuzz package includes this very file, so that the replay of the corpora under
//! `cargo test` and the fuzzer check the same things.
#![allow(unreachable_pub)] // the fuzz package makes them public

mod capability;
mod draw;
pub mod grammar;
mod memory;
mod open;
pub mod oracle;
mod parse;
mod plan;
mod ring;
mod sockaddr;

pub use capability::capability;
pub use open::{descriptors, open};
pub use parse::{parse, round_trip, stops_as_the_oracle};
pub use ring::ring;
pub use sockaddr::sockaddr;
