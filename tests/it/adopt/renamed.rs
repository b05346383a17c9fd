//! Unix sockets that were renamed since their bind. The kernel goes on reporting the old path.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use netbind::error::{Errno, Step};
use netbind::{BindAddress, ListenOptions, Listener, NetBind, Rights, SocketError};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

use super::{
    FLAGS, abstract_name, allow_all, assert_accepts, flags, foreign, set_close_on_exec,
    set_nonblocking,
};
use crate::support::kernel::{is_close_on_exec, is_nonblocking};
use crate::support::machine::{directory, has_sock_diag, skip};
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::thread::{descriptors, isolated, private_network};

pub(super) const ANOTHER_FILE: SocketError =
    SocketError::System { step: Step::Adopt, errno: Errno::ADDRNOTAVAIL };

const fn no_file(errno: Errno) -> SocketError {
    SocketError::System { step: Step::Stat, errno }
}

/// Runs `body` in an empty working directory, unless there is no `sock_diag`.
pub(super) fn in_directory(body: impl FnOnce(&Path) + Send) {
    isolated(|| {
        if has_sock_diag() {
            let directory = directory();
            std::env::set_current_dir(directory.path()).unwrap();
            body(directory.path());
        }
    });
}

/// Opens a socket at `a` that is now at `b`.
pub(super) fn renamed() -> OwnedFd {
    let fd = foreign("unix:a");
    fs::rename("a", "b").unwrap();
    fd
}

pub(super) fn address(text: &str) -> BindAddress {
    text.parse().unwrap()
}

pub(super) fn adopt_as<'a>(fd: OwnedFd, text: &str, arena: &'a Arena) -> Listener<&'a Arena> {
    ListenOptions::new().adopt_as(fd, &address(text), arena).unwrap()
}

/// Returns the error of an adoption, which must leave the descriptor as it was.
pub(super) fn refuse(fd: OwnedFd, address: &BindAddress) -> SocketError {
    set_close_on_exec(&fd, false);
    set_nonblocking(&fd, false);
    let (before, open, arena) = (flags(&fd), descriptors(), Arena::new());
    let options = ListenOptions::new().nonblocking(true);
    let error = options.adopt_as(fd, address, &arena).unwrap_err();
    let reason = error.error();
    let fd = error.into_fd();
    assert_eq!((flags(&fd), descriptors(), arena.bytes_in_use()), (before, open, 0), "{address}");
    reason
}

#[test]
fn a_renamed_socket_is_decided_and_recorded_under_its_new_path() {
    in_directory(|directory| {
        let [old, new] = ["a", "b"].map(|name| format!("{}/{name}", directory.display()));
        let (sink, arena) = (Lines::default(), Arena::new());
        let line = |operation, result| {
            format!(
                "capability=web operation={operation} address=unix:{new} port=none result={result}"
            )
        };
        let only = |path| {
            let mut capability = NetBind::empty("web").unwrap().with_sink(&sink);
            capability.grant(Rights::NET_BIND);
            capability.allow(format!("path {path}").parse().unwrap()).unwrap();
            capability
        };
        let bound_to_old = || {
            let fd = foreign(&old);
            fs::rename(&old, &new).unwrap();
            fd
        };
        let allowed = only(&new);
        let options = ListenOptions::new().capability(&allowed).nonblocking(true);
        let listener = options.adopt_as(bound_to_old(), &address(&new), &arena).unwrap();
        let records = ["check_bind_address", "adopt_socket"];
        assert_eq!(sink.take(), records.map(|operation| line(operation, "allowed")));
        // Under the path that the kernel reports, it is denied.
        let error = options.adopt(listener.into_fd(), &arena).unwrap_err();
        assert_eq!(error.error(), SocketError::CapabilityDenied);
        assert!(sink.take()[0].contains(&format!(" address=unix:{old} port=none result=denied")));

        let denied = only(&old);
        let options = ListenOptions::new().capability(&denied).nonblocking(true);
        let fd = bound_to_old();
        let before = flags(&fd);
        let error = options.adopt_as(fd, &address(&new), &arena).unwrap_err();
        assert_eq!(error.error(), SocketError::CapabilityDenied);
        assert_eq!((flags(error.into_fd()), arena.bytes_in_use()), (before, 0));
        assert_eq!(sink.take(), [line("check_bind_address", "denied")]);
    });
}

#[test]
fn a_renamed_socket_is_made_close_on_exec_and_non_blocking_on_request() {
    in_directory(|_| {
        for ([close_on_exec, nonblocking], option) in
            FLAGS.into_iter().flat_map(|flags| [(flags, false), (flags, true)])
        {
            let (fd, arena) = (renamed(), Arena::new());
            set_close_on_exec(&fd, close_on_exec);
            set_nonblocking(&fd, nonblocking);
            let options = ListenOptions::new().nonblocking(option);
            let listener = options.adopt_as(fd, &address("unix:b"), &arena).unwrap();
            assert!(is_close_on_exec(&listener));
            assert_eq!(is_nonblocking(&listener), nonblocking || option);
        }
    });
}

#[test]
fn a_renamed_socket_comes_back_if_the_allocator_refuses() {
    in_directory(|_| {
        let (fd, arena) = (renamed(), Arena::refusing_from(1));
        let before = flags(&fd);
        let error = ListenOptions::new().adopt_as(fd, &address("unix:b"), &arena).unwrap_err();
        assert_eq!(error.error(), SocketError::OutOfMemory);
        assert_eq!(flags(error.into_fd()), before);
    });
}

/// The kernel reports a path that this crate has no form for.
#[test]
fn a_renamed_socket_is_adopted_whatever_its_old_path() {
    in_directory(|_| {
        for old in ["@", &"x".repeat(108)] {
            let fd = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
            bind(&fd, &SocketAddrUnix::new(old).unwrap()).unwrap();
            listen(&fd, 1).unwrap();
            fs::rename(old, "b").unwrap();
            let arena = Arena::new();
            let mut listener = adopt_as(fd, "unix:b", &arena);
            assert_accepts(&listener);
            listener.remove_path(true).unwrap();
        }
        assert!(!fs::exists("b").unwrap());
    });
}

#[test]
fn a_socket_is_adopted_by_each_of_its_names() {
    in_directory(|_| {
        let fd = foreign("unix:a");
        fs::create_dir("d").unwrap();
        fs::hard_link("a", "d/b").unwrap();
        symlink("d", "link").unwrap();
        for text in ["unix:a", "unix:d/b", "unix:./d/../d//b", "unix:link/b"] {
            let arena = Arena::new();
            let listener = adopt_as(fd.try_clone().unwrap(), text, &arena);
            assert_eq!(listener.local_address(), Ok(address(text)));
            assert_accepts(&listener);
        }
    });
}

/// A server moves its socket away, and its successor binds the old path.
#[test]
fn the_successor_at_the_old_path_is_not_taken_for_the_renamed_socket() {
    in_directory(|_| {
        let old = renamed();
        let _successor = UnixListener::bind("a").unwrap();
        assert_eq!(refuse(old.try_clone().unwrap(), &address("unix:a")), ANOTHER_FILE);
        let arena = Arena::new();
        let mut by_old_path = ListenOptions::new().adopt(old.try_clone().unwrap(), &arena).unwrap();
        assert_eq!(by_old_path.remove_path(true), Err(ANOTHER_FILE));
        drop(by_old_path);
        let mut listener = adopt_as(old, "unix:b", &arena);
        listener.remove_path(true).unwrap();
        drop(listener);
        assert_eq!([fs::exists("a").unwrap(), fs::exists("b").unwrap()], [true, false]);
    });
}

#[test]
fn another_file_at_the_path_is_refused_and_stays() {
    type Replacement = (&'static str, fn(), SocketError);
    const REPLACEMENTS: &[Replacement] = &[
        ("no file", || {}, no_file(Errno::NOENT)),
        ("another socket", || drop(UnixListener::bind("b").unwrap()), ANOTHER_FILE),
        ("a file", || fs::write("b", "foreign").unwrap(), ANOTHER_FILE),
        ("a directory", || fs::create_dir("b").unwrap(), ANOTHER_FILE),
        ("a link to the socket", || symlink("moved", "b").unwrap(), ANOTHER_FILE),
        ("a dangling link", || symlink("missing", "b").unwrap(), ANOTHER_FILE),
    ];
    for (case, replace, error) in REPLACEMENTS {
        in_directory(|_| {
            let fd = renamed();
            fs::rename("b", "moved").unwrap();
            replace();
            let inode = || fs::symlink_metadata("b").map(|file| file.ino()).ok();
            let before = inode();
            assert_eq!(refuse(fd, &address("unix:b")), *error, "{case}");
            assert_eq!(inode(), before, "{case}");
        });
    }
}

#[test]
fn a_path_without_its_directory_is_an_error() {
    in_directory(|_| {
        fs::write("file", "").unwrap();
        assert_eq!(refuse(renamed(), &address("unix:d/b")), no_file(Errno::NOENT));
        fs::remove_file("b").unwrap();
        assert_eq!(refuse(renamed(), &address("unix:file/b")), no_file(Errno::NOTDIR));
    });
}

/// A socket without a file can be neither of these.
#[test]
fn a_socket_whose_file_was_removed_is_refused() {
    in_directory(|_| {
        let fd = foreign("unix:a");
        fs::remove_file("a").unwrap();
        assert_eq!(refuse(fd.try_clone().unwrap(), &address("unix:a")), no_file(Errno::NOENT));
        let _other = UnixListener::bind("a").unwrap();
        assert_eq!(refuse(fd, &address("unix:a")), ANOTHER_FILE);
    });
}

#[test]
fn an_address_without_a_path_is_invalid() {
    in_directory(|_| {
        let name = abstract_name("renamed");
        for text in ["127.0.0.1:0", "[::1]:0", ":0", &name] {
            assert_eq!(refuse(renamed(), &address(text)), SocketError::InvalidAddress, "{text}");
            fs::remove_file("b").unwrap();
        }
    });
}

#[test]
fn a_socket_without_a_path_is_invalid() {
    in_directory(|_| {
        let _socket = UnixListener::bind("b").unwrap();
        let tcp = || TcpListener::bind("127.0.0.1:0").unwrap().into();
        for text in ["unix:b", "unix:missing"] {
            assert_eq!(refuse(tcp(), &address(text)), SocketError::InvalidAddress, "{text}");
            let name = foreign(&abstract_name("renamed-name"));
            assert_eq!(refuse(name, &address(text)), SocketError::InvalidAddress, "{text}");
        }
        let to_tcp = refuse(tcp(), &address("127.0.0.1:1"));
        assert_eq!(to_tcp, SocketError::InvalidAddress);
    });
}

/// `sock_diag` shows the sockets of one network only.
#[test]
fn a_renamed_socket_of_another_network_is_refused() {
    in_directory(|_| {
        if !rustix::process::geteuid().is_root() {
            return skip("another network, which needs root");
        }
        let fd = renamed();
        private_network();
        let unknown = SocketError::System { step: Step::Diag, errno: Errno::NOENT };
        assert_eq!(refuse(fd, &address("unix:b")), unknown);
    });
}

#[test]
fn adopting_a_renamed_socket_uses_only_the_callers_allocator() {
    in_directory(|_| {
        let (fd, new, arena) = (renamed(), address("unix:b"), Arena::new());
        let capability = allow_all();
        let options = ListenOptions::new().capability(&capability);
        let before = crate::support::memory::global_requests();
        let mut listener = options.adopt_as(fd, &new, &arena).unwrap();
        listener.remove_path(true).unwrap();
        drop(listener);
        assert_eq!(crate::support::memory::global_requests(), before);
        assert_eq!((arena.bytes_in_use(), fs::exists("b").unwrap()), (0, false));
    });
}
