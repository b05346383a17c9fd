//! Runs the binary on the real kernel. Tests that need root print that they skip.
#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub)]

mod agree;
mod check;
mod input;
mod learn;
mod open;
mod run;
mod signals;
mod support;
mod trail;
mod users;
