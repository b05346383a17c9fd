//! The parser against the oracle: the same verdict, the same value, the same error at the same byte; and the round trip.

use netbind::{BindAddress, SocketError};

use super::oracle::{Meaning, error_of, is_offset, meaning};

/// Any bytes as an address.
pub fn parse(text: &[u8]) {
    match (BindAddress::parse(text), meaning(text)) {
        (Ok(address), Some(meant)) => {
            assert_eq!(Meaning::of(&address), meant);
            round_trip(&address);
        }
        (Err(error), None) => {
            assert_eq!(error.error(), error_of(text));
            assert!(is_offset(text, error.offset()), "{error:?}");
            assert_eq!(SocketError::from(error), error.error());
        }
        (parsed, meant) => panic!("{parsed:?}, but it means {meant:?}"),
    }
    if let Ok(text) = core::str::from_utf8(text) {
        assert_eq!(text.parse::<BindAddress>(), BindAddress::parse(text.as_bytes()));
    }
}

/// What is printed parses back to the same value, and prints the same again.
pub fn round_trip(address: &BindAddress) {
    let bytes = address.to_bytes();
    assert_eq!(BindAddress::parse(&bytes).as_ref(), Ok(address));
    let text = address.to_string();
    match core::str::from_utf8(&bytes) {
        Ok(exact) => assert_eq!(text, exact),
        Err(_) => assert_eq!(text, String::from_utf8_lossy(&bytes)),
    }
    if let Some(ip) = address.to_socket_addr() {
        assert_eq!(BindAddress::try_from(ip).as_ref(), Ok(address));
    }
}
