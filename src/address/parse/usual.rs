//! The shape that nearly every IPv4 address has, read in one go: each octet up to its separator, the port up to the end.
//!
//! Whatever is declined here is read again by the grammar. So this may decline anything, and must never accept what the
//! grammar refuses, nor read it as something else; the tests compare the two.

use core::net::Ipv4Addr;

/// `ipv4 ":" port`
#[inline]
pub(super) fn ipv4_and_port(input: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let (a, rest) = octet_before(b'.', input)?;
    let (b, rest) = octet_before(b'.', rest)?;
    let (c, rest) = octet_before(b'.', rest)?;
    let (d, rest) = octet_before(b':', rest)?;
    Some((Ipv4Addr::from_bits(a << 24 | b << 16 | c << 8 | d), port(rest)?))
}

/// `port`
#[inline]
pub(super) fn port(input: &[u8]) -> Option<u16> {
    if input.is_empty() || input.len() > 5 {
        return None;
    }
    let mut value = 0;
    for byte in input {
        value = value * 10 + digit(*byte)?;
    }
    u16::try_from(value).ok()
}

/// `octet end`
#[inline]
fn octet_before(end: u8, input: &[u8]) -> Option<(u32, &[u8])> {
    let [first, second, rest @ ..] = input else { return None };
    let value = digit(*first)?;
    if *second == end {
        return Some((value, rest));
    }
    if value == 0 {
        return None;
    }
    let value = value * 10 + digit(*second)?;
    let [third, rest @ ..] = rest else { return None };
    if *third == end {
        return Some((value, rest));
    }
    let value = value * 10 + digit(*third)?;
    let [fourth, rest @ ..] = rest else { return None };
    (*fourth == end && value <= 255).then_some((value, rest))
}

#[inline]
fn digit(byte: u8) -> Option<u32> {
    byte.is_ascii_digit().then(|| u32::from(byte - b'0'))
}
