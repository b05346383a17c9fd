//! The bytes of socket addresses. The family and the scope id are in the processor's byte order;
//! ports, IP addresses and flow labels are in network byte order.

use core::net::{Ipv6Addr, SocketAddrV6};

use netbind::sockaddr::{SockAddr, sockaddr_in6};
use netbind::{BindAddress, SocketError};

use super::memory::Arena;

/// An address, its family, and the bytes after the family.
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

pub(crate) fn every_form_has_the_bytes_that_the_kernel_expects() {
    for (text, family, rest) in BYTES {
        let memory = Arena::new();
        let address = BindAddress::parse(text).expect(text);
        let sockaddr = SockAddr::new_in(&address, &memory).expect(text);
        let (head, tail) = sockaddr.as_bytes().split_at(2);
        assert_eq!((head, tail), (&family.to_ne_bytes()[..], *rest), "{text}");
        assert_eq!(sockaddr.to_bind_address(), Some(address), "{text}");
        drop(sockaddr);
        assert_eq!(memory.bytes_in_use(), 0, "{text}");
    }
}

pub(crate) fn a_flow_label_is_in_network_order_and_a_scope_id_is_not() {
    let bytes = sockaddr_in6(&SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0xabcde, 0x0102_0304));
    assert_eq!(bytes[4..8], [0x00, 0x0a, 0xbc, 0xde]);
    assert_eq!(bytes[24..], 0x0102_0304_u32.to_ne_bytes());
}

pub(crate) fn a_failed_allocation_is_out_of_memory() {
    let memory = Arena::refusing_from(1);
    let address = BindAddress::parse("unix:@x").expect("an address");
    assert_eq!(SockAddr::new_in(&address, &memory).err(), Some(SocketError::OutOfMemory));
}
