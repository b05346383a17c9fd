//! Every kind of socket: which are judged, which are refused, and which are left alone.
#![allow(unsafe_code)]

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::ptr;

use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, AF_UNSPEC, AF_VSOCK, AF_XDP};
use libc::{IPPROTO_IPV6, IPPROTO_TCP, IPV6_V6ONLY, NETLINK_ROUTE, NETLINK_SOCK_DIAG};
use libc::{SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM};
use netbind::BindAddress;
use netbind::enforce::{Outcome as Came, SocketCall, Supervisor};
use netbind::error::Errno;

use super::super::harness::{is_root, skip};
use super::super::probe::{
    Address, Outcome, call, capability, check, directory, is_listening, name_of, own, set_option,
    socket,
};
use super::{
    address, assert_serves, bind, bound, listen, name, outcomes, parse, supervise, supervise_with,
    unix,
};

const REFUSED: Outcome = Err(Errno::ACCESS);

/// Opens a TCP socket that takes IPv4 connections too if `dual_stack`.
fn ipv6(dual_stack: bool) -> OwnedFd {
    let socket = socket(AF_INET6, SOCK_STREAM, 0).unwrap();
    set_option(&socket, IPPROTO_IPV6, IPV6_V6ONLY, (!dual_stack).into()).unwrap();
    socket
}

pub(super) fn a_listen_without_a_bind_is_a_bind_to_port_0() {
    for (rules, expected) in [
        (&[][..], REFUSED),
        (&["port 8000"], REFUSED),
        (&["port 1-65535"], REFUSED),
        (&["host 127.0.0.0/8 port 0", "host ::1 port 0"], REFUSED),
        (&["port 0"], Ok(())),
        (&["host 0.0.0.0 port 0", "host :: port 0"], Ok(())),
    ] {
        let answers = supervise(&capability(rules), || {
            for family in [AF_INET, AF_INET6] {
                let socket = socket(family, SOCK_STREAM, 0).unwrap();
                assert_eq!(listen(&socket, 1), expected, "{rules:?}, family {family}");
                assert_eq!(is_listening(&socket), expected.is_ok());
                match expected {
                    Ok(()) => assert_serves(&socket),
                    Err(_) => assert_eq!(name_of(&socket).port(), 0),
                }
            }
        });
        let came = if expected.is_ok() { Came::Made } else { Came::Denied };
        assert_eq!(outcomes(&answers), [(SocketCall::Listen, came); 2], "{rules:?}");
    }
}

pub(super) fn a_dual_stack_listen_without_a_bind_needs_both_wildcards() {
    let one = capability(&["host ::/0 port 0"]);
    let both = capability(&["host ::/0 port 0", "host 0.0.0.0 port 0"]);
    for (capability, dual_stack, expected) in
        [(&one, false, Ok(())), (&one, true, REFUSED), (&both, true, Ok(()))]
    {
        supervise(capability, || {
            let socket = ipv6(dual_stack);
            assert_eq!(listen(&socket, 1), expected);
            assert_eq!(name_of(&socket).port() != 0, expected.is_ok(), "it is bound");
        });
    }
}

/// Returns the backlog of a listener: `tcpi_sacked` of `struct tcp_info`.
fn backlog(listener: &OwnedFd) -> u32 {
    let (mut info, mut length) = ([0_u32; 26], 104);
    let pointer = info.as_mut_ptr().cast();
    let fd = listener.as_raw_fd();
    // SAFETY: the buffer has this length, and both outlive the call.
    let got =
        unsafe { libc::getsockopt(fd, IPPROTO_TCP, libc::TCP_INFO, pointer, &raw mut length) };
    check(got.into()).unwrap();
    info[7]
}

pub(super) fn a_socket_with_a_chosen_port_listens_again() {
    let answers = supervise(&capability(&["port 0"]), || {
        for text in ["127.0.0.1:0", "[::1]:0"] {
            let socket = bound(SOCK_STREAM, &address(text)).unwrap();
            for length in [1, 7] {
                listen(&socket, length).unwrap();
                assert_eq!(backlog(&socket), length as u32);
            }
            assert_serves(&socket);
        }
    });
    assert!(answers.iter().all(|answered| answered.outcome == Came::Made), "{answers:?}");
}

/// A forgotten socket is judged by the port that it has.
pub(super) fn the_newest_256_chosen_ports_are_known() {
    let answers = supervise(&capability(&["port 0"]), || {
        let port_0 = address("127.0.0.1:0");
        let sockets: Vec<_> = (0..257).map(|_| bound(SOCK_STREAM, &port_0).unwrap()).collect();
        assert_eq!(listen(&sockets[0], 1), REFUSED);
        for socket in &sockets[1..] {
            assert_eq!(listen(socket, 1), Ok(()));
        }
    });
    let denied: Vec<_> = answers.iter().filter(|a| a.outcome == Came::Denied).collect();
    assert_eq!(denied.len(), 1);
    let port = denied[0].address.as_ref().and_then(BindAddress::port);
    assert!(port.is_some_and(|port| port > 0), "{denied:?}");
}

pub(super) fn any_number_of_chosen_ports_listens() {
    supervise(&capability(&["port 0"]), || {
        let listeners = (0..300).map(|_| {
            let socket = bound(SOCK_STREAM, &address("127.0.0.1:0")).unwrap();
            listen(&socket, 1).unwrap();
            socket
        });
        let listeners: Vec<_> = listeners.collect();
        listeners.iter().for_each(assert_serves);
    });
}

/// Sockets that were bound before the child entered, and options that were changed after the bind.
pub(super) fn a_bind_to_a_port_is_judged_again_at_listen() {
    let before = ["127.0.0.1:8000", "127.0.0.1:8001", "[::1]:8001"];
    let sockets = before.map(|text| bound(SOCK_STREAM, &address(text)).unwrap());
    let port_0 = bound(SOCK_STREAM, &address("127.0.0.1:0")).unwrap();
    let answers = supervise(&capability(&["host 127.0.0.1 port 8000", "port 0"]), || {
        let listened = sockets.each_ref().map(|socket| listen(socket, 1));
        assert_eq!(listened, [Ok(()), REFUSED, REFUSED]);
        assert_serves(&sockets[0]);
        assert_eq!(listen(&port_0, 1), REFUSED, "its port was not chosen under the supervisor");
    });
    for (answered, text) in answers.iter().zip(before) {
        assert_eq!(answered.address, Some(parse(text)));
    }
}

/// The kernel takes `AF_UNSPEC` for the wildcard.
pub(super) fn an_unspecified_family_is_judged_as_ipv4() {
    let answers = supervise(&capability(&["host 0.0.0.0 port 8000"]), || {
        for (text, expected) in [
            ("0.0.0.0:8000", Ok(())),
            ("0.0.0.0:8001", REFUSED),
            ("127.0.0.1:8000", Err(Errno::AFNOSUPPORT)),
        ] {
            let socket = socket(AF_INET, SOCK_STREAM, 0).unwrap();
            assert_eq!(bind(&socket, &address(text).with_family(AF_UNSPEC)), expected, "{text}");
            assert_eq!(name_of(&socket).port(), if expected.is_ok() { 8000 } else { 0 });
        }
    });
    let addresses: Vec<_> = answers.iter().map(|answered| answered.address.clone()).collect();
    assert_eq!(addresses, [Some(parse("0.0.0.0:8000")), Some(parse("0.0.0.0:8001")), None]);
}

pub(super) fn udp_is_refused_unless_it_is_asked_for() {
    let answers = supervise(&capability(&["port 0-65535"]), || {
        for (text, expected) in [
            ("127.0.0.1:8000", REFUSED),
            ("[::1]:8000", REFUSED),
            ("127.0.0.1:0", Ok(())),
            ("[::]:0", Ok(())),
        ] {
            let socket = bound(SOCK_DGRAM, &address(text)).map(drop);
            assert_eq!(socket, expected, "{text}");
        }
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
        assert_eq!(receiver.recv(&mut [0]).unwrap(), 1);
    });
    let came: Vec<_> = answers.iter().map(|answered| answered.outcome).collect();
    let (no, yes) = (Came::Denied, Came::Made);
    assert_eq!(came, [no, no, yes, yes, yes, yes]);
}

pub(super) fn udp_is_judged_by_the_rules() {
    const IPV6: &[&str] = &["host ::/0 port 8000", "host 0.0.0.0/0 port 8001", "host ::1 port 9"];
    for (rules, text, expected) in [
        (&["port 8000"][..], "127.0.0.1:8000", Ok(())),
        (&["port 8000"], "127.0.0.1:8001", REFUSED),
        (&["port 8000"], "[::1]:8000", Ok(())),
        (&["port 8000"], "[::]:8000", Ok(())),
        (&["port 8000"], "127.0.0.1:0", Ok(())),
        (&[], "[::]:0", Ok(())),
        (&["host 127.0.0.1 port 8000"], "127.0.0.2:8000", REFUSED),
        (IPV6, "[::1]:8000", Ok(())),
        (IPV6, "[::]:8000", REFUSED), // although the socket takes IPv6 only
        (IPV6, "[::]:8001", REFUSED),
    ] {
        supervise_with(&capability(rules), Supervisor::allow_udp, || {
            let address = address(text);
            let socket = socket(address.family(), SOCK_DGRAM, 0).unwrap();
            if address.family() == AF_INET6 {
                set_option(&socket, IPPROTO_IPV6, IPV6_V6ONLY, 1).unwrap();
            }
            assert_eq!(bind(&socket, &address), expected, "{rules:?}: {text}");
        });
    }
    supervise_with(&capability(&["port 8000"]), Supervisor::allow_udp, || {
        let receiver = UdpSocket::bind("127.0.0.1:8000").unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:8000").unwrap();
        assert_eq!(receiver.recv(&mut [0]).unwrap(), 1);
    });
}

pub(super) fn other_sockets_cannot_be_made() {
    const PROTOCOL: Errno = Errno::PROTONOSUPPORT;
    const FAMILY: Errno = Errno::AFNOSUPPORT;
    let everything = capability(&["port 0-65535", "any-path", "any-abstract"]);
    let answers = supervise_with(&everything, Supervisor::allow_udp, || {
        for (family, kind, protocol, errno) in [
            (AF_INET, SOCK_STREAM, libc::IPPROTO_MPTCP, PROTOCOL),
            (AF_INET6, SOCK_STREAM, libc::IPPROTO_MPTCP, PROTOCOL),
            (AF_INET, SOCK_STREAM, libc::IPPROTO_SCTP, PROTOCOL),
            (AF_INET, SOCK_SEQPACKET, libc::IPPROTO_SCTP, Errno::ACCESS),
            (AF_INET, SOCK_DGRAM, libc::IPPROTO_UDPLITE, Errno::ACCESS),
            (AF_INET, SOCK_RAW, IPPROTO_TCP, Errno::ACCESS),
            (AF_INET6, SOCK_RAW, IPPROTO_TCP, Errno::ACCESS),
            (AF_PACKET, SOCK_RAW, 0, FAMILY),
            (AF_VSOCK, SOCK_STREAM, 0, FAMILY),
            (AF_XDP, SOCK_RAW, 0, FAMILY),
            (AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, PROTOCOL),
        ] {
            let made = socket(family, kind, protocol).map(drop);
            assert_eq!(made, Err(errno), "family {family}, type {kind}, protocol {protocol}");
        }
        for number in [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter] {
            assert_eq!(call(number, [1, 0, 0, 0]), Err(Errno::NOSYS));
        }
        let own_pidfd = call(libc::SYS_pidfd_open, [std::process::id() as usize, 0, 0, 0]);
        let pidfd = own(own_pidfd.unwrap()).unwrap();
        let getfd = call(libc::SYS_pidfd_getfd, [pidfd.as_raw_fd() as usize, 0, 0, 0]);
        assert_eq!(getfd, Err(Errno::PERM));
    });
    assert_eq!(answers, [], "the filter answers");
}

/// The filter does not see the sockets that a program has from its parent.
pub(super) fn other_sockets_from_before_cannot_be_bound() {
    let netlink = Address::new(AF_NETLINK, &[0; 10]);
    let any_vsock = Address::new(AF_VSOCK, &[&[0, 0][..], &[0xff; 8], &[0; 4]].concat());
    let ip = address("127.0.0.1:8000");
    for (kind, protocol, address) in [
        (SOCK_STREAM, libc::IPPROTO_MPTCP, ip.clone()),
        (SOCK_DGRAM, libc::IPPROTO_UDPLITE, ip.clone()),
        (SOCK_RAW, libc::IPPROTO_ICMP, ip),
        (SOCK_RAW, NETLINK_SOCK_DIAG, netlink),
        (SOCK_STREAM, 0, any_vsock),
    ] {
        assert_bind_is_refused(kind, protocol, &address);
    }
}

/// Asserts that a socket from before cannot be bound, whatever the rules allow.
#[track_caller]
fn assert_bind_is_refused(kind: i32, protocol: i32, address: &Address) {
    let what = format!("family {}, protocol {protocol}", address.family());
    let Ok(socket) = socket(address.family(), kind, protocol) else {
        if is_root() {
            skip(&format!("{what}, which cannot be made here"));
        }
        return;
    };
    let everything = capability(&["port 0-65535"]);
    supervise_with(&everything, Supervisor::allow_udp, || {
        assert_eq!(bind(&socket, address), REFUSED, "{what}");
        assert_eq!(listen(&socket, 1), REFUSED, "{what}");
    });
}

/// A raw socket can have the protocol number of TCP or UDP.
pub(super) fn raw_sockets_from_before_cannot_be_bound() {
    for protocol in [IPPROTO_TCP, libc::IPPROTO_UDP] {
        assert_bind_is_refused(SOCK_RAW, protocol, &address("127.0.0.1:8000"));
    }
}

/// Returns the port id of a netlink socket.
fn port_id(socket: &OwnedFd) -> u32 {
    u32::from_ne_bytes(name(socket)[4..8].try_into().unwrap())
}

pub(super) fn route_netlink_gets_a_port_id() {
    let any = Address::new(AF_NETLINK, &[0; 10]);
    let route = || socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE).unwrap();
    supervise(&capability(&[]), || {
        let sockets = [route(), route(), route()];
        std::thread::scope(|scope| scope.spawn(|| bind(&sockets[0], &any)).join().unwrap())
            .unwrap();
        sockets[1..].iter().for_each(|socket| bind(socket, &any).unwrap());
        let [first, second, third] = sockets.each_ref().map(port_id);
        assert_eq!(first, std::process::id(), "that of the program, not of the supervisor");
        assert!(second != first && third != first && second != third);
        assert!(second != 0 && third != 0);
        let supervisor = std::os::unix::process::parent_id();
        assert!(second != supervisor && third != supervisor);
        let chosen = Address::new(AF_NETLINK, &[0, 0, 7, 7, 7, 7, 0, 0, 0, 0]);
        let socket = route();
        bind(&socket, &chosen).unwrap();
        assert_eq!(port_id(&socket), 0x0707_0707);
        assert_eq!(bind(&route(), &chosen), Err(Errno::ADDRINUSE));
        let short = Address::new(AF_NETLINK, &[0; 9]);
        assert_eq!(bind(&route(), &short), Err(Errno::INVAL));
    });
}

pub(super) fn names_are_looked_up() {
    let answers = supervise(&capability(&[]), || {
        let addresses = ("localhost", 80).to_socket_addrs().unwrap();
        assert!(addresses.into_iter().all(|address| address.ip().is_loopback()));
        let mut interfaces = ptr::null_mut();
        // SAFETY: the call writes one pointer.
        check(unsafe { libc::getifaddrs(&raw mut interfaces) }.into()).unwrap();
        // SAFETY: this is the list of the call above.
        unsafe { libc::freeifaddrs(interfaces) };
    });
    // glibc binds a route socket, at the latest for the interfaces.
    assert_eq!(answers.is_empty(), cfg!(not(target_env = "gnu")), "{answers:?}");
    assert!(answers.iter().all(|answered| answered.outcome == Came::Made), "{answers:?}");
}

pub(super) fn any_unix_name_needs_any_abstract() {
    let any = Address::new(AF_UNIX, &[]);
    for (rules, expected) in [
        (&[][..], REFUSED),
        (&["any-path", "abstract app", "abstract-prefix a"], REFUSED),
        (&["any-abstract"], Ok(())),
    ] {
        let answers = supervise(&capability(rules), || {
            let sockets = [SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM].map(|kind| {
                let socket = socket(AF_UNIX, kind, 0).unwrap();
                assert_eq!(bind(&socket, &any), expected, "{rules:?}");
                socket
            });
            let [first, second, third] = sockets.each_ref().map(name);
            if expected.is_err() {
                assert_eq!(first.len(), 2, "no name");
                return;
            }
            for bytes in [&first, &second, &third] {
                let [_, _, 0, digits @ ..] = &bytes[..] else { panic!("{bytes:?}") };
                assert_eq!(digits.len(), 5, "{bytes:?}");
                assert!(digits.iter().all(u8::is_ascii_hexdigit), "{bytes:?}");
            }
            assert!(first != second && second != third && first != third);
            listen(&sockets[0], 1).unwrap();
            assert_serves(&sockets[0]);
        });
        let denied = answers.iter().filter(|answered| answered.outcome == Came::Denied).count();
        assert_eq!(denied, if expected.is_err() { 3 } else { 0 }, "{answers:?}");
    }
}

/// The first name that is tried is made of the cookie of the socket.
pub(super) fn any_unix_name_is_one_that_is_not_taken() {
    let any = Address::new(AF_UNIX, &[]);
    supervise(&capability(&["any-abstract"]), || {
        let [free, taken] = [(); 2].map(|()| socket(AF_UNIX, SOCK_STREAM, 0).unwrap());
        let first_name = |socket: &OwnedFd| {
            let cookie = rustix::net::sockopt::socket_cookie(socket).unwrap();
            address(&format!("unix:@{:05x}", cookie & 0xf_ffff))
        };
        bind(&free, &any).unwrap();
        assert_eq!(bound(SOCK_STREAM, &first_name(&free)).map(drop), Err(Errno::ADDRINUSE));
        let _other = bound(SOCK_STREAM, &first_name(&taken)).unwrap();
        bind(&taken, &any).unwrap();
        assert_eq!(name(&taken).len(), 8, "another name of five digits");
    });
}

pub(super) fn every_type_of_unix_socket_is_judged() {
    let directory = directory();
    std::fs::create_dir(directory.path().join("in")).unwrap();
    let rules = [&format!("beneath {}/in", directory.path().display()), "abstract app"];
    supervise(&capability(&rules), || {
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
            for (text, expected) in [
                (unix(directory.path(), &format!("in/{kind}")), Ok(())),
                (unix(directory.path(), "out"), REFUSED),
                ("unix:@app".into(), Ok(())),
                ("unix:@other".into(), REFUSED),
            ] {
                let socket = bound(kind, &address(&text)).map(drop);
                assert_eq!(socket, expected, "type {kind}: {text}");
            }
        }
        let path = directory.path().join("in/datagrams");
        let receiver = UnixDatagram::bind(&path).unwrap();
        UnixDatagram::unbound().unwrap().send_to(b"x", &path).unwrap();
        assert_eq!(receiver.recv(&mut [0]).unwrap(), 1);
    });
}

pub(super) fn other_calls_are_not_affected() {
    let before = TcpListener::bind("127.0.0.1:0").unwrap();
    let answers = supervise(&capability(&[]), || {
        let client = TcpStream::connect(before.local_addr().unwrap()).unwrap();
        let (server, peer) = before.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        drop(server);
        UnixStream::pair().unwrap();
        UnixDatagram::pair().unwrap();
        let sender = socket(AF_INET, SOCK_DGRAM, 0).unwrap();
        let port_9 = Address::ip("127.0.0.1:9");
        super::super::probe::send_to(&sender, &port_9).unwrap();
    });
    assert_eq!(answers, []);
}
