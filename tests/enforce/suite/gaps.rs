//! Gaps: each is named, none is invented, and a tolerated one is really open.

use std::os::fd::OwnedFd;
use std::path::Path;

use libc::AF_INET;
use netbind::enforce::{Confinement, EnforceError, Gaps};
use netbind::error::Errno;
use netbind::{BindAddress, NetBind, Rights};

use super::harness::{Case, alone, case};
use super::probe::{
    Outcome, assert_unrestricted, bind_abstract, bind_path, bind_tcp, bind_udp, capability,
    directory, grant, has_no_new_privs, listen, listen_unbound, name_of, set_option, socket,
};

pub(crate) const CASES: &[Case] = &[
    case!(each_rule_and_right_has_exactly_its_gaps),
    case!(the_gaps_of_ancestors_count),
    case!(udp_is_a_gap_only_if_it_is_tolerated),
    case!(asking_for_gaps_restricts_nothing),
    case!(one_gap_that_is_not_tolerated_refuses_everything),
    case!(a_tolerated_gap_is_open),
    case!(what_is_no_gap_is_closed),
    case!(a_rule_without_its_right_is_no_gap),
    case!(a_rule_that_another_one_covers_is_no_gap),
    case!(a_rule_that_another_one_covers_in_part_is_a_gap),
];

const NONE: Gaps = Gaps::empty();
const LISTEN: Gaps = Gaps::EPHEMERAL_LISTEN;
const NAMES: Gaps = Gaps::ABSTRACT_NAMES;

/// Rules of a capability with every right, and its gaps. `{}` is a directory.
const TABLE: &[(&[&str], Gaps)] = &[
    (&[], LISTEN.union(NAMES)),
    (&["port 0", "any-path", "any-abstract"], NONE),
    (&["port 0-65535", "any-path", "any-abstract"], NONE),
    (&["port 0", "any-abstract"], NONE),
    (&["port 1-1000", "any-abstract"], LISTEN),
    (&["port 8080", "any-abstract"], LISTEN),
    (&["beneath {}", "port 0", "any-abstract"], NONE),
    (&["path {}/s", "port 0", "any-abstract"], Gaps::PATHS),
    (&["port 0"], NAMES),
    (&["port 0", "abstract app"], NAMES),
    (&["port 0", "abstract-prefix app"], NAMES),
    (&["port 0", "abstract-prefix app", "any-abstract"], NONE),
    (&["port 0", "any-abstract", "host 127.0.0.1 port 8080"], Gaps::HOSTS),
    (&["port 8080", "any-abstract", "host ::1 port 0"], Gaps::HOSTS.union(LISTEN)),
    (&["any-abstract", "host 0.0.0.0 port 0", "host :: port 0"], Gaps::HOSTS),
    (&["any-abstract", "host 0.0.0.0/0 port 0", "host ::/0 port 0"], Gaps::HOSTS),
    (&["any-abstract", "host 0.0.0.0/0 port 0"], Gaps::HOSTS.union(LISTEN)),
    (&["any-abstract", "host ::/0 port 0"], Gaps::HOSTS.union(LISTEN)),
    (&["any-abstract", "host 127.0.0.0/8 port 0-65535"], Gaps::HOSTS.union(LISTEN)),
    (&["path {}/s", "host ::1 port 1"], LISTEN.union(NAMES).union(Gaps::HOSTS).union(Gaps::PATHS)),
];

/// Makes a capability of the rules of the table.
fn of(rules: &[&str], directory: &Path) -> NetBind<'static> {
    let rules: Vec<_> =
        rules.iter().map(|rule| rule.replace("{}", directory.to_str().unwrap())).collect();
    capability(&rules.iter().map(String::as_str).collect::<Vec<_>>())
}

fn gaps(capability: &NetBind<'_>) -> Gaps {
    Confinement::new(capability).gaps().unwrap()
}

fn each_rule_and_right_has_exactly_its_gaps() {
    let directory = directory();
    for (rules, expected) in TABLE {
        let mut capability = of(rules, directory.path());
        assert_eq!(gaps(&capability), *expected, "{rules:?}");
        // Without the right for abstract names none is allowed, but all can be bound.
        capability.revoke(Rights::NET_BIND_ABSTRACT);
        assert_eq!(gaps(&capability), expected.union(NAMES), "{rules:?}, no abstract names");
    }
    let usual = NetBind::new("usual").unwrap();
    assert_eq!(gaps(&usual), LISTEN | NAMES);
}

fn the_gaps_of_ancestors_count() {
    let directory = directory();
    for (rules, expected) in TABLE {
        let parent = of(rules, directory.path());
        let mut child = parent.child("child").unwrap();
        grant(&mut child, &["port 0", "any-path", "any-abstract"]);
        assert_eq!(gaps(&child), *expected, "{rules:?} in the parent");
        let all = capability(&["port 0-65535", "any-path", "any-abstract"]);
        let mut child = all.child("child").unwrap();
        let child_of_nothing = child.child("grandchild").unwrap();
        assert_eq!(gaps(&child_of_nothing), LISTEN | NAMES);
        for rule in of(rules, directory.path()).rules() {
            child.allow(rule).unwrap();
        }
        child.grant(Rights::all());
        assert_eq!(gaps(&child), *expected, "{rules:?} in the child");
    }
}

fn udp_is_a_gap_only_if_it_is_tolerated() {
    let capability = capability(&["port 0", "any-path", "any-abstract"]);
    let confinement = Confinement::new(&capability);
    assert_eq!(confinement.gaps(), Ok(NONE));
    assert_eq!(confinement.tolerate(Gaps::UDP).gaps(), Ok(Gaps::UDP));
    let confinement = Confinement::new(&capability).tolerate(Gaps::all());
    assert_eq!(confinement.gaps(), Ok(Gaps::UDP), "no other gap is there");
    let confinement = Confinement::new(&capability).tolerate(Gaps::UDP).tolerate(Gaps::HOSTS);
    assert_eq!(confinement.gaps(), Ok(Gaps::UDP), "tolerations add up");
}

fn asking_for_gaps_restricts_nothing() {
    let before = has_no_new_privs();
    let capability = NetBind::new("web").unwrap();
    let confinement = Confinement::new(&capability).tolerate(Gaps::all());
    for _ in 0..40 {
        assert_eq!(confinement.gaps(), Ok(LISTEN | NAMES | Gaps::UDP), "no layer is used up");
    }
    assert_unrestricted("after gaps", before);
}

fn one_gap_that_is_not_tolerated_refuses_everything() {
    let before = has_no_new_privs();
    let directory = directory();
    let mut refusals = 0;
    for (rules, expected) in TABLE {
        let capability = of(rules, directory.path());
        for (_, gap) in expected.iter_names() {
            let tolerated = Gaps::all().difference(gap);
            let applied = Confinement::new(&capability).tolerate(tolerated).apply();
            assert_eq!(applied, Err(EnforceError::Gaps(gap)), "{rules:?}");
            refusals += 1;
        }
        if !expected.is_empty() {
            let applied = Confinement::new(&capability).apply();
            assert_eq!(applied, Err(EnforceError::Gaps(*expected)), "{rules:?}");
        }
    }
    assert!(refusals > 20);
    assert_unrestricted("after refusals", before);
}

/// Confines a process to the rules, with exactly this gap, and runs `body` in it.
#[track_caller]
fn with_gap(gap: Gaps, rules: &[&str], body: impl FnOnce(&NetBind<'_>, &Path)) {
    alone(&format!("{gap:?}"), || {
        let directory = directory();
        let capability = of(rules, directory.path());
        let confinement = Confinement::new(&capability).tolerate(gap);
        assert_eq!(confinement.gaps(), Ok(gap));
        confinement.apply().unwrap();
        body(&capability, directory.path());
    });
}

fn denies(capability: &NetBind<'_>, address: &str) -> bool {
    capability.check(&BindAddress::parse(address).unwrap()).is_err()
}

fn a_tolerated_gap_is_open() {
    with_gap(LISTEN, &["port 8080", "any-abstract"], |capability, _| {
        assert!(denies(capability, "0.0.0.0:0"));
        let listener = listen_unbound(AF_INET, 0).unwrap();
        let address = name_of(&listener);
        assert!(address.ip().is_unspecified() && address.port() > 1024, "{address}");
    });
    with_gap(LISTEN, &["port 8080", "any-abstract"], |_, _| {
        // The process can choose the port, among those that the kernel would choose from.
        let socket = socket(AF_INET, libc::SOCK_STREAM, 0).unwrap();
        if set_port_range(&socket, 40_000).is_ok() {
            listen(&socket).unwrap();
            assert_eq!(name_of(&socket).port(), 40_000);
        }
    });
    with_gap(Gaps::HOSTS, &["port 0", "any-abstract", "host 127.0.0.1 port 8080"], |c, _| {
        for address in ["0.0.0.0:8080", "[::1]:8080", "[::]:8080", "127.0.0.2:8080"] {
            assert!(denies(c, address), "{address}");
            assert_eq!(bind_tcp(address), Ok(()), "{address}");
        }
        assert_eq!(bind_tcp("127.0.0.1:8081"), Err(Errno::ACCESS));
    });
    with_gap(Gaps::PATHS, &["port 0", "any-abstract", "path {}/s"], |capability, d| {
        let other = d.join("other");
        assert!(denies(capability, other.to_str().unwrap()));
        assert_eq!(bind_path(other), Ok(()));
    });
    with_gap(NAMES, &["port 0", "any-path", "abstract app"], |capability, _| {
        assert!(denies(capability, "unix:@enforce-other"));
        assert_eq!(bind_abstract("enforce-other"), Ok(()));
    });
    with_gap(Gaps::UDP, &["port 0", "any-abstract"], |capability, _| {
        assert!(denies(capability, "0.0.0.0:8081"));
        assert_eq!(bind_udp("0.0.0.0:8081"), Ok(()));
    });
}

/// Sets the ports from which the kernel chooses one for this socket, since Linux 6.3.
fn set_port_range(socket: &OwnedFd, port: u32) -> Outcome {
    const IP_LOCAL_PORT_RANGE: i32 = 51;
    set_option(socket, libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, (port << 16 | port) as i32)
}

fn what_is_no_gap_is_closed() {
    with_gap(NONE, &["port 0", "beneath {}", "any-abstract"], |capability, d| {
        assert!(!denies(capability, "0.0.0.0:0"));
        assert_eq!(listen_unbound(AF_INET, 0).map(drop), Ok(()), "port 0 is allowed");
        assert_eq!(bind_path(d.join("s")), Ok(()));
        assert_eq!(bind_path(d.parent().unwrap().join("enforce-outside")), Err(Errno::ACCESS));
        assert_eq!(bind_tcp("0.0.0.0:8081"), Err(Errno::ACCESS));
        assert_eq!(socket(AF_INET, libc::SOCK_DGRAM, 0).map(drop), Err(Errno::ACCESS));
    });
}

fn a_rule_without_its_right_is_no_gap() {
    let mut capability = capability(&["any-abstract", "host 127.0.0.1 port 80", "path /run/s"]);
    capability.revoke(Rights::NET_BIND);
    assert_eq!(gaps(&capability), LISTEN, "no port and no path can be bound");
}

fn a_rule_that_another_one_covers_is_no_gap() {
    let directory = directory();
    for rules in [
        &["any-path", "path {}/s"][..],
        &["path {}/s", "any-path"],
        &["beneath {}", "path {}/s"],
        &["beneath /", "path {}/s"],
        &["any-path", "port 1-100", "host 127.0.0.1 port 80"],
        &["any-path", "host 127.0.0.1 port 1-100", "port 1-100"],
    ] {
        let capability = of(&[rules, &["port 0", "any-abstract"]].concat(), directory.path());
        assert_eq!(gaps(&capability), NONE, "{rules:?}");
    }
}

fn a_rule_that_another_one_covers_in_part_is_a_gap() {
    let directory = directory();
    for name in ["sub", "sub-2"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    for (rules, expected) in [
        (["beneath {}/sub", "path {}/s"], Gaps::PATHS),
        (["beneath {}/sub", "path {}/sub-2/s"], Gaps::PATHS),
        (["path {}/sub/s", "path {}/s"], Gaps::PATHS),
        (["port 80", "host 127.0.0.1 port 80-81"], Gaps::HOSTS),
        (["port 80-81", "host 127.0.0.1 port 79-80"], Gaps::HOSTS),
        (["host 127.0.0.0/8 port 80", "host 127.0.0.1 port 80"], Gaps::HOSTS),
        (["any-path", "host 127.0.0.1 port 80"], Gaps::HOSTS),
        (["port 0-65535", "path {}/s"], Gaps::PATHS),
    ] {
        let capability = of(&[&rules[..], &["port 0", "any-abstract"]].concat(), directory.path());
        assert_eq!(gaps(&capability), expected, "{rules:?}");
    }
    // A rule of the parent does not help one of the child.
    let parent = of(&["port 0", "any-abstract", "any-path"], directory.path());
    let mut child = parent.child("child").unwrap();
    let path = format!("path {}/s", directory.path().display());
    grant(&mut child, &["port 0", "any-abstract", &path]);
    assert_eq!(gaps(&child), Gaps::PATHS);
}
