//! The global allocator, which counts its requests.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// Returns the number of requests of this process.
pub(crate) fn requests() -> u64 {
    REQUESTS.load(Ordering::Relaxed)
}

struct CountedSystem;

#[global_allocator]
static GLOBAL: CountedSystem = CountedSystem;

// SAFETY: it forwards to the system allocator. The other methods use these two.
unsafe impl GlobalAlloc for CountedSystem {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises hold for the system allocator too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises hold for the system allocator too.
        unsafe { System.dealloc(memory, layout) }
    }
}
