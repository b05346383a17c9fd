//! Decisions against a naive model, over small universes that can be walked whole.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netbind::{BindAddress, NetBind, Permit, Rights, Rule, SocketError};

/// Two capabilities with all rights and the same rules: borrowed, and in the value itself.
struct Twins<'r> {
    borrowed: NetBind<'r>,
    own: NetBind<'r>,
}

fn with_rules(rules: &[Rule]) -> Twins<'_> {
    let mut borrowed = NetBind::empty("test").unwrap().with_rules(rules);
    let mut own = NetBind::empty("test").unwrap();
    for rule in rules {
        own.allow(*rule).unwrap();
    }
    borrowed.grant(Rights::all());
    own.grant(Rights::all());
    Twins { borrowed, own }
}

impl Twins<'_> {
    fn check<'p>(&'p self, address: &'p BindAddress) -> Result<Permit<'p>, SocketError> {
        let decision = self.own.check(address);
        assert_eq!(decision.is_ok(), self.borrowed.check(address).is_ok(), "{address}");
        decision
    }

    fn check_dual_stack<'p>(&'p self, address: &'p BindAddress) -> Result<Permit<'p>, SocketError> {
        let decision = self.own.check_dual_stack(address);
        assert_eq!(decision.is_ok(), self.borrowed.check_dual_stack(address).is_ok(), "{address}");
        decision
    }
}

fn at(ip: IpAddr, port: u16) -> BindAddress {
    std::net::SocketAddr::new(ip, port).try_into().unwrap()
}

/// Lifts a network of 8 bits: the last byte of an address.
type Lift = fn(u8) -> IpAddr;

const LIFTS: [(Lift, u8); 5] = [
    (|last| Ipv4Addr::new(10, 1, 2, last).into(), 24),
    (|last| Ipv4Addr::new(0, 0, 0, last).into(), 24),
    (|last| Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(last)).into(), 120),
    (|last| Ipv6Addr::from_bits(u128::from(last)).into(), 120),
    (|last| Ipv4Addr::new(10, 1, 2, last).to_ipv6_mapped().into(), 120),
];

#[test]
fn a_network_allows_exactly_the_addresses_with_its_prefix() {
    let mut decisions = 0;
    for (lift, bits_before) in LIFTS {
        for prefix in 0..=8 {
            let mask = u8::try_from(0xff00_u16 >> prefix & 0xff).unwrap();
            for network in (0..=255_u8).filter(|network| network & !mask == 0) {
                let rules = [Rule::host(lift(network), bits_before + prefix, 80..=80).unwrap()];
                let capability = with_rules(&rules);
                for last in 0..=255 {
                    let ip = lift(last);
                    let contains = last & mask == network;
                    let expected = contains && (!ip.is_unspecified() || prefix == 8);
                    let allowed = capability.check(&at(ip, 80)).is_ok();
                    assert_eq!(allowed, expected, "{} {ip}", rules[0]);
                    assert!(capability.check(&at(ip, 81)).is_err(), "another port of {ip}");
                    decisions += 1;
                }
            }
        }
    }
    println!("{decisions} inputs tried on networks");
}

#[test]
fn a_wildcard_needs_a_port_rule_a_zero_prefix_or_its_own_rule() {
    let cases: &[(&str, &[&str])] = &[
        ("port 80", &["0.0.0.0:80", "[::]:80", "127.0.0.1:80", "[::1]:80"]),
        ("host 0.0.0.0/0 port 80", &["0.0.0.0:80", "127.0.0.1:80"]),
        ("host 0.0.0.0/1 port 80", &["127.0.0.1:80"]),
        ("host 0.0.0.0 port 80", &["0.0.0.0:80"]),
        ("host ::/0 port 80", &["[::]:80", "[::1]:80"]),
        ("host ::/1 port 80", &["[::1]:80"]),
        ("host :: port 80", &["[::]:80"]),
        ("host ::1 port 80", &["[::1]:80"]),
    ];
    let addresses = ["0.0.0.0:80", "[::]:80", "127.0.0.1:80", "[::1]:80"];
    for (rule, allowed) in cases {
        let rules = [rule.parse().unwrap()];
        let capability = with_rules(&rules);
        let found: Vec<_> = addresses
            .into_iter()
            .filter(|address| capability.check(&address.parse().unwrap()).is_ok())
            .collect();
        assert_eq!(found, *allowed, "{rule}");
    }
}

#[test]
fn a_mapped_address_is_judged_as_the_ipv4_address() {
    let rules = ["host 127.0.0.0/8 port 80".parse().unwrap()];
    let capability = with_rules(&rules);
    for (address, allowed) in [
        ("[::ffff:127.0.0.1]:80", true),
        ("[::ffff:127.0.0.1%3]:80", true),
        ("[::ffff:128.0.0.1]:80", false),
        ("[::127.0.0.1]:80", false),
    ] {
        assert_eq!(capability.check(&address.parse().unwrap()).is_ok(), allowed, "{address}");
    }
    for rule in ["host ::/0 port 80", "host ::/80 port 80", "host ::/95 port 80"] {
        let rules = [rule.parse().unwrap()];
        let mapped = "[::ffff:127.0.0.1]:80".parse().unwrap();
        assert!(with_rules(&rules).check(&mapped).is_err(), "{rule}");
    }
}

#[test]
fn dual_stack_on_the_wildcard_needs_both_wildcards() {
    for (rules, plain, dual) in [
        (&["port 80"][..], true, true),
        (&["host ::/0 port 80"], true, false),
        (&["host 0.0.0.0/0 port 80"], false, false),
        (&["host :: port 80", "host 0.0.0.0 port 80"], true, true),
        (&["host ::/0 port 80", "host 127.0.0.0/8 port 80"], true, false),
    ] {
        let parsed: Vec<Rule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let capability = with_rules(&parsed);
        let address = "[::]:80".parse().unwrap();
        assert_eq!(capability.check(&address).is_ok(), plain, "{rules:?}");
        assert_eq!(capability.check_dual_stack(&address).is_ok(), dual, "{rules:?}");
    }
    let rules = ["host ::1 port 80".parse().unwrap()];
    assert!(with_rules(&rules).check_dual_stack(&"[::1]:80".parse().unwrap()).is_ok());
}

#[test]
fn a_range_allows_exactly_its_ports() {
    let ports = [0, 1, 2, 3, 65534, 65535];
    for first in ports {
        for last in ports.into_iter().filter(|last| first <= *last) {
            let rules = [Rule::ports(first..=last).unwrap()];
            let capability = with_rules(&rules);
            for port in ports {
                let allowed = capability.check(&at([127, 0, 0, 1].into(), port)).is_ok();
                assert_eq!(allowed, (first..=last).contains(&port), "{} {port}", rules[0]);
            }
        }
    }
}

/// The naive model of `beneath`: components of text.
fn is_beneath(directory: &str, path: &str) -> bool {
    let components = |path: &str| -> Option<Vec<String>> {
        let rest = path.strip_prefix('/')?;
        let parts: Vec<_> = rest.split('/').map(String::from).collect();
        let normal = parts.iter().all(|part| !matches!(part.as_str(), "" | "." | ".."));
        normal.then_some(parts)
    };
    let directory = if directory == "/" { Some(Vec::new()) } else { components(directory) };
    match (directory, components(path)) {
        (Some(directory), Some(path)) => {
            path.len() > directory.len() && path.starts_with(&directory)
        }
        _ => false,
    }
}

#[test]
fn no_text_escapes_the_directory_of_beneath() {
    let mut tried = 0;
    for directory in ["/", "/run/app", "/r"] {
        let rules = [Rule::beneath(directory.as_bytes()).unwrap()];
        let capability = with_rules(&rules);
        // Every text of up to 7 of these bytes, after each of these starts.
        for start in ["/run/app", "/run/app/", "/run", "/r", ""] {
            let mut texts = vec![String::from(start)];
            for _ in 0..=7 {
                for path in &texts {
                    if let Ok(address) = BindAddress::parse(format!("unix:{path}"))
                        && matches!(address, BindAddress::Path(_))
                    {
                        let allowed = capability.check(&address).is_ok();
                        assert_eq!(allowed, is_beneath(directory, path), "{directory}: {path}");
                        tried += 1;
                    }
                }
                let longer = |text: &String| ["/", ".", "a"].map(|end| format!("{text}{end}"));
                texts = texts.iter().flat_map(longer).collect();
            }
        }
    }
    println!("{tried} inputs tried on directories");
}

#[test]
fn a_rule_about_a_name_allows_no_other() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "path /run/a",
            &["/run/a"],
            &["/run/a/b", "/run/ab", "/run", "unix:run/a", "unix:@/run/a"],
        ),
        ("beneath /run/app", &["/run/app/a"], &["/run/app", "/run/app2", "/run/app2/a", "unix:a"]),
        ("any-path", &["/run/a", "unix:a", "unix:../a"], &["unix:@a", ":80"]),
        ("abstract app", &["unix:@app"], &["unix:@app2", "unix:@ap", "unix:app", "/app"]),
        ("abstract-prefix app.", &["unix:@app.", "unix:@app.x"], &["unix:@app", "unix:app.x"]),
        ("any-abstract", &["unix:@a"], &["unix:a", "/a", ":80"]),
    ];
    for (rule, allowed, denied) in cases {
        let rules = [rule.parse().unwrap()];
        let capability = with_rules(&rules);
        for address in *allowed {
            assert!(capability.check(&address.parse().unwrap()).is_ok(), "{rule}: {address}");
        }
        for address in *denied {
            assert!(capability.check(&address.parse().unwrap()).is_err(), "{rule}: {address}");
        }
    }
}

#[test]
fn a_rule_without_its_right_allows_nothing() {
    let rules: Vec<Rule> =
        ["port 0-65535", "any-path", "any-abstract"].map(|rule| rule.parse().unwrap()).into();
    for (rights, allowed) in [
        (Rights::empty(), [false; 3]),
        (Rights::NET_BIND, [true, true, false]),
        (Rights::NET_BIND_ABSTRACT, [false, false, true]),
    ] {
        let mut capability = NetBind::empty("test").unwrap().with_rules(&rules);
        capability.grant(rights);
        let addresses = [":80", "/run/a", "unix:@a"];
        let found = addresses.map(|text| capability.check(&text.parse().unwrap()).is_ok());
        assert_eq!(found, allowed, "{rights:?}");
    }
}

#[test]
fn the_17th_rule_and_the_641st_byte_of_names_are_errors() {
    let mut capability = NetBind::new("test").unwrap();
    for port in 1..=12 {
        capability.allow_port(port).unwrap();
    }
    assert!(capability.allow_port(13).is_err());
    capability.allow_port(12).unwrap().allow_port(8080).unwrap();
    assert_eq!(capability.rules().count(), 16);

    let mut capability = NetBind::empty("test").unwrap();
    for (index, length) in [107, 107, 107, 107, 107, 105].into_iter().enumerate() {
        let name = format!("{index}{}", "x".repeat(length - 1));
        capability.allow_abstract(name.as_bytes()).unwrap();
    }
    assert!(capability.allow_abstract(b"y").is_err());
    capability.allow_port(1).unwrap();
    assert_eq!(capability.rules().count(), 7);
}

#[test]
fn rules_are_returned_as_they_were_added() {
    let more = [Rule::port(1), Rule::any_abstract()];
    let mut capability = NetBind::new("test").unwrap().with_rules(&more);
    capability.allow_beneath(b"/run/app").unwrap();
    capability.allow_network([10, 0, 0, 0].into(), 8, 1..=2).unwrap();
    let texts: Vec<_> = capability.rules().map(|rule| rule.to_string()).collect();
    let expected = [
        "port 8080",
        "port 3000",
        "port 8000",
        "any-path",
        "beneath /run/app",
        "host 10.0.0.0/8 port 1-2",
        "port 1",
        "any-abstract",
    ];
    assert_eq!(texts, expected);
}

/// A small pseudo-random generator, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

#[test]
fn a_child_never_allows_what_an_ancestor_denies() {
    const TREES: usize = 20_000;
    let rules: Vec<Rule> = [
        "port 80",
        "port 0-1023",
        "port 0-65535",
        "host 127.0.0.0/8 port 80",
        "host ::/0 port 80",
        "host 0.0.0.0/0 port 80-81",
        "any-path",
        "beneath /run",
        "path /run/a",
        "any-abstract",
        "abstract-prefix a",
    ]
    .map(|rule| rule.parse().unwrap())
    .into();
    let addresses: Vec<BindAddress> = [
        ":80",
        ":81",
        ":8080",
        "127.0.0.1:80",
        "[::1]:80",
        "[::]:80",
        "/run/a",
        "/run/b",
        "/a",
        "unix:a",
        "unix:@a",
        "unix:@b",
    ]
    .map(|text| text.parse().unwrap())
    .into();
    let mut random = Random(1);
    let mut decisions = 0_u64;
    for _ in 0..TREES {
        let root = NetBind::empty("root").unwrap();
        grow(root, 5, &mut random, &rules, &addresses, &mut decisions, &[true; 24]);
    }
    assert!(decisions >= 1_000_000, "{decisions}");
    println!("{decisions} inputs tried on children");
}

/// Gives the capability random rights and rules, compares its decisions with its parent's, and goes
/// on with a child.
fn grow(
    mut capability: NetBind<'_>,
    depth: usize,
    random: &mut Random,
    rules: &[Rule],
    addresses: &[BindAddress],
    decisions: &mut u64,
    parent_allows: &[bool],
) {
    for right in Rights::all() {
        if random.below(8) > 0 {
            capability.grant(right);
        }
    }
    for _ in 0..=random.below(5) {
        capability.allow(rules[random.below(rules.len())]).unwrap();
    }
    let mut allows = Vec::new();
    for address in addresses {
        allows.push(capability.check(address).is_ok());
        allows.push(capability.check_dual_stack(address).is_ok());
    }
    *decisions += allows.len() as u64;
    for (child, parent) in allows.iter().zip(parent_allows) {
        assert!(!child || *parent, "{capability:?} allows more than its parent");
    }
    if depth > 1 {
        let child = capability.child("child").unwrap();
        grow(child, depth - 1, random, rules, addresses, decisions, &allows);
    }
}

#[test]
fn a_child_allows_what_it_and_all_its_ancestors_allow() {
    let root = NetBind::new("root").unwrap();
    let mut child = root.child("child").unwrap();
    assert!(child.check(&":8080".parse().unwrap()).is_err(), "it starts empty");
    child.grant(Rights::all()).allow_ports(8000..=9000).unwrap();
    let mut grandchild = child.child("grandchild").unwrap();
    grandchild.grant(Rights::all()).allow(Rule::ports(0..=65535).unwrap()).unwrap();
    for (address, allowed) in [(":8080", true), (":8000", true), (":3000", false), (":8001", false)]
    {
        assert_eq!(grandchild.check(&address.parse().unwrap()).is_ok(), allowed, "{address}");
    }
}

#[test]
fn a_chain_of_ten_thousand_children_decides() {
    fn descend(parent: &NetBind<'_>, left: u32) -> bool {
        let mut child = parent.child("child").unwrap();
        child.grant(Rights::NET_BIND).allow_port(8080).unwrap();
        if left == 0 {
            child.check(&":8080".parse().unwrap()).is_ok()
        } else {
            descend(&child, left - 1)
        }
    }
    let deep = || descend(&NetBind::new("root").unwrap(), 10_000);
    // The values themselves take 10 MB, the decision none.
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(deep).unwrap();
    assert!(thread.join().unwrap());
}
