//! Two sockets with `SO_REUSEADDR` can be bound to one port while neither listens. The first that
//! listens gets the port.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use netbind::error::{Errno, Step};
use netbind::time::{Clock, Instant};
use netbind::{BindAddress, Context, ListenOptions, NetBind, listen};
use rustix::net::{AddressFamily, SocketType, accept, bind, getsockname, socket, sockopt};

use super::{connect, system_error};
use crate::support::clock::DEADLINE;
use crate::support::machine::can_open;
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::thread::{descriptors, isolated_network};

/// A clock that calls `act` in one reading, counted from 1.
struct AtReading<F> {
    readings: AtomicU32,
    at: u64,
    act: F,
}

impl<F: Fn() + Sync> Clock for AtReading<F> {
    fn now(&self) -> Instant {
        if u64::from(self.readings.fetch_add(1, Ordering::Relaxed)) + 1 == self.at {
            (self.act)();
        }
        Instant::from_nanos(DEADLINE.as_nanos() - 1)
    }
}

/// Returns a socket that is bound to a port of this host and does not listen, and its address.
fn bound_socket(host: &str) -> (OwnedFd, BindAddress) {
    let host: std::net::IpAddr = host.parse().unwrap();
    let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let other = socket(family, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&other, true).unwrap();
    bind(&other, &std::net::SocketAddr::new(host, 0)).unwrap();
    let bound: std::net::SocketAddr = getsockname(&other).unwrap().try_into().unwrap();
    (other, bound.try_into().unwrap())
}

/// The hosts of the tests.
fn hosts() -> &'static [&'static str] {
    if can_open("[::1]:0") { &["127.0.0.1", "::1"] } else { &["127.0.0.1"] }
}

#[test]
fn a_port_that_another_socket_got_first_is_in_use_and_nothing_is_left() {
    isolated_network(|_| {
        for host in hosts() {
            // The other socket listens before the first step, or between two. Our bind comes after
            // the fourth check.
            for (reading, step, records) in [1, 2, 3, 4]
                .map(|reading| (reading, Step::Bind, 1))
                .into_iter()
                .chain([(5, Step::Listen, 2)])
            {
                let (other, address) = bound_socket(host);
                let before = descriptors();
                let listens = || rustix::net::listen(&other, 1).unwrap();
                let clock = AtReading { readings: AtomicU32::new(0), at: reading, act: listens };
                let (sink, arena) = (Lines::default(), Arena::new());
                let mut capability = NetBind::new("web").unwrap().with_sink(&sink);
                let port = address.port().unwrap();
                capability.allow_port(port).unwrap();
                let context = Context::new(&clock).with_deadline(DEADLINE);
                let options = ListenOptions::new().context(&context).capability(&capability);
                let error = options.listen_on(&address, &arena).map(drop).unwrap_err();
                assert_eq!(
                    error,
                    system_error(step, Errno::ADDRINUSE),
                    "{address} at reading {reading}"
                );
                assert!(error.is_address_in_use());
                assert_eq!(
                    (descriptors(), arena.bytes_in_use()),
                    (before, 0),
                    "{address} at reading {reading}"
                );
                let operations = ["check_bind_address", "bind_socket"];
                let line = |operation| {
                    format!(
                        "capability=web operation={operation} address={address} port={port} \
                         result=allowed"
                    )
                };
                assert_eq!(
                    sink.take(),
                    operations.map(line)[..records],
                    "{address} at reading {reading}"
                );

                let _client = connect(&address);
                accept(&other).expect("the other socket still listens");
                drop(other);
                listen(address.to_bytes(), &arena).expect("the port is free").close().unwrap();
            }
        }
    });
}

#[test]
fn a_socket_that_listens_later_does_not_get_the_port() {
    isolated_network(|_| {
        for host in hosts() {
            let (other, address) = bound_socket(host);
            let arena = Arena::new();
            let listener = listen(address.to_bytes(), &arena).unwrap();
            assert_eq!(
                rustix::net::listen(&other, 1),
                Err(rustix::io::Errno::ADDRINUSE),
                "{address}"
            );
            let _client = connect(&address);
            listener.accept().unwrap();
        }
    });
}
