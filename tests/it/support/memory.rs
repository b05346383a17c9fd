//! Memory that is counted: the process's global allocator by thread, and an arena that keeps books and can refuse.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell, UnsafeCell};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

thread_local! {
    static GLOBAL_REQUESTS: Cell<u64> = const { Cell::new(0) };
}

/// What the calling thread has asked of the global allocator so far.
pub(crate) fn global_requests() -> u64 {
    GLOBAL_REQUESTS.with(Cell::get)
}

struct CountedSystem;

#[global_allocator]
static GLOBAL: CountedSystem = CountedSystem;

fn count_request() {
    // At the end of a thread its locals may be gone already; nobody counts there.
    let _ = GLOBAL_REQUESTS.try_with(|requests| requests.set(requests.get() + 1));
}

// SAFETY: everything is the system allocator's; counting touches a constant thread local, which does not allocate.
unsafe impl GlobalAlloc for CountedSystem {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_request();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_request();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_request();
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

const ARENA: usize = 1 << 14;

#[repr(C, align(64))]
struct Storage(UnsafeCell<[MaybeUninit<u8>; ARENA]>);

/// A fixed arena that never asks the global allocator. It keeps a list of what was asked for, checks that everything comes
/// back with the layout that it was given out with, and refuses from a chosen request on.
pub(crate) struct Arena {
    storage: Storage,
    used: Cell<usize>,
    /// Address and layout of what is out.
    out: RefCell<heapless::Vec<(usize, Layout), 32>>,
    asked: RefCell<heapless::Vec<usize, 32>>,
    refuse_from: usize,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self::refusing_from(usize::MAX)
    }

    /// Refuses the request of this number and all behind it, counted from 1.
    pub(crate) const fn refusing_from(request: usize) -> Self {
        Self {
            storage: Storage(UnsafeCell::new([MaybeUninit::uninit(); ARENA])),
            used: Cell::new(0),
            out: RefCell::new(heapless::Vec::new()),
            asked: RefCell::new(heapless::Vec::new()),
            refuse_from: request,
        }
    }

    /// The sizes that were asked for, refused ones included.
    pub(crate) fn asked(&self) -> Vec<usize> {
        self.asked.borrow().to_vec()
    }

    /// The bytes that are out.
    pub(crate) fn live(&self) -> usize {
        self.out.borrow().iter().map(|(_, layout)| layout.size()).sum()
    }
}

// SAFETY: blocks come from the storage one behind the other and are never handed out twice; the storage outlives every
// reference to the arena.
unsafe impl Allocator for &Arena {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let mut asked = self.asked.borrow_mut();
        asked.push(layout.size()).map_err(|_| AllocError)?;
        if asked.len() >= self.refuse_from || layout.align() > 64 {
            return Err(AllocError);
        }
        let start = self.used.get().next_multiple_of(layout.align());
        if start + layout.size() > ARENA {
            return Err(AllocError);
        }
        self.used.set(start + layout.size());
        // SAFETY: the block ends within the storage, as was just seen.
        let memory = unsafe { self.storage.0.get().cast::<u8>().add(start) };
        self.out.borrow_mut().push((memory as usize, layout)).map_err(|_| AllocError)?;
        let memory = NonNull::new(memory).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        let mut out = self.out.borrow_mut();
        let place = out.iter().position(|given| *given == (memory.as_ptr() as usize, layout));
        out.swap_remove(
            place.expect("given back what was never given out, or with another layout"),
        );
    }
}
