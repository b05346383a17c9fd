//! What a capability allows, what it does not, and that a full table changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netbind::capability::{CapabilityError, CapabilityId};
use netbind::{BindAddress, NetBind, Rights, SocketError};

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
fn a_new_capability_allows_three_ports_everywhere_and_paths() {
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
fn no_right_stands_for_another() {
    let mut capability = NetBind::empty("test").unwrap();
    capability.allow_port(80).unwrap();
    capability.grant(Rights::NET_BIND);
    assert_allows(&capability, &[":80", "[::]:80", "/run/x"], &["unix:@x", ":81"]);
    capability.revoke(Rights::NET_BIND).grant(Rights::NET_BIND_ABSTRACT);
    assert_allows(&capability, &["unix:@x"], &[":80", "[::]:80", "/run/x"]);
    capability.grant(Rights::all());
    assert_allows(&capability, &["unix:@x", ":80", "/run/x"], &[":81"]);
    capability.revoke(Rights::all());
    assert_allows(&capability, &[], &["unix:@x", ":80", "/run/x"]);

    capability.revoke(Rights::NET_BIND);
    assert_eq!(capability.rights(), Rights::empty(), "what was not there can not be taken away");
    capability.grant(Rights::NET_BIND).grant(Rights::NET_BIND_ABSTRACT).grant(Rights::NET_BIND);
    assert_eq!(capability.rights(), Rights::all(), "what was there stays");
}

#[test]
fn port_zero_has_to_be_allowed_by_name() {
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
fn a_host_rule_is_good_for_one_port_of_one_address() {
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
fn a_mapped_address_is_judged_as_the_ipv4_address_that_it_reaches() {
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

#[test]
fn a_full_table_is_an_error_and_stays_as_it_was() {
    let mut capability = NetBind::empty("test").unwrap();
    capability.grant(Rights::NET_BIND);
    for number in 0..16 {
        capability.allow_port(number).unwrap();
        capability.allow_host(Ipv4Addr::LOCALHOST.into(), 100 + number).unwrap();
    }
    let before = format!("{capability:?}");
    assert_eq!(capability.allow_port(16).err(), Some(CapabilityError::TooManyRules));
    assert_eq!(
        capability.allow_host(Ipv4Addr::LOCALHOST.into(), 116).err(),
        Some(CapabilityError::TooManyRules)
    );
    for number in 0..16 {
        capability.allow_port(number).expect("what is there already needs no room");
        capability
            .allow_host("::ffff:127.0.0.1".parse().unwrap(), 100 + number)
            .expect("nor does this");
    }
    assert_eq!(format!("{capability:?}"), before);
    assert_allows(
        &capability,
        &[":0", ":15", "127.0.0.1:100", "127.0.0.1:115"],
        &[":16", "127.0.0.1:116"],
    );

    let mut new = NetBind::new("test").unwrap();
    for port in 1..=13 {
        new.allow_port(port).unwrap();
    }
    assert_eq!(new.allow_port(14).err(), Some(CapabilityError::TooManyRules));
    assert_allows(&new, &[":8080", ":3000", ":8000", ":13"], &[":14"]);
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
    use crate::support::memory::Arena;
    use crate::support::sink::Lines;
    use crate::support::thread::{descriptors, isolated};

    #[test]
    fn a_permit_opens_the_address_that_it_was_given_for() {
        let mut capability = NetBind::new("broker").unwrap();
        capability.allow_port(0).unwrap();
        let arena = Arena::new();
        let asked = address("127.0.0.1:0");
        let permit = capability.check(&asked).unwrap();
        let listener = ListenOptions::new().open(permit, &arena).unwrap();
        assert_eq!(listener.local_address().unwrap().ip(), asked.ip());
    }

    #[test]
    fn a_permit_for_one_stack_opens_no_other() {
        isolated(|| {
            let sink = Lines::default();
            let mut capability = NetBind::new("broker").unwrap().with_sink(&sink);
            capability.allow_port(0).unwrap();
            let (arena, asked) = (Arena::new(), address("[::]:0"));
            let dual = ListenOptions::new().dual_stack(true);
            let before = descriptors();
            let refused = dual.open(capability.check(&asked).unwrap(), &arena);
            assert_eq!(refused.map(drop), Err(SocketError::CapabilityDenied));
            assert_eq!((descriptors(), arena.asked()), (before, vec![]));
            let result = |line: &String| line.rsplit_once("result=").unwrap().1.to_owned();
            assert_eq!(sink.take().iter().map(result).collect::<Vec<_>>(), ["allowed", "denied"]);
            assert!(dual.open(capability.check_dual_stack(&asked).unwrap(), &arena).is_ok());
            let single =
                ListenOptions::new().open(capability.check_dual_stack(&asked).unwrap(), &arena);
            assert!(single.is_ok(), "less than the permit covers is fine");
        });
    }

    #[test]
    fn dual_stack_by_the_builder_asks_for_both_stacks() {
        let mut capability = NetBind::empty("test").unwrap();
        capability.grant(Rights::NET_BIND).allow_host(Ipv6Addr::UNSPECIFIED.into(), 0).unwrap();
        let arena = Arena::new();
        let options = ListenOptions::new().capability(&capability);
        assert!(options.listen("[::]:0", &arena).is_ok());
        let dual = options.clone().dual_stack(true);
        assert_eq!(dual.listen("[::]:0", &arena).err(), Some(SocketError::CapabilityDenied));
    }

    #[test]
    fn a_denial_and_the_kernels_refusal_are_never_the_same() {
        let arena = Arena::new();
        let capability = NetBind::new("test").unwrap();
        let denied = listen_with_capability(":22", &capability, &arena).unwrap_err();
        assert_eq!(denied, SocketError::CapabilityDenied);
        assert!(!denied.is_permission_denied());
        assert_eq!((denied.errno(), denied.step()), (None, None));

        for errno in [Errno::ACCESS, Errno::PERM] {
            let kernels = SocketError::System { step: Step::Bind, errno };
            assert_ne!(kernels, SocketError::CapabilityDenied);
            assert!(kernels.is_permission_denied());
        }
    }

    #[test]
    fn every_form_opens_where_its_right_is_given_and_not_where_it_is_missing() {
        isolated(|| {
            let directory = tempfile::tempdir().unwrap();
            let path = format!("unix:{}/s", directory.path().display());
            let arena = Arena::new();
            let mut all = NetBind::empty("all").unwrap();
            all.grant(Rights::all()).allow_port(0).unwrap();
            let none = NetBind::empty("none").unwrap();
            for text in [":0", "127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-rights"] {
                assert!(listen_with_capability(text, &all, &arena).is_ok(), "{text}");
                let denied = listen_with_capability(text, &none, &arena).map(drop);
                assert_eq!(denied, Err(SocketError::CapabilityDenied), "{text}");
                assert!(
                    listen(text, &arena).is_ok(),
                    "who asks no capability is not stopped by one"
                );
            }
        });
    }
}
