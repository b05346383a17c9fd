//! The bytes of socket addresses, compared with C's structures and with the kernel's answers.
#![allow(unsafe_code)]

use std::mem::offset_of;
use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6};

use netbind::sockaddr::{SockAddr, sockaddr_in, sockaddr_in6};
use netbind::{BindAddress, ListenOptions, NetBind, listen};

use crate::support::allow_port_0_and_unix;
use crate::support::kernel::bound_bytes;
use crate::support::machine::{can_open, directory, openable};
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::thread::isolated;

fn bytes_of<T>(value: &T) -> &[u8] {
    // SAFETY: these structures have no padding, so every byte is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

fn bytes(address: &BindAddress) -> Vec<u8> {
    let arena = Arena::new();
    SockAddr::new_in(address, &arena).unwrap().as_bytes().to_vec()
}

fn c_sockaddr_in(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: address.ip().to_bits().to_be() },
        sin_zero: [0; 8],
    }
}

fn c_sockaddr_in6(address: &SocketAddrV6) -> libc::sockaddr_in6 {
    libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as u16,
        sin6_port: address.port().to_be(),
        sin6_flowinfo: address.flowinfo().to_be(),
        sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
        sin6_scope_id: address.scope_id(),
    }
}

#[test]
fn ipv4_bytes_are_those_of_c() {
    for text in ["127.0.0.1:9000", "0.0.0.0:0", "255.254.253.252:65535", "1.2.3.4:258"] {
        let address: SocketAddrV4 = text.parse().unwrap();
        let c = c_sockaddr_in(address);
        assert_eq!(sockaddr_in(&address).as_slice(), bytes_of(&c), "{text}");
        assert_eq!(bytes(&address.into()), bytes_of(&c), "{text}");
    }
    assert_eq!(sockaddr_in(&"1.2.3.4:258".parse().unwrap())[2..8], [1, 2, 1, 2, 3, 4]);
}

#[test]
fn ipv6_bytes_are_those_of_c() {
    let ip: Ipv6Addr = "fe80::1:2".parse().unwrap();
    for (port, label, scope) in
        [(443, 0, 0), (0, 0xabcde, 0), (65535, 1, 2), (258, u32::MAX, u32::MAX)]
    {
        let address = SocketAddrV6::new(ip, port, label, scope);
        assert_eq!(
            sockaddr_in6(&address).as_slice(),
            bytes_of(&c_sockaddr_in6(&address)),
            "{address:?}"
        );
        let unlabelled = SocketAddrV6::new(ip, port, 0, scope);
        assert_eq!(
            bytes(&unlabelled.try_into().unwrap()),
            bytes_of(&c_sockaddr_in6(&unlabelled)),
            "{address:?}"
        );
    }
    let labelled = sockaddr_in6(&SocketAddrV6::new(ip, 0, 0x12345, 0x0a0b_0c0d));
    assert_eq!(labelled[4..8], [0, 1, 0x23, 0x45]);
    assert_eq!(labelled[24..], 0x0a0b_0c0d_u32.to_ne_bytes());
}

#[test]
fn unix_bytes_have_no_padding() {
    assert_eq!((offset_of!(libc::sockaddr_un, sun_path), size_of::<libc::sockaddr_un>()), (2, 110));
    let family = (libc::AF_UNIX as u16).to_ne_bytes();
    let longest = "x".repeat(107);
    for name in ["a", "/run/janus.sock", &longest] {
        let path = BindAddress::parse(format!("unix:{name}")).unwrap();
        assert_eq!(bytes(&path), [&family, name.as_bytes(), &[0]].concat());
        let name_address = BindAddress::parse(format!("unix:@{name}")).unwrap();
        assert_eq!(bytes(&name_address), [&family, [0].as_slice(), name.as_bytes()].concat());
    }
    assert_eq!(
        bytes(&BindAddress::parse(format!("unix:{longest}")).unwrap()).len(),
        size_of::<libc::sockaddr_un>()
    );
}

#[test]
fn bytes_convert_back_to_their_address() {
    for text in [
        ":8080",
        "1.2.3.4:5",
        "[fe80::1%2]:443",
        "[::ffff:1.2.3.4]:1",
        "unix:/x",
        "unix:x",
        "unix:@x",
    ] {
        let arena = Arena::new();
        let address = BindAddress::parse(text).unwrap();
        assert_eq!(
            SockAddr::new_in(&address, &arena).unwrap().to_bind_address(),
            Some(address),
            "{text}"
        );
    }
}

#[test]
fn the_kernel_binds_exactly_these_bytes() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        let longest = format!("unix:{}/{}", directory.path().display(), "x".repeat(200));
        let longest = &longest[.."unix:".len() + 107];
        let sink = Lines::default();
        let mut capability = NetBind::empty("test").unwrap().with_sink(&sink);
        allow_port_0_and_unix(&mut capability);
        let arena = Arena::new();
        let options = ListenOptions::new().capability(&capability);
        for address in openable(&[
            "127.0.0.1:0",
            ":0",
            "[::1]:0",
            "[::]:0",
            &path,
            longest,
            "unix:@netbind-sockaddr-bytes",
        ]) {
            let listener = options.listen(address, &arena).unwrap();
            let (given, bound) = (listener.sockaddr(), bound_bytes(&listener));
            // The kernel changes only port 0.
            let name = if address.ends_with(":0") { 4 } else { 2 };
            assert_eq!((&given[..2], &given[name..]), (&bound[..2], &bound[name..]), "{address}");
            assert_ne!(bound[2..4], [0, 0], "the port of {address}");
        }
    });
}

#[test]
fn a_listener_allocates_exactly_the_size_of_its_address() {
    isolated(|| {
        let directory = directory();
        let path = format!("{}/s", directory.path().display());
        let cases = [
            ("127.0.0.1:0", 16),
            ("[::1]:0", 28),
            (&path, 2 + path.len() + 1),
            ("unix:@netbind-exact", 2 + 1 + "netbind-exact".len()),
        ];
        for (address, size) in cases.into_iter().filter(|(address, _)| can_open(address)) {
            let arena = Arena::new();
            let listener = listen(address, &arena).unwrap();
            assert_eq!(
                (arena.requests().collect(), arena.bytes_in_use()),
                (vec![size], size),
                "{address}"
            );
            drop(listener);
            assert_eq!(arena.bytes_in_use(), 0, "{address}");
        }
    });
}

#[test]
fn a_failed_allocation_is_out_of_memory() {
    let arena = Arena::refusing_from(1);
    let refused = SockAddr::new_in(&BindAddress::parse(":80").unwrap(), &arena);
    assert_eq!(refused.err(), Some(netbind::SocketError::OutOfMemory));
}
