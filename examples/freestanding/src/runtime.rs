//! Below main: the entry point, the arguments, the panic handler, and the signals that end the program.

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicI32, Ordering};

use netbind::CancelFlag;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{BorrowedFd, IntoRawFd};

global_asm!(include_str!("start.s"));

/// Raised by SIGINT and SIGTERM.
pub static STOP: CancelFlag = CancelFlag::new();

/// What the handler writes to, so that a wait that begins just behind the signal ends all the same. It is set before there
/// is a handler, so 0 is never read.
static WAKE: AtomicI32 = AtomicI32::new(0);

/// The program's arguments, without its name.
#[derive(Clone, Copy)]
pub struct Arguments(*const *const c_char);

impl Iterator for Arguments {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: the kernel's argv ends with a null pointer, at which this stays.
        let argument = unsafe { *self.0 };
        if argument.is_null() {
            return None;
        }
        // SAFETY: it was not the last, so there is one behind it.
        self.0 = unsafe { self.0.add(1) };
        // SAFETY: the kernel's arguments are terminated by a NUL byte, and nobody writes to them or frees them.
        Some(unsafe { CStr::from_ptr(argument) }.to_bytes())
    }
}

/// Called by `_start` with the stack as the kernel has left it.
#[unsafe(no_mangle)]
unsafe extern "C" fn start(stack: *const usize) -> i32 {
    // SAFETY: the kernel puts argc there.
    let argc = unsafe { *stack };
    // SAFETY: argv follows argc.
    let argv: *const *const c_char = unsafe { stack.add(1) }.cast();
    // Without a name (argc 0) there is nothing behind it either.
    // SAFETY: argv has argc pointers and a null pointer.
    let arguments = Arguments(unsafe { argv.add(argc.min(1)) });
    crate::main(arguments)
}

/// `struct sigaction` as the kernel has it.
#[repr(C)]
struct SigAction {
    handler: extern "C" fn(i32),
    flags: u64,
    restorer: unsafe extern "C" fn(),
    mask: u64,
}

unsafe extern "C" {
    fn return_from_signal();
}

/// Makes SIGINT and SIGTERM raise [`STOP`], and gives the descriptor that is readable behind them.
#[inline(never)]
pub fn catch_signals() -> rustix::io::Result<BorrowedFd<'static>> {
    const SA_RESTORER: u64 = 0x0400_0000;
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?.into_raw_fd();
    WAKE.store(wake, Ordering::Relaxed);
    let action = SigAction { handler: on_signal, flags: SA_RESTORER, restorer: return_from_signal, mask: 0 };
    for signal in [2, 15] {
        // SAFETY: rt_sigaction reads `action` and changes nothing but what the signal does. It does not fail for these.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") 13_usize => _,
                in("rdi") signal, in("rsi") &raw const action, in("rdx") 0, in("r10") 8,
                lateout("rcx") _, lateout("r11") _,
                options(nostack),
            );
        }
    }
    // SAFETY: nobody closes the descriptor.
    Ok(unsafe { BorrowedFd::borrow_raw(wake) })
}

/// Async-signal-safe: an atomic store and a write.
extern "C" fn on_signal(_signal: i32) {
    STOP.cancel();
    // SAFETY: as above.
    let wake = unsafe { BorrowedFd::borrow_raw(WAKE.load(Ordering::Relaxed)) };
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

/// Never reached, which `proofs/no-panic` shows of netbind; the language asks for it.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: `ud2` ends the process by SIGILL.
    unsafe { asm!("ud2", options(noreturn)) }
}
