//! The kernel decides about ports like the capability.

use netbind::enforce::{Confinement, Gaps};
use netbind::error::Errno;
use netbind::{BindAddress, NetBind};

use super::harness::{Case, alone, case};
use super::probe::{bind_tcp, capability, first_port, grant};

pub(crate) const CASES: &[Case] = &[
    case!(the_kernel_agrees_with_the_rules_about_every_port),
    case!(the_kernel_agrees_with_a_chain_about_every_port),
];

/// Rules whose ports Landlock can express.
const POLICIES: &[&[&str]] = &[
    &["port 8080"],
    &["port 0"],
    &["port 65535", "port 1"],
    &["port 0-1023", "port 1024-1030", "port 60000-65535"],
    &["port 0-65534"],
    &["port 1-65535"],
    &["port 0-32767", "port 32768-65535"],
    &["port 0-65535"],
    &["host 0.0.0.0/0 port 5000-5999", "host ::/0 port 5000-5999"],
    &["any-path"],
];

fn the_kernel_agrees_with_the_rules_about_every_port() {
    for rules in POLICIES {
        alone(&format!("{rules:?}"), || assert_agreement(&capability(rules)));
    }
}

fn the_kernel_agrees_with_a_chain_about_every_port() {
    let first = capability(&["port 100-20000"]);
    let mut second = first.child("second").unwrap();
    grant(&mut second, &["port 0-65535"]);
    let mut third = second.child("third").unwrap();
    grant(&mut third, &["port 50-150", "port 10000-40000"]);
    assert_agreement(&third);
}

/// The ports at the ends of the rules above, and their neighbours.
const EDGES: [u16; 15] =
    [1, 50, 100, 150, 1023, 1024, 1030, 5000, 5999, 8080, 10_000, 20_000, 32_767, 40_000, 60_000];

/// Confines this process, and binds ports: those at the ends of rules, and every 499th.
fn assert_agreement(capability: &NetBind<'_>) {
    let first = first_port();
    Confinement::new(capability).tolerate(Gaps::all()).apply().unwrap();
    let edges = EDGES.into_iter().flat_map(|port| port - 1..=port + 1);
    let ports = (0..=u16::MAX).step_by(499).chain(edges).chain(65_533..=65_535);
    let (mut allowed, mut refused) = (0, 0);
    for port in ports.filter(|port| *port == 0 || *port >= first) {
        for host in ["127.0.0.1", "0.0.0.0", "[::1]", "[::]"] {
            let text = format!("{host}:{port}");
            let address = BindAddress::parse(&text).unwrap();
            let expected = capability.check(&address).map(drop).map_err(|_| Errno::ACCESS);
            assert_eq!(bind_tcp(&text), expected, "{text}");
            *if expected.is_ok() { &mut allowed } else { &mut refused } += 1;
        }
    }
    assert!(allowed + refused > 600, "{allowed} allowed and {refused} refused");
}
