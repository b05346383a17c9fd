//! The socket address of a text, compared with the layout in the man pages, and the way back.

use core::net::SocketAddr;

use netbind::sockaddr::SockAddr;
use netbind::{BindAddress, SocketError};

use super::memory::Arena;

/// Parses any bytes with each function, and converts an address to a socket address and back.
pub fn sockaddr(text: &[u8]) {
    let parsed = BindAddress::parse(text);
    assert_eq!(BindAddress::try_from(text), parsed);
    if let Ok(text) = core::str::from_utf8(text) {
        assert_eq!(text.parse(), parsed);
    }
    let Ok(address) = parsed else { return };
    let memory = Arena::new();
    let sockaddr = SockAddr::new_in(&address, &memory).expect("memory");
    assert_eq!(sockaddr.as_bytes(), layout(&address));
    assert_eq!(sockaddr.to_bind_address().as_ref(), Some(&address));
    assert_eq!(memory.blocks_in_use(), 1);
    drop(sockaddr);
    assert_eq!((memory.blocks_in_use(), memory.bytes_in_use()), (0, 0));
    memory.refuse(true);
    assert_eq!(SockAddr::new_in(&address, &memory).err(), Some(SocketError::OutOfMemory));
}

/// Returns the layout in ip(7), ipv6(7) or unix(7).
fn layout(address: &BindAddress) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut family = |family: i32| bytes.extend(u16::try_from(family).unwrap().to_ne_bytes());
    match (address, address.to_socket_addr()) {
        (_, Some(SocketAddr::V4(address))) => {
            family(libc::AF_INET);
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend([0; 8]);
        }
        (_, Some(SocketAddr::V6(address))) => {
            family(libc::AF_INET6);
            bytes.extend(address.port().to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(address.ip().octets());
            bytes.extend(address.scope_id().to_ne_bytes());
        }
        (BindAddress::Path(path), _) => {
            family(libc::AF_UNIX);
            bytes.extend(path.as_bytes());
            bytes.push(0);
        }
        (BindAddress::Abstract(name), _) => {
            family(libc::AF_UNIX);
            bytes.push(0);
            bytes.extend(name.as_bytes());
        }
        _ => panic!("an IP address without a socket address: {address:?}"),
    }
    bytes
}
