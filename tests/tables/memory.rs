//! The allocator of the tests, the benchmarks and the bare-metal checks. It needs no std.

use core::cell::Cell;
use core::iter;
use core::ptr::NonNull;

use netbind::alloc::{AllocError, Allocator, Layout};

/// The capacity in bytes.
const SIZE: usize = 16 * 1024;
/// The maximum number of blocks at the same time.
const BLOCKS: usize = 80;
/// The number of requests whose sizes are kept.
const REQUESTS: usize = 32;
/// The bytes after each block that must stay free. They show a write beyond the end of the block.
const GUARD: usize = 8;
/// The value of every byte that is not part of a block.
const FREE: u8 = 0xa5;

/// An allocator with a fixed capacity that records its requests and can refuse them.
///
/// It panics if a block is freed twice, freed with another layout, or written beyond its end.
pub(crate) struct Arena {
    bytes: [Cell<u8>; SIZE],
    blocks: [Cell<Option<Block>>; BLOCKS],
    sizes: [Cell<usize>; REQUESTS],
    requests: Cell<usize>,
    refuse_from: Cell<usize>,
}

/// The place and the layout of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Block {
    start: usize,
    layout: Layout,
}

impl Block {
    const fn end(self) -> usize {
        self.start + self.layout.size()
    }
}

#[allow(dead_code)] // each program uses a part
impl Arena {
    pub(crate) const fn new() -> Self {
        Self::refusing_from(usize::MAX)
    }

    /// Makes an arena that refuses this request and all later ones, counted from 1.
    pub(crate) const fn refusing_from(request: usize) -> Self {
        Self {
            bytes: [const { Cell::new(FREE) }; SIZE],
            blocks: [const { Cell::new(None) }; BLOCKS],
            sizes: [const { Cell::new(0) }; REQUESTS],
            requests: Cell::new(0),
            refuse_from: Cell::new(request),
        }
    }

    /// Refuses every request from now on, or none.
    pub(crate) fn refuse(&self, on: bool) {
        self.refuse_from.set(if on { 0 } else { usize::MAX });
    }

    /// Returns the sizes of the first 32 requests, including refused ones.
    pub(crate) fn requests(&self) -> impl Iterator<Item = usize> {
        self.sizes.iter().take(self.requests.get()).map(Cell::get)
    }

    /// Returns the number of blocks in use.
    pub(crate) fn blocks_in_use(&self) -> usize {
        self.live_blocks().count()
    }

    /// Returns the number of bytes in use.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.live_blocks().map(|block| block.layout.size()).sum()
    }

    fn live_blocks(&self) -> impl Iterator<Item = Block> {
        self.blocks.iter().filter_map(Cell::get)
    }

    /// Records a request, and returns false if it is to be refused.
    fn record(&self, layout: Layout) -> bool {
        let earlier = self.requests.get();
        self.requests.set(earlier + 1);
        if let Some(size) = self.sizes.get(earlier) {
            size.set(layout.size());
        }
        earlier + 1 < self.refuse_from.get()
    }

    /// Returns the lowest place for a block of this layout and its guard.
    fn find_space(&self, layout: Layout) -> Option<usize> {
        let base = self.bytes.as_ptr().addr();
        let is_free = |start: usize| {
            let end = start + layout.size() + GUARD;
            let is_clear_of = |block: Block| end <= block.start || block.end() + GUARD <= start;
            end <= SIZE && self.live_blocks().all(is_clear_of)
        };
        iter::once(0)
            .chain(self.live_blocks().map(|block| block.end() + GUARD))
            .map(|start| (base + start).next_multiple_of(layout.align()) - base)
            .filter(|start| is_free(*start))
            .min()
    }
}

// SAFETY: a block lies within `bytes` and overlaps no other block, and the arena itself writes only
// outside of live blocks. `bytes` cannot move while a reference to the arena exists, and a copy of
// the reference reaches the same arena.
#[allow(unsafe_code)]
unsafe impl Allocator for &Arena {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if !self.record(layout) {
            return Err(AllocError);
        }
        let entry = self.blocks.iter().find(|entry| entry.get().is_none()).ok_or(AllocError)?;
        let block = Block { start: self.find_space(layout).ok_or(AllocError)?, layout };
        entry.set(Some(block));
        let bytes = NonNull::from(&self.bytes[block.start..block.end()]);
        Ok(NonNull::slice_from_raw_parts(bytes.cast(), layout.size()))
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        let start = memory.as_ptr().addr().wrapping_sub(self.bytes.as_ptr().addr());
        let block = Block { start, layout };
        let entry = self.blocks.iter().find(|entry| entry.get() == Some(block));
        entry.expect("the block is allocated, with this layout").set(None);
        let guard = &self.bytes[block.end()..block.end() + GUARD];
        assert!(guard.iter().all(|byte| byte.get() == FREE), "a write beyond the end of a block");
        self.bytes[start..block.end()].iter().for_each(|byte| byte.set(FREE));
    }
}
