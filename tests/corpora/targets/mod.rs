//! What each fuzz target asserts. The fuzz package includes this very file, so that the replay of the corpora under
//! `cargo test` and the fuzzer check the same things.

#![allow(unreachable_pub)] // the fuzz package makes them public

pub mod oracle;
mod parse;

pub use parse::{parse, round_trip};
