//! The global allocator, which counts the requests of each thread, and the arena of the tests.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

pub(crate) use crate::tables::memory::Arena;

thread_local! {
    static GLOBAL_REQUESTS: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of requests that this thread has made of the global allocator.
pub(crate) fn global_requests() -> u64 {
    GLOBAL_REQUESTS.with(Cell::get)
}

struct CountedSystem;

#[global_allocator]
static GLOBAL: CountedSystem = CountedSystem;

fn count_request() {
    // A thread that ends has already dropped its locals.
    let _ = GLOBAL_REQUESTS.try_with(|requests| requests.set(requests.get() + 1));
}

// SAFETY: it forwards to the system allocator. The counter is a const-initialised thread-local,
// which does not allocate.
unsafe impl GlobalAlloc for CountedSystem {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_request();
        // SAFETY: the caller's promises hold for the system allocator too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_request();
        // SAFETY: the caller's promises hold for the system allocator too.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_request();
        // SAFETY: the caller's promises hold for the system allocator too.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises hold for the system allocator too.
        unsafe { System.dealloc(memory, layout) }
    }
}
