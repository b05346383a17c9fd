//! With the feature `std`: the way into std's listeners and `std::io::Error`.

use std::io::{Error, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};

use netbind::error::{Errno, SocketOption, Step};
use netbind::{Listener, SocketError, listen};

use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated};

#[test]
fn a_tcp_listener_goes_on_as_stds_and_a_unix_one_comes_back() {
    isolated(|| {
        let arena = Arena::new();
        let before = descriptors();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = listen(address, &arena).unwrap();
            let number = listener.as_raw_fd();
            let std = TcpListener::try_from(listener).unwrap();
            assert_eq!((std.as_raw_fd(), arena.live()), (number, 0), "{address}");
            let client = TcpStream::connect(std.local_addr().unwrap()).unwrap();
            assert_eq!(std.accept().unwrap().1, client.local_addr().unwrap());
        }
        let unix = listen("unix:@netbind-std-tcp", &arena).unwrap();
        let error = TcpListener::try_from(unix).unwrap_err();
        assert_eq!(error.to_string(), "a Unix socket is not a TCP listener");
        let back: Listener<_> = error.into_listener();
        assert_eq!(back.local_address().unwrap().to_string(), "unix:@netbind-std-tcp");
        drop(back);
        assert_eq!((descriptors(), arena.live()), (before, 0));
    });
}

#[test]
fn a_unix_listener_goes_on_as_stds_with_its_path_and_a_tcp_one_comes_back() {
    isolated(|| {
        let directory = tempfile::tempdir().unwrap();
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
        let back = error.into_listener();
        assert!(back.local_address().unwrap().port().is_some());
        drop(back);
        assert_eq!(descriptors(), before);
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
fn an_io_error_of_no_errno_carries_the_whole_error() {
    for (error, kind) in [
        (SocketError::InvalidAddress, ErrorKind::InvalidInput),
        (SocketError::InvalidPort, ErrorKind::InvalidInput),
        (SocketError::InvalidOption(SocketOption::Mode), ErrorKind::Unsupported),
        (SocketError::Timeout, ErrorKind::TimedOut),
        // Unlike the kernel's EACCES, which is `PermissionDenied`.
        (SocketError::CapabilityDenied, ErrorKind::Other),
    ] {
        let io = Error::from(error);
        assert_eq!((io.raw_os_error(), io.kind()), (None, kind));
        assert_eq!(io.get_ref().and_then(|inner| inner.downcast_ref()), Some(&error));
    }
    assert_eq!(Error::from(SocketError::OutOfMemory).kind(), ErrorKind::OutOfMemory);
}
