//! Socket addresses byte for byte: the family in the processor's order, ports, IP addresses and flow labels in the
//! network's, the scope id in the processor's.

use core::net::{Ipv6Addr, SocketAddrV6};

use netbind::sockaddr::{SockAddr, sockaddr_in6};
use netbind::{BindAddress, SocketError};

use super::memory::Memory;

/// Address, its family, and the bytes behind the family; an IPv6 scope id is checked apart.
pub(crate) const BYTES: &[(&str, u16, &[u8])] = &[
    ("127.0.0.1:9000", 2, &[0x23, 0x28, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
    (":65535", 2, &[0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    (
        "[2001:db8::1]:443",
        10,
        &[
            0x01, 0xbb, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,
            0, 0, 0,
        ],
    ),
    ("unix:/x", 1, b"/x\0"),
    ("unix:@x", 1, b"\0x"),
];

pub(crate) fn every_form_has_the_kernels_bytes_and_its_exact_size() {
    for (text, family, rest) in BYTES {
        let memory = Memory::new(4096);
        let address = BindAddress::parse(text).expect(text);
        let sockaddr = SockAddr::new_in(&address, &memory).expect(text);
        let (head, tail) = sockaddr.as_bytes().split_at(2);
        assert_eq!((head, tail), (&family.to_ne_bytes()[..], *rest), "{text}");
        assert_eq!(sockaddr.to_bind_address(), Some(address), "{text}");
        drop(sockaddr);
        assert_eq!(memory.open.get(), 0, "{text}");
    }
}

pub(crate) fn flow_label_and_scope_id_have_different_orders() {
    let bytes = sockaddr_in6(&SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0xabcde, 0x0102_0304));
    assert_eq!(bytes[4..8], [0x00, 0x0a, 0xbc, 0xde]);
    assert_eq!(bytes[24..], 0x0102_0304_u32.to_ne_bytes());
}

pub(crate) fn a_refusing_allocator_is_an_error() {
    let memory = Memory::new(3);
    let address = BindAddress::parse("unix:@x").expect("an address");
    assert_eq!(SockAddr::new_in(&address, &memory).err(), Some(SocketError::OutOfMemory));
}
