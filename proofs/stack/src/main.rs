//! Measures how much stack a call of `listen` uses with a context and a capability, on a painted
//! stack. Fails if a call uses more than 1.5 KiB.
//!
//! The figure includes everything below the call: the frames of netbind, rustix, the vDSO and the
//! allocator, the return address, and the clean-up after a failure. It does not include the look-up
//! of the vDSO, which happens once, earlier.

use std::arch::asm;
use std::cell::UnsafeCell;
use std::process::ExitCode;
use std::ptr::NonNull;
use std::time::Duration;

use netbind::alloc::{AllocError, Allocator, Layout};
use netbind::time::Clock;
use netbind::{
    AuditRing, CancelFlag, Context, ListenOptions, Listener, MonotonicClock, NetBind, Rights, Rule,
    SocketError,
};

/// The most bytes that one listen may use.
const LIMIT: usize = 1536;
const SIZE: usize = 65536;
const PAINT: u8 = 0xa5;

#[repr(align(64))]
struct Memory(UnsafeCell<[u8; 8192]>);

// SAFETY: a block is within the array, and each array has one owner at a time.
unsafe impl Allocator for &Memory {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() > 8192 || layout.align() > 64 {
            return Err(AllocError);
        }
        let block = NonNull::new(self.0.get().cast::<u8>()).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, _block: NonNull<u8>, _layout: Layout) {}
}

impl Memory {
    const fn new() -> Self {
        Self(UnsafeCell::new([0; 8192]))
    }
}

/// Returns how many bytes of stack `call` has used, down to the deepest byte that it has written.
fn depth(call: &mut dyn FnMut()) -> usize {
    extern "C" fn enter(call: &mut &mut dyn FnMut()) {
        call();
    }
    let mut stack = vec![PAINT; SIZE + 16];
    let top = stack.as_mut_ptr().wrapping_add(SIZE).map_addr(|address| address & !15);
    let mut call = call;
    // SAFETY: `enter` gets a stack of its own, which is large enough and outlives the call. r12 has
    // the old stack pointer, and a C function keeps r12.
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

/// Listens, and returns how many bytes of stack that has used.
fn listen<'m>(
    address: &str,
    options: &ListenOptions<'_>,
    memory: &'m Memory,
) -> (usize, Result<(), SocketError>) {
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
    capability.allow(Rule::any_abstract()).unwrap();
    let capability = capability.with_sink(&ring);
    let stop = CancelFlag::new();
    let service = Context::new(&clock).with_cancel(&stop);
    let context = service.child().with_timeout(Duration::from_secs(60));
    let checked = ListenOptions::new().context(&context).capability(&capability);
    let tcp = checked.clone().reuse_port(true).free_bind(true).keep_alive(true).no_delay(true);
    let tcp = tcp.receive_buffer(65536).send_buffer(65536).nonblocking(true);
    let directory = std::env::temp_dir();
    std::env::set_current_dir(&directory).unwrap();
    let relative = format!("unix:netbind-stack-{}.sock", std::process::id());
    let path = directory.join(&relative[5..]).into_os_string().into_string().unwrap();

    let cases = [
        ("IPv4", "127.0.0.1:0", &checked, true),
        ("IPv4, every option", "127.0.0.1:0", &tcp, true),
        ("IPv6", "[::1]:0", &checked, true),
        ("IPv6, every option and dual stack", "[::]:0", &tcp.clone().dual_stack(true), true),
        ("Unix path", path.as_str(), &checked, true),
        ("Unix path, relative", relative.as_str(), &checked, true),
        ("Unix path with a mode", path.as_str(), &checked.clone().mode(0o600), true),
        ("abstract name", "unix:@netbind-stack", &checked, true),
        ("denied", "127.0.0.1:22", &checked, false),
        ("malformed", "[::ffff:1.2.3.4]:x", &checked, false),
        ("refused by bind", "/no/such/directory/x.sock", &checked, false),
    ];
    let mut deepest = 0;
    for (name, address, options, opens) in cases {
        let (depth, opened) = listen(address, options, &memory);
        println!("  {depth:4} bytes  {name}");
        assert_eq!(opened.is_ok(), opens, "{name}: {opened:?}");
        deepest = deepest.max(depth);
    }
    println!("stack: a listen with all checks uses at most {deepest} bytes (limit {LIMIT})");
    if deepest <= LIMIT { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
