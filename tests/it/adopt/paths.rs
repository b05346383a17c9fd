//! The path of a listener: that of an adopted one stays, unless the caller asks for its removal.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use netbind::error::{Errno, Step};
use netbind::{ListenOptions, Listener, SocketError, listen};

use super::{abstract_name, assert_accepts, foreign};
use crate::support::machine::{directory, has_sock_diag, skip};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated, private_network};

type End = fn(Listener<&Arena>) -> Result<(), SocketError>;

/// The two ways to end a listener.
const ENDS: [End; 2] = [
    |listener| {
        drop(listener);
        Ok(())
    },
    |listener| listener.close(),
];

/// Two texts of one path, in the working directory.
const ADDRESSES: [&str; 2] = ["unix:run.sock", "unix:/proc/thread-self/cwd/run.sock"];

const ANOTHER_FILE: SocketError =
    SocketError::System { step: Step::Adopt, errno: Errno::ADDRNOTAVAIL };
const NO_FILE: SocketError = SocketError::System { step: Step::Stat, errno: Errno::NOENT };

/// Runs `body` in an empty working directory, for each text of the path and each end.
fn for_each_end(body: impl Fn(&str, End) + Send + Sync) {
    for address in ADDRESSES {
        for end in ENDS {
            isolated(|| {
                let directory = directory();
                std::env::set_current_dir(directory.path()).unwrap();
                body(address, end);
            });
        }
    }
}

fn adopt<'a>(address: &str, arena: &'a Arena) -> Listener<&'a Arena> {
    ListenOptions::new().adopt(foreign(address), arena).unwrap()
}

fn is_there() -> bool {
    fs::symlink_metadata("run.sock").is_ok()
}

#[test]
fn the_path_of_an_adopted_socket_stays() {
    for_each_end(|address, end| {
        let arena = Arena::new();
        let before = descriptors();
        end(adopt(address, &arena)).unwrap();
        assert!(is_there(), "{address}");
        assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0), "{address}");

        let mut listener = adopt(address, &arena);
        listener.remove_path(false).unwrap();
        listener.keep_path();
        end(listener).unwrap();
        assert!(is_there(), "{address}");
    });
}

/// Requests to remove the path or not.
type Steps = fn(&mut Listener<&Arena>);
/// The requests, and whether the path is removed.
const REMOVALS: &[(Steps, bool)] = &[
    (|l| l.remove_path(true).unwrap(), true),
    (|l| [true, true].iter().for_each(|on| l.remove_path(*on).unwrap()), true),
    (|l| [true, false].iter().for_each(|on| l.remove_path(*on).unwrap()), false),
    (|l| [false, true].iter().for_each(|on| l.remove_path(*on).unwrap()), true),
    (|l| [true, false, true].iter().for_each(|on| l.remove_path(*on).unwrap()), true),
    (
        |l| {
            l.remove_path(true).unwrap();
            l.keep_path();
        },
        false,
    ),
    (
        |l| {
            l.keep_path();
            l.remove_path(true).unwrap();
        },
        true,
    ),
];

#[test]
fn the_path_of_an_adopted_socket_is_removed_on_request() {
    if !has_sock_diag() {
        return;
    }
    for_each_end(|address, end| {
        for (case, (request, removed)) in REMOVALS.iter().enumerate() {
            let arena = Arena::new();
            let mut listener = adopt(address, &arena);
            let before = descriptors();
            request(&mut listener);
            assert_eq!(descriptors(), before, "{address}: {case}");
            assert!(is_there(), "{address}: {case}");
            assert_accepts(&listener);
            end(listener).unwrap();
            assert_eq!(!is_there(), *removed, "{address}: {case}");
        }
    });
}

/// The file at the path of the socket, and the result of a request to remove it.
type Replacement = (&'static str, fn(), Result<(), SocketError>);

const REPLACEMENTS: &[Replacement] = &[
    ("no file", || {}, Err(NO_FILE)),
    ("another socket", || drop(UnixListener::bind("run.sock").unwrap()), Err(ANOTHER_FILE)),
    ("a file", || fs::write("run.sock", "foreign").unwrap(), Err(ANOTHER_FILE)),
    ("a directory", || fs::create_dir("run.sock").unwrap(), Err(ANOTHER_FILE)),
    ("a link to the socket", || symlink("moved", "run.sock").unwrap(), Err(ANOTHER_FILE)),
    ("a dangling link", || symlink("missing", "run.sock").unwrap(), Err(ANOTHER_FILE)),
    ("a second name of the socket", || fs::hard_link("moved", "run.sock").unwrap(), Ok(())),
];

#[test]
fn a_foreign_file_at_the_path_of_an_adopted_socket_is_not_removed() {
    if !has_sock_diag() {
        return;
    }
    for_each_end(|address, end| {
        for (case, replace, result) in REPLACEMENTS {
            let arena = Arena::new();
            let mut listener = adopt(address, &arena);
            fs::rename("run.sock", "moved").unwrap();
            replace();
            let (before, existed) = (descriptors(), is_there());
            assert_eq!(listener.remove_path(true), *result, "{address}: {case}");
            assert_eq!((descriptors(), is_there()), (before, existed), "{address}: {case}");
            end(listener).unwrap();
            assert_eq!(is_there(), existed && result.is_err(), "{address}: {case}");
            assert!(fs::exists("moved").unwrap(), "{address}: {case}");
            let _ = fs::remove_file("run.sock").or_else(|_| fs::remove_dir("run.sock"));
        }
    });
}

#[test]
fn a_foreign_file_that_replaces_the_path_after_the_request_is_not_removed() {
    if !has_sock_diag() {
        return;
    }
    for_each_end(|address, end| {
        for (case, replace, result) in REPLACEMENTS {
            let arena = Arena::new();
            let mut listener = adopt(address, &arena);
            listener.remove_path(true).unwrap();
            fs::rename("run.sock", "moved").unwrap();
            replace();
            // The file is known, so it is not verified again.
            assert_eq!(listener.remove_path(true), Ok(()), "{address}: {case}");
            let existed = is_there();
            end(listener).unwrap();
            assert_eq!(is_there(), existed && result.is_err(), "{address}: {case}");
            let _ = fs::remove_file("run.sock").or_else(|_| fs::remove_dir("run.sock"));
        }
    });
}

#[test]
fn a_relative_path_in_another_working_directory_is_not_removed() {
    if !has_sock_diag() {
        return;
    }
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        fs::create_dir("d").unwrap();
        let arena = Arena::new();
        let mut listener = adopt("unix:run.sock", &arena);
        std::env::set_current_dir("d").unwrap();
        assert_eq!(listener.remove_path(true), Err(NO_FILE));
        drop(UnixListener::bind("run.sock").unwrap());
        assert_eq!(listener.remove_path(true), Err(ANOTHER_FILE));
        drop(listener);
        assert!(is_there() && directory.path().join("run.sock").exists());
    });
}

#[test]
fn a_socket_without_a_path_can_be_asked_to_remove_it() {
    isolated(|| {
        let arena = Arena::new();
        for address in ["127.0.0.1:0".into(), abstract_name("no-path")] {
            let own = listen(&address, &arena).unwrap();
            let adopted = ListenOptions::new().adopt(own.into_fd(), &arena).unwrap();
            for mut listener in [adopted, listen("127.0.0.1:0", &arena).unwrap()] {
                assert_eq!(listener.remove_path(true), Ok(()));
                assert_eq!(listener.remove_path(false), Ok(()));
                listener.keep_path();
                assert_eq!(listener.close(), Ok(()));
            }
        }
    });
}

#[test]
fn the_path_of_an_own_listener_is_kept_on_request() {
    const REQUESTS: &[(Steps, bool)] = &[
        (|_| {}, false),
        (|l| l.keep_path(), true),
        (|l| l.remove_path(false).unwrap(), true),
        (|l| [false, true].iter().for_each(|on| l.remove_path(*on).unwrap()), false),
        (|l| [true, false].iter().for_each(|on| l.remove_path(*on).unwrap()), true),
        (
            |l| {
                l.keep_path();
                l.remove_path(true).unwrap();
            },
            false,
        ),
        (
            |l| {
                l.remove_path(true).unwrap();
                l.keep_path();
            },
            true,
        ),
    ];
    if !has_sock_diag() {
        return;
    }
    for_each_end(|address, end| {
        for (case, (request, kept)) in REQUESTS.iter().enumerate() {
            let arena = Arena::new();
            let mut listener = listen(address, &arena).unwrap();
            request(&mut listener);
            assert!(is_there(), "{address}: {case}");
            end(listener).unwrap();
            assert_eq!((is_there(), arena.bytes_in_use()), (*kept, 0), "{address}: {case}");
            let _ = fs::remove_file("run.sock");
        }
    });
}

#[test]
fn a_foreign_file_at_the_path_of_an_own_listener_is_not_removed() {
    if !has_sock_diag() {
        return;
    }
    for_each_end(|address, end| {
        for is_asked_again in [false, true] {
            let arena = Arena::new();
            let mut listener = listen(address, &arena).unwrap();
            fs::remove_file("run.sock").unwrap();
            drop(UnixListener::bind("run.sock").unwrap());
            listener.remove_path(true).unwrap();
            if is_asked_again {
                listener.remove_path(false).unwrap();
                assert_eq!(listener.remove_path(true), Err(ANOTHER_FILE), "{address}");
            }
            end(listener).unwrap();
            assert!(is_there(), "{address}");
            fs::remove_file("run.sock").unwrap();
        }
    });
}

/// `sock_diag` shows the sockets of one network only.
#[test]
fn the_path_of_a_socket_of_another_network_is_not_removed() {
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let (fd, arena) = (foreign("unix:run.sock"), Arena::new());
        if !has_sock_diag() || !rustix::process::geteuid().is_root() {
            return skip("another network, which needs root");
        }
        private_network();
        let mut listener = ListenOptions::new().adopt(fd, &arena).unwrap();
        let unknown = SocketError::System { step: Step::Diag, errno: Errno::NOENT };
        assert_eq!(listener.remove_path(true), Err(unknown));
        assert_accepts(&listener);
        drop(listener);
        assert!(is_there());
    });
}
