//! Tables of valid and malformed addresses, in the order of the forms.

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod huge;
mod offset;
mod std_ip;

use std::net::{Ipv4Addr, Ipv6Addr};

use netbind::address::{AbstractName, ParseError, Reason, UnixPath};
use netbind::{BindAddress, SocketError};

use SocketError::{InvalidAddress, InvalidPort};

fn v4(ip: [u8; 4], port: u16) -> BindAddress {
    BindAddress::Ipv4 { ip: Ipv4Addr::from(ip), port }
}

fn v6(ip: &str, port: u16, scope_id: u32) -> BindAddress {
    BindAddress::Ipv6 { ip: ip.parse::<Ipv6Addr>().unwrap(), port, scope_id }
}

fn path(path: impl AsRef<[u8]>) -> BindAddress {
    BindAddress::Path(UnixPath::new(path).unwrap())
}

fn name(name: impl AsRef<[u8]>) -> BindAddress {
    BindAddress::Abstract(AbstractName::new(name).unwrap())
}

/// The text, its canonical form, and its value.
#[rustfmt::skip]
fn valid() -> Vec<(&'static str, &'static str, BindAddress)> {
    vec![
        (":8080",                     "0.0.0.0:8080",             v4([0; 4], 8080)),
        (":0",                        "0.0.0.0:0",                v4([0; 4], 0)),
        (":00000",                    "0.0.0.0:0",                v4([0; 4], 0)),
        (":65535",                    "0.0.0.0:65535",            v4([0; 4], 65535)),
        (":00080",                    "0.0.0.0:80",               v4([0; 4], 80)),
        ("127.0.0.1:9000",            "127.0.0.1:9000",           v4([127, 0, 0, 1], 9000)),
        ("0.0.0.0:0",                 "0.0.0.0:0",                v4([0; 4], 0)),
        ("255.255.255.255:65535",     "255.255.255.255:65535",    v4([255; 4], 65535)),
        ("1.20.200.249:00001",        "1.20.200.249:1",           v4([1, 20, 200, 249], 1)),
        ("[::1]:443",                 "[::1]:443",                v6("::1", 443, 0)),
        ("[::]:0",                    "[::]:0",                   v6("::", 0, 0)),
        ("[::1]:00443",               "[::1]:443",                v6("::1", 443, 0)),
        ("[fe80::1%2]:443",           "[fe80::1%2]:443",          v6("fe80::1", 443, 2)),
        ("[::1%0]:1",                 "[::1]:1",                  v6("::1", 1, 0)),
        ("[::1%0000000007]:1",        "[::1%7]:1",                v6("::1", 1, 7)),
        ("[::1%4294967295]:1",        "[::1%4294967295]:1",       v6("::1", 1, u32::MAX)),
        ("[1:2:3:4:5:6:7:8]:1",       "[1:2:3:4:5:6:7:8]:1",      v6("1:2:3:4:5:6:7:8", 1, 0)),
        ("[1:2:3:4:5:6:7::]:1",       "[1:2:3:4:5:6:7:0]:1",      v6("1:2:3:4:5:6:7:0", 1, 0)),
        ("[::2:3:4:5:6:7:8]:1",       "[0:2:3:4:5:6:7:8]:1",      v6("0:2:3:4:5:6:7:8", 1, 0)),
        ("[1:2:3::6:7:8]:1",          "[1:2:3::6:7:8]:1",         v6("1:2:3:0:0:6:7:8", 1, 0)),
        ("[00ab:0:0:0:0:0:0:00CD]:1", "[ab::cd]:1",               v6("ab::cd", 1, 0)),
        ("[FE80::ABCD]:1",            "[fe80::abcd]:1",           v6("fe80::abcd", 1, 0)),
        ("[::ffff:127.0.0.1]:80",     "[::ffff:127.0.0.1]:80",    v6("::ffff:7f00:1", 80, 0)),
        ("[::ffff:7f00:1]:80",        "[::ffff:127.0.0.1]:80",    v6("::ffff:7f00:1", 80, 0)),
        ("[::1.2.3.4]:80",            "[::102:304]:80",           v6("::102:304", 80, 0)),
        ("[1::1.2.3.4]:80",           "[1::102:304]:80",          v6("1::102:304", 80, 0)),
        ("[1:2:3:4:5:6:1.2.3.4]:80",  "[1:2:3:4:5:6:102:304]:80", v6("1:2:3:4:5:6:102:304", 80, 0)),
        ("[1:2:3:4::6:1.2.3.4]:80",   "[1:2:3:4:0:6:102:304]:80", v6("1:2:3:4:0:6:102:304", 80, 0)),
        ("[64:ff9b::1.2.3.4%3]:80",   "[64:ff9b::102:304%3]:80",  v6("64:ff9b::102:304", 80, 3)),
        ("unix:/tmp/janus.sock",      "unix:/tmp/janus.sock",     path("/tmp/janus.sock")),
        ("unix:run.sock",             "unix:run.sock",            path("run.sock")),
        ("unix:./@x",                 "unix:./@x",                path("./@x")),
        ("unix: ",                    "unix: ",                   path(" ")),
        ("unix::8080",                "unix::8080",               path(":8080")),
        ("unix:a@b",                  "unix:a@b",                 path("a@b")),
        ("unix:unix:x",               "unix:unix:x",              path("unix:x")),
        ("unix://x/y",                "unix://x/y",               path("//x/y")),
        ("//x/y",                     "unix://x/y",               path("//x/y")),
        ("/tmp/janus.sock",           "unix:/tmp/janus.sock",     path("/tmp/janus.sock")),
        ("/",                         "unix:/",                   path("/")),
        ("/@x",                       "unix:/@x",                 path("/@x")),
        ("/a:80",                     "unix:/a:80",               path("/a:80")),
        ("unix:@janus",               "unix:@janus",              name("janus")),
        ("unix:@@",                   "unix:@@",                  name("@")),
        ("unix:@/a b\n",              "unix:@/a b\n",             name("/a b\n")),
        ("unix:@grüße",               "unix:@grüße",              name("grüße")),
    ]
}

/// The text, its error, and the number of bytes that a valid address can begin with.
#[rustfmt::skip]
const INVALID: &[(&str, SocketError, usize)] = &[
    (":",                          InvalidPort, 1),
    (":http",                      InvalidPort, 1),
    (": 80",                       InvalidPort, 1),
    (":-1",                        InvalidPort, 1),
    (":+80",                       InvalidPort, 1),
    ("::",                         InvalidPort, 1),
    ("::1:443",                    InvalidPort, 1),
    (":65536",                     InvalidPort, 5),
    (":70000",                     InvalidPort, 5),
    (":99999",                     InvalidPort, 5),
    (":000080",                    InvalidPort, 6),
    (":8080 ",                     InvalidPort, 5),
    (":80:80",                     InvalidPort, 3),
    (":80\0",                      InvalidPort, 3),
    (":80\n",                      InvalidPort, 3),
    (":0x50",                      InvalidPort, 2),
    (":\u{663}",                   InvalidPort, 1),
    ("127.0.0.1:",                 InvalidPort, 10),
    ("127.0.0.1:http",             InvalidPort, 10),
    ("127.0.0.1:70000",            InvalidPort, 14),
    ("127.0.0.1:65536",            InvalidPort, 14),
    ("127.0.0.1:080808",           InvalidPort, 15),
    ("127.0.0.1:80/",              InvalidPort, 12),
    ("[::1]:",                     InvalidPort, 6),
    ("[::]:",                      InvalidPort, 5),
    ("[::]:99999",                 InvalidPort, 9),
    ("[::]:1x",                    InvalidPort, 6),
    ("[fe80::1%2]:",               InvalidPort, 12),

    ("",                           InvalidAddress, 0),
    (" ",                          InvalidAddress, 0),
    (" :80",                       InvalidAddress, 0),
    ("\0",                         InvalidAddress, 0),
    ("localhost:80",               InvalidAddress, 0),
    ("*:80",                       InvalidAddress, 0),
    ("-1.0.0.1:80",                InvalidAddress, 0),
    ("tcp://127.0.0.1:80",         InvalidAddress, 0),
    ("\u{663}.0.0.1:80",           InvalidAddress, 0),

    ("8080",                       InvalidAddress, 2),
    ("80",                         InvalidAddress, 2),
    ("0",                          InvalidAddress, 1),
    ("127.0.0.1",                  InvalidAddress, 9),
    ("127.0.0.1 :80",              InvalidAddress, 9),
    ("127.1:80",                   InvalidAddress, 5),
    ("2130706433:80",              InvalidAddress, 3),
    ("1.2.3:80",                   InvalidAddress, 5),
    ("1.2.3.:80",                  InvalidAddress, 6),
    ("1.2.3.4.5:80",               InvalidAddress, 7),
    ("1..2.3:80",                  InvalidAddress, 2),
    ("256.0.0.1:80",               InvalidAddress, 2),
    ("127.0.0.256:80",             InvalidAddress, 10),
    ("1.2.3.999:80",               InvalidAddress, 8),
    ("01.2.3.4:80",                InvalidAddress, 1),
    ("00.0.0.0:80",                InvalidAddress, 1),
    ("1.2.3.04:80",                InvalidAddress, 7),
    ("010.1.1.1:80",               InvalidAddress, 1),
    ("0x7f.0.0.1:80",              InvalidAddress, 1),
    ("1.2.3.4x:80",                InvalidAddress, 7),

    ("[",                          InvalidAddress, 1),
    ("[]:1",                       InvalidAddress, 1),
    ("[:]:1",                      InvalidAddress, 2),
    ("[:1]:1",                     InvalidAddress, 2),
    ("[::1",                       InvalidAddress, 4),
    ("[::1]",                      InvalidAddress, 5),
    ("[::1]80",                    InvalidAddress, 5),
    ("[::1] :80",                  InvalidAddress, 5),
    ("[ ::1]:80",                  InvalidAddress, 1),
    ("[::1 ]:80",                  InvalidAddress, 4),
    ("[:::]:1",                    InvalidAddress, 3),
    ("[1::2::3]:1",                InvalidAddress, 6),
    ("[1]:1",                      InvalidAddress, 2),
    ("[1:2]:1",                    InvalidAddress, 4),
    ("[1:]:1",                     InvalidAddress, 3),
    ("[1::2:]:1",                  InvalidAddress, 6),
    ("[1:2:3:4:5:6:7]:1",          InvalidAddress, 14),
    ("[1:2:3:4:5:6:7:]:1",         InvalidAddress, 15),
    ("[1:2:3:4:5:6:7:8:9]:1",      InvalidAddress, 16),
    ("[1:2:3:4:5:6:7:8::]:1",      InvalidAddress, 16),
    ("[1:2:3:4:5:6:7::8]:1",       InvalidAddress, 16),
    ("[::1:2:3:4:5:6:7:8]:1",      InvalidAddress, 16),
    ("[12345::]:1",                InvalidAddress, 5),
    ("[g::]:1",                    InvalidAddress, 1),
    ("[localhost]:1",              InvalidAddress, 1),
    ("[127.0.0.1]:1",              InvalidAddress, 4),
    ("[1.2.3.4::]:1",              InvalidAddress, 2),
    ("[::1.2.3.4:5]:1",            InvalidAddress, 10),
    ("[::1.2.3]:1",                InvalidAddress, 8),
    ("[::1.2.3.4.5]:1",            InvalidAddress, 10),
    ("[::256.1.1.1]:1",            InvalidAddress, 6),
    ("[::01.2.3.4]:1",             InvalidAddress, 5),
    ("[::1.2.3.04]:1",             InvalidAddress, 10),
    ("[::a.2.3.4]:1",              InvalidAddress, 4),
    ("[1:2:3:4:5:1.2.3.4]:1",      InvalidAddress, 12),
    ("[1:2:3:4:5:6:7:1.2.3.4]:1",  InvalidAddress, 16),
    ("[::1%]:1",                   InvalidAddress, 5),
    ("[::1%-1]:1",                 InvalidAddress, 5),
    ("[::1%lo]:1",                 InvalidAddress, 5),
    ("[%1]:1",                     InvalidAddress, 1),
    ("[::1%1%2]:1",                InvalidAddress, 6),
    ("[::1%4294967296]:1",         InvalidAddress, 14),
    ("[::1%9999999999]:1",         InvalidAddress, 14),
    ("[::1%00000000001]:1",        InvalidAddress, 15),

    ("unix",                       InvalidAddress, 4),
    ("uni",                        InvalidAddress, 3),
    ("UNIX:/x",                    InvalidAddress, 0),
    ("unix/x",                     InvalidAddress, 4),
    ("unix :/x",                   InvalidAddress, 4),
    ("run.sock",                   InvalidAddress, 0),
    ("./run.sock",                 InvalidAddress, 0),
    ("@janus",                     InvalidAddress, 0),
    ("unix:",                      InvalidAddress, 5),
    ("unix:@",                     InvalidAddress, 6),
    ("unix:\0",                    InvalidAddress, 5),
    ("unix:@\0",                   InvalidAddress, 6),
    ("unix:a\0b",                  InvalidAddress, 6),
    ("unix:@a\0",                  InvalidAddress, 7),
    ("/a\0",                       InvalidAddress, 2),
];

#[test]
fn every_valid_address_has_its_value_and_its_canonical_form() {
    for (text, canonical, value) in valid() {
        assert_eq!(BindAddress::parse(text).as_ref(), Ok(&value), "{text:?}");
        assert_eq!(text.parse::<BindAddress>().as_ref(), Ok(&value), "{text:?}");
        assert_eq!(BindAddress::try_from(text.as_bytes()).as_ref(), Ok(&value), "{text:?}");
        assert_eq!(value.to_string(), canonical, "{text:?}");
        assert_eq!(*value.to_bytes(), *canonical.as_bytes(), "{text:?}");
        assert_eq!(BindAddress::parse(canonical), Ok(value), "{text:?}");
    }
}

#[test]
fn every_malformed_address_has_its_error_and_its_offset() {
    for &(text, error, offset) in INVALID {
        let found = BindAddress::parse(text).expect_err(text);
        assert_eq!((found.error(), found.offset()), (error, offset), "{text:?}");
        assert_eq!(SocketError::from(found), error, "{text:?}");
        let message = found.to_string();
        let at_offset = format!("at byte {offset}");
        assert!(message.contains(&at_offset) || offset == 0 || is_too_long(found), "{message}");
    }
}

fn is_too_long(error: ParseError) -> bool {
    matches!(error.reason(), Reason::TooLong(_))
}

#[test]
fn a_message_has_the_reason_and_the_offset() {
    let path = format!("unix:{}", "x".repeat(125));
    let name = format!("unix:@{}", "x".repeat(108));
    let cases = [
        (
            "",
            "not an address: the text is empty, expected :PORT, IPV4:PORT, [IPV6]:PORT, unix:PATH, \
             unix:@NAME or /PATH",
        ),
        ("127.0.0.1", "not an address: the text ends too early, at byte 9"),
        (
            "localhost:80",
            "not an address: unexpected 'l' at byte 0, expected :PORT, IPV4:PORT, [IPV6]:PORT, \
             unix:PATH, unix:@NAME or /PATH",
        ),
        ("unix:", "not an address: the text ends too early, at byte 5"),
        ("unix:a\0b", "not an address: NUL byte at byte 6"),
        (&path, "not an address: path or name of 125 bytes, at most 107 fit"),
        (&name, "not an address: path or name of 108 bytes, at most 107 fit"),
        (":\n", "not a port: unexpected '\\n' at byte 1, expected 0 to 65535 in 1 to 5 digits"),
        (
            ":",
            "not a port: the text ends too early, at byte 1, expected 0 to 65535 in 1 to 5 digits",
        ),
    ];
    for (text, message) in cases {
        let found = BindAddress::parse(text).err().map_or(String::new(), |error| error.to_string());
        assert_eq!(found, message, "{text:?}");
    }
}

#[test]
fn an_error_with_its_address_is_one_line_with_the_reason() {
    let denied = SocketError::CapabilityDenied;
    let long = format!("unix:{}", "x".repeat(1000));
    let name = format!("unix:@{}", "x".repeat(108));
    let cases = [
        (denied.at("127.0.0.1:22"), "127.0.0.1:22: denied by the capability".to_string()),
        (
            denied.at(BindAddress::parse(":22").unwrap()),
            "0.0.0.0:22: denied by the capability".into(),
        ),
        (denied.at("unix:a\nb"), "unix:a\\u{a}b: denied by the capability".into()),
        (denied.at("unix:grüße"), "unix:grüße: denied by the capability".into()),
        (
            SocketError::InvalidAddress.at("8080"),
            "8080: not an address: unexpected '8' at byte 2".into(),
        ),
        (
            SocketError::InvalidAddress.at(&long),
            format!(
                "unix:{}...: not an address: path or name of 1000 bytes, at most 107 fit",
                "x".repeat(109)
            ),
        ),
        (
            SocketError::InvalidAddress.at(&name),
            format!(
                "unix:@{0}: not an address: path or name of 108 bytes, at most 107 fit",
                &name[6..]
            ),
        ),
        // The text is a valid address, so the message has no reason.
        (SocketError::InvalidPort.at(":80"), format!(":80: {InvalidPort}")),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
    }
    let error = denied.at("127.0.0.1:22");
    assert_eq!(error.error(), denied);
    assert_eq!(format!("{error:?}"), error.to_string(), "as `main` prints an error");
    assert!(size_of::<netbind::address::AddressedError>() < 128, "clippy::result_large_err");
}

#[test]
fn a_path_or_name_of_more_than_107_bytes_is_an_error() {
    let bytes = |prefix: &str, length: usize| [prefix.as_bytes(), &vec![b'x'; length]].concat();
    for (prefix, room) in [("unix:", 107), ("unix:@", 107), ("/", 106)] {
        let longest = BindAddress::parse(bytes(prefix, room)).expect(prefix);
        assert!(longest.to_bytes().ends_with(&[b'x'; 106]), "{prefix}");
        assert_eq!(BindAddress::parse(longest.to_bytes()), Ok(longest), "{prefix}");
        for longer in [room + 1, room + 2, 200, 70_000] {
            let error = BindAddress::parse(bytes(prefix, longer)).unwrap_err();
            assert_eq!(
                (error.error(), error.offset()),
                (InvalidAddress, prefix.len() + room),
                "{prefix} {longer}"
            );
        }
        let mut nul_too_late = bytes(prefix, room);
        nul_too_late.push(0);
        let error = BindAddress::parse(nul_too_late).unwrap_err();
        assert_eq!(
            (error.error(), error.offset()),
            (InvalidAddress, prefix.len() + room),
            "{prefix}"
        );
    }
}

#[test]
fn a_path_or_name_of_every_valid_length_is_copied_and_a_nul_is_found_anywhere() {
    // All bytes are different.
    let bytes = |prefix: &str, length: u8| {
        prefix.bytes().chain((0..length).map(|place| place + 1)).collect::<Vec<_>>()
    };
    for (prefix, room) in [("unix:", 107), ("unix:@", 107), ("/", 106)] {
        for length in 1..=room {
            let mut text = bytes(prefix, length);
            let expected = match text.as_slice() {
                [b'/', ..] => path(&text),
                [b'u', b'n', b'i', b'x', b':', b'@', rest @ ..] => name(rest),
                text => path(&text[5..]),
            };
            assert_eq!(BindAddress::parse(&text), Ok(expected), "{prefix} {length}");
            for place in prefix.len()..text.len() {
                let kept = std::mem::replace(&mut text[place], 0);
                let error = BindAddress::parse(&text).unwrap_err();
                assert_eq!(
                    (error.error(), error.offset()),
                    (InvalidAddress, place),
                    "{prefix} {length}"
                );
                text[place] = kept;
            }
        }
    }
}

#[test]
fn an_address_with_too_many_parts_is_refused_at_the_first_extra_one() {
    // With these numbers, a count of 8 or 16 bits would wrap around to a valid one.
    for repeats in [9, 16, 256 + 4, 256 + 8, 65_536 + 4, 65_536 + 8] {
        let groups = format!("[{}]:80", vec!["1"; repeats].join(":"));
        let octets = format!("{}:80", vec!["1"; repeats].join("."));
        let port = format!(":{}", "1".repeat(repeats));
        for (text, error, offset) in
            [(groups, InvalidAddress, 16), (octets, InvalidAddress, 7), (port, InvalidPort, 6)]
        {
            let found = BindAddress::parse(&text).unwrap_err();
            assert_eq!((found.error(), found.offset()), (error, offset), "{repeats}");
        }
    }
}

#[test]
fn a_path_or_name_can_have_every_byte_except_nul() {
    for byte in 1..=u8::MAX {
        for prefix in ["unix:x", "unix:@x", "/x"] {
            let text = [prefix.as_bytes(), &[byte, b'y']].concat();
            let address = BindAddress::parse(&text).unwrap();
            let expected = if prefix == "/x" { [b"unix:", text.as_slice()].concat() } else { text };
            assert_eq!(*address.to_bytes(), *expected.as_slice());
            assert_eq!(BindAddress::parse(address.to_bytes()), Ok(address));
        }
    }
}

#[test]
fn invalid_utf8_is_printed_as_replacement_characters_and_kept_in_the_bytes() {
    let address = BindAddress::parse(b"unix:@\xff\xfea\xc3").unwrap();
    assert_eq!(*address.to_bytes(), *b"unix:@\xff\xfea\xc3");
    assert_eq!(format!("{:?}", address.to_bytes()), "\"unix:@\\xff\\xfea\\xc3\"");
    assert_eq!(address.to_string(), "unix:@\u{fffd}\u{fffd}a\u{fffd}");
    assert_eq!(format!("{:>20}", BindAddress::parse(":80").unwrap()), "          0.0.0.0:80");
}

#[test]
fn exactly_the_ports_up_to_65535_parse() {
    for port in 0..=u16::MAX {
        for text in [format!(":{port}"), format!(":{port:05}")] {
            assert_eq!(BindAddress::parse(text), Ok(v4([0; 4], port)));
        }
    }
    for number in (65_536..=99_999).step_by(7) {
        assert_eq!(BindAddress::parse(format!(":{number}")).unwrap_err().error(), InvalidPort);
    }
}

#[test]
fn a_unix_path_that_prints_as_an_abstract_name_is_refused() {
    for path in ["", "@x", "a\0", &"x".repeat(108)] {
        assert_eq!(UnixPath::new(path), Err(InvalidAddress), "{path:?}");
    }
    for name in ["", "a\0", "\0", &"x".repeat(108)] {
        assert_eq!(AbstractName::new(name), Err(InvalidAddress), "{name:?}");
    }
}

#[test]
fn an_address_converts_to_core_net_and_back() {
    for text in ["127.0.0.1:9000", "[::1]:443", "[fe80::1%2]:443"] {
        let address = BindAddress::parse(text).unwrap();
        let std: std::net::SocketAddr = text.parse().unwrap();
        assert_eq!(address.to_socket_addr(), Some(std));
        assert_eq!((address.ip(), address.port()), (Some(std.ip()), Some(std.port())));
        assert_eq!(BindAddress::try_from(std), Ok(address));
    }
    for text in ["/run/x", "unix:@x"] {
        let address = BindAddress::parse(text).unwrap();
        assert_eq!((address.to_socket_addr(), address.ip(), address.port()), (None, None, None));
    }
    let labelled = std::net::SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, 7, 0);
    assert_eq!(BindAddress::try_from(labelled), Err(InvalidAddress));
}
