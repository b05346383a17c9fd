//! Confinements: which sockets a confined process, and what it executes, can still open.

use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, SOCK_DGRAM, SOCK_STREAM};
use netbind::enforce::{Confinement, Gaps, Seal};
use netbind::error::{Errno, Step};
use netbind::{NetBind, Rights, SocketError};

use super::attempts::{Restriction, assert_inherited, assert_table};
use super::harness::{Case, alone, case};
use super::probe::{
    bind_abstract, bind_path, bind_tcp, bind_udp, capability, directory, has_no_new_privs,
    has_seccomp_filter, listen_unbound, socket,
};

pub(crate) const CASES: &[Case] = &[
    case!(each_attempt_has_the_documented_answer),
    case!(executed_programs_are_confined_too),
    case!(only_unix_tcp_and_route_netlink_can_be_opened),
    case!(udp_works_if_it_is_tolerated_and_nothing_else_of_its_kind),
    case!(a_range_of_ports_ends_where_the_rule_ends),
    case!(a_capability_that_allows_nothing_binds_nothing),
    case!(a_rule_without_its_right_allows_nothing),
    case!(a_capability_that_allows_everything_binds_everything),
    case!(rules_outside_of_the_value_are_enforced_too),
    case!(the_crate_reports_the_refusal_of_the_kernel),
    case!(a_capability_that_is_wider_does_not_undo_a_narrow_one),
    case!(a_seal_and_a_confinement_combine_in_either_order),
];

fn each_attempt_has_the_documented_answer() {
    assert_table(Restriction::Confined);
}

fn executed_programs_are_confined_too() {
    let names = [
        "TCP, an allowed port, IPv4",
        "TCP, another port, IPv4",
        "TCP, another port, both wildcards",
        "MPTCP, an allowed port",
        "UDP, an allowed port",
        "Unix path in the directory",
        "Unix path outside of the directory",
        "io_uring_setup",
        "getaddrinfo",
        "getifaddrs",
    ];
    assert_inherited(Restriction::Confined, &names);
}

fn only_unix_tcp_and_route_netlink_can_be_opened() {
    /// The kinds of socket that exist, with `SOCK_SEQPACKET`, `SOCK_DCCP` and `SOCK_PACKET`.
    const KINDS: [i32; 7] = [1, 2, 3, 4, 5, 6, 10];
    confine(&["port 8080", "any-path", "any-abstract"], Gaps::EPHEMERAL_LISTEN);
    for family in
        (0..64).filter(|family| ![AF_UNIX, AF_INET, AF_INET6, AF_NETLINK].contains(family))
    {
        for kind in KINDS {
            let opened = socket(family, kind, 0).map(drop);
            assert_eq!(opened, Err(Errno::AFNOSUPPORT), "family {family}, kind {kind}");
        }
    }
    for protocol in 0..64 {
        let opened = socket(AF_NETLINK, SOCK_DGRAM, protocol).map(drop);
        let expected = if protocol == 0 { Ok(()) } else { Err(Errno::PROTONOSUPPORT) };
        assert_eq!(opened, expected, "netlink {protocol}");
    }
    for (family, kind) in [AF_INET, AF_INET6].into_iter().flat_map(|f| KINDS.map(|kind| (f, kind)))
    {
        for protocol in 0..300 {
            let opened = socket(family, kind, protocol).map(drop);
            let expected = match (kind, protocol) {
                (SOCK_STREAM, 0 | libc::IPPROTO_TCP) => Ok(()),
                (SOCK_STREAM, _) => Err(Errno::PROTONOSUPPORT),
                _ => Err(Errno::ACCESS),
            };
            assert_eq!(opened, expected, "family {family}, kind {kind}, protocol {protocol}");
        }
    }
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    assert!(socket(AF_INET, SOCK_STREAM | flags, 0).is_ok());
    assert_eq!(socket(AF_INET, SOCK_DGRAM | flags, 0).map(drop), Err(Errno::ACCESS));
}

fn udp_works_if_it_is_tolerated_and_nothing_else_of_its_kind() {
    confine(&["port 0", "any-path", "any-abstract"], Gaps::UDP);
    for protocol in 0..300 {
        let opened = socket(AF_INET, SOCK_DGRAM, protocol).map(drop);
        let is_udp = [0, libc::IPPROTO_UDP].contains(&protocol);
        assert_eq!(opened, if is_udp { Ok(()) } else { Err(Errno::ACCESS) }, "{protocol}");
    }
    assert_eq!(bind_udp("127.0.0.1:8081"), Ok(()));
    assert_eq!(bind_udp("[::1]:8081"), Ok(()));
    assert_eq!(bind_tcp("127.0.0.1:8081"), Err(Errno::ACCESS));
    assert_eq!(socket(AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP).map(drop), Err(Errno::ACCESS));
}

fn a_range_of_ports_ends_where_the_rule_ends() {
    confine(&["port 8000-8999", "any-path", "any-abstract"], Gaps::EPHEMERAL_LISTEN);
    for port in 7990..9010 {
        let expected = if (8000..=8999).contains(&port) { Ok(()) } else { Err(Errno::ACCESS) };
        assert_eq!(bind_tcp(&format!("127.0.0.1:{port}")), expected, "{port}");
    }
}

fn a_capability_that_allows_nothing_binds_nothing() {
    let empty = NetBind::empty("nothing").unwrap();
    let gaps = Gaps::EPHEMERAL_LISTEN | Gaps::ABSTRACT_NAMES;
    Confinement::new(&empty).tolerate(gaps).apply().unwrap();
    assert_binds_nothing();
}

fn a_rule_without_its_right_allows_nothing() {
    let mut capability = capability(&["port 0-65535", "any-path", "any-abstract"]);
    capability.revoke(Rights::NET_BIND);
    Confinement::new(&capability).tolerate(Gaps::EPHEMERAL_LISTEN).apply().unwrap();
    assert_binds_nothing();
}

fn assert_binds_nothing() {
    for address in ["127.0.0.1:8080", "127.0.0.1:0", "[::1]:8080", "[::]:65535"] {
        assert_eq!(bind_tcp(address), Err(Errno::ACCESS), "{address}");
    }
    assert_eq!(bind_path(directory().path().join("s")), Err(Errno::ACCESS));
}

fn a_capability_that_allows_everything_binds_everything() {
    confine(&["port 0-65535", "any-path", "any-abstract"], Gaps::empty());
    for address in ["127.0.0.1:8080", "127.0.0.1:0", "[::1]:8080", "[::]:65535"] {
        assert_eq!(bind_tcp(address), Ok(()), "{address}");
    }
    assert_eq!(listen_unbound(AF_INET, 0).map(drop), Ok(()));
    assert_eq!(bind_path(directory().path().join("s")), Ok(()));
    assert_eq!(bind_abstract("enforce-everything"), Ok(()));
    assert_eq!(bind_udp("127.0.0.1:0"), Err(Errno::ACCESS), "UDP is never of a capability");
    assert!(has_no_new_privs());
    assert!(has_seccomp_filter());
}

fn rules_outside_of_the_value_are_enforced_too() {
    let more: Vec<_> = (8100..8200).step_by(2).map(netbind::Rule::port).collect();
    let capability = capability(&["port 8080", "any-path", "any-abstract"]).with_rules(&more);
    Confinement::new(&capability).tolerate(Gaps::EPHEMERAL_LISTEN).apply().unwrap();
    for port in 8099..8201 {
        let is_allowed = (8100..8200).contains(&port) && port % 2 == 0;
        let expected = if is_allowed { Ok(()) } else { Err(Errno::ACCESS) };
        assert_eq!(bind_tcp(&format!("127.0.0.1:{port}")), expected, "{port}");
    }
    assert_eq!(bind_tcp("127.0.0.1:8080"), Ok(()));
}

fn the_crate_reports_the_refusal_of_the_kernel() {
    let memory = netbind::alloc::Global;
    let denied = SocketError::System { step: Step::Bind, errno: Errno::ACCESS };
    confine(&["port 8080", "any-path", "any-abstract"], Gaps::EPHEMERAL_LISTEN);
    assert_eq!(netbind::listen("127.0.0.1:8081", &memory).unwrap_err(), denied);
    Seal::Sockets.apply().unwrap();
    let denied = SocketError::System { step: Step::Socket, errno: Errno::ACCESS };
    assert_eq!(netbind::listen("127.0.0.1:8080", &memory).unwrap_err(), denied);
}

fn a_capability_that_is_wider_does_not_undo_a_narrow_one() {
    confine(&["port 8080", "port 8081", "any-path", "any-abstract"], Gaps::EPHEMERAL_LISTEN);
    confine(&["port 8081-8090", "any-path", "any-abstract"], Gaps::EPHEMERAL_LISTEN | Gaps::UDP);
    assert_eq!(bind_tcp("127.0.0.1:8080"), Err(Errno::ACCESS));
    assert_eq!(bind_tcp("127.0.0.1:8081"), Ok(()));
    assert_eq!(bind_tcp("127.0.0.1:8082"), Err(Errno::ACCESS));
    assert_eq!(bind_udp("127.0.0.1:8081"), Err(Errno::ACCESS));
}

fn a_seal_and_a_confinement_combine_in_either_order() {
    let rules = ["port 8080", "any-path", "any-abstract"];
    let assert_both = || {
        assert_eq!(bind_tcp("127.0.0.1:8080"), Err(Errno::ACCESS), "the seal");
        assert_eq!(bind_udp("127.0.0.1:8080"), Err(Errno::ACCESS), "both");
        assert_eq!(socket(AF_INET, SOCK_DGRAM, 0).map(drop), Err(Errno::ACCESS), "confined");
        assert!(socket(AF_INET, SOCK_STREAM, 0).is_ok());
    };
    alone("confined, then sealed", || {
        confine(&rules, Gaps::EPHEMERAL_LISTEN);
        Seal::Listening.apply().unwrap();
        assert_both();
    });
    alone("sealed, then confined", || {
        Seal::Listening.apply().unwrap();
        confine(&rules, Gaps::EPHEMERAL_LISTEN);
        assert_both();
    });
}

/// Confines this process to these rules, with every right.
pub(crate) fn confine(rules: &[&str], tolerated: Gaps) {
    Confinement::new(&capability(rules)).tolerate(tolerated).apply().unwrap();
}
