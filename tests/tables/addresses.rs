//! The parse table: valid addresses with their canonical text, and invalid ones with their error.

use netbind::address::Reason;
use netbind::{BindAddress, SocketError};

use SocketError::{InvalidAddress, InvalidPort};

/// A text, and its canonical form.
pub(crate) const VALID: &[(&str, &str)] = &[
    (":0", "0.0.0.0:0"),
    (":8080", "0.0.0.0:8080"),
    (":65535", "0.0.0.0:65535"),
    (":00080", "0.0.0.0:80"),
    ("127.0.0.1:9000", "127.0.0.1:9000"),
    ("255.255.255.255:1", "255.255.255.255:1"),
    ("[::]:0", "[::]:0"),
    ("[::1]:443", "[::1]:443"),
    ("[fe80::1%2]:443", "[fe80::1%2]:443"),
    ("[fe80::1%0]:443", "[fe80::1]:443"),
    ("[fe80::1%4294967295]:1", "[fe80::1%4294967295]:1"),
    ("[2001:DB8:0:0:1:0:0:1]:80", "[2001:db8::1:0:0:1]:80"),
    ("[1:2:3:4:5:6:7:8]:1", "[1:2:3:4:5:6:7:8]:1"),
    ("[1:2:3:4:5:6:7::]:1", "[1:2:3:4:5:6:7:0]:1"),
    ("[::2:3:4:5:6:7:8]:1", "[0:2:3:4:5:6:7:8]:1"),
    ("[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80"),
    ("[1:2:3:4:5:6:1.2.3.4]:80", "[1:2:3:4:5:6:102:304]:80"),
    ("unix:/tmp/janus.sock", "unix:/tmp/janus.sock"),
    ("unix:run.sock", "unix:run.sock"),
    ("/tmp/janus.sock", "unix:/tmp/janus.sock"),
    ("unix:./@x", "unix:./@x"),
    ("unix:@janus", "unix:@janus"),
    ("unix:@@", "unix:@@"),
    ("unix: ", "unix: "),
];

/// A text, its error, and the offset of the first byte that cannot be there.
pub(crate) const INVALID: &[(&str, SocketError, usize)] = &[
    ("", InvalidAddress, 0),
    ("localhost:80", InvalidAddress, 0),
    ("8080", InvalidAddress, 2),
    (" :80", InvalidAddress, 0),
    ("::1:443", InvalidPort, 1),
    (":", InvalidPort, 1),
    (":http", InvalidPort, 1),
    (":80 ", InvalidPort, 3),
    (":65536", InvalidPort, 5),
    (":000080", InvalidPort, 6),
    ("127.0.0.1:70000", InvalidPort, 14),
    ("127.0.0.1:", InvalidPort, 10),
    ("127.0.0.1", InvalidAddress, 9),
    ("127.0.0.256:80", InvalidAddress, 10),
    ("127.00.0.1:80", InvalidAddress, 5),
    ("010.1.1.1:80", InvalidAddress, 1),
    ("1.2.3:80", InvalidAddress, 5),
    ("[::1]:", InvalidPort, 6),
    ("[::1]", InvalidAddress, 5),
    ("[::1:80", InvalidAddress, 7),
    ("[::1%]:80", InvalidAddress, 5),
    ("[::1%eth0]:80", InvalidAddress, 5),
    ("[::1%4294967296]:80", InvalidAddress, 14),
    ("[12345::]:80", InvalidAddress, 5),
    ("[1::2::3]:80", InvalidAddress, 6),
    ("[1:2:3:4:5:6:7]:80", InvalidAddress, 14),
    ("[127.0.0.1]:80", InvalidAddress, 4),
    ("unix:", InvalidAddress, 5),
    ("unix:@", InvalidAddress, 6),
    ("unix:a\0b", InvalidAddress, 6),
    ("/\0", InvalidAddress, 1),
    ("tcp:127.0.0.1:80", InvalidAddress, 0),
];

pub(crate) fn every_address_prints_and_parses_back() {
    for (text, canonical) in VALID {
        let address = BindAddress::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(*address.to_bytes(), *canonical.as_bytes(), "{text}");
        assert_eq!(BindAddress::parse(canonical).as_ref(), Ok(&address), "{text}");
    }
}

pub(crate) fn a_malformed_address_has_an_error_an_offset_and_a_reason() {
    for (text, wanted, offset) in INVALID {
        let error = BindAddress::parse(text).expect_err(text);
        assert_eq!((error.error(), error.offset()), (*wanted, *offset), "{text}");
        let byte = text.as_bytes().get(*offset);
        let reason = byte.map_or(Reason::TooShort, |byte| Reason::UnexpectedByte(*byte));
        assert_eq!(error.reason(), reason, "{text}");
    }
}

pub(crate) fn a_path_or_name_has_at_most_107_bytes() {
    let mut text = [b'x'; 114];
    for (prefix, room) in [("unix:", 107), ("unix:@", 107), ("/", 106)] {
        text[..prefix.len()].copy_from_slice(prefix.as_bytes());
        let longest = prefix.len() + room;
        assert!(BindAddress::parse(&text[..longest]).is_ok(), "{prefix}");
        let error = BindAddress::parse(&text[..=longest]).expect_err(prefix);
        assert_eq!((error.error(), error.offset()), (InvalidAddress, longest), "{prefix}");
        assert_eq!(error.reason(), Reason::TooLong(108), "{prefix}");
        text[..prefix.len()].fill(b'x');
    }
}
