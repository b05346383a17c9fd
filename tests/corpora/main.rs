//! Inputs without end: the fuzz corpora, every short string, every port, the ring under load, a million openings.
//!
//! `cargo test --test corpora` runs the short forms. `cargo test --release --test corpora -- --ignored --nocapture` runs the
//! long ones, and prints how much was tried.

mod exhaustive;
mod replay;
mod targets;
