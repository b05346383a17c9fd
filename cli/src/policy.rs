//! The policy: rules from `--allow` and from files, and the rule that an address needs.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use netbind::audit::AuditSink;
use netbind::{BindAddress, NetBind, Rights, Rule};

use crate::failure::Failure;
use crate::report::{printable, quoted};

/// The name of the capability in the trail.
const ID: &str = "netbind";

/// The longest policy file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Parses the rule of `--allow`.
pub(crate) fn parse_rule(text: &OsStr) -> Result<Rule, Failure> {
    let name = quoted(&printable(text.as_bytes()));
    Rule::parse(text.as_bytes()).map_err(|error| Failure::about(format!("--allow {name}"), error))
}

/// Reads a policy file: one rule a line, blank lines, and lines that begin with `#`.
pub(crate) fn read(file: &OsStr) -> Result<Vec<Rule>, Failure> {
    let name = printable(file.as_bytes());
    let text = read_limited(file).map_err(|error| Failure::about(&name, error))?;
    if text.is_empty() {
        return Err(Failure::about(&name, "the policy file is empty"));
    }
    if text.len() as u64 > MAX_FILE {
        return Err(Failure::about(&name, "the policy file is longer than 1 MiB"));
    }
    let mut rules = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let rule = parse_line(line).map_err(|(offset, reason)| {
            let place = format!("{name}:{}:{}", index + 1, offset + 1);
            Failure::about(place, reason)
        })?;
        rules.extend(rule);
    }
    Ok(rules)
}

fn read_limited(file: &OsStr) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(file)?.take(MAX_FILE + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Parses a line. The error is its byte offset and its reason.
fn parse_line(line: &[u8]) -> Result<Option<Rule>, (usize, String)> {
    if let Some(offset) = line.iter().position(|byte| *byte == b'\r') {
        return Err((offset, "carriage return: lines end with a line feed only".into()));
    }
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let rule = Rule::parse(line).map_err(|error| (error.offset(), error.reason().to_string()))?;
    Ok(Some(rule))
}

/// Makes the capability that has these rules, and the rights that they need.
pub(crate) fn capability<'s>(
    rules: &'s [Rule],
    sink: Option<&'s dyn AuditSink>,
) -> Result<NetBind<'s>, Failure> {
    let mut capability = NetBind::empty(ID).map_err(|error| Failure::new(error.to_string()))?;
    // A right without a rule allows nothing, so every right can be granted.
    capability.grant(Rights::all());
    let capability = capability.with_rules(rules);
    Ok(match sink {
        Some(sink) => capability.with_sink(sink),
        None => capability,
    })
}

/// Returns rules that allow every address.
pub(crate) fn everything() -> Result<Vec<Rule>, Failure> {
    let ports = Rule::ports(0..=u16::MAX).map_err(|error| Failure::new(error.to_string()))?;
    Ok(vec![ports, Rule::any_path(), Rule::any_abstract()])
}

/// Returns the narrowest rule that allows the address, or `None` if it is not one printable line.
pub(crate) fn rule_for(address: &BindAddress) -> Option<String> {
    let rule = match address {
        BindAddress::Path(path) => format!("path {}", str::from_utf8(path.as_bytes()).ok()?),
        BindAddress::Abstract(name) => {
            format!("abstract {}", str::from_utf8(name.as_bytes()).ok()?)
        }
        // A capability judges an IPv4-mapped address as the IPv4 address.
        address => match (address.ip()?.to_canonical(), address.port()?) {
            (ip, port) if ip.is_unspecified() => format!("port {port}"),
            (ip, port) => format!("host {ip} port {port}"),
        },
    };
    let is_line = !rule.chars().any(char::is_control) && Rule::parse(&rule).is_ok();
    is_line.then_some(rule)
}

/// Says how to allow the address, for the end of a message.
pub(crate) fn advice(address: &BindAddress) -> String {
    match rule_for(address) {
        Some(rule) => format!("to allow it: --allow {}", quoted(&rule)),
        None => no_rule(address).into(),
    }
}

/// Says why there is no rule for the address.
pub(crate) const fn no_rule(address: &BindAddress) -> &'static str {
    match address {
        BindAddress::Path(_) => "no rule names this path, only any-path allows it",
        BindAddress::Abstract(_) => "no rule names exactly this abstract name",
        _ => "no rule names this address",
    }
}
