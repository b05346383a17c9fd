//! The addresses of Unix clients, as `accept` returns them.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use netbind::{BindAddress, listen};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, getsockname, socket};

use crate::listen::talk;
use crate::support::machine::directory;
use crate::support::memory::Arena;
use crate::support::thread::isolated;

/// Connects a client that is bound to `client`.
fn connect_from(client: &SocketAddrUnix, server: &SocketAddrUnix) -> OwnedFd {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&socket, client).unwrap();
    connect(&socket, server).unwrap();
    socket
}

fn abstract_name(name: &str) -> SocketAddrUnix {
    SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()
}

#[test]
fn a_unix_client_without_a_name_has_no_address() {
    isolated(|| {
        let directory = directory();
        let path = directory.path().join("s");
        let arena = Arena::new();
        let listener = listen(path.to_str().unwrap(), &arena).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        let (server, peer) = listener.accept().unwrap();
        assert_eq!(peer, None);
        talk(&mut client, server);
    });
}

#[test]
fn accept_returns_the_path_or_name_of_a_unix_client() {
    isolated(|| {
        let directory = directory();
        let (server_path, client_path) = (directory.path().join("s"), directory.path().join("c"));
        let arena = Arena::new();
        let servers = [
            (format!("unix:{}", server_path.display()), SocketAddrUnix::new(&server_path).unwrap()),
            ("unix:@netbind-named".into(), abstract_name("netbind-named")),
        ];
        for (address, server) in servers {
            let listener = listen(&address, &arena).unwrap();
            let path = format!("unix:{}", client_path.display());
            for (expected, client) in [
                (path.as_str(), SocketAddrUnix::new(&client_path).unwrap()),
                ("unix:@netbind-client", abstract_name("netbind-client")),
            ] {
                let _client = connect_from(&client, &server);
                let (_connection, peer) = listener.accept().unwrap();
                assert_eq!(peer, Some(BindAddress::parse(expected).unwrap()), "{address}");
            }
            std::fs::remove_file(&client_path).unwrap();
        }
    });
}

#[test]
fn a_unix_client_with_a_path_of_108_bytes_has_no_address() {
    isolated(|| {
        let directory = directory();
        let padding = "x".repeat(107 - directory.path().as_os_str().len());
        let client_path = directory.path().join(padding);
        assert_eq!(client_path.as_os_str().len(), 108);
        let arena = Arena::new();
        let listener = listen("unix:@netbind-108", &arena).unwrap();
        let client = SocketAddrUnix::new(&client_path).unwrap();
        let _client = connect_from(&client, &abstract_name("netbind-108"));
        assert_eq!(listener.accept().unwrap().1, None);
    });
}

/// The text of such a path would mean an abstract name, which another process could own.
#[test]
fn a_unix_client_with_a_path_that_begins_with_at_is_not_an_abstract_name() {
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let arena = Arena::new();
        let listener = listen("unix:@netbind-at", &arena).unwrap();
        for path in ["@", "@netbind-client"] {
            let client = SocketAddrUnix::new(path).unwrap();
            let client = connect_from(&client, &abstract_name("netbind-at"));
            let bound = SocketAddrUnix::try_from(getsockname(&client).unwrap()).unwrap();
            assert_eq!(bound.path_bytes(), Some(path.as_bytes()), "the client has a path");
            let (_connection, peer) = listener.accept().unwrap();
            assert_eq!(peer, None, "{path}");
        }
    });
}
