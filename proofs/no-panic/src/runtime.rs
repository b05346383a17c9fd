//! Start code, memory, a clock, and the panic handler.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::hash::Hasher;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use netbind::alloc::{AllocError, Allocator, Layout};
use netbind::time::{Clock, Instant};

global_asm!(include_str!("../../../examples/freestanding/src/start.s"));

unsafe extern "C" {
    /// Defined by the linker option of `run`. Every panic ends here.
    safe fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    a_panic_is_reachable()
}

/// Returns the value in a way that the compiler knows nothing about it.
pub fn opaque<T>(value: T) -> T {
    core::hint::black_box(value)
}

/// Uses a result, so that the call that made it stays.
pub fn keep<T>(value: T) {
    core::hint::black_box(value);
}

/// A clock of the caller's.
pub struct Ticks;

impl Clock for Ticks {
    fn now(&self) -> Instant {
        Instant::from_nanos(opaque(0))
    }
}

/// A hasher that cannot panic itself.
pub struct Sum(pub u64);

impl Hasher for Sum {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
    }
}

/// An allocator whose answer the compiler cannot predict.
pub struct Memory(UnsafeCell<[u64; 4096]>, AtomicUsize);

// SAFETY: the counter hands out each byte once.
unsafe impl Sync for Memory {}

pub static MEMORY: Memory = Memory(UnsafeCell::new([0; 4096]), AtomicUsize::new(0));

// SAFETY: a block is within the array and handed out once, and the array is a static.
unsafe impl Allocator for &'static Memory {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if opaque(layout.align()) > 8 || opaque(layout.size()) > 8192 {
            return Err(AllocError);
        }
        let start = self.1.fetch_add(layout.size().next_multiple_of(8), Ordering::Relaxed);
        if start > 32768 - 8192 {
            return Err(AllocError);
        }
        // SAFETY: `start` is within the array, and at least 8192 bytes follow.
        let block = unsafe { self.0.get().cast::<u8>().add(start) };
        let block = NonNull::new(block).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, _block: NonNull<u8>, _layout: Layout) {}
}
