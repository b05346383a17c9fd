//! The socket options, as the kernel has them after an opening. An option that does not apply to an
//! address is an error.

use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use libc::{
    IP_FREEBIND, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPV6_FREEBIND, IPV6_V6ONLY, SO_KEEPALIVE,
    SO_RCVBUF, SO_REUSEADDR, SO_REUSEPORT, SO_SNDBUF, SOL_SOCKET, TCP_NODELAY,
};
use netbind::error::{SocketOption, Step};
use netbind::{BindAddress, ListenOptions, Listener, NetBind, SocketError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;

use crate::support::kernel::{backlog_in_force, is_nonblocking, socket_option, sysctl};
use crate::support::machine::{can_open, directory, openable};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated, isolated_network};

type Change = fn(ListenOptions<'static>) -> ListenOptions<'static>;

fn port(listener: &Listener<&Arena>) -> u16 {
    listener.local_address().unwrap().port().unwrap()
}

/// The address, the change, the level and name of the option, its default, and its changed value.
#[rustfmt::skip]
const SWITCHES: &[(&str, Change, i32, i32, i32, i32)] = &[
    ("127.0.0.1:0", |o| o.reuse_address(false), SOL_SOCKET, SO_REUSEADDR, 1, 0),
    ("[::1]:0", |o| o.reuse_address(false), SOL_SOCKET, SO_REUSEADDR, 1, 0),
    ("127.0.0.1:0", |o| o.reuse_port(true), SOL_SOCKET, SO_REUSEPORT, 0, 1),
    ("[::1]:0", |o| o.reuse_port(true), SOL_SOCKET, SO_REUSEPORT, 0, 1),
    ("127.0.0.1:0", |o| o.reuse_port(true).reuse_port(false), SOL_SOCKET, SO_REUSEPORT, 0, 0),
    ("127.0.0.1:0", |o| o.keep_alive(true), SOL_SOCKET, SO_KEEPALIVE, 0, 1),
    ("[::1]:0", |o| o.keep_alive(true), SOL_SOCKET, SO_KEEPALIVE, 0, 1),
    ("127.0.0.1:0", |o| o.no_delay(true), IPPROTO_TCP, TCP_NODELAY, 0, 1),
    ("[::1]:0", |o| o.no_delay(true), IPPROTO_TCP, TCP_NODELAY, 0, 1),
    ("127.0.0.1:0", |o| o.free_bind(true), IPPROTO_IP, IP_FREEBIND, 0, 1),
    ("[::1]:0", |o| o.free_bind(true), IPPROTO_IPV6, IPV6_FREEBIND, 0, 1),
    ("[::]:0", |o| o.dual_stack(true), IPPROTO_IPV6, IPV6_V6ONLY, 1, 0),
    ("[::1]:0", |o| o.dual_stack(true).dual_stack(false), IPPROTO_IPV6, IPV6_V6ONLY, 1, 1),
];

#[test]
fn an_option_changes_the_kernels_default_only_on_request() {
    isolated(|| {
        let arena = Arena::new();
        let rows = SWITCHES.iter().filter(|(address, ..)| can_open(address));
        for &(address, change, level, option, default, changed) in rows {
            let case = format!("{level}/{option} of {address}");
            let plain = ListenOptions::new().listen(address, &arena).unwrap();
            assert_eq!(socket_option(&plain, level, option), default, "{case}");
            let listener = change(ListenOptions::new()).listen(address, &arena).unwrap();
            assert_eq!(socket_option(&listener, level, option), changed, "{case}");
        }
    });
}

#[test]
fn options_and_capabilities_can_be_constants() {
    const ALL: ListenOptions<'static> = ListenOptions::new()
        .capability(&WEB)
        .reuse_address(false)
        .reuse_port(true)
        .dual_stack(true)
        .nonblocking(true)
        .free_bind(true)
        .keep_alive(true)
        .no_delay(true)
        .receive_buffer(8_192)
        .send_buffer(8_192)
        .mode(0o600)
        .backlog(7);
    static WEB: NetBind<'static> = match NetBind::new("web") {
        Ok(capability) => capability,
        Err(_) => panic!("a malformed id"),
    };
    static NONBLOCKING: ListenOptions<'static> = ListenOptions::new().nonblocking(true);
    isolated(|| {
        let arena = Arena::new();
        assert!(is_nonblocking(NONBLOCKING.listen("127.0.0.1:0", &arena).unwrap()));
        let denied = ALL.listen("127.0.0.1:0", &arena).map(drop);
        assert_eq!(denied, Err(SocketError::CapabilityDenied));
        let inapplicable = ALL.listen("127.0.0.1:8080", &arena).map(drop);
        assert_eq!(inapplicable, Err(SocketError::InvalidOption(SocketOption::V6Only)));
    });
}

#[test]
fn accepted_connections_inherit_keep_alive_and_no_delay() {
    isolated(|| {
        let arena = Arena::new();
        let options = ListenOptions::new().keep_alive(true).no_delay(true);
        let listener = options.listen("127.0.0.1:0", &arena).unwrap();
        let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port(&listener))).unwrap();
        let (connection, _) = listener.accept().unwrap();
        assert_eq!(socket_option(&connection, SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_eq!(socket_option(&connection, IPPROTO_TCP, TCP_NODELAY), 1);
    });
}

#[test]
fn a_buffer_has_twice_its_size_and_at_most_twice_the_kernels_limit() {
    isolated(|| {
        let arena = Arena::new();
        let limits = [sysctl("net/core/rmem_max"), sysctl("net/core/wmem_max")]
            .map(|limit| i32::try_from(limit).unwrap());
        for address in openable(&["127.0.0.1:0", "[::1]:0"]) {
            for size in [8_192, 16_384, 65_536, i32::MAX as u32] {
                let options = ListenOptions::new().receive_buffer(size).send_buffer(size);
                let listener = options.listen(address, &arena).unwrap();
                let size = i32::try_from(size).unwrap_or(i32::MAX);
                let found =
                    [SO_RCVBUF, SO_SNDBUF].map(|name| socket_option(&listener, SOL_SOCKET, name));
                let expected = limits.map(|limit| 2 * size.min(limit));
                assert_eq!(found, expected, "{size} bytes of {address}");
            }
        }
    });
}

#[test]
fn a_buffer_of_more_than_31_bits_is_not_an_error() {
    isolated(|| {
        let arena = Arena::new();
        for options in [
            ListenOptions::new().receive_buffer(u32::MAX),
            ListenOptions::new().send_buffer(1 << 31),
        ] {
            assert_eq!(options.listen("127.0.0.1:0", &arena).err(), None);
        }
    });
}

#[test]
fn the_backlog_is_as_asked_and_at_most_the_kernels_maximum() {
    isolated(|| {
        let arena = Arena::new();
        let maximum = sysctl("net/core/somaxconn");
        for address in openable(&["127.0.0.1:0", "[::1]:0"]) {
            let listener = ListenOptions::new().listen(address, &arena).unwrap();
            assert_eq!(backlog_in_force(&listener), maximum, "{address}");
            for (backlog, found) in [
                (0, 0),
                (1, 1),
                (17, 17.min(maximum)),
                (maximum, maximum),
                (maximum + 1, maximum),
                (u32::MAX, maximum),
            ] {
                let options = ListenOptions::new().backlog(backlog);
                let listener = options.listen(address, &arena).unwrap();
                assert_eq!(backlog_in_force(&listener), found, "{backlog} for {address}");
            }
        }
    });
}

/// In a shared network, another program can listen on the same port of 127.0.0.1 and accept the
/// IPv4 client. So the test checks which clients this listener accepts.
#[test]
fn an_ipv6_wildcard_accepts_no_ipv4_client_by_default() {
    isolated_network(|is_private| {
        if !can_open("[::1]:0") {
            return;
        }
        let arena = Arena::new();
        let options = ListenOptions::new().nonblocking(true);
        let listener = options.listen("[::]:0", &arena).unwrap();
        assert!(is_nonblocking(&listener), "accept would wait without a limit");
        let ipv4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port(&listener)));
        assert!(ipv4.is_err() || !is_private, "an IPv4 client was connected");
        let ipv6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port(&listener))).unwrap();
        poll(&mut [PollFd::new(&listener, PollFlags::IN)], None).unwrap();
        let (_connection, peer) = listener.accept().unwrap();
        assert_eq!(peer.unwrap().to_socket_addr(), ipv6.local_addr().ok());
        assert!(listener.accept().unwrap_err().is_would_block(), "an IPv4 client was accepted");
    });
}

#[test]
fn a_dual_stack_wildcard_accepts_ipv4_and_ipv6_clients() {
    isolated_network(|_| {
        if !can_open("[::1]:0") {
            return;
        }
        let arena = Arena::new();
        let listener = ListenOptions::new().dual_stack(true).listen("[::]:0", &arena).unwrap();
        for (host, mapped) in [("127.0.0.1", "::ffff:127.0.0.1"), ("::1", "::1")] {
            let client = TcpStream::connect((host, port(&listener))).unwrap();
            let (_connection, peer) = listener.accept().unwrap();
            let expected = format!("[{mapped}]:{}", client.local_addr().unwrap().port());
            assert_eq!(peer, Some(BindAddress::parse(expected).unwrap()));
        }
    });
}

#[test]
fn a_mapped_address_needs_dual_stack() {
    isolated(|| {
        if !can_open("[::1]:0") {
            return;
        }
        let arena = Arena::new();
        let error = ListenOptions::new().listen("[::ffff:127.0.0.1]:0", &arena).unwrap_err();
        assert_eq!(error.step(), Some(Step::Bind));

        let options = ListenOptions::new().dual_stack(true);
        let listener = options.listen("[::ffff:127.0.0.1]:0", &arena).unwrap();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port(&listener))).unwrap();
        let (_connection, peer) = listener.accept().unwrap();
        let expected = format!("[::ffff:127.0.0.1]:{}", client.local_addr().unwrap().port());
        assert_eq!(peer, Some(BindAddress::parse(expected).unwrap()));
    });
}

#[test]
fn listeners_share_a_port_if_all_of_them_have_reuse_port() {
    isolated(|| {
        let arena = Arena::new();
        let options = ListenOptions::new().reuse_port(true);
        let first = options.listen("127.0.0.1:0", &arena).unwrap();
        let local = first.local_address().unwrap();
        let second = options.listen_on(&local, &arena).unwrap();
        assert_eq!(second.local_address(), Ok(local.clone()));
        assert!(ListenOptions::new().listen_on(&local, &arena).unwrap_err().is_address_in_use());
    });
}

#[test]
fn free_bind_opens_an_address_that_this_machine_does_not_have() {
    isolated(|| {
        let arena = Arena::new();
        for address in openable(&["192.0.2.1:0", "[2001:db8::1]:0"]) {
            let error = ListenOptions::new().listen(address, &arena).unwrap_err();
            assert!(error.is_address_not_available(), "{address}");
            ListenOptions::new().free_bind(true).listen(address, &arena).expect(address);
        }
    });
}

#[test]
fn a_port_with_connections_in_time_wait_can_be_bound_at_once() {
    isolated_network(|_| {
        let arena = Arena::new();
        let listener = ListenOptions::new().listen("127.0.0.1:0", &arena).unwrap();
        let address = listener.local_address().unwrap();
        let client = TcpStream::connect(address.to_socket_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        // The side that closes first, here the server, is in TIME_WAIT.
        drop(connection);
        drop(client);
        drop(listener);
        let strict = ListenOptions::new().reuse_address(false).listen_on(&address, &arena);
        assert!(strict.unwrap_err().is_address_in_use());
        ListenOptions::new().listen_on(&address, &arena).unwrap();
    });
}

#[test]
fn the_umask_applies_to_the_permissions_of_a_path() {
    isolated(|| {
        let directory = directory();
        let path = directory.path().join("s");
        let arena = Arena::new();
        #[rustfmt::skip]
        let cases = [
            (0o022, None, 0o755), (0o077, None, 0o700), (0, None, 0o777),
            (0, Some(0o600), 0o600), (0, Some(0o666), 0o666), (0o022, Some(0o666), 0o644),
            (0o077, Some(0o777), 0o700),
            (0, Some(0), 0), (0, Some(0o7777), 0o777), (0, Some(u16::MAX), 0o777),
        ];
        for (umask, mode, expected) in cases {
            rustix::process::umask(Mode::from_raw_mode(umask));
            let options =
                mode.map_or_else(ListenOptions::new, |mode| ListenOptions::new().mode(mode));
            let _listener = options.listen(path.to_str().unwrap(), &arena).unwrap();
            let found = path.symlink_metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(found, expected, "mode {mode:?} under umask {umask:#o}");
        }
    });
}

#[test]
fn an_option_that_does_not_apply_to_the_address_opens_nothing() {
    const IP: &[&str] = &["127.0.0.1:0", "[::1]:0"];
    const UNIX: &[&str] = &["unix:run.sock", "unix:@netbind-inapplicable"];
    #[rustfmt::skip]
    let cases: [(Change, SocketOption, &[&str]); 10] = [
        (|o| o.dual_stack(true), SocketOption::V6Only, &["127.0.0.1:0"]),
        (|o| o.dual_stack(true), SocketOption::V6Only, UNIX),
        (|o| o.reuse_port(true), SocketOption::ReusePort, UNIX),
        // The connections of a Unix listener do not inherit the sizes.
        (|o| o.receive_buffer(4096), SocketOption::ReceiveBuffer, UNIX),
        (|o| o.send_buffer(4096), SocketOption::SendBuffer, UNIX),
        (|o| o.free_bind(true), SocketOption::FreeBind, UNIX),
        (|o| o.keep_alive(true), SocketOption::KeepAlive, UNIX),
        (|o| o.no_delay(true), SocketOption::NoDelay, UNIX),
        (|o| o.mode(0o600), SocketOption::Mode, IP),
        (|o| o.mode(0o600), SocketOption::Mode, &["unix:@netbind-inapplicable"]),
    ];
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        for (change, option, addresses) in cases {
            for address in addresses {
                let arena = Arena::new();
                let before = descriptors();
                let error = change(ListenOptions::new()).listen(address, &arena).unwrap_err();
                assert_eq!(error, SocketError::InvalidOption(option), "{address}");
                assert!(error.is_not_supported());
                assert_eq!(
                    (descriptors(), arena.requests().collect()),
                    (before, vec![]),
                    "{address}"
                );
            }
        }
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    });
}
