//! The socket options as the kernel has them afterwards, each with its default, and those that mean nothing for an address.

use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;

use libc::{
    IP_FREEBIND, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPV6_FREEBIND, IPV6_V6ONLY, SO_KEEPALIVE,
    SO_RCVBUF, SO_REUSEADDR, SO_REUSEPORT, SO_SNDBUF, SOL_SOCKET, TCP_NODELAY,
};
use netbind::error::{SocketOption, Step};
use netbind::{BindAddress, ListenOptions, Listener, SocketError};
use rustix::fs::Mode;

use crate::support::kernel::{backlog_in_force, socket_option, sysctl};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated, isolated_network};

type Change = fn(ListenOptions<'static>) -> ListenOptions<'static>;

fn port(listener: &Listener<&Arena>) -> u16 {
    listener.local_address().unwrap().port().unwrap()
}

/// Address, change, level, option, value by default, value with the change.
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
fn an_option_is_off_by_default_and_on_when_asked_for() {
    let arena = Arena::new();
    for &(address, change, level, option, default, changed) in SWITCHES {
        let plain = ListenOptions::new().listen(address, &arena).unwrap();
        assert_eq!(socket_option(&plain, level, option), default, "{level}/{option} of {address}");
        let asked = change(ListenOptions::new()).listen(address, &arena).unwrap();
        assert_eq!(socket_option(&asked, level, option), changed, "{level}/{option} of {address}");
    }
}

#[test]
fn accepted_connections_inherit_what_the_options_promise() {
    let arena = Arena::new();
    let listener =
        ListenOptions::new().keep_alive(true).no_delay(true).listen("127.0.0.1:0", &arena).unwrap();
    let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port(&listener))).unwrap();
    let (connection, _) = listener.accept().unwrap();
    assert_eq!(socket_option(&connection, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_eq!(socket_option(&connection, IPPROTO_TCP, TCP_NODELAY), 1);
}

#[test]
fn buffers_have_twice_the_size_asked_for_up_to_twice_the_kernels_limit() {
    let arena = Arena::new();
    let limits = [sysctl("net/core/rmem_max"), sysctl("net/core/wmem_max")]
        .map(|limit| i32::try_from(limit).unwrap());
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for size in [8_192, 16_384, 65_536, i32::MAX as u32] {
            let options = ListenOptions::new().receive_buffer(size).send_buffer(size);
            let listener = options.listen(address, &arena).unwrap();
            let asked = i32::try_from(size).unwrap_or(i32::MAX);
            let found =
                [SO_RCVBUF, SO_SNDBUF].map(|name| socket_option(&listener, SOL_SOCKET, name));
            assert_eq!(
                found,
                limits.map(|limit| 2 * asked.min(limit)),
                "{size} bytes of {address}"
            );
        }
    }
}

#[test]
fn a_buffer_larger_than_any_is_cut_to_the_kernels_limit() {
    let arena = Arena::new();
    for options in
        [ListenOptions::new().receive_buffer(u32::MAX), ListenOptions::new().send_buffer(1 << 31)]
    {
        assert_eq!(options.listen("127.0.0.1:0", &arena).err(), None);
    }
}

#[test]
fn the_backlog_is_the_kernels_maximum_unless_one_is_asked_for() {
    isolated(|| {
        let arena = Arena::new();
        let most = sysctl("net/core/somaxconn");
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = ListenOptions::new().listen(address, &arena).unwrap();
            assert_eq!(backlog_in_force(&listener), most, "{address}");
            for (asked, found) in
                [(0, 0), (1, 1), (17, 17), (most, most), (most + 1, most), (u32::MAX, most)]
            {
                let listener = ListenOptions::new().backlog(asked).listen(address, &arena).unwrap();
                assert_eq!(backlog_in_force(&listener), found, "{asked} for {address}");
            }
        }
    });
}

#[test]
fn an_ipv6_wildcard_takes_ipv4_clients_on_request_alone() {
    isolated_network(|_| {
        let arena = Arena::new();
        let alone = ListenOptions::new().listen("[::]:0", &arena).unwrap();
        assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port(&alone))).is_ok());
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port(&alone))).is_err());

        let both = ListenOptions::new().dual_stack(true).listen("[::]:0", &arena).unwrap();
        for (host, mapped) in [("127.0.0.1", "::ffff:127.0.0.1"), ("::1", "::1")] {
            let client = TcpStream::connect((host, port(&both))).unwrap();
            let (_connection, peer) = both.accept().unwrap();
            let expected = format!("[{mapped}]:{}", client.local_addr().unwrap().port());
            assert_eq!(peer, Some(BindAddress::parse(expected).unwrap()));
        }
    });
}

#[test]
fn a_mapped_address_needs_dual_stack_and_takes_ipv4_clients_then() {
    let arena = Arena::new();
    let error = ListenOptions::new().listen("[::ffff:127.0.0.1]:0", &arena).unwrap_err();
    assert_eq!(error.step(), Some(Step::Bind));

    let listener =
        ListenOptions::new().dual_stack(true).listen("[::ffff:127.0.0.1]:0", &arena).unwrap();
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port(&listener))).unwrap();
    let (_connection, peer) = listener.accept().unwrap();
    let expected = format!("[::ffff:127.0.0.1]:{}", client.local_addr().unwrap().port());
    assert_eq!(peer, Some(BindAddress::parse(expected).unwrap()));
}

#[test]
fn listeners_share_a_port_where_all_of_them_ask_for_it() {
    let arena = Arena::new();
    let options = ListenOptions::new().reuse_port(true);
    let first = options.listen("127.0.0.1:0", &arena).unwrap();
    let taken = first.local_address().unwrap();
    let second = options.listen_on(&taken, &arena).unwrap();
    assert_eq!(second.local_address(), Ok(taken.clone()));
    assert!(ListenOptions::new().listen_on(&taken, &arena).unwrap_err().is_address_in_use());
}

#[test]
fn free_bind_opens_an_address_that_this_machine_does_not_have() {
    let arena = Arena::new();
    for address in ["192.0.2.1:0", "[2001:db8::1]:0"] {
        assert!(
            ListenOptions::new().listen(address, &arena).unwrap_err().is_address_not_available(),
            "{address}"
        );
        ListenOptions::new().free_bind(true).listen(address, &arena).expect(address);
    }
}

#[test]
fn a_port_whose_connections_linger_can_be_bound_again_at_once() {
    isolated_network(|_| {
        let arena = Arena::new();
        let listener = ListenOptions::new().listen("127.0.0.1:0", &arena).unwrap();
        let address = listener.local_address().unwrap();
        let client = TcpStream::connect(address.to_socket_addr().unwrap()).unwrap();
        let (connection, _) = listener.accept().unwrap();
        // The server ends first, and so it is its port that is in TIME_WAIT.
        drop(connection);
        drop(client);
        drop(listener);
        let strict = ListenOptions::new().reuse_address(false).listen_on(&address, &arena);
        assert!(strict.unwrap_err().is_address_in_use());
        ListenOptions::new().listen_on(&address, &arena).unwrap();
    });
}

#[test]
fn a_paths_permissions_are_those_asked_for_less_the_umask() {
    isolated(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let arena = Arena::new();
        #[rustfmt::skip]
        let cases = [
            (0o022, None, 0o755), (0o077, None, 0o700), (0, None, 0o777),
            (0, Some(0o600), 0o600), (0, Some(0o666), 0o666), (0o022, Some(0o666), 0o644), (0o077, Some(0o777), 0o700),
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
fn an_option_that_means_nothing_for_the_address_opens_nothing() {
    const IP: &[&str] = &["127.0.0.1:0", "[::1]:0"];
    const UNIX: &[&str] = &["unix:run.sock", "unix:@netbind-meaningless"];
    #[rustfmt::skip]
    let cases: [(Change, SocketOption, &[&str]); 9] = [
        (|o| o.dual_stack(true), SocketOption::V6Only, &["127.0.0.1:0", "unix:run.sock", "unix:@netbind-meaningless"]),
        (|o| o.reuse_port(true), SocketOption::ReusePort, UNIX),
        // Connections of a Unix listener do not inherit them.
        (|o| o.receive_buffer(4096), SocketOption::ReceiveBuffer, UNIX),
        (|o| o.send_buffer(4096), SocketOption::SendBuffer, UNIX),
        (|o| o.free_bind(true), SocketOption::FreeBind, UNIX),
        (|o| o.keep_alive(true), SocketOption::KeepAlive, UNIX),
        (|o| o.no_delay(true), SocketOption::NoDelay, UNIX),
        (|o| o.mode(0o600), SocketOption::Mode, IP),
        (|o| o.mode(0o600), SocketOption::Mode, &["unix:@netbind-meaningless"]),
    ];
    isolated(|| {
        let directory = tempfile::tempdir().unwrap();
        std::env::set_current_dir(directory.path()).unwrap();
        for (change, option, addresses) in cases {
            for address in addresses {
                let arena = Arena::new();
                let before = descriptors();
                let error = change(ListenOptions::new()).listen(address, &arena).unwrap_err();
                assert_eq!(error, SocketError::InvalidOption(option), "{address}");
                assert!(error.is_not_supported());
                assert_eq!((descriptors(), arena.asked()), (before, vec![]), "{address}");
            }
        }
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    });
}
