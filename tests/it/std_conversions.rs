//! With the feature `std`: conversions into std's listeners, for tokio too, and `std::io::Error`.

use std::io::{Error, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use allocator_api2::alloc::Global;
use netbind::error::{Errno, SocketOption, Step};
use netbind::{ListenOptions, Listener, SocketError, listen};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::kernel::is_nonblocking;
use crate::support::machine::{directory, openable};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated};

#[test]
fn a_tcp_listener_converts_into_stds_and_a_unix_listener_is_returned() {
    isolated(|| {
        let arena = Arena::new();
        let before = descriptors();
        for address in openable(&["127.0.0.1:0", "[::1]:0"]) {
            let listener = listen(address, &arena).unwrap();
            let number = listener.as_raw_fd();
            let std = TcpListener::try_from(listener).unwrap();
            assert_eq!((std.as_raw_fd(), arena.bytes_in_use()), (number, 0), "{address}");
            let client = TcpStream::connect(std.local_addr().unwrap()).unwrap();
            assert_eq!(std.accept().unwrap().1, client.local_addr().unwrap());
        }
        let unix = listen("unix:@netbind-std-tcp", &arena).unwrap();
        let error = TcpListener::try_from(unix).unwrap_err();
        assert_eq!(error.to_string(), "a Unix socket is not a TCP listener");
        let returned: Listener<_> = error.into_listener();
        assert_eq!(returned.local_address().unwrap().to_string(), "unix:@netbind-std-tcp");
        drop(returned);
        assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
    });
}

#[test]
fn a_unix_listener_converts_into_stds_and_a_tcp_listener_is_returned() {
    isolated(|| {
        let directory = directory();
        let path = directory.path().join("s");
        let arena = Arena::new();
        let before = descriptors();
        let std = UnixListener::try_from(listen(path.to_str().unwrap(), &arena).unwrap()).unwrap();
        let client = UnixStream::connect(&path).unwrap();
        assert!(std.accept().unwrap().1.is_unnamed());
        drop((std, client));
        assert!(path.exists(), "std never removes a path");

        let tcp = listen("127.0.0.1:0", &arena).unwrap();
        let error = UnixListener::try_from(tcp).unwrap_err();
        assert_eq!(error.to_string(), "a TCP socket is not a Unix listener");
        let returned = error.into_listener();
        assert!(returned.local_address().unwrap().port().is_some());
        drop(returned);
        assert_eq!(descriptors(), before);
    });
}

/// Runs `body` in a tokio runtime of this thread.
fn in_tokio(body: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(body);
}

/// Reads a word from the server's connection, and writes one back.
async fn answer_ping(mut connection: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let mut word = [0; 4];
    connection.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"ping");
    connection.write_all(b"pong").await.unwrap();
}

/// Writes a word to the client's connection, and reads one.
async fn ping(mut connection: impl AsyncReadExt + AsyncWriteExt + Unpin) {
    let mut word = [0; 4];
    connection.write_all(b"ping").await.unwrap();
    connection.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"pong");
}

/// The listener waits before the client connects, so tokio must be woken.
#[test]
fn tokio_accepts_tcp_clients_of_a_nonblocking_listener() {
    isolated(|| {
        for address in openable(&["127.0.0.1:0", "[::1]:0"]) {
            in_tokio(async {
                let options = ListenOptions::new().nonblocking(true);
                let listener = options.listen(address, Global).unwrap();
                assert!(is_nonblocking(&listener), "tokio would wait without a limit");
                let std = TcpListener::try_from(listener).unwrap();
                let listener = tokio::net::TcpListener::from_std(std).unwrap();
                let local = listener.local_addr().unwrap();
                let server = tokio::spawn(async move {
                    let (connection, peer) = listener.accept().await.unwrap();
                    answer_ping(connection).await;
                    peer
                });
                tokio::task::yield_now().await;
                let client = tokio::net::TcpStream::connect(local).await.unwrap();
                let client_address = client.local_addr().unwrap();
                ping(client).await;
                assert_eq!(server.await.unwrap(), client_address, "{address}");
            });
        }
    });
}

#[test]
fn tokio_accepts_unix_clients_of_a_nonblocking_listener() {
    isolated(|| {
        let directory = directory();
        let path = directory.path().join("s");
        in_tokio(async {
            let options = ListenOptions::new().nonblocking(true);
            let listener = options.listen(path.to_str().unwrap(), Global).unwrap();
            assert!(is_nonblocking(&listener), "tokio would wait without a limit");
            let std = UnixListener::try_from(listener).unwrap();
            let listener = tokio::net::UnixListener::from_std(std).unwrap();
            let server = tokio::spawn(async move {
                answer_ping(listener.accept().await.unwrap().0).await;
            });
            tokio::task::yield_now().await;
            ping(tokio::net::UnixStream::connect(&path).await.unwrap()).await;
            server.await.unwrap();
        });
    });
}

#[test]
fn an_io_error_keeps_the_errno_and_its_kind() {
    for (errno, kind) in [
        (Errno::ADDRINUSE, ErrorKind::AddrInUse),
        (Errno::ADDRNOTAVAIL, ErrorKind::AddrNotAvailable),
        (Errno::ACCESS, ErrorKind::PermissionDenied),
        (Errno::AGAIN, ErrorKind::WouldBlock),
        (Errno::INTR, ErrorKind::Interrupted),
        (Errno::NOENT, ErrorKind::NotFound),
    ] {
        let error = Error::from(SocketError::System { step: Step::Bind, errno });
        assert_eq!((error.raw_os_error(), error.kind()), (Some(errno.raw_os_error()), kind));
    }
}

#[test]
fn an_io_error_without_an_errno_contains_the_error() {
    for (error, kind) in [
        (SocketError::InvalidAddress, ErrorKind::InvalidInput),
        (SocketError::InvalidPort, ErrorKind::InvalidInput),
        (SocketError::InvalidOption(SocketOption::Mode), ErrorKind::Unsupported),
        (SocketError::Timeout, ErrorKind::TimedOut),
        // `PermissionDenied` is the kernel's `EACCES`.
        (SocketError::CapabilityDenied, ErrorKind::Other),
    ] {
        let io = Error::from(error);
        assert_eq!((io.raw_os_error(), io.kind()), (None, kind));
        assert_eq!(io.get_ref().and_then(|inner| inner.downcast_ref()), Some(&error));
    }
    assert_eq!(Error::from(SocketError::OutOfMemory).kind(), ErrorKind::OutOfMemory);
}
