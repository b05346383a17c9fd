//! An allocator where there is none: a fixed array that is handed out from its start, and counts what it gave and got back.

use core::cell::{Cell, UnsafeCell};
use core::ptr::NonNull;

use netbind::alloc::Allocator;

use allocator_api2::alloc::{AllocError, Layout};

/// 4 KiB, of which at most `limit` bytes are given.
#[repr(align(64))]
pub(crate) struct Memory {
    bytes: UnsafeCell<[u8; 4096]>,
    used: Cell<usize>,
    limit: usize,
    /// Bytes that were given and not given back.
    pub(crate) open: Cell<usize>,
}

impl Memory {
    pub(crate) const fn new(limit: usize) -> Self {
        Self { bytes: UnsafeCell::new([0; 4096]), used: Cell::new(0), limit, open: Cell::new(0) }
    }
}

// SAFETY: a block lies within the array, is given once, and stays as long as the memory is borrowed.
#[allow(unsafe_code)]
unsafe impl Allocator for &Memory {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let start = self.used.get().next_multiple_of(layout.align());
        let end = start + layout.size();
        if layout.align() > 64 || end > self.limit.min(4096) {
            return Err(AllocError);
        }
        self.used.set(end);
        self.open.set(self.open.get() + layout.size());
        // SAFETY: `start` lies within the array.
        let block = unsafe { self.bytes.get().cast::<u8>().add(start) };
        Ok(NonNull::slice_from_raw_parts(NonNull::new(block).ok_or(AllocError)?, layout.size()))
    }

    unsafe fn deallocate(&self, _block: NonNull<u8>, layout: Layout) {
        self.open.set(self.open.get() - layout.size());
    }
}
