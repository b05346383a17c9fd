//! Takes plans apart: the structured targets read their bytes from the front, one choice each, so that a corpus file can be
//! written by hand and read again.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arbitrary::{Arbitrary, Result, Unstructured};
use netbind::BindAddress;
use netbind::address::{AbstractName, UnixPath};

/// One of a few, by one byte.
pub fn pick<T: Copy>(u: &mut Unstructured<'_>, of: &[T]) -> Result<T> {
    u.choose(of).copied()
}

/// A port where rules and defaults meet, or any.
pub fn port(u: &mut Unstructured<'_>) -> Result<u16> {
    match pick(u, &[Some(0), Some(80), Some(3000), Some(8000), Some(8080), Some(65535), None])? {
        Some(port) => Ok(port),
        None => u.arbitrary(),
    }
}

/// An IP address where families and wildcards meet, or any.
pub fn ip(u: &mut Unstructured<'_>) -> Result<IpAddr> {
    let mapped = |ip: Ipv4Addr| ip.to_ipv6_mapped().into();
    Ok(match u.int_in_range(0..=10)? {
        0 => Ipv4Addr::UNSPECIFIED.into(),
        1 => Ipv4Addr::LOCALHOST.into(),
        2 => Ipv6Addr::UNSPECIFIED.into(),
        3 => Ipv6Addr::LOCALHOST.into(),
        4 => mapped(Ipv4Addr::UNSPECIFIED),
        5 => mapped(Ipv4Addr::LOCALHOST),
        // The retired IPv4-compatible form, which reaches no IPv4 address.
        6 => Ipv6Addr::from_bits(0x7f00_0001).into(),
        7 => Ipv6Addr::from_bits(0xfe80 << 112 | 1).into(),
        8 => mapped(u32::arbitrary(u)?.into()),
        9 => Ipv4Addr::from_bits(u.arbitrary()?).into(),
        _ => Ipv6Addr::from_bits(u.arbitrary()?).into(),
    })
}

/// Any address, mostly one that rules can tell apart.
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
