//! A listening socket in use: clients of every family reach it, and it tells who they are and where it listens.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use netbind::error::Step;
use netbind::sockaddr::SockAddr;
use netbind::{
    AuditRing, BindAddress, ListenOptions, Listener, NetBind, listen, listen_with_capability,
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, socket};

use crate::support::kernel::{bound_bytes, is_close_on_exec, is_nonblocking};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated, isolated_network};

fn address_of(listener: &Listener<&Arena>) -> SocketAddr {
    listener.local_address().unwrap().to_socket_addr().unwrap()
}

/// Sends a word each way, so that the connection is known to be this one.
fn talk(client: &mut (impl Read + Write), server: OwnedFd) {
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
fn a_tcp_client_is_accepted_under_its_own_address() {
    for address in ["127.0.0.1:0", "127.8.9.10:0", "[::1]:0", "[::1%1]:0"] {
        let arena = Arena::new();
        let listener = listen(address, &arena).unwrap();
        let mut client = TcpStream::connect(address_of(&listener)).unwrap();
        let (server, peer) = listener.accept().unwrap();
        assert_eq!(peer.unwrap().to_socket_addr(), client.local_addr().ok(), "{address}");
        talk(&mut client, server);
        listener.close().unwrap();
    }
}

#[test]
fn a_wildcard_takes_clients_of_every_local_address() {
    for (address, hosts) in [(":0", ["127.0.0.1", "127.1.2.3"]), ("[::]:0", ["[::1]", "[::1]"])] {
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
}

#[test]
fn a_unix_client_without_a_name_is_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let arena = Arena::new();
    let listener = listen(path.to_str().unwrap(), &arena).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(peer, None);
    talk(&mut client, server);
}

#[test]
fn a_unix_client_with_a_name_is_told_by_it() {
    let directory = tempfile::tempdir().unwrap();
    let (server_path, client_path) = (directory.path().join("s"), directory.path().join("c"));
    let arena = Arena::new();
    let servers = [
        (format!("unix:{}", server_path.display()), SocketAddrUnix::new(&server_path).unwrap()),
        (
            "unix:@netbind-named".into(),
            SocketAddrUnix::new_abstract_name(b"netbind-named").unwrap(),
        ),
    ];
    for (address, server) in servers {
        let listener = listen(&address, &arena).unwrap();
        let clients = [
            (format!("unix:{}", client_path.display()), SocketAddrUnix::new(&client_path).unwrap()),
            (
                "unix:@netbind-client".into(),
                SocketAddrUnix::new_abstract_name(b"netbind-client").unwrap(),
            ),
        ];
        for (name, client) in clients {
            let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
            bind(&socket, &client).unwrap();
            connect(&socket, &server).unwrap();
            let (_connection, peer) = listener.accept().unwrap();
            assert_eq!(peer, Some(BindAddress::parse(name).unwrap()), "{address}");
            let _ = std::fs::remove_file(&client_path);
        }
    }
}

#[test]
fn a_unix_client_with_a_path_of_108_bytes_is_accepted_without_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let padding = "x".repeat(107 - directory.path().as_os_str().len());
    let client_path = directory.path().join(padding);
    assert_eq!(client_path.as_os_str().len(), 108);
    let arena = Arena::new();
    let listener = listen("unix:@netbind-108", &arena).unwrap();
    let client = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&client, &SocketAddrUnix::new(&client_path).unwrap()).unwrap();
    connect(&client, &SocketAddrUnix::new_abstract_name(b"netbind-108").unwrap()).unwrap();
    assert_eq!(listener.accept().unwrap().1, None);
}

#[test]
fn the_local_address_has_the_port_that_the_kernel_chose() {
    isolated_network(|_| {
        let arena = Arena::new();
        for address in ["127.0.0.1:0", ":0", "[::1]:0", "[::]:0"] {
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
fn the_local_address_is_the_kernels_even_if_it_drops_the_scope_id() {
    isolated(|| {
        let arena = Arena::new();
        for address in ["[::1%99]:0", "[::%7]:0"] {
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
fn the_local_address_of_a_unix_socket_is_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = format!("unix:{}/s", directory.path().display());
    let arena = Arena::new();
    for address in [&path, "unix:@netbind-local"] {
        let listener = listen(address, &arena).unwrap();
        assert_eq!(listener.local_address().unwrap().to_string(), *address);
        assert!(format!("{listener:?}").contains("Listener { fd: "));
    }
}

#[test]
fn listener_and_connection_are_not_handed_on_to_programs_that_are_started() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
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
}

type Accepted = Result<(OwnedFd, Option<BindAddress>), netbind::SocketError>;

/// Waits for a connection first, as a loop over a non-blocking listener does.
fn accept_when_ready<'a>(
    listener: &Listener<&'a Arena>,
    accept: impl Fn(&Listener<&'a Arena>) -> Accepted,
) -> OwnedFd {
    use rustix::event::{PollFd, PollFlags, poll};
    poll(&mut [PollFd::new(listener, PollFlags::IN)], None).unwrap();
    accept(listener).unwrap().0
}

#[test]
fn a_nonblocking_listener_says_that_nobody_is_waiting() {
    let arena = Arena::new();
    for address in ["127.0.0.1:0", "[::1]:0", "unix:@netbind-nobody"] {
        let listener = ListenOptions::new().nonblocking(true).listen(address, &arena).unwrap();
        for answer in [listener.accept(), listener.accept_nonblocking()] {
            let error = answer.unwrap_err();
            assert!(error.is_would_block(), "{address}: {error}");
            assert!(
                !error.is_connection_lost() && !error.is_exhausted() && !error.is_interrupted()
            );
            assert_eq!(error.step(), Some(Step::Accept));
        }
    }
}

#[test]
fn no_descriptor_stays_open_whichever_way_a_listener_ends() {
    isolated(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("unix:{}/s", directory.path().display());
        let arena = Arena::new();
        let before = descriptors();
        for address in ["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-ends"] {
            drop(listen(address, &arena).unwrap());
            assert_eq!(descriptors(), before, "dropped {address}");
            listen(address, &arena).unwrap().close().unwrap();
            assert_eq!(descriptors(), before, "closed {address}");

            let listener = listen(address, &arena).unwrap();
            let number = listener.as_raw_fd();
            let fd = OwnedFd::from(listener);
            assert_eq!(fd.as_raw_fd(), number);
            assert_eq!(descriptors().len(), before.len() + 1);
            drop(fd);
            assert_eq!(descriptors(), before, "given away {address}");
            let _ = std::fs::remove_file(directory.path().join("s"));
            assert_eq!(arena.live(), 0, "{address}");
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

#[test]
fn a_listener_can_be_shared_among_threads_and_moved_to_another() {
    let listener = listen("127.0.0.1:0", allocator_api2::alloc::Global).unwrap();
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
}
