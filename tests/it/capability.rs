//! The decisions of a capability, for every right and every kind of rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netbind::capability::{CapabilityError, CapabilityId};
use netbind::{BindAddress, NetBind, Rights, Rule, SocketError};

fn address(text: &str) -> BindAddress {
    BindAddress::parse(text).expect(text)
}

fn allows(capability: &NetBind<'_>, text: &str) -> bool {
    let checked =
        capability.check(&address(text)).map(|permit| assert_eq!(permit.address(), &address(text)));
    assert!(matches!(checked, Ok(()) | Err(SocketError::CapabilityDenied)), "{text}: {checked:?}");
    checked.is_ok()
}

fn assert_allows(capability: &NetBind<'_>, allowed: &[&str], denied: &[&str]) {
    for text in allowed {
        assert!(allows(capability, text), "{text} should be allowed");
    }
    for text in denied {
        assert!(!allows(capability, text), "{text} should be denied");
    }
}

#[test]
fn a_new_capability_allows_only_three_ports_and_unix_paths() {
    let capability = NetBind::new("test").unwrap();
    assert_eq!((capability.id().as_str(), capability.rights()), ("test", Rights::NET_BIND));
    for port in [8080, 3000, 8000] {
        for host in
            ["", "127.0.0.1", "192.0.2.1", "[::1]", "[::]", "[fe80::1%2]", "[::ffff:127.0.0.1]"]
        {
            assert!(allows(&capability, &format!("{host}:{port}")), "{host}:{port}");
        }
    }
    assert_allows(&capability, &["unix:/run/x", "/run/x", "unix:x"], &["unix:@x"]);
    for port in (0..=u16::MAX).filter(|port| ![8080, 3000, 8000].contains(port)) {
        let denied = BindAddress::Ipv4 { ip: Ipv4Addr::LOCALHOST, port };
        assert!(capability.check(&denied).is_err(), "{denied}");
    }
}

#[test]
fn an_empty_capability_allows_nothing() {
    const ALL: &[&str] = &[":8080", "[::1]:8080", ":0", "/run/x", "unix:x", "unix:@x"];
    let mut capability = NetBind::empty("test").unwrap();
    assert_eq!(capability.rights(), Rights::empty());
    assert_allows(&capability, &[], ALL);

    capability.allow_port(8080).unwrap().allow_host(Ipv4Addr::UNSPECIFIED.into(), 0).unwrap();
    assert_allows(&capability, &[], ALL);
}

#[test]
fn rights_are_independent() {
    let mut capability = NetBind::empty("test").unwrap();
    capability.allow_port(80).unwrap();
    capability.allow(Rule::any_path()).unwrap().allow(Rule::any_abstract()).unwrap();
    capability.grant(Rights::NET_BIND);
    assert_allows(&capability, &[":80", "[::]:80", "/run/x"], &["unix:@x", ":81"]);
    capability.revoke(Rights::NET_BIND).grant(Rights::NET_BIND_ABSTRACT);
    assert_allows(&capability, &["unix:@x"], &[":80", "[::]:80", "/run/x"]);
    capability.grant(Rights::all());
    assert_allows(&capability, &["unix:@x", ":80", "/run/x"], &[":81"]);
    capability.revoke(Rights::all());
    assert_allows(&capability, &[], &["unix:@x", ":80", "/run/x"]);

    capability.revoke(Rights::NET_BIND);
    assert_eq!(capability.rights(), Rights::empty(), "revoking a missing right changes nothing");
    capability.grant(Rights::NET_BIND).grant(Rights::NET_BIND_ABSTRACT).grant(Rights::NET_BIND);
    assert_eq!(capability.rights(), Rights::all(), "granting a right twice changes nothing");
}

#[test]
fn port_zero_needs_its_own_rule() {
    let mut capability = NetBind::new("test").unwrap();
    assert_allows(&capability, &[], &[":0", "127.0.0.1:0", "[::]:0"]);
    capability.allow_port(0).unwrap();
    assert_allows(
        &capability,
        &[":0", "127.0.0.1:0", "[::]:0", ":8080"],
        &[":1", ":65535", "unix:@x"],
    );
}

#[test]
fn a_host_rule_allows_only_one_port_of_one_address() {
    let mut capability = NetBind::empty("test").unwrap();
    capability.grant(Rights::NET_BIND);
    capability.allow_host(Ipv4Addr::LOCALHOST.into(), 53).unwrap();
    capability.allow_host("fe80::1".parse().unwrap(), 54).unwrap();
    capability.allow_host(Ipv6Addr::UNSPECIFIED.into(), 55).unwrap();
    assert_allows(
        &capability,
        &["127.0.0.1:53", "[::ffff:127.0.0.1]:53", "[fe80::1]:54", "[fe80::1%7]:54", "[::]:55"],
        &[
            ":53",
            "127.0.0.2:53",
            "127.0.0.1:54",
            "[::1]:53",
            "[::]:53",
            "[::127.0.0.1]:53",
            "[::1]:55",
            ":55",
        ],
    );
}

#[test]
fn a_mapped_address_is_judged_as_its_ipv4_address() {
    let mut ipv4 = NetBind::empty("test").unwrap();
    ipv4.grant(Rights::NET_BIND).allow_host(Ipv4Addr::new(192, 0, 2, 1).into(), 80).unwrap();
    assert_allows(
        &ipv4,
        &["192.0.2.1:80", "[::ffff:192.0.2.1]:80", "[::ffff:c000:201%3]:80"],
        &["[::192.0.2.1]:80"],
    );

    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    let mut by_mapped = NetBind::empty("test").unwrap();
    by_mapped.grant(Rights::NET_BIND).allow_host(mapped, 80).unwrap();
    assert_allows(
        &by_mapped,
        &["192.0.2.1:80", "[::ffff:192.0.2.1]:80"],
        &["[::192.0.2.1]:80", "192.0.2.1:81"],
    );
}

#[test]
fn dual_stack_on_the_wildcard_needs_both_wildcards() {
    let wildcards: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    for (granted, allowed) in [
        (&wildcards[..0], false),
        (&wildcards[..1], false),
        (&wildcards[1..], false),
        (&wildcards, true),
    ] {
        let mut capability = NetBind::empty("test").unwrap();
        capability.grant(Rights::NET_BIND);
        for host in granted {
            capability.allow_host(*host, 80).unwrap();
        }
        let both = address("[::]:80");
        assert_eq!(capability.check_dual_stack(&both).is_ok(), allowed, "{granted:?}");
        assert_eq!(capability.check(&both).is_ok(), granted.contains(&wildcards[1]), "{granted:?}");
    }
    let by_port = NetBind::new("test").unwrap();
    let both = address("[::]:8080");
    assert!(by_port.check_dual_stack(&both).unwrap().covers_dual_stack());
    assert!(!by_port.check(&both).unwrap().covers_dual_stack());
}

/// Only a socket on the IPv6 wildcard accepts clients of every IPv4 address.
#[test]
fn dual_stack_on_another_address_needs_no_wildcard() {
    let mut capability = NetBind::empty("test").unwrap();
    capability.grant(Rights::NET_BIND);
    capability.allow_host(Ipv6Addr::LOCALHOST.into(), 80).unwrap();
    capability.allow_host(Ipv4Addr::LOCALHOST.into(), 80).unwrap();
    for text in ["[::1]:80", "[::1%7]:80", "[::ffff:127.0.0.1]:80", "127.0.0.1:80"] {
        let address = address(text);
        let permit = capability.check_dual_stack(&address).expect(text);
        assert!(permit.covers_dual_stack(), "{text}");
    }
    for text in ["[::]:80", "[::2]:80", "[::1]:81", ":80"] {
        assert!(capability.check_dual_stack(&address(text)).is_err(), "{text}");
    }
}

#[test]
fn a_full_table_is_an_error_and_does_not_change() {
    let mut capability = NetBind::empty("test").unwrap();
    capability.grant(Rights::NET_BIND);
    for number in 0..8 {
        capability.allow_port(number).unwrap();
        capability.allow_host(Ipv4Addr::LOCALHOST.into(), 100 + number).unwrap();
    }
    let before = format!("{capability:?}");
    assert_eq!(capability.allow_port(16).err(), Some(CapabilityError::TooManyRules));
    assert_eq!(
        capability.allow_host(Ipv4Addr::LOCALHOST.into(), 116).err(),
        Some(CapabilityError::TooManyRules)
    );
    for number in 0..8 {
        capability.allow_port(number).expect("an existing rule needs no room");
        capability
            .allow_host("::ffff:127.0.0.1".parse().unwrap(), 100 + number)
            .expect("an existing rule needs no room");
    }
    assert_eq!(format!("{capability:?}"), before);
    assert_allows(
        &capability,
        &[":0", ":7", "127.0.0.1:100", "127.0.0.1:107"],
        &[":8", ":16", "127.0.0.1:108", "127.0.0.1:116"],
    );

    let mut new = NetBind::new("test").unwrap();
    for port in 1..=12 {
        new.allow_port(port).unwrap();
    }
    assert_eq!(new.allow_port(14).err(), Some(CapabilityError::TooManyRules));
    assert_allows(&new, &[":8080", ":3000", ":8000", ":12"], &[":14"]);
}

#[test]
fn an_id_is_one_word_of_printable_ascii() {
    let longest = "x".repeat(32);
    for id in ["a", "web/frontend-1", "~!=\"#", &longest] {
        assert_eq!(NetBind::new(id).unwrap().id().as_str(), id);
        assert_eq!(CapabilityId::new(id).unwrap().to_string(), id);
    }
    let too_long = "x".repeat(33);
    for id in ["", " ", "a b", "a\n", "a\0", "\t", "\x7f", "ä", "\u{a0}", &too_long] {
        assert_eq!(NetBind::new(id).err(), Some(CapabilityError::InvalidId), "{id:?}");
        assert_eq!(NetBind::empty(id).err(), Some(CapabilityError::InvalidId), "{id:?}");
        assert_eq!(CapabilityId::new(id), Err(CapabilityError::InvalidId), "{id:?}");
    }
}

#[cfg(target_os = "linux")]
mod opening {
    use netbind::error::{Errno, Step};
    use netbind::{ListenOptions, listen, listen_with_capability};

    use super::*;
    use crate::support::allow_port_0_and_unix;
    use crate::support::machine::{can_open, directory, openable};
    use crate::support::memory::Arena;
    use crate::support::sink::Lines;
    use crate::support::thread::{descriptors, isolated};

    #[test]
    fn a_permit_opens_its_address() {
        isolated(|| {
            let mut capability = NetBind::new("broker").unwrap();
            capability.allow_port(0).unwrap();
            let arena = Arena::new();
            let asked = address("127.0.0.1:0");
            let permit = capability.check(&asked).unwrap();
            let listener = ListenOptions::new().open(permit, &arena).unwrap();
            assert_eq!(listener.local_address().unwrap().ip(), asked.ip());
        });
    }

    #[test]
    fn a_permit_without_dual_stack_does_not_open_it() {
        isolated(|| {
            let sink = Lines::default();
            let mut capability = NetBind::new("broker").unwrap().with_sink(&sink);
            capability.allow_port(0).unwrap();
            if !can_open("[::]:0") {
                return;
            }
            let (arena, asked) = (Arena::new(), address("[::]:0"));
            let dual = ListenOptions::new().dual_stack(true);
            let before = descriptors();
            let refused = dual.open(capability.check(&asked).unwrap(), &arena);
            assert_eq!(refused.map(drop), Err(SocketError::CapabilityDenied));
            assert_eq!((descriptors(), arena.requests().collect()), (before, vec![]));
            let result = |line: &String| line.rsplit_once("result=").unwrap().1.to_owned();
            assert_eq!(sink.take().iter().map(result).collect::<Vec<_>>(), ["allowed", "denied"]);
            assert!(dual.open(capability.check_dual_stack(&asked).unwrap(), &arena).is_ok());
            let single =
                ListenOptions::new().open(capability.check_dual_stack(&asked).unwrap(), &arena);
            assert!(single.is_ok(), "a permit may cover more than the socket");
        });
    }

    #[test]
    fn a_dual_stack_opening_needs_both_wildcards() {
        isolated(|| {
            let mut capability = NetBind::empty("test").unwrap();
            capability.grant(Rights::NET_BIND).allow_host(Ipv6Addr::UNSPECIFIED.into(), 0).unwrap();
            let arena = Arena::new();
            let options = ListenOptions::new().capability(&capability);
            assert!(!can_open("[::]:0") || options.listen("[::]:0", &arena).is_ok());
            let dual = options.clone().dual_stack(true);
            assert_eq!(dual.listen("[::]:0", &arena).err(), Some(SocketError::CapabilityDenied));
        });
    }

    #[test]
    fn a_denial_is_never_mistaken_for_an_error_of_the_kernel() {
        let arena = Arena::new();
        let capability = NetBind::new("test").unwrap();
        let denied = listen_with_capability(":22", &capability, &arena).unwrap_err();
        assert_eq!(denied, SocketError::CapabilityDenied);
        assert!(!denied.is_permission_denied());
        assert_eq!((denied.errno(), denied.step()), (None, None));

        for errno in [Errno::ACCESS, Errno::PERM] {
            let by_kernel = SocketError::System { step: Step::Bind, errno };
            assert_ne!(by_kernel, SocketError::CapabilityDenied);
            assert!(by_kernel.is_permission_denied());
        }
    }

    #[test]
    fn every_kind_of_address_opens_only_with_its_right() {
        isolated(|| {
            let directory = directory();
            let path = format!("unix:{}/s", directory.path().display());
            let arena = Arena::new();
            let mut all = NetBind::empty("all").unwrap();
            allow_port_0_and_unix(&mut all);
            let none = NetBind::empty("none").unwrap();
            for text in openable(&[":0", "127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-rights"]) {
                assert!(listen_with_capability(text, &all, &arena).is_ok(), "{text}");
                let denied = listen_with_capability(text, &none, &arena).map(drop);
                assert_eq!(denied, Err(SocketError::CapabilityDenied), "{text}");
                assert!(listen(text, &arena).is_ok(), "without a capability, {text} opens");
            }
        });
    }
}
