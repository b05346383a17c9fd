//! The start of the program, its arguments, the panic handler and the signals.

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};
use core::mem::forget;
use core::sync::atomic::{AtomicI32, Ordering};

use netbind::CancelFlag;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

global_asm!(include_str!("start.s"));

/// Set by SIGINT and SIGTERM.
pub static STOP: CancelFlag = CancelFlag::new();

/// The descriptor that the signal handler writes to. It wakes a wait that begins after the signal.
/// It is set before the handler is installed, so the 0 is never used.
static WAKE: AtomicI32 = AtomicI32::new(0);

/// The arguments of the program, without its name.
#[derive(Clone, Copy)]
pub struct Arguments(*const *const c_char);

impl Iterator for Arguments {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        // SAFETY: argv ends with a null pointer, and this does not go past it.
        let argument = unsafe { *self.0 };
        if argument.is_null() {
            return None;
        }
        // SAFETY: it was not null, so the array continues.
        self.0 = unsafe { self.0.add(1) };
        // SAFETY: the kernel's arguments end with a NUL byte, and are never changed or freed.
        Some(unsafe { CStr::from_ptr(argument) }.to_bytes())
    }
}

/// Called by `_start` with the stack that the kernel made.
#[unsafe(no_mangle)]
unsafe extern "C" fn start(stack: *const usize) -> i32 {
    // SAFETY: the first word is argc.
    let argc = unsafe { *stack };
    // SAFETY: argv follows argc.
    let argv: *const *const c_char = unsafe { stack.add(1) }.cast();
    // A program can be started without a name; then argc is 0.
    // SAFETY: argv has argc pointers and a null pointer.
    let arguments = Arguments(unsafe { argv.add(argc.min(1)) });
    crate::main(arguments)
}

/// Makes an epoll descriptor that is greater than 2.
///
/// If a standard descriptor was closed at the start, the next socket would get its number, and the
/// output would be written to that socket. So epoll descriptors take these numbers first: they can
/// be neither read nor written. Unlike `/dev/null`, they also work before `/dev` is mounted.
pub fn epoll_above_stdio() -> rustix::io::Result<OwnedFd> {
    loop {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        if epoll.as_raw_fd() > 2 {
            return Ok(epoll);
        }
        forget(epoll);
    }
}

/// The kernel's `struct sigaction`.
#[repr(C)]
struct SigAction {
    handler: usize,
    flags: u64,
    restorer: unsafe extern "C" fn(),
    mask: u64,
}

unsafe extern "C" {
    fn return_from_signal();
}

/// Makes SIGINT and SIGTERM set [`STOP`], and ignores SIGPIPE.
///
/// Returns a descriptor that is readable after SIGINT or SIGTERM.
#[inline(never)]
pub fn catch_signals() -> rustix::io::Result<BorrowedFd<'static>> {
    const SIGINT: i32 = 2;
    const SIGPIPE: i32 = 13;
    const SIGTERM: i32 = 15;
    const SIG_IGN: usize = 1;
    const SA_RESTORER: u64 = 0x0400_0000;
    let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?.into_raw_fd();
    WAKE.store(wake, Ordering::Relaxed);
    let stop = on_signal as extern "C" fn(i32) as usize;
    for (signal, handler) in [(SIGINT, stop), (SIGTERM, stop), (SIGPIPE, SIG_IGN)] {
        let action =
            SigAction { handler, flags: SA_RESTORER, restorer: return_from_signal, mask: 0 };
        // SAFETY: rt_sigaction reads `action` and changes only the action of the signal. It cannot
        // fail for these signals.
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
    // SAFETY: the descriptor is never closed.
    Ok(unsafe { BorrowedFd::borrow_raw(wake) })
}

/// The signal handler. An atomic store and a write are async-signal-safe.
extern "C" fn on_signal(_signal: i32) {
    STOP.cancel();
    // SAFETY: the descriptor is never closed.
    let wake = unsafe { BorrowedFd::borrow_raw(WAKE.load(Ordering::Relaxed)) };
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

/// Required by the language. The panics that are linked are assertions of rustix about the kernel's
/// return values, which never fail.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: `ud2` ends the process with SIGILL.
    unsafe { asm!("ud2", options(noreturn)) }
}
