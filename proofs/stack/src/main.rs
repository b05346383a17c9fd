//! Runs sovereign listens on a painted stack, prints how deep each has gone, and fails beyond 1 KiB.
//!
//! Counted is everything below the call: netbind's frames, rustix's, the vDSO's and the allocator's, the return address,
//! and the undoing of what failed. The look-up of the vDSO, once in a process, is done before, and printed by itself.

use std::arch::asm;
use std::cell::UnsafeCell;
use std::process::ExitCode;
use std::ptr::NonNull;
use std::time::Duration;

use allocator_api2::alloc::{AllocError, Allocator, Layout};
use netbind::{
    AuditRing, CancelFlag, Clock, Context, ListenOptions, Listener, MonotonicClock, NetBind, Rights, SocketError,
};

const LIMIT: usize = 1024;
const SIZE: usize = 65536;
const PAINT: u8 = 0xa5;

#[repr(align(64))]
struct Memory(UnsafeCell<[u8; 8192]>);

// SAFETY: a block lies within the array, and each array serves one owner at a time.
unsafe impl Allocator for &Memory {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = NonNull::new(self.0.get().cast::<u8>()).filter(|_| layout.size() <= 8192 && layout.align() <= 64);
        Ok(NonNull::slice_from_raw_parts(block.ok_or(AllocError)?, layout.size()))
    }

    unsafe fn deallocate(&self, _block: NonNull<u8>, _layout: Layout) {}
}

impl Memory {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; 8192]))
    }
}

/// The deepest byte that `call` has written below the stack pointer that it was called with.
fn depth(call: &mut dyn FnMut()) -> usize {
    extern "C" fn enter(call: &mut &mut dyn FnMut()) {
        call();
    }
    let mut stack = vec![PAINT; SIZE + 16];
    let top = stack.as_mut_ptr().wrapping_add(SIZE).map_addr(|address| address & !15);
    let mut call = call;
    // SAFETY: `enter` gets a stack of its own, which is large enough and lives on; rbx, which it keeps, holds the old one.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {enter}",
            "mov rsp, r12",
            top = in(reg) top,
            enter = sym enter,
            in("rdi") &mut call,
            out("r12") _,
            clobber_abi("C"),
        );
    }
    let untouched = stack.iter().take_while(|byte| **byte == PAINT).count();
    top as usize - stack.as_ptr() as usize - untouched
}

/// One sovereign listen, with everything that it can be given.
fn listen<'m>(address: &str, options: &ListenOptions<'_>, memory: &'m Memory) -> (usize, Result<(), SocketError>) {
    let mut opened: Option<Result<Listener<&'m Memory>, SocketError>> = None;
    let empty = depth(&mut || opened = std::hint::black_box(None));
    let deepest = depth(&mut || opened = Some(options.listen(address, memory)));
    (deepest - empty.min(deepest), opened.unwrap_or(Err(SocketError::OutOfMemory)).map(drop))
}

fn main() -> ExitCode {
    let clock = MonotonicClock::new();
    let first = depth(&mut || {
        std::hint::black_box(clock.now());
    });
    println!("  {first:4} bytes  one reading of the clock");
    let (records, memory) = (Memory::new(), Memory::new());
    let ring = AuditRing::new_in(16, &records).unwrap().with_clock(&clock);
    let mut capability = NetBind::new("stack").unwrap();
    capability.grant(Rights::NET_BIND_ABSTRACT).allow_port(0).unwrap();
    let capability = capability.with_sink(&ring);
    let stop = CancelFlag::new();
    let service = Context::new(&clock).with_cancel(&stop);
    let context = service.child().with_timeout(Duration::from_secs(60));
    let sovereign = ListenOptions::new().context(&context).capability(&capability);
    let tcp = sovereign.clone().reuse_port(true).free_bind(true).keep_alive(true).no_delay(true);
    let tcp = tcp.receive_buffer(65536).send_buffer(65536).nonblocking(true);
    let path = format!("/tmp/netbind-stack-{}.sock", std::process::id());

    let cases = [
        ("IPv4", "127.0.0.1:0", &sovereign, true),
        ("IPv4, every option", "127.0.0.1:0", &tcp, true),
        ("IPv6", "[::1]:0", &sovereign, true),
        ("IPv6, every option and dual stack", "[::]:0", &tcp.clone().dual_stack(true), true),
        ("Unix path", path.as_str(), &sovereign, true),
        ("Unix path with a mode", path.as_str(), &sovereign.clone().mode(0o600), true),
        ("abstract name", "unix:@netbind-stack", &sovereign, true),
        ("denied", "127.0.0.1:22", &sovereign, false),
        ("malformed", "[::ffff:1.2.3.4]:x", &sovereign, false),
        ("refused by bind", "/no/such/directory/x.sock", &sovereign, false),
    ];
    let mut deepest = 0;
    for (name, address, options, opens) in cases {
        let (depth, opened) = listen(address, options, &memory);
        println!("  {depth:4} bytes  {name}");
        assert_eq!(opened.is_ok(), opens, "{name}: {opened:?}");
        deepest = deepest.max(depth);
    }
    println!("stack: a sovereign listen takes {deepest} bytes at most (limit {LIMIT})");
    if deepest <= LIMIT { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
