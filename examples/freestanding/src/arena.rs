//! An allocator that hands out a static array from its start. There is no heap.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use netbind::alloc::{AllocError, Allocator, Layout};

/// An array of `SIZE` bytes, each of which is handed out once.
///
/// Freed memory is not used again: the server opens its listeners once, and keeps them.
#[repr(align(64))]
pub struct Arena<const SIZE: usize> {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: the atomic `used` hands out every byte once, to one owner.
unsafe impl<const SIZE: usize> Sync for Arena<SIZE> {}

impl<const SIZE: usize> Arena<SIZE> {
    pub const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) }
    }
}

// SAFETY: a block is a part of the array, and is handed out once. It stays valid while the arena is
// borrowed, and copies of the reference share `used`.
unsafe impl<const SIZE: usize> Allocator for &Arena<SIZE> {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let base: *mut u8 = self.bytes.get().cast();
        let mut start = 0;
        let end = |used: usize| {
            let padding = (base as usize).wrapping_add(used).wrapping_neg() % layout.align();
            start = used + padding;
            start.checked_add(layout.size()).filter(|end| *end <= SIZE)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, end)
            .map_err(|_| AllocError)?;
        // SAFETY: `start` is at most `SIZE`.
        let block = NonNull::new(unsafe { base.add(start) }).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, _block: NonNull<u8>, _layout: Layout) {}
}
