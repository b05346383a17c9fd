//! `SO_REUSEADDR` lets two sockets be bound to one port while neither listens. Who listens first has it.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use netbind::error::{Errno, Step};
use netbind::time::{Clock, Instant};
use netbind::{BindAddress, Context, ListenOptions, NetBind, listen};
use rustix::net::{AddressFamily, SocketType, accept, bind, getsockname, socket, sockopt};

use super::{connect, refused};
use crate::support::clock::DEADLINE;
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::thread::{descriptors, isolated_network};

/// A clock in whose reading of this number, counted from 1, something else happens.
struct AtReading<F> {
    readings: AtomicU64,
    at: u64,
    act: F,
}

impl<F: Fn() + Sync> Clock for AtReading<F> {
    fn now(&self) -> Instant {
        if self.readings.fetch_add(1, Ordering::Relaxed) + 1 == self.at {
            (self.act)();
        }
        Instant::from_nanos(DEADLINE.as_nanos() - 1)
    }
}

/// A socket that is bound to a port of this host and does not listen yet, and its address.
fn twin(host: &str) -> (OwnedFd, BindAddress) {
    let host: std::net::IpAddr = host.parse().unwrap();
    let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let twin = socket(family, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseaddr(&twin, true).unwrap();
    bind(&twin, &std::net::SocketAddr::new(host, 0)).unwrap();
    let bound: std::net::SocketAddr = getsockname(&twin).unwrap().try_into().unwrap();
    (twin, bound.try_into().unwrap())
}

#[test]
fn a_twin_that_listens_first_has_the_port_and_the_other_leaves_nothing() {
    isolated_network(|_| {
        for host in ["127.0.0.1", "::1"] {
            // The twin listens before the first step, or between two; behind the fourth check comes our bind.
            for (reading, step, records) in [1, 2, 3, 4]
                .map(|reading| (reading, Step::Bind, 1))
                .into_iter()
                .chain([(5, Step::Listen, 2)])
            {
                let (twin, address) = twin(host);
                let before = descriptors();
                let listens = || rustix::net::listen(&twin, 1).unwrap();
                let clock = AtReading { readings: AtomicU64::new(0), at: reading, act: listens };
                let (sink, arena) = (Lines::default(), Arena::new());
                let mut capability = NetBind::new("web").unwrap().with_sink(&sink);
                let port = address.port().unwrap();
                capability.allow_port(port).unwrap();
                let context = Context::new(&clock).with_deadline(DEADLINE);
                let options = ListenOptions::new().context(&context).capability(&capability);
                let error = options.listen_on(&address, &arena).map(drop).unwrap_err();
                assert_eq!(
                    error,
                    refused(step, Errno::ADDRINUSE),
                    "{address} at reading {reading}"
                );
                assert!(error.is_address_in_use());
                assert_eq!(
                    (descriptors(), arena.live()),
                    (before, 0),
                    "{address} at reading {reading}"
                );
                let operations = ["check_bind_address", "bind_socket"];
                let line = |operation| {
                    format!("capability=web operation={operation} port={port} result=allowed")
                };
                assert_eq!(
                    sink.take(),
                    operations.map(line)[..records],
                    "{address} at reading {reading}"
                );

                let _client = connect(&address);
                accept(&twin).expect("the twin goes on listening");
                drop(twin);
                listen(address.to_bytes(), &arena)
                    .expect("the port is free again")
                    .close()
                    .unwrap();
            }
        }
    });
}

#[test]
fn a_twin_that_listens_later_does_not_take_the_port_away() {
    isolated_network(|_| {
        for host in ["127.0.0.1", "::1"] {
            let (twin, address) = twin(host);
            let arena = Arena::new();
            let listener = listen(address.to_bytes(), &arena).unwrap();
            assert_eq!(
                rustix::net::listen(&twin, 1),
                Err(rustix::io::Errno::ADDRINUSE),
                "{address}"
            );
            let _client = connect(&address);
            listener.accept().unwrap();
        }
    });
}
