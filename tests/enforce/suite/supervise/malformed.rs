//! Calls that fail without a supervisor too, and with the same errno.

use std::os::fd::AsRawFd;
use std::ptr;

use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, AF_UNSPEC};
use libc::{SOCK_DGRAM, SOCK_RAW, SOCK_STREAM};
use netbind::enforce::{Outcome as Came, SocketCall};
use netbind::error::Errno;

use super::super::probe::{Address, Outcome, call, capability, socket};
use super::{address, bind, listen, outcomes, supervise};

/// Calls `bind` with any descriptor, address and length.
fn bind_raw(fd: i32, address: *const u8, length: u32) -> Outcome {
    call(libc::SYS_bind, [fd as usize, address.expose_provenance(), length as usize, 0]).map(drop)
}

/// Makes calls that mostly are malformed. Returns what came of each.
fn malformed_calls() -> Vec<(&'static str, Outcome)> {
    let [v4, v6, unix] =
        [AF_INET, AF_INET6, AF_UNIX].map(|family| socket(family, SOCK_STREAM, 0).unwrap());
    let [v4, v6, unix] = [&v4, &v6, &unix].map(AsRawFd::as_raw_fd);
    let udp = socket(AF_INET, SOCK_DGRAM, 0).unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let closed = udp.as_raw_fd() + 100;
    let (ip4, ip6) = (address("127.0.0.1:8000"), address("[::1]:8000"));
    let long_ip4 = Address::new(AF_INET, &[&[0x1f, 0x40, 127, 0, 0, 1][..], &[0; 200]].concat());
    let long_unix = Address::new(AF_UNIX, &[&b"/x"[..], &[0; 200]].concat());
    let start = |fd, address: &Address, length| bind_raw(fd, address.as_ptr().cast(), length);
    let whole = |fd, address: &Address| start(fd, address, address.len());
    let bad = ptr::without_provenance(8);
    let unspecified = |text| address(text).with_family(AF_UNSPEC);
    let listen_on = |fd: i32| call(libc::SYS_listen, [fd as usize, 1, 0, 0]).map(drop);
    let fresh = |family| socket(family, SOCK_STREAM, 0).unwrap();
    vec![
        ("AF_UNSPEC, wildcard", whole(fresh(AF_INET).as_raw_fd(), &unspecified("0.0.0.0:8000"))),
        ("AF_UNSPEC, a host", whole(v4, &unspecified("127.0.0.1:8000"))),
        ("AF_UNSPEC, IPv6", whole(v6, &unspecified("[::]:8000"))),
        ("AF_INET for IPv6", whole(v6, &ip4)),
        ("AF_INET for IPv6, long", whole(v6, &ip6.with_family(AF_INET))),
        ("AF_INET6 for IPv4", whole(v4, &ip6)),
        ("AF_UNIX for IPv4", whole(v4, &ip4.with_family(AF_UNIX))),
        ("AF_INET for a Unix socket", whole(unix, &ip4)),
        ("IPv4, length 0", start(v4, &ip4, 0)),
        ("IPv4, length 1", start(v4, &ip4, 1)),
        ("IPv4, length 2", start(v4, &ip4, 2)),
        ("IPv4, length 15", start(v4, &ip4, 15)),
        ("IPv4, length 128", start(fresh(AF_INET).as_raw_fd(), &long_ip4, 128)),
        ("IPv4, length 129", start(v4, &long_ip4, 129)),
        ("IPv4, a negative length", start(v4, &ip4, u32::MAX)),
        ("IPv6, length 23", start(v6, &ip6, 23)),
        ("IPv6, length 24, without scope id", start(fresh(AF_INET6).as_raw_fd(), &ip6, 24)),
        ("Unix, length 0", start(unix, &ip4.with_family(AF_UNIX), 0)),
        ("Unix, length 1", start(unix, &ip4.with_family(AF_UNIX), 1)),
        ("Unix, length 111", start(unix, &long_unix, 111)),
        ("a bad pointer", bind_raw(v4, bad, 16)),
        ("no pointer", bind_raw(v4, ptr::null(), 16)),
        ("a bad pointer and length", bind_raw(v4, bad, 129)),
        ("a bad pointer and no length", bind_raw(v4, bad, 0)),
        ("a closed descriptor", whole(closed, &ip4)),
        ("a closed descriptor and a bad pointer", bind_raw(closed, bad, 16)),
        ("a negative descriptor", whole(-1, &ip4)),
        ("a pipe", whole(pipe.as_raw_fd(), &ip4)),
        ("listen, a closed descriptor", listen_on(closed)),
        ("listen, a pipe", listen_on(pipe.as_raw_fd())),
        ("listen, UDP", listen_on(udp.as_raw_fd())),
        ("listen, a Unix socket without a name", listen_on(unix)),
    ]
}

pub(super) fn malformed_calls_fail_as_without_a_supervisor() {
    let free = malformed_calls();
    let errnos: Vec<_> = free.iter().filter_map(|(_, came)| came.err()).collect();
    for errno in [Errno::AFNOSUPPORT, Errno::INVAL, Errno::FAULT, Errno::BADF, Errno::NOTSOCK] {
        assert!(errnos.contains(&errno), "{errno}");
    }
    supervise(&capability(&["port 0-65535", "any-path", "any-abstract"]), || {
        let supervised = malformed_calls();
        let differ = free.iter().zip(&supervised).filter(|(free, found)| free != found);
        let differ: Vec<_> = differ.collect();
        assert!(differ.is_empty(), "without and with a supervisor: {differ:#?}");
    });
}

pub(super) fn a_pipe_is_no_socket() {
    let check = || {
        let (pipe, _writer) = std::io::pipe().unwrap();
        for (address, length) in [(ptr::without_provenance(8), 16), (ptr::null(), 129)] {
            let bound = bind_raw(pipe.as_raw_fd(), address, length);
            assert_eq!(bound, Err(Errno::NOTSOCK), "length {length}");
        }
    };
    check();
    supervise(&capability(&[]), check);
}

pub(super) fn a_datagram_socket_cannot_listen() {
    let check = || {
        let socket = socket(AF_UNIX, SOCK_DGRAM, 0).unwrap();
        assert_eq!(listen(&socket, 1), Err(Errno::OPNOTSUPP), "without a name");
        bind(&socket, &address("unix:@datagrams")).unwrap();
        assert_eq!(listen(&socket, 1), Err(Errno::OPNOTSUPP), "with a name");
    };
    check();
    supervise(&capability(&["any-abstract"]), check);
}

pub(super) fn udp_and_netlink_sockets_cannot_listen() {
    let answers = supervise(&capability(&[]), || {
        for (family, kind) in
            [(AF_INET, SOCK_DGRAM), (AF_INET6, SOCK_DGRAM), (AF_NETLINK, SOCK_RAW)]
        {
            let listened = listen(&socket(family, kind, 0).unwrap(), 1);
            assert_eq!(listened, Err(Errno::OPNOTSUPP), "family {family}");
        }
    });
    assert_eq!(outcomes(&answers), [(SocketCall::Listen, Came::Failed(Errno::OPNOTSUPP)); 3]);
}
