//! The parser accepts the same IPv4 and IPv6 texts as `core::net`. The texts are generated, and
//! most of them are malformed.

use std::fmt::Debug;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use netbind::BindAddress;
use netbind::address::ParseError;

/// Returns all texts of `length` parts.
fn texts(parts: &[&str], length: u32) -> impl Iterator<Item = String> {
    (0..parts.len().pow(length)).map(move |mut number| {
        let mut text = String::new();
        for _ in 0..length {
            text += parts[number % parts.len()];
            number /= parts.len();
        }
        text
    })
}

/// Returns `count` texts of `length` parts, chosen by a pseudo-random number.
fn samples(parts: &[&str], length: usize, count: u64) -> impl Iterator<Item = String> {
    (0..count).map(move |number| {
        let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ length as u64;
        let mut text = String::new();
        for _ in 0..length {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text += parts[(state >> 40) as usize % parts.len()];
        }
        text
    })
}

/// Asserts that both parsers agree on every text. Returns the number of texts that they accept.
fn accepted_by_both<T: FromStr + PartialEq + Debug>(
    texts: impl Iterator<Item = String>,
    parse: impl Fn(&str) -> Result<T, ParseError>,
) -> usize {
    texts
        .filter(|text| {
            let ours = parse(text).ok();
            assert_eq!(ours, text.parse().ok(), "{text:?}");
            ours.is_some()
        })
        .count()
}

/// An empty host would be the wildcard, so the empty text gets no port.
fn ours_v4(text: &str) -> Result<Ipv4Addr, ParseError> {
    let port = if text.is_empty() { "" } else { ":1" };
    match BindAddress::parse(format!("{text}{port}"))? {
        BindAddress::Ipv4 { ip, port: 1 } => Ok(ip),
        other => panic!("{text} is {other}"),
    }
}

fn ours_v6(text: &str) -> Result<Ipv6Addr, ParseError> {
    match BindAddress::parse(format!("[{text}]:1"))? {
        BindAddress::Ipv6 { ip, port: 1, scope_id: 0 } => Ok(ip),
        other => panic!("{text} is {other}"),
    }
}

#[test]
fn ipv4_texts_are_those_of_core_net() {
    const PARTS: &[&str] = &["", ".", "0", "1", "9", "25", "255", "256", "01", "x"];
    assert!(accepted_by_both(texts(PARTS, 4), ours_v4) == 0);
    assert!(
        accepted_by_both(
            samples(&["1.", ".1", "0.", ".255", "7", ".", "1.2", "00"], 4, 4_096),
            ours_v4
        ) > 50
    );
    assert!(
        accepted_by_both(
            samples(&["1.", "10.", "255.", "256.", "0.", "1", "12", "255", ""], 4, 20_000),
            ours_v4
        ) > 500
    );
}

#[test]
fn ipv6_texts_are_those_of_core_net() {
    const MANY: &[&str] = &["1:", "ab:", ":", "0:", "fFf:", "2", "1.2.3.4", "01.2.3.4"];
    const PARTS: &[&str] = &["", ":", "::", "0", "1f", "FFff", "1.2.3.4", "256.0.0.1", "g", "."];
    assert!(accepted_by_both(texts(PARTS, 5), ours_v6) > 1_000);
    for length in 6..=10 {
        assert!(accepted_by_both(samples(MANY, length, 10_000), ours_v6) > 0, "{length}");
    }
}

/// Parses `host:port` with `core::net`.
fn expected(text: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let (host, port) = std::str::from_utf8(text).ok()?.split_once(':')?;
    let host = if host.is_empty() { Ipv4Addr::UNSPECIFIED } else { host.parse().ok()? };
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    Some((host, is_port.then(|| port.parse().ok())??))
}

#[test]
fn every_one_byte_change_parses_as_in_core_net() {
    let bases =
        [":1", ":12", ":123", ":1234", ":12345", ":65535", ":00000", "1.2.3.4:5", "12.34.56.78:90"];
    for base in bases.into_iter().chain([
        "1.22.133.244:8080",
        "255.255.255.255:65535",
        "0.0.0.0:0",
        "19.200.3.40:123",
    ]) {
        for at in 0..base.len() {
            for byte in 0..=u8::MAX {
                let mut text = base.as_bytes().to_vec();
                text[at] = byte;
                let found = BindAddress::parse(&text).ok();
                let found = found.filter(|address| matches!(address, BindAddress::Ipv4 { .. }));
                let expected = expected(&text).map(|(ip, port)| BindAddress::Ipv4 { ip, port });
                assert_eq!(found, expected, "{}", text.escape_ascii());
            }
        }
    }
}
