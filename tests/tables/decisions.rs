//! The decisions of a capability, and their records.

use core::net::Ipv4Addr;

use netbind::audit::{AuditResult, Operation};
use netbind::capability::CapabilityError;
use netbind::{AuditRing, BindAddress, NetBind, Rights, Rule, SocketError};

use super::memory::Arena;

/// An address, and whether `NetBind::new` with port 443 allows it.
pub(crate) const DEFAULT: &[(&str, bool)] = &[
    (":8080", true),
    ("127.0.0.1:3000", true),
    ("[::1]:8000", true),
    ("[::ffff:1.2.3.4]:8080", true),
    ("[::1]:443", true),
    (":0", false),
    (":22", false),
    (":65535", false),
    ("/run/x.sock", true),
    ("unix:x.sock", true),
    ("unix:@x", false),
];

/// An address, and whether a capability that has only port 53 of 127.0.0.1 allows it.
pub(crate) const LOCAL: &[(&str, bool)] = &[
    ("127.0.0.1:53", true),
    ("[::ffff:127.0.0.1]:53", true),
    ("127.0.0.2:53", false),
    ("127.0.0.1:54", false),
    (":53", false),
    ("[::]:53", false),
    ("[::1]:53", false),
];

fn decide(capability: &NetBind<'_>, table: &[(&str, bool)]) {
    for (text, allowed) in table {
        let address = BindAddress::parse(text).expect(text);
        let decision = capability.check(&address).map(|permit| permit.address().clone());
        assert_eq!(
            decision,
            if *allowed { Ok(address.clone()) } else { Err(SocketError::CapabilityDenied) },
            "{text}"
        );
    }
}

pub(crate) fn an_address_without_a_rule_is_denied() {
    let mut capability = NetBind::new("web").expect("an id");
    capability.allow_port(443).expect("room");
    decide(&capability, DEFAULT);
    let mut local = NetBind::empty("local").expect("an id");
    decide(&local, &[("127.0.0.1:53", false), ("/run/x.sock", false), ("unix:@x", false)]);
    local.grant(Rights::NET_BIND).allow_host(Ipv4Addr::LOCALHOST.into(), 53).expect("room");
    decide(&local, LOCAL);
    local.grant(Rights::NET_BIND_ABSTRACT).revoke(Rights::NET_BIND);
    local.allow(Rule::any_abstract()).expect("room");
    decide(&local, &[("127.0.0.1:53", false), ("/run/x.sock", false), ("unix:@x", true)]);
}

pub(crate) fn dual_stack_needs_both_wildcards() {
    let any = BindAddress::parse("[::]:53").expect("an address");
    let mut capability = NetBind::empty("dual").expect("an id");
    capability
        .grant(Rights::NET_BIND)
        .allow_host(core::net::Ipv6Addr::UNSPECIFIED.into(), 53)
        .expect("room");
    assert!(capability.check(&any).is_ok());
    assert!(capability.check_dual_stack(&any).is_err());
    capability.allow_host(Ipv4Addr::UNSPECIFIED.into(), 53).expect("room");
    assert!(capability.check_dual_stack(&any).is_ok_and(|permit| permit.covers_dual_stack()));
}

pub(crate) fn the_17th_rule_is_refused() {
    let mut capability = NetBind::empty("full").expect("an id");
    for port in 1..=16 {
        assert!(capability.allow_port(port).is_ok());
    }
    assert_eq!(capability.allow_port(17).err(), Some(CapabilityError::TooManyRules));
    assert!(capability.allow_port(16).is_ok());
}

pub(crate) fn each_decision_is_recorded() {
    let memory = Arena::new();
    let ring = AuditRing::new_in(32, &memory).expect("memory");
    let mut capability = NetBind::new("web").expect("an id");
    capability.allow_port(443).expect("room");
    decide(&capability.with_sink(&ring), DEFAULT);
    let mut entries = ring.reader();
    for (sequence, (text, allowed)) in DEFAULT.iter().enumerate() {
        let entry = entries.next().expect(text);
        let record = entry.record();
        assert_eq!((entry.sequence, entry.time), (sequence as u64, None), "{text}");
        assert_eq!(
            (record.capability.as_str(), record.operation),
            ("web", Operation::CheckBindAddress),
            "{text}"
        );
        assert_eq!(record.port, BindAddress::parse(text).expect(text).port(), "{text}");
        assert_eq!(record.result == AuditResult::Allowed, *allowed, "{text}");
    }
    assert_eq!((entries.next(), entries.missed()), (None, 0));
}
