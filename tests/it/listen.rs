//! A listening socket in use: clients of every family reach it, and it returns their addresses and
//! its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use allocator_api2::alloc::Global;
use netbind::error::{Errno, Step};
use netbind::sockaddr::SockAddr;
use netbind::{
    AuditRing, BindAddress, ListenOptions, Listener, NetBind, SocketError, listen,
    listen_with_capability,
};

use crate::support::kernel::{bound_bytes, is_close_on_exec, is_nonblocking};
use crate::support::machine::{can_open, directory, openable};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated, isolated_network};

fn address_of(listener: &Listener<&Arena>) -> SocketAddr {
    listener.local_address().unwrap().to_socket_addr().unwrap()
}

/// Sends a word in both directions, which proves that the two ends are one connection.
pub(crate) fn talk(client: &mut (impl Read + Write), server: OwnedFd) {
    let mut server = std::fs::File::from(server);
    let mut word = [0; 4];
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ping");
    server.write_all(b"pong").unwrap();
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"pong");
}

#[test]
fn accept_returns_the_address_of_a_tcp_client() {
    isolated(|| {
        for address in openable(&["127.0.0.1:0", "127.8.9.10:0", "[::1]:0", "[::1%1]:0"]) {
            let arena = Arena::new();
            let listener = listen(address, &arena).unwrap();
            let mut client = TcpStream::connect(address_of(&listener)).unwrap();
            let (server, peer) = listener.accept().unwrap();
            assert_eq!(peer.unwrap().to_socket_addr(), client.local_addr().ok(), "{address}");
            talk(&mut client, server);
            listener.close().unwrap();
        }
    });
}

#[test]
fn a_wildcard_accepts_clients_of_every_local_address() {
    isolated(|| {
        let wildcards = [(":0", ["127.0.0.1", "127.1.2.3"]), ("[::]:0", ["[::1]", "[::1]"])];
        for (address, hosts) in wildcards.into_iter().filter(|(address, _)| can_open(address)) {
            let arena = Arena::new();
            let listener = listen(address, &arena).unwrap();
            for host in hosts {
                let mut client =
                    TcpStream::connect(format!("{host}:{}", address_of(&listener).port())).unwrap();
                let (server, peer) = listener.accept().unwrap();
                assert_eq!(peer.unwrap().to_socket_addr(), client.local_addr().ok(), "{address}");
                talk(&mut client, server);
            }
        }
    });
}

/// The kernel binds these addresses, although no TCP client can reach them.
#[test]
fn ipv4_multicast_and_broadcast_addresses_bind() {
    isolated(|| {
        for address in ["224.0.0.1:0", "255.255.255.255:0"] {
            let arena = Arena::new();
            let listener = listen(address, &arena).expect(address);
            let local = listener.local_address().unwrap();
            assert_eq!(local.ip(), BindAddress::parse(address).unwrap().ip());
            assert_ne!(local.port(), Some(0));
        }
    });
}

#[test]
fn an_ipv6_multicast_address_is_an_invalid_argument() {
    isolated(|| {
        if !can_open("[::1]:0") {
            return;
        }
        let (arena, before) = (Arena::new(), descriptors());
        let error = listen("[ff02::1%1]:0", &arena).map(drop).unwrap_err();
        assert_eq!(error, SocketError::System { step: Step::Bind, errno: Errno::INVAL });
        assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
    });
}

#[test]
fn the_local_address_has_the_port_that_the_kernel_chose() {
    isolated_network(|_| {
        let arena = Arena::new();
        for address in openable(&["127.0.0.1:0", ":0", "[::1]:0", "[::]:0"]) {
            let listener = listen(address, &arena).unwrap();
            let local = listener.local_address().unwrap();
            assert_eq!(local.ip(), BindAddress::parse(address).unwrap().ip());
            assert_ne!(local.port(), Some(0));

            let port = local.port();
            drop(listener);
            let again = ListenOptions::new().listen_on(&local, &arena).unwrap();
            assert_eq!(again.local_address().unwrap().port(), port, "{address}");
        }
    });
}

/// The kernel ignores the scope id of an address that is not link-local.
#[test]
fn the_local_address_has_no_scope_id_that_the_kernel_ignored() {
    isolated(|| {
        let arena = Arena::new();
        for address in openable(&["[::1%99]:0", "[::%7]:0"]) {
            let ring = AuditRing::new_in(4, &arena).unwrap();
            let mut capability = NetBind::new("test").unwrap().with_sink(&ring);
            capability.allow_port(0).unwrap();
            let plain = listen(address, &arena).unwrap();
            let audited = listen_with_capability(address, &capability, &arena).unwrap();
            for listener in [plain, audited] {
                let local = listener.local_address().unwrap();
                let bound = bound_bytes(&listener);
                let sockaddr = SockAddr::new_in(&local, &arena).unwrap();
                assert_eq!(sockaddr.as_bytes(), bound, "{address}");
                assert!(!local.to_string().contains('%'), "{local}");
            }
        }
    });
}

#[test]
fn the_local_address_of_a_unix_socket_is_its_path_or_name() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        let arena = Arena::new();
        for address in [&path, "unix:@netbind-local"] {
            let listener = listen(address, &arena).unwrap();
            assert_eq!(listener.local_address().unwrap().to_string(), *address);
            assert!(format!("{listener:?}").contains("Listener { fd: "));
        }
    });
}

#[test]
fn a_started_program_inherits_neither_a_listener_nor_a_connection() {
    isolated(|| {
        for address in openable(&["127.0.0.1:0", "[::1]:0"]) {
            let arena = Arena::new();
            for nonblocking in [false, true] {
                let listener =
                    ListenOptions::new().nonblocking(nonblocking).listen(address, &arena).unwrap();
                assert!(is_close_on_exec(&listener));
                assert_eq!(is_nonblocking(&listener), nonblocking);
                let _clients = [(); 2].map(|()| TcpStream::connect(address_of(&listener)).unwrap());
                let blocking = accept_when_ready(&listener, Listener::accept);
                assert!(is_close_on_exec(&blocking) && !is_nonblocking(&blocking));
                let nonblocking = accept_when_ready(&listener, Listener::accept_nonblocking);
                assert!(is_close_on_exec(&nonblocking) && is_nonblocking(&nonblocking));
            }
        }
    });
}

type Accepted = Result<(OwnedFd, Option<BindAddress>), SocketError>;

/// Waits for a connection before it accepts, as a non-blocking listener needs.
fn accept_when_ready<'a>(
    listener: &Listener<&'a Arena>,
    accept: impl Fn(&Listener<&'a Arena>) -> Accepted,
) -> OwnedFd {
    use rustix::event::{PollFd, PollFlags, poll};
    poll(&mut [PollFd::new(listener, PollFlags::IN)], None).unwrap();
    accept(listener).unwrap().0
}

#[test]
fn a_nonblocking_listener_without_a_client_returns_would_block() {
    isolated(|| {
        let arena = Arena::new();
        for address in openable(&["127.0.0.1:0", "[::1]:0", "unix:@netbind-no-client"]) {
            let listener = ListenOptions::new().nonblocking(true).listen(address, &arena).unwrap();
            assert!(is_nonblocking(&listener), "accept would wait without a limit");
            for answer in [listener.accept(), listener.accept_nonblocking()] {
                let error = answer.unwrap_err();
                assert!(error.is_would_block(), "{address}: {error}");
                assert!(!error.is_connection_lost());
                assert!(!error.is_exhausted() && !error.is_interrupted());
                assert_eq!(error.step(), Some(Step::Accept));
            }
        }
    });
}

#[test]
fn a_listener_that_ends_in_any_way_leaves_no_descriptor_open() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        let arena = Arena::new();
        let before = descriptors();
        for address in openable(&["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-ends"]) {
            drop(listen(address, &arena).unwrap());
            assert_eq!(descriptors(), before, "drop of {address}");
            listen(address, &arena).unwrap().close().unwrap();
            assert_eq!(descriptors(), before, "close of {address}");

            let listener = listen(address, &arena).unwrap();
            let number = listener.as_raw_fd();
            let fd = OwnedFd::from(listener);
            assert_eq!(fd.as_raw_fd(), number);
            assert_eq!(descriptors().len(), before.len() + 1);
            drop(fd);
            assert_eq!(descriptors(), before, "descriptor of {address}");
            let _ = std::fs::remove_file(directory.path().join("s"));
            assert_eq!(arena.bytes_in_use(), 0, "{address}");
        }
    });
}

#[test]
fn a_closed_listener_refuses_clients() {
    isolated_network(|_| {
        let arena = Arena::new();
        let listener = listen("127.0.0.1:0", &arena).unwrap();
        let address = address_of(&listener);
        listener.close().unwrap();
        assert_eq!(
            TcpStream::connect(address).unwrap_err().kind(),
            std::io::ErrorKind::ConnectionRefused
        );
    });
}

/// The build fails if a value is not `Send` and `Sync`.
fn assert_send_and_sync<T: Send + Sync>(_: &T) {}

#[test]
fn threads_can_share_a_listener_and_send_it() {
    isolated(|| {
        let listener = listen("127.0.0.1:0", Global).unwrap();
        assert_send_and_sync(&listener);
        let address = listener.local_address().unwrap().to_socket_addr().unwrap();
        std::thread::scope(|scope| {
            let acceptors = [(); 2].map(|()| scope.spawn(|| listener.accept().unwrap().1.unwrap()));
            let clients = [(); 2].map(|()| TcpStream::connect(address).unwrap());
            let mut peers =
                acceptors.map(|acceptor| acceptor.join().unwrap().to_socket_addr().unwrap());
            let mut expected = clients.map(|client| client.local_addr().unwrap());
            peers.sort();
            expected.sort();
            assert_eq!(peers, expected);
        });
        std::thread::spawn(move || listener.close().unwrap()).join().unwrap();
    });
}
