//! Values for the structured targets, which interpret their input as a plan.
//!
//! Each choice takes bytes from the front, so that a corpus file can be written by hand.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::{Arbitrary, Result, Unstructured};
use netbind::BindAddress;
use netbind::address::{AbstractName, UnixPath};

/// Chooses one of these values by one byte.
pub fn pick<T: Copy>(u: &mut Unstructured<'_>, of: &[T]) -> Result<T> {
    u.choose(of).copied()
}

/// Returns a port that rules and defaults have, or any other.
pub fn port(u: &mut Unstructured<'_>) -> Result<u16> {
    match pick(u, &[Some(0), Some(80), Some(3000), Some(8000), Some(8080), Some(65535), None])? {
        Some(port) => Ok(port),
        None => u.arbitrary(),
    }
}

/// Returns a wildcard, a loopback, mapped or link-local address, or any other.
pub fn ip(u: &mut Unstructured<'_>) -> Result<IpAddr> {
    let mapped = |ip: Ipv4Addr| ip.to_ipv6_mapped().into();
    Ok(match u.int_in_range(0..=10)? {
        0 => Ipv4Addr::UNSPECIFIED.into(),
        1 => Ipv4Addr::LOCALHOST.into(),
        2 => Ipv6Addr::UNSPECIFIED.into(),
        3 => Ipv6Addr::LOCALHOST.into(),
        4 => mapped(Ipv4Addr::UNSPECIFIED),
        5 => mapped(Ipv4Addr::LOCALHOST),
        // The deprecated IPv4-compatible form, which does not reach an IPv4 address.
        6 => Ipv6Addr::from_bits(0x7f00_0001).into(),
        7 => Ipv6Addr::from_bits(0xfe80 << 112 | 1).into(),
        8 => mapped(u32::arbitrary(u)?.into()),
        9 => Ipv4Addr::from_bits(u.arbitrary()?).into(),
        _ => Ipv6Addr::from_bits(u.arbitrary()?).into(),
    })
}

/// Returns an address of any form.
pub fn address(u: &mut Unstructured<'_>) -> Result<BindAddress> {
    Ok(match u.int_in_range(0..=3)? {
        0 | 1 => {
            let (ip, port) = (ip(u)?, port(u)?);
            match ip {
                IpAddr::V4(ip) => BindAddress::Ipv4 { ip, port },
                IpAddr::V6(ip) => {
                    BindAddress::Ipv6 { ip, port, scope_id: pick(u, &[0, 1, u32::MAX])? }
                }
            }
        }
        2 => BindAddress::Path(UnixPath::new(pick(u, &["/run/x", "x", "./@x"])?).expect("a path")),
        _ => BindAddress::Abstract(
            AbstractName::new(pick(u, &["x", "/run/x", "@"])?).expect("a name"),
        ),
    })
}
