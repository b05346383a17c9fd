//! What one TCP listener takes: its own size, and what it holds of the caller's allocator.

use std::alloc::Layout;
use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator, Global};
use netbind::Listener;

use crate::support::report::{Reach, Row};

/// The global allocator, and how many bytes are out.
struct Counting(Cell<usize>);

// SAFETY: all memory is the global allocator's, which keeps the promises of the trait; the count changes none of it.
#[allow(unsafe_code)]
unsafe impl Allocator for &Counting {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.0.set(self.0.get() + layout.size());
        Global.allocate(layout)
    }

    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        self.0.set(self.0.get() - layout.size());
        // SAFETY: the caller's promise is the one that is asked for: `allocate` above got this memory there.
        unsafe { Global.deallocate(memory, layout) }
    }
}

/// std's listener does not know its address; `SocketAddr` is what std would keep it in.
pub(crate) fn rows() -> Vec<Row> {
    let counting = Counting(Cell::new(0));
    let listener = netbind::listen("127.0.0.1:0", &counting).unwrap();
    let own = size_of_val(&listener);
    let held = counting.0.get();
    drop(listener);
    assert_eq!(counting.0.get(), 0);
    assert_eq!(own, size_of::<Listener<&bumpalo::Bump>>());

    let of_std = size_of::<(TcpListener, SocketAddr)>();
    #[allow(clippy::cast_precision_loss)] // tens of bytes
    let row = |what: &str, ours: usize, peer: Option<usize>, most: f64| {
        let peer = peer.map(|peer| ("`TcpListener` and `SocketAddr`", peer as f64));
        Row::exact(what, "bytes", ours as f64, peer, Reach::Most(most))
    };
    vec![
        row("memory of a TCP listener, own", own, None, 32.0),
        row("memory of a TCP listener, allocated", held, None, 16.0),
        row("memory of a TCP listener", own + held, Some(of_std), 48.0),
    ]
}
