//! Start code, memory, and the panic handler that no linker can satisfy.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use allocator_api2::alloc::{AllocError, Allocator, Layout};

global_asm!(include_str!("../../../examples/freestanding/src/start.s"));

unsafe extern "C" {
    /// Exists nowhere. Whatever panics reaches it, so a program with a reachable panic does not link.
    safe fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    a_panic_is_reachable()
}

/// A value that the compiler knows nothing about, so that it can prove nothing away.
pub fn any<T>(value: T) -> T {
    core::hint::black_box(value)
}

/// Uses a result, so that the call that made it stays.
pub fn used<T>(value: T) {
    core::hint::black_box(value);
}

/// Memory that the compiler cannot tell to be there.
pub struct Memory(UnsafeCell<[u64; 4096]>, AtomicUsize);

// SAFETY: the counter gives each byte away once.
unsafe impl Sync for Memory {}

pub static MEMORY: Memory = Memory(UnsafeCell::new([0; 4096]), AtomicUsize::new(0));

// SAFETY: a block lies within the array, is given away once, and the array is a static.
unsafe impl Allocator for &'static Memory {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if any(layout.align()) > 8 || any(layout.size()) > 8192 {
            return Err(AllocError);
        }
        let start = self.1.fetch_add(layout.size().next_multiple_of(8), Ordering::Relaxed);
        if start > 32768 - 8192 {
            return Err(AllocError);
        }
        // SAFETY: `start` lies within the array, with 8192 bytes behind it.
        let block = NonNull::new(unsafe { self.0.get().cast::<u8>().add(start) }).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, _block: NonNull<u8>, _layout: Layout) {}
}
