//! Accepting connections that are already in the queue. std accepts on a duplicate of our
//! descriptor, so both use the same queue.

use std::hint::black_box;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use bumpalo::Bump;
use netbind::Listener;

use crate::Rows;
use crate::support::pairs::{compare, nanoseconds};
use crate::support::report::Budget;

const PAIRS: usize = 600;
/// The number of connections in the queue at the start.
const QUEUED: u32 = 16;

pub(crate) fn measure(rows: &mut Rows) {
    let memory = Bump::new();
    let ours = netbind::listen("127.0.0.1:0", &memory).unwrap();
    let of_std = TcpListener::from(rustix::io::fcntl_dupfd_cloexec(&ours, 0).unwrap());
    let address = of_std.local_addr().unwrap();
    rows.add("accept", "std", Budget::None, || {
        let from_ours = || queued(address, || accept(&ours));
        let from_std = || {
            queued(address, || {
                let (connection, peer) = of_std.accept().unwrap();
                black_box(peer);
                connection.into()
            })
        };
        compare(PAIRS, from_ours, from_std)
    });
}

fn accept(listener: &Listener<&Bump>) -> rustix::fd::OwnedFd {
    let (connection, peer) = listener.accept().unwrap();
    black_box(peer);
    connection
}

/// Returns the nanoseconds of one accept. The clients close with a reset, so that their ports are
/// free at once.
fn queued(address: SocketAddr, mut accept: impl FnMut() -> rustix::fd::OwnedFd) -> f64 {
    let clients: Vec<_> = (0..QUEUED).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut accepted = Vec::with_capacity(clients.len());
    let start = Instant::now();
    for _ in 0..QUEUED {
        accepted.push(accept());
    }
    let time = nanoseconds(start);
    for client in clients {
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    }
    time / f64::from(QUEUED)
}
