//! A capability against a simple model: rights, the texts of the rules, and the expected records.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use arbitrary::{Result, Unstructured};
use netbind::audit::{AuditSink, Record};
use netbind::capability::CapabilityError;
use netbind::{BindAddress, NetBind, Rights, SocketError};

use super::draw;

/// The maximum number of rules.
const RULES: usize = 16;

/// Rules of every kind, by their text.
const TEXTS: &[&str] = &[
    "port 0-79",
    "port 80-8080",
    "host 127.0.0.0/8 port 0-65535",
    "host 0.0.0.0/0 port 80",
    "host 0.0.0.0/7 port 80",
    "host ::/0 port 80",
    "host ::/97 port 80",
    "host fe80::/10 port 0-3000",
    "path /run/x",
    "beneath /run",
    "beneath /",
    "any-path",
    "abstract x",
    "abstract-prefix /",
    "any-abstract",
];

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl AuditSink for Lines {
    fn record(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.to_string());
    }
}

/// The rights, and the texts of the rules, of a capability.
#[derive(Clone)]
struct Model {
    bind: bool,
    bind_abstract: bool,
    rules: Vec<String>,
}

impl Model {
    fn new(defaults: bool) -> Self {
        let texts = ["port 8080", "port 3000", "port 8000", "any-path"];
        let rules = if defaults { texts.map(String::from).into() } else { Vec::new() };
        Self { bind: defaults, bind_abstract: false, rules }
    }

    fn allows(&self, address: &BindAddress, dual_stack: bool) -> bool {
        let any_rule = |address: &BindAddress| self.rules.iter().any(|rule| allows(rule, address));
        let right = match address {
            BindAddress::Abstract(_) => self.bind_abstract,
            _ => self.bind,
        };
        // A dual-stack socket on `::` takes connections to every IPv4 address, too.
        let also_ipv4 = dual_stack && address.ip() == Some(IpAddr::V6(0.into()));
        let port = address.port().unwrap_or_default();
        let ipv4_wildcard = BindAddress::Ipv4 { ip: Ipv4Addr::UNSPECIFIED, port };
        right && any_rule(address) && (!also_ipv4 || any_rule(&ipv4_wildcard))
    }
}

/// Decides by the text of a rule, slowly and in another way than the crate.
fn allows(rule: &str, address: &BindAddress) -> bool {
    let (word, rest) = rule.split_once(' ').unwrap_or((rule, ""));
    match (word, address) {
        ("any-path", BindAddress::Path(_)) | ("any-abstract", BindAddress::Abstract(_)) => true,
        ("path", BindAddress::Path(path)) => path.as_bytes() == rest.as_bytes(),
        ("beneath", BindAddress::Path(path)) => {
            let path = String::from_utf8_lossy(path.as_bytes()).into_owned();
            let normal = path.starts_with('/')
                && path.split('/').skip(1).all(|part| !["", ".", ".."].contains(&part));
            normal && path.starts_with(&format!("{}/", rest.trim_end_matches('/')))
        }
        ("abstract", BindAddress::Abstract(name)) => name.as_bytes() == rest.as_bytes(),
        ("abstract-prefix", BindAddress::Abstract(name)) => {
            name.as_bytes().starts_with(rest.as_bytes())
        }
        ("port", _) => address.port().is_some_and(|port| has_port(rest, port)),
        ("host", _) => match (address.ip(), address.port(), rest.split_once(" port ")) {
            (Some(ip), Some(port), Some((network, ports))) => {
                has_port(ports, port) && has_ip(network, reached(ip))
            }
            _ => false,
        },
        _ => false,
    }
}

fn has_port(ports: &str, port: u16) -> bool {
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    (first.parse().unwrap()..=last.parse().unwrap()).contains(&port)
}

/// Compares the first bits of two addresses, as texts of zeros and ones.
fn has_ip(network: &str, ip: IpAddr) -> bool {
    let (base, prefix) = network.split_once('/').unwrap_or((network, "128"));
    let (base, prefix): (IpAddr, usize) = (base.parse().unwrap(), prefix.parse().unwrap());
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => format!("{:032b}", ip.to_bits()),
        IpAddr::V6(ip) => format!("{:0128b}", ip.to_bits()),
    };
    let (base_bits, ip_bits) = (bits(base), bits(ip));
    let prefix = prefix.min(base_bits.len());
    let exact = prefix == base_bits.len();
    base.is_ipv4() == ip.is_ipv4()
        && base_bits[..prefix] == ip_bits[..prefix]
        && (!ip.is_unspecified() || prefix == 0 || exact)
}

/// Returns the address that the kernel uses: `a.b.c.d` for `::ffff:a.b.c.d`.
fn reached(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(ip) => match ip.octets() {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => IpAddr::from([a, b, c, d]),
            _ => ip.into(),
        },
        IpAddr::V4(_) => ip,
    }
}

/// Adds a rule unless it is in the list. Returns the error that the capability must return.
fn add(rules: &mut Vec<String>, rule: String) -> Option<CapabilityError> {
    if rules.contains(&rule) {
        return None;
    }
    if rules.len() == RULES {
        return Some(CapabilityError::TooManyRules);
    }
    rules.push(rule);
    None
}

/// Interprets any bytes as a capability, changes to it, and addresses to check.
pub fn capability(plan: &[u8]) {
    // An error means that the input has ended, and the plan with it.
    let _ = run(&mut Unstructured::new(plan));
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let lines = Lines::default();
    let mut expected = Vec::new();
    let defaults = u.arbitrary()?;
    let id = id(u)?;
    let made = if defaults { NetBind::new(&id) } else { NetBind::empty(&id) };
    let id_is_valid = (1..=32).contains(&id.len()) && id.chars().all(|c| ('!'..='~').contains(&c));
    assert_eq!(
        made.as_ref().err(),
        (!id_is_valid).then_some(&CapabilityError::InvalidId),
        "{id:?}"
    );
    let Ok(capability) = made else { return Ok(()) };
    let mut capability = capability.with_sink(&lines);
    let mut model = Model::new(defaults);

    let mut result = Ok(());
    while !u.is_empty() && result.is_ok() {
        result = step(u, &mut capability, &mut model, &mut expected);
    }
    assert_eq!(
        *lines.0.lock().unwrap(),
        expected
            .iter()
            .map(|line| format!("capability={} {line}", logged(&id)))
            .collect::<Vec<_>>()
    );
    result
}

/// Returns the id as a record prints it.
fn logged(id: &str) -> String {
    if id.contains(['"', '=', '\\']) {
        format!("\"{}\"", id.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        id.into()
    }
}

fn id(u: &mut Unstructured<'_>) -> Result<String> {
    let length = u.int_in_range(0..=34_u8)?;
    let bytes = u.bytes(usize::from(length))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn step(
    u: &mut Unstructured<'_>,
    capability: &mut NetBind<'_>,
    model: &mut Model,
    lines: &mut Vec<String>,
) -> Result<()> {
    match u.int_in_range(0..=7_u8)? {
        0 => {
            let rights = Rights::from_bits_truncate(u.arbitrary()?);
            capability.grant(rights);
            model.bind |= rights.contains(Rights::NET_BIND);
            model.bind_abstract |= rights.contains(Rights::NET_BIND_ABSTRACT);
        }
        1 => {
            let rights = Rights::from_bits_truncate(u.arbitrary()?);
            capability.revoke(rights);
            model.bind &= !rights.contains(Rights::NET_BIND);
            model.bind_abstract &= !rights.contains(Rights::NET_BIND_ABSTRACT);
        }
        2 => {
            let port = draw::port(u)?;
            let expected = add(&mut model.rules, format!("port {port}"));
            assert_eq!(capability.allow_port(port).err(), expected);
        }
        3 => {
            let (ip, port) = (draw::ip(u)?, draw::port(u)?);
            let expected = add(&mut model.rules, format!("host {} port {port}", reached(ip)));
            assert_eq!(capability.allow_host(ip, port).err(), expected);
        }
        6 | 7 => {
            let text = draw::pick(u, TEXTS)?;
            let expected = add(&mut model.rules, text.into());
            assert_eq!(capability.allow(text.parse().expect(text)).err(), expected);
        }
        kind => {
            let (address, dual_stack) = (draw::address(u)?, kind == 4);
            let answer = if dual_stack {
                capability.check_dual_stack(&address)
            } else {
                capability.check(&address)
            };
            let allowed = model.allows(&address, dual_stack);
            match answer {
                Ok(permit) => {
                    assert!(allowed, "{capability:?} allowed {address:?}");
                    assert_eq!(
                        (permit.address(), permit.covers_dual_stack()),
                        (&address, dual_stack)
                    );
                }
                Err(error) => {
                    assert!(!allowed, "{capability:?} denied {address:?}");
                    assert_eq!(error, SocketError::CapabilityDenied);
                }
            }
            let port = address.port().map_or("none".into(), |port| port.to_string());
            let result = if allowed { "allowed" } else { "denied" };
            lines.push(format!(
                "operation=check_bind_address address={address} port={port} result={result}"
            ));
        }
    }
    Ok(())
}
