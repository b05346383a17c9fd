//! Inputs without end: the fuzz corpora, every short string, every port, the ring under load, a million openings.
//!
//! `cargo test --test corpora` runs the short forms. `cargo test --release --test corpora -- --ignored --nocapture` runs the
//! long ones, and prints how much was tried.

mod exhaustive;
#[cfg(feature = "arbitrary")]
mod generated;
mod replay;
mod soak;
mod stress;
mod targets;

/// Gives this thread a table of descriptors of its own, so that it can count them while other tests open theirs.
#[allow(unsafe_code)]
fn own_descriptors() {
    // SAFETY: the descriptors that this thread has are copies from here on, and it closes none that it did not open.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES) }
        .expect("a thread may have its own");
}
