//! The parser against the grammar and the oracle: the same verdict, the same value, the same error at the same byte; and the
//! round trip.
//!
//! A fuzzer runs this some hundred thousand times a second, and counts every branch of it. So nothing is allocated or
//! formatted that need not be, and the offset of an error is looked up in the grammar's table: the oracle, which takes a
//! hundred questions to `core::net` for it, is asked by the replay of the corpus and the walk over all short strings.

use core::fmt::{self, Write};
use core::str::from_utf8;

use netbind::{BindAddress, SocketError};

use super::grammar::read;
use super::oracle::{Meaning, error_of, is_offset, meaning};

/// Any bytes as an address.
pub fn parse(text: &[u8]) {
    let parsed = BindAddress::parse(text);
    match (&parsed, read(text)) {
        (Ok(address), Ok(())) => {
            assert_eq!(Some(Meaning::of(address)), meaning(text));
            round_trip(address);
        }
        (Err(error), Err(expected)) => {
            assert_eq!((error.error(), error.offset()), expected);
            assert_eq!(SocketError::from(*error), error.error());
            assert_eq!(None, meaning(text));
        }
        (_, expected) => panic!("{parsed:?}, but the grammar reads {expected:?}"),
    }
}

/// The error as the oracle has it.
pub fn stops_as_the_oracle(text: &[u8]) {
    if let Err(error) = BindAddress::parse(text) {
        assert_eq!(error.error(), error_of(text));
        assert!(is_offset(text, error.offset()), "{error:?}");
    }
}

/// What is printed parses back to the same value, and prints the same again.
pub fn round_trip(address: &BindAddress) {
    let bytes = address.to_bytes();
    assert_eq!(BindAddress::parse(&bytes).as_ref(), Ok(address));
    match from_utf8(&bytes) {
        Ok(exact) => assert!(prints(address, exact), "{address} is not {exact}"),
        Err(_) => assert_eq!(address.to_string(), String::from_utf8_lossy(&bytes)),
    }
    if let Some(ip) = address.to_socket_addr() {
        assert_eq!(BindAddress::try_from(ip).as_ref(), Ok(address));
    }
}

/// Whether the address prints exactly this.
fn prints(address: &BindAddress, text: &str) -> bool {
    let mut rest = Rest(text);
    write!(rest, "{address}").is_ok() && rest.0.is_empty()
}

/// What is still to be printed.
struct Rest<'t>(&'t str);

impl Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
        Ok(())
    }
}
