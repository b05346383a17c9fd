//! The program's memory: a static array, handed out from its start. There is no heap.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use allocator_api2::alloc::{AllocError, Allocator, Layout};

/// `SIZE` bytes, each of which is handed out once. What is given back is not used again: a server opens its listeners at
/// its start and keeps them to its end.
#[repr(align(64))]
pub struct Arena<const SIZE: usize> {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: `used` gives every byte away once, to one owner, atomically.
unsafe impl<const SIZE: usize> Sync for Arena<SIZE> {}

impl<const SIZE: usize> Arena<SIZE> {
    pub const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) }
    }
}

// SAFETY: a block lies within the array, is given away once, and stays valid as long as the arena is borrowed, whatever copy
// of the reference asks.
unsafe impl<const SIZE: usize> Allocator for &Arena<SIZE> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let base: *mut u8 = self.bytes.get().cast();
        let mut start = 0;
        let take = |used: usize| {
            start = used + (base as usize).wrapping_add(used).wrapping_neg() % layout.align();
            start.checked_add(layout.size()).filter(|end| *end <= SIZE)
        };
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| AllocError)?;
        // SAFETY: `start` is not behind the array's end.
        let block = NonNull::new(unsafe { base.add(start) }).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, _block: NonNull<u8>, _layout: Layout) {}
}
