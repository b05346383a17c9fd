//! The memory of one TCP listener: its own size, and the bytes from the caller's allocator.

use std::net::{SocketAddr, TcpListener};

use netbind::Listener;

use crate::arena::Arena;
use crate::support::report::{Budget, Row};

/// std's listener does not keep its address, so a `SocketAddr` is added to it.
pub(crate) fn rows() -> Vec<Row> {
    let arena = Arena::new();
    let listener = netbind::listen("127.0.0.1:0", &arena).unwrap();
    let own = size_of_val(&listener);
    let allocated = arena.bytes_in_use();
    drop(listener);
    assert_eq!(arena.bytes_in_use(), 0);
    assert_eq!(own, size_of::<Listener<&bumpalo::Bump>>());

    let of_std = size_of::<(TcpListener, SocketAddr)>();
    #[allow(clippy::cast_precision_loss)] // tens of bytes
    let row = |what: &str, ours: usize, peer: Option<usize>| {
        let peer = peer.map(|peer| ("`TcpListener` and `SocketAddr`", peer as f64));
        Row::exact(what, "bytes", ours as f64, peer, Budget::None)
    };
    vec![
        row("memory of a TCP listener, own", own, None),
        row("memory of a TCP listener, allocated", allocated, None),
        row("memory of a TCP listener", own + allocated, Some(of_std)),
    ]
}
