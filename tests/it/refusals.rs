//! Errors of the kernel: the step, the errno, and the questions about their meaning.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use netbind::error::{Errno, SocketOption, Step};
use netbind::{SocketError, listen};

use crate::support::kernel::sysctl;
use crate::support::machine::{can_open, directory, openable, skip};
use crate::support::memory::Arena;
use crate::support::thread::{become_ordinary_user, descriptors, isolated, isolated_network};

/// Returns the error of an opening, and checks that nothing is left.
fn refusal(address: &str) -> SocketError {
    let arena = Arena::new();
    let before = descriptors();
    let error = listen(address, &arena).map(drop).expect_err(address);
    assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0), "{address}");
    error
}

fn bind_error(errno: Errno) -> SocketError {
    SocketError::System { step: Step::Bind, errno }
}

#[test]
fn an_address_of_another_listener_is_in_use() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        let arena = Arena::new();
        for address in openable(&["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-twice"]) {
            let first = listen(address, &arena).unwrap();
            let error = refusal(&first.local_address().unwrap().to_string());
            assert_eq!(error, bind_error(Errno::ADDRINUSE), "{address}");
            assert!(error.is_address_in_use());
        }
    });
}

#[test]
fn an_address_of_another_machine_is_not_available() {
    isolated(|| {
        for address in openable(&["192.0.2.1:0", "[2001:db8::1]:0"]) {
            let error = refusal(address);
            assert_eq!(error, bind_error(Errno::ADDRNOTAVAIL), "{address}");
            assert!(error.is_address_not_available());
        }
    });
}

#[test]
fn a_link_local_address_needs_its_interface() {
    isolated_network(|has_link_local| {
        if !can_open("[fe80::1]:0") {
            return;
        }
        assert_eq!(refusal("[fe80::1]:0"), bind_error(Errno::INVAL));
        let error = refusal("[fe80::1%4294967295]:0");
        assert_eq!(error, bind_error(Errno::NODEV));
        assert!(error.is_address_not_available());
        if !has_link_local {
            return skip("[fe80::1%1]:0, because this network does not have it");
        }
        let arena = Arena::new();
        let listener = listen("[fe80::1%1]:0", &arena).unwrap();
        let address = listener.local_address().unwrap().to_socket_addr().unwrap();
        assert!(address.to_string().starts_with("[fe80::1%1]:"), "{address}");
        let client = std::net::TcpStream::connect(address).unwrap();
        let (_connection, peer) = listener.accept().unwrap();
        assert_eq!(peer.unwrap().to_socket_addr(), client.local_addr().ok());
    });
}

#[test]
fn a_path_that_cannot_be_created_has_the_errno_of_its_reason() {
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        fs::write("file", "").unwrap();
        symlink("loop", "loop").unwrap();
        let long = format!("unix:./{}", "x".repeat(105));
        listen(&long, &Arena::new()).expect("105 bytes are a valid file name");
        let cases = [
            ("unix:missing/s", Step::Bind, Errno::NOENT, true),
            ("/nonexistent/netbind/s", Step::Bind, Errno::NOENT, true),
            ("unix:/proc/thread-self/cwd/file/s", Step::Bind, Errno::NOTDIR, true),
            ("unix:/proc/thread-self/cwd/loop/s", Step::Bind, Errno::LOOP, false),
            ("unix:file/s", Step::Stat, Errno::NOTDIR, true),
            ("unix:loop/s", Step::Stat, Errno::LOOP, false),
            ("unix:file", Step::Bind, Errno::ADDRINUSE, false),
            ("unix:.", Step::Bind, Errno::ADDRINUSE, false),
            ("/", Step::Bind, Errno::ADDRINUSE, false),
        ];
        for (address, step, errno, not_available) in cases {
            let error = refusal(address);
            assert_eq!(error, SocketError::System { step, errno }, "{address}");
            assert_eq!(error.is_address_not_available(), not_available, "{address}");
        }
    });
}

#[test]
fn a_permission_denied_by_the_kernel_is_never_a_denial() {
    isolated(|| {
        let directory = directory();
        let closed = directory.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
        if !become_ordinary_user() {
            return;
        }
        let mut cases = vec![format!("{}/s", closed.display())];
        if sysctl("net/ipv4/ip_unprivileged_port_start") > 81 {
            cases.extend(openable(&["127.0.0.1:81", "[::1]:81"]).into_iter().map(Into::into));
        } else {
            skip("port 81, because every user may bind it here");
        }
        for address in cases {
            let error = refusal(&address);
            assert_eq!(error, bind_error(Errno::ACCESS), "{address}");
            assert!(error.is_permission_denied());
            assert_ne!(error, SocketError::CapabilityDenied);
            assert!(!error.is_address_not_available() && !error.is_address_in_use());
        }
    });
}

const NAMES: [&str; 8] = [
    "address in use",
    "address not available",
    "permission denied",
    "exhausted",
    "not supported",
    "would block",
    "interrupted",
    "connection lost",
];

/// Returns the values of the predicates in [`NAMES`].
fn predicates(error: SocketError) -> [bool; 8] {
    [
        error.is_address_in_use(),
        error.is_address_not_available(),
        error.is_permission_denied(),
        error.is_exhausted(),
        error.is_not_supported(),
        error.is_would_block(),
        error.is_interrupted(),
        error.is_connection_lost(),
    ]
}

/// Returns the expected values for an errno of `bind`.
fn expected(errno: i32) -> [bool; 8] {
    let one_of = |errnos: &[i32]| errnos.contains(&errno);
    [
        one_of(&[libc::EADDRINUSE]),
        one_of(&[libc::EADDRNOTAVAIL, libc::ENODEV, libc::ENOENT, libc::ENOTDIR]),
        one_of(&[libc::EACCES, libc::EPERM, libc::EROFS]),
        one_of(&[
            libc::EMFILE,
            libc::ENFILE,
            libc::ENOMEM,
            libc::ENOBUFS,
            libc::ENOSPC,
            libc::EDQUOT,
        ]),
        one_of(&[
            libc::EAFNOSUPPORT,
            libc::EPROTONOSUPPORT,
            libc::ESOCKTNOSUPPORT,
            libc::EOPNOTSUPP,
            libc::ENOPROTOOPT,
            libc::ENOSYS,
        ]),
        one_of(&[libc::EAGAIN]),
        one_of(&[libc::EINTR]),
        false,
    ]
}

#[test]
fn every_errno_prints_and_has_the_right_predicates() {
    for number in 1..=4095 {
        let errno = Errno::from_raw_os_error(number).unwrap();
        assert_eq!(errno.raw_os_error(), number);
        let error = bind_error(errno);
        let found: Vec<_> = NAMES.into_iter().zip(predicates(error)).collect();
        assert_eq!(found, NAMES.into_iter().zip(expected(number)).collect::<Vec<_>>(), "{errno}");
        assert_eq!((error.errno(), error.step()), (Some(errno), Some(Step::Bind)));
        let in_message = errno.name().map_or(number.to_string(), Into::into);
        assert!(errno.to_string().contains(&in_message), "{errno}");
    }
    for number in [i32::MIN, -1, 0, 4096, i32::MAX] {
        assert_eq!(Errno::from_raw_os_error(number), None);
    }
}

/// [accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html), "Error handling".
#[test]
fn an_accept_loop_continues_only_after_an_error_of_one_connection() {
    let lost = [
        libc::ECONNABORTED,
        libc::ENETDOWN,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
        libc::ETIMEDOUT,
        libc::EPERM,
    ];
    for number in 1..=4095 {
        let errno = Errno::from_raw_os_error(number).unwrap();
        let error = SocketError::System { step: Step::Accept, errno };
        assert_eq!(error.is_connection_lost(), lost.contains(&number), "{errno}");
        assert!(!(error.is_connection_lost() && error.is_not_supported()), "{errno}");
        for step in [Step::Socket, Step::Bind, Step::Listen, Step::Close] {
            assert!(!SocketError::System { step, errno }.is_connection_lost(), "{errno}");
        }
    }
}

#[test]
fn an_error_without_a_system_call_has_no_errno_and_no_step() {
    let [in_use, not_available, permission, _, _, would_block, interrupted, lost] = [false; 8];
    let cases = [
        (SocketError::InvalidAddress, false, false),
        (SocketError::InvalidPort, false, false),
        (SocketError::InvalidOption(SocketOption::Mode), false, true),
        (SocketError::Timeout, false, false),
        (SocketError::CapabilityDenied, false, false),
        (SocketError::OutOfMemory, true, false),
    ];
    for (error, exhausted, unsupported) in cases {
        assert_eq!((error.errno(), error.step()), (None, None), "{error}");
        let expected = [
            in_use,
            not_available,
            permission,
            exhausted,
            unsupported,
            would_block,
            interrupted,
            lost,
        ];
        assert_eq!(predicates(error), expected, "{error}");
    }
}

#[test]
fn a_message_names_the_call_and_the_errno() {
    let cases = [
        (Step::Bind, Errno::ADDRINUSE, "bind failed: address in use (EADDRINUSE)"),
        (Step::Socket, Errno::MFILE, "socket failed: too many open files in the process (EMFILE)"),
        (
            Step::Option(SocketOption::ReusePort),
            Errno::NOPROTOOPT,
            "setsockopt(SO_REUSEPORT) failed: no such socket option (ENOPROTOOPT)",
        ),
        (
            Step::Option(SocketOption::Mode),
            Errno::PERM,
            "fchmod failed: operation not permitted (EPERM)",
        ),
        (Step::Close, Errno::from_raw_os_error(4095).unwrap(), "close failed: errno 4095"),
    ];
    for (step, errno, message) in cases {
        assert_eq!(SocketError::System { step, errno }.to_string(), message);
    }
}
