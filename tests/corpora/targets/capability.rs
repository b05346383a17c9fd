//! A capability against a simple model: rights, two lists of rules, and the expected records.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use arbitrary::{Result, Unstructured};
use netbind::audit::{AuditSink, Record};
use netbind::capability::CapabilityError;
use netbind::{BindAddress, NetBind, Rights, SocketError};

use super::draw;

/// The maximum number of port rules, and of host rules.
const RULES: usize = 16;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl AuditSink for Lines {
    fn record(&self, record: &Record) {
        self.0.lock().unwrap().push(record.to_string());
    }
}

/// The rights and rules of a capability.
#[derive(Clone)]
struct Model {
    bind: bool,
    bind_abstract: bool,
    ports: Vec<u16>,
    hosts: Vec<(IpAddr, u16)>,
}

impl Model {
    fn new(defaults: bool) -> Self {
        let ports = if defaults { vec![8080, 3000, 8000] } else { Vec::new() };
        Self { bind: defaults, bind_abstract: false, ports, hosts: Vec::new() }
    }

    fn allows(&self, address: &BindAddress, dual_stack: bool) -> bool {
        let allows_ip = |ip, port| self.ports.contains(&port) || self.hosts.contains(&(ip, port));
        match (address, address.ip(), address.port()) {
            (BindAddress::Abstract(_), ..) => self.bind_abstract,
            (BindAddress::Path(_), ..) => self.bind,
            (_, Some(ip), Some(port)) => {
                // A dual-stack socket on `::` takes connections to every IPv4 address, too.
                let also_ipv4 = dual_stack && ip == IpAddr::V6(0.into());
                self.bind
                    && allows_ip(reached(ip), port)
                    && (!also_ipv4 || allows_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port))
            }
            _ => panic!("an IP address without an IP: {address:?}"),
        }
    }
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
fn add<T: PartialEq>(list: &mut Vec<T>, rule: T) -> Option<CapabilityError> {
    if list.contains(&rule) {
        return None;
    }
    if list.len() == RULES {
        return Some(CapabilityError::TooManyRules);
    }
    list.push(rule);
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
        expected.iter().map(|line| format!("capability={id} {line}")).collect::<Vec<_>>()
    );
    result
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
    match u.int_in_range(0..=5_u8)? {
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
            assert_eq!(capability.allow_port(port).err(), add(&mut model.ports, port));
        }
        3 => {
            let (ip, port) = (draw::ip(u)?, draw::port(u)?);
            assert_eq!(
                capability.allow_host(ip, port).err(),
                add(&mut model.hosts, (reached(ip), port))
            );
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
            lines.push(format!("operation=check_bind_address port={port} result={result}"));
        }
    }
    Ok(())
}
