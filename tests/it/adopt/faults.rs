//! Every system call of an adoption fails in turn, with the errnos of its man page. The error has
//! the step and the errno, and the descriptor comes back as it was.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use netbind::error::{AdoptError, Step};
use netbind::{BindAddress, ListenOptions, NetBind, SocketError};

use super::{
    abstract_name, allow_all, assert_accepts, flags, foreign, foreign_ipv6, set_close_on_exec,
};
use crate::support::calls::Call;
use crate::support::machine::{can_open, directory, has_sock_diag};
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::supervisor::{supervised, take_forced, watched};
use crate::support::thread::descriptors;

const GETSOCKOPT: &[i32] =
    &[libc::EBADF, libc::EFAULT, libc::EINVAL, libc::ENOPROTOOPT, libc::ENOTSOCK];
const GETSOCKNAME: &[i32] =
    &[libc::EBADF, libc::EFAULT, libc::EINVAL, libc::ENOBUFS, libc::ENOTSOCK];
const FCNTL: &[i32] = &[
    libc::EACCES,
    libc::EAGAIN,
    libc::EBADF,
    libc::EBUSY,
    libc::EDEADLK,
    libc::EFAULT,
    libc::EINTR,
    libc::EINVAL,
    libc::EMFILE,
    libc::ENOLCK,
    libc::ENOENT,
    libc::EPERM,
];
const STAT: &[i32] = &[
    libc::EACCES,
    libc::EBADF,
    libc::EFAULT,
    libc::EINVAL,
    libc::ELOOP,
    libc::ENAMETOOLONG,
    libc::ENOENT,
    libc::ENOMEM,
    libc::ENOTDIR,
    libc::EOVERFLOW,
];
const SOCKET: &[i32] = &[
    libc::EACCES,
    libc::EAFNOSUPPORT,
    libc::EINVAL,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::EPROTONOSUPPORT,
];
const SENDTO: &[i32] = &[
    libc::EACCES,
    libc::EAGAIN,
    libc::EALREADY,
    libc::EBADF,
    libc::ECONNREFUSED,
    libc::ECONNRESET,
    libc::EDESTADDRREQ,
    libc::EFAULT,
    libc::EINTR,
    libc::EINVAL,
    libc::EISCONN,
    libc::EMSGSIZE,
    libc::ENOBUFS,
    libc::ENOMEM,
    libc::ENOTCONN,
    libc::ENOTSOCK,
    libc::EOPNOTSUPP,
    libc::EPIPE,
];
const RECVFROM: &[i32] = &[
    libc::EAGAIN,
    libc::EBADF,
    libc::ECONNREFUSED,
    libc::EFAULT,
    libc::EINTR,
    libc::EINVAL,
    libc::ENOMEM,
    libc::ENOTCONN,
    libc::ENOTSOCK,
];
const OPENAT: &[i32] = &[
    libc::EACCES,
    libc::EINTR,
    libc::ELOOP,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENOENT,
    libc::ENOMEM,
    libc::ENOTDIR,
    libc::EPERM,
];

/// The call that fails, as the beginning of its text, its errnos, and the step in the error.
type Fault = (&'static str, &'static [i32], Step);

const INSPECTION: &[Fault] = &[
    ("getsockopt(3, SO_DOMAIN)", GETSOCKOPT, Step::Adopt),
    ("getsockopt(3, SO_TYPE)", GETSOCKOPT, Step::Adopt),
    ("getsockopt(3, SO_ACCEPTCONN)", GETSOCKOPT, Step::Adopt),
];
const OF_IP: &[Fault] = &[("getsockopt(3, SO_PROTOCOL)", GETSOCKOPT, Step::Adopt)];
const OF_IPV6: &[Fault] = &[("getsockopt(3, IPV6_V6ONLY)", GETSOCKOPT, Step::Adopt)];
const NAME: &[Fault] = &[("getsockname(3)", GETSOCKNAME, Step::LocalAddress)];
const TAKE_OVER: &[Fault] = &[
    ("fcntl(3, F_GETFL)", FCNTL, Step::Adopt),
    ("fcntl(3, F_SETFL, O_NONBLOCK)", FCNTL, Step::Adopt),
    ("fcntl(3, F_SETFD, FD_CLOEXEC)", FCNTL, Step::Adopt),
];
const DIAG: &[Fault] = &[
    ("fstat(3)", STAT, Step::Diag),
    ("socket(AF_NETLINK", SOCKET, Step::Diag),
    ("sendto(4", SENDTO, Step::Diag),
    ("recvfrom(4", RECVFROM, Step::Diag),
];
const ABSOLUTE: &[Fault] = &[("lstat(", STAT, Step::Stat)];
const RELATIVE: &[Fault] =
    &[("openat(.)", OPENAT, Step::OpenDirectory), ("fstatat(4, b)", STAT, Step::Stat)];

/// An absolute path in the thread's working directory.
const PATH: &str = "unix:/proc/thread-self/cwd/b";

fn error(step: Step, errno: i32) -> SocketError {
    let errno = netbind::error::Errno::from_raw_os_error(errno).unwrap();
    SocketError::System { step, errno }
}

/// Runs `body` once for each errno, while each call whose text begins with `call` fails with it.
fn for_each_errno(call: &str, errnos: &[i32], body: impl Fn(i32) + Send + Sync) {
    let directory = directory();
    let current = AtomicI32::new(0);
    let fault =
        |made: &Call| made.to_string().starts_with(call).then(|| current.load(Ordering::Relaxed));
    supervised(fault, || {
        std::env::set_current_dir(directory.path()).unwrap();
        for errno in errnos {
            current.store(*errno, Ordering::Relaxed);
            body(*errno);
        }
    });
}

/// Adopts a socket whose mode is the opposite of what an adoption sets, and checks that it comes
/// back as it was. The trail must not say that it was adopted.
fn assert_comes_back(
    fd: OwnedFd,
    expected: SocketError,
    adopt: impl FnOnce(&ListenOptions<'_>, OwnedFd, &Arena) -> AdoptError,
) -> OwnedFd {
    set_close_on_exec(&fd, false);
    let (number, before, open) = (fd.as_raw_fd(), flags(&fd), descriptors());
    let (arena, sink) = (Arena::new(), Lines::default());
    let capability: NetBind<'_> = allow_all().with_sink(&sink);
    let options = ListenOptions::new().nonblocking(true).capability(&capability);
    let refused = watched(|| adopt(&options, fd, &arena));
    assert_eq!(refused.error(), expected);
    let fd = refused.into_fd();
    assert_eq!((fd.as_raw_fd(), flags(&fd)), (number, before), "{expected}");
    assert_eq!((descriptors(), arena.bytes_in_use()), (open, 0), "{expected}");
    let records = sink.take();
    let is_check = |line: &String| {
        line.contains(" operation=check_bind_address ") && line.ends_with(" result=allowed")
    };
    assert!(records.len() < 2 && records.iter().all(is_check), "{expected}: {records:?}");
    fd
}

#[test]
fn a_socket_comes_back_whichever_call_fails() {
    let name = abstract_name("faults");
    let families: [(&str, &[&[Fault]]); 5] = [
        ("127.0.0.1:0", &[INSPECTION, OF_IP, NAME, TAKE_OVER]),
        ("[::1]:0", &[INSPECTION, OF_IP, NAME, OF_IPV6, TAKE_OVER]),
        ("unix:b", &[INSPECTION, NAME, TAKE_OVER]),
        (PATH, &[NAME, TAKE_OVER]),
        (&name, &[NAME, TAKE_OVER]),
    ];
    for (address, faults) in families.into_iter().filter(|(address, _)| can_open(address)) {
        for (call, errnos, step) in faults.iter().copied().flatten() {
            for_each_errno(call, errnos, |errno| {
                let fd = foreign(address);
                let expected = error(*step, errno);
                let fd = assert_comes_back(fd, expected, |options, fd, arena| {
                    options.adopt(fd, arena).map(drop).unwrap_err()
                });
                let arena = Arena::new();
                assert_accepts(&ListenOptions::new().adopt(fd, &arena).unwrap());
            });
            assert_eq!(take_forced(), errnos.len(), "{address}: {call}");
        }
    }
}

#[test]
fn a_renamed_socket_comes_back_whichever_call_fails() {
    if !has_sock_diag() {
        return;
    }
    let texts: [(&str, &[&[Fault]]); 2] =
        [(PATH, &[INSPECTION, DIAG, ABSOLUTE, TAKE_OVER]), ("unix:b", &[RELATIVE, TAKE_OVER])];
    for (text, faults) in texts {
        let new: BindAddress = text.parse().unwrap();
        for (call, errnos, step) in faults.iter().copied().flatten() {
            for_each_errno(call, errnos, |errno| {
                let fd = foreign("unix:a");
                fs::rename("a", "b").unwrap();
                let fd = assert_comes_back(fd, error(*step, errno), |options, fd, arena| {
                    options.adopt_as(fd, &new, arena).map(drop).unwrap_err()
                });
                let arena = Arena::new();
                assert_accepts(&ListenOptions::new().adopt_as(fd, &new, &arena).unwrap());
            });
            assert_eq!(take_forced(), errnos.len(), "{text}: {call}");
        }
    }
}

/// It fails after the socket was made non-blocking, which is undone.
#[test]
fn a_socket_that_cannot_be_made_close_on_exec_is_blocking_again() {
    let fails =
        |call: &Call| call.to_string().starts_with("fcntl(3, F_SETFD").then_some(libc::EPERM);
    let ((), found) = supervised(fails, || {
        let fd = foreign("127.0.0.1:0");
        assert_comes_back(fd, error(Step::Adopt, libc::EPERM), |options, fd, arena| {
            options.adopt(fd, arena).map(drop).unwrap_err()
        });
    });
    let last: Vec<_> = found.iter().rev().take(4).rev().map(String::as_str).collect();
    assert_eq!(
        last,
        [
            "fcntl(3, F_GETFL)",
            "fcntl(3, F_SETFL, O_NONBLOCK)",
            "fcntl(3, F_SETFD, FD_CLOEXEC)",
            "fcntl(3, F_SETFL, 0)"
        ]
    );
}

/// A socket that was non-blocking before stays so.
#[test]
fn a_non_blocking_socket_that_cannot_be_made_close_on_exec_stays_non_blocking() {
    for_each_errno("fcntl(3, F_SETFD", FCNTL, |errno| {
        let fd = foreign("127.0.0.1:0");
        super::set_nonblocking(&fd, true);
        let fd = assert_comes_back(fd, error(Step::Adopt, errno), |options, fd, arena| {
            options.adopt(fd, arena).map(drop).unwrap_err()
        });
        assert!(crate::support::kernel::is_nonblocking(&fd));
    });
    assert_eq!(take_forced(), FCNTL.len());
}

/// The error is that of `F_SETFD`, even if the change before it cannot be undone.
#[test]
fn the_first_error_is_returned_if_the_mode_cannot_be_restored() {
    let fails = |call: &Call| match &*call.to_string() {
        "fcntl(3, F_SETFD, FD_CLOEXEC)" => Some(libc::EPERM),
        "fcntl(3, F_SETFL, 0)" => Some(libc::EINVAL),
        _ => None,
    };
    let (found, _) = supervised(fails, || {
        let (fd, arena) = (foreign("127.0.0.1:0"), Arena::new());
        let options = ListenOptions::new().nonblocking(true);
        watched(|| options.adopt(fd, &arena)).map(drop).unwrap_err().error()
    });
    assert_eq!(found, error(Step::Adopt, libc::EPERM));
    assert_eq!(take_forced(), 2);
}

/// A dual-stack socket must not be taken for one that has only IPv6.
#[test]
fn a_socket_whose_v6only_cannot_be_read_is_refused() {
    if !can_open("[::1]:0") {
        return;
    }
    for_each_errno("getsockopt(3, IPV6_V6ONLY)", GETSOCKOPT, |errno| {
        let fd = foreign_ipv6(std::net::Ipv6Addr::UNSPECIFIED, false);
        assert_comes_back(fd, error(Step::Adopt, errno), |options, fd, arena| {
            options.adopt(fd, arena).map(drop).unwrap_err()
        });
    });
    assert_eq!(take_forced(), GETSOCKOPT.len());
}

/// The answer is complete by then, and the descriptor is closed although `close` fails.
#[test]
fn a_close_that_fails_during_an_adoption_has_no_effect() {
    if !has_sock_diag() {
        return;
    }
    for_each_errno("close(4)", &[libc::EIO, libc::EINTR, libc::EDQUOT], |_| {
        let (fd, arena) = (foreign("unix:a"), Arena::new());
        fs::rename("a", "b").unwrap();
        let new = "unix:b".parse().unwrap();
        let listener = watched(|| ListenOptions::new().adopt_as(fd, &new, &arena)).unwrap();
        assert_accepts(&listener);
        // A forced fault closes nothing.
        drop(listener);
        crate::support::thread::close(4);
    });
}

#[test]
fn a_request_to_remove_the_path_that_fails_leaves_it() {
    if !has_sock_diag() {
        return;
    }
    for (text, faults) in [(PATH, [DIAG, ABSOLUTE]), ("unix:b", [DIAG, RELATIVE])] {
        for (call, errnos, step) in faults.into_iter().flatten() {
            for_each_errno(call, errnos, |errno| {
                let arena = Arena::new();
                let mut listener = ListenOptions::new().adopt(foreign(text), &arena).unwrap();
                let open = descriptors();
                let refused = watched(|| listener.remove_path(true));
                assert_eq!(refused, Err(error(*step, errno)), "{text}: {call}");
                assert_eq!(descriptors(), open, "{text}: {call}");
                assert_accepts(&listener);
                listener.close().unwrap();
                assert!(fs::exists("b").unwrap(), "{text}: {call}");
            });
            assert_eq!(take_forced(), errnos.len(), "{text}: {call}");
        }
    }
}

/// The kernel's answers to a process without rights, or under a filter, that writes nothing.
#[test]
fn an_answer_that_the_kernel_did_not_write_is_no_file() {
    if !has_sock_diag() {
        return;
    }
    // `recvfrom` returns 0 bytes, which is an answer without a header.
    for_each_errno("recvfrom(4", &[0], |_| {
        let fd = foreign("unix:a");
        fs::rename("a", "b").unwrap();
        let new: BindAddress = "unix:b".parse().unwrap();
        assert_comes_back(fd, error(Step::Diag, libc::EBADMSG), |options, fd, arena| {
            options.adopt_as(fd, &new, arena).map(drop).unwrap_err()
        });
    });
    // `getsockopt` and `getsockname` succeed and write nothing.
    for_each_errno("getsockopt(3, SO_DOMAIN)", &[0], |_| {
        let fd = foreign("127.0.0.1:0");
        assert_comes_back(fd, error(Step::Adopt, libc::EAFNOSUPPORT), |options, fd, arena| {
            options.adopt(fd, arena).map(drop).unwrap_err()
        });
    });
    for_each_errno("getsockname(3)", &[0], |_| {
        let fd = foreign("127.0.0.1:0");
        assert_comes_back(fd, error(Step::LocalAddress, libc::EINVAL), |options, fd, arena| {
            options.adopt(fd, arena).map(drop).unwrap_err()
        });
    });
}
