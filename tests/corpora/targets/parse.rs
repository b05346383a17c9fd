//! The parser against the oracle, and the round trip of an address through its text.

use core::fmt::{self, Write};
use core::str::from_utf8;

use netbind::{BindAddress, SocketError};

use super::oracle::assert_parsed;

/// Parses any bytes, and checks the value or the error.
pub fn parse(text: &[u8]) {
    let parsed = BindAddress::parse(text);
    assert_parsed(text, &parsed);
    match parsed {
        Ok(address) => round_trip(&address),
        Err(error) => assert_eq!(SocketError::from(error), error.error()),
    }
}

/// Checks that the printed text parses to the same value, and that both ways to print agree.
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

/// Returns true if the address prints exactly `text`. It allocates nothing, for the fuzzer's speed.
fn prints(address: &BindAddress, text: &str) -> bool {
    let mut rest = Rest(text);
    write!(rest, "{address}").is_ok() && rest.0.is_empty()
}

/// The text that is still to be printed.
struct Rest<'t>(&'t str);

impl Write for Rest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.strip_prefix(text).ok_or(fmt::Error)?;
        Ok(())
    }
}
