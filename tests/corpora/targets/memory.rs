//! An allocator that knows what it has lent, and can refuse.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator, Global, Layout};

#[derive(Default)]
pub struct Counted {
    blocks: Cell<usize>,
    bytes: Cell<usize>,
    refusing: Cell<bool>,
}

impl Counted {
    /// Refuses all that is asked for from here on, or no longer.
    pub fn refuse(&self, on: bool) {
        self.refusing.set(on);
    }

    pub fn blocks(&self) -> usize {
        self.blocks.get()
    }

    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }
}

// SAFETY: the memory is Global's, handed through as it is; copies of a shared reference are the same allocator.
unsafe impl Allocator for &Counted {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if self.refusing.get() {
            return Err(AllocError);
        }
        self.blocks.set(self.blocks.get() + 1);
        self.bytes.set(self.bytes.get() + layout.size());
        Global.allocate(layout)
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        // A block that was never lent, or another layout than the one it was lent with, does not add up.
        self.blocks.set(self.blocks.get().checked_sub(1).expect("was lent"));
        self.bytes
            .set(self.bytes.get().checked_sub(layout.size()).expect("was lent with this size"));
        // SAFETY: the caller promises what Global asks for.
        unsafe { Global.deallocate(memory, layout) };
    }
}
