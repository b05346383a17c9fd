//! Large sets of inputs: the fuzz corpora, every short text, every port, the ring under load and
//! repeated openings.
//!
//! `cargo test --test corpora` runs the short tests.
//! `cargo test --release --test corpora -- --ignored --nocapture` runs the long ones and prints how
//! many inputs were tried.

mod exhaustive;
#[cfg(feature = "arbitrary")]
mod generated;
mod replay;
mod soak;
mod stress;
mod targets;

/// Gives this thread its own descriptor table, so that other tests do not change the number of its
/// descriptors.
#[allow(unsafe_code)]
fn unshare_descriptors() {
    // SAFETY: the table is copied, so every descriptor that this thread uses stays open. The thread
    // closes only descriptors that it has opened itself.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::FILES) }
        .expect("unshare(CLONE_FILES)");
}
