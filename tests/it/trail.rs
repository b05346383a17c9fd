//! The audit trail as text: one line a record, whatever is in an address or an id.

use netbind::audit::{AuditResult, AuditSink as _, Operation, Record};
use netbind::capability::CapabilityId;
use netbind::{AuditRing, BindAddress, NetBind};

use crate::support::sink::Lines;

/// Address, its value in logfmt, and the value in JSON.
#[rustfmt::skip]
const VALUES: &[(&[u8], &str, &str)] = &[
    (b":8080",              "0.0.0.0:8080",                "0.0.0.0:8080"),
    (b"[fe80::1%2]:1",      "[fe80::1%2]:1",               "[fe80::1%2]:1"),
    (b"unix:@app",          "unix:@app",                   "unix:@app"),
    (b"/run/a b",           "\"unix:/run/a b\"",           "unix:/run/a b"),
    (b"/a=b",               "\"unix:/a=b\"",               "unix:/a=b"),
    (b"/a\"b",              "\"unix:/a\\\"b\"",            "unix:/a\\\\\\\"b"),
    (b"/a\\b",              "\"unix:/a\\\\b\"",            "unix:/a\\\\\\\\b"),
    (b"/a\nb\r\t",          "\"unix:/a\\nb\\r\\t\"",       "unix:/a\\\\nb\\\\r\\\\t"),
    (b"/\x01\x1b\x7f\xff",  "\"unix:/\\x01\\x1b\\x7f\\xff\"", "unix:/\\\\x01\\\\x1b\\\\x7f\\\\xff"),
    ("/ü".as_bytes(),       "\"unix:/\\xc3\\xbc\"",        "unix:/\\\\xc3\\\\xbc"),
];

fn record<'a>(id: &str, address: &'a BindAddress) -> Record<'a> {
    let id = CapabilityId::new(id).unwrap();
    Record::new(id, Operation::BindSocket, address, AuditResult::Allowed)
}

#[test]
fn no_address_breaks_a_line_of_logfmt_or_json() {
    for (text, logfmt, json) in VALUES {
        let address = BindAddress::parse(text).unwrap();
        let record = record("web", &address);
        let (in_logfmt, in_json) = match record.port {
            Some(port) => (port.to_string(), port.to_string()),
            None => ("none".into(), "null".into()),
        };
        assert_eq!(
            record.to_string(),
            format!(
                "capability=web operation=bind_socket address={logfmt} port={in_logfmt} \
                 result=allowed"
            )
        );
        let line = record.json().to_string();
        assert_eq!(
            line,
            format!(
                "{{\"capability\":\"web\",\"operation\":\"bind_socket\",\"address\":\"{json}\",\
                 \"port\":{in_json},\"result\":\"allowed\"}}"
            )
        );
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let unquoted = logfmt.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        assert_eq!(value["address"], unquoted.unwrap_or(logfmt), "the text without the quotes");
    }
}

#[test]
fn no_id_breaks_a_line_of_logfmt_or_json() {
    let address = ":80".parse().unwrap();
    for (id, logfmt) in [("a=b", "\"a=b\""), ("a\"", "\"a\\\"\""), ("a\\", "\"a\\\\\"")] {
        let record = record(id, &address);
        assert!(record.to_string().starts_with(&format!("capability={logfmt} operation=")));
        let line = record.json().to_string();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["capability"], id, "{line}");
    }
}

/// Every path of two bytes, which covers each byte before and after each other.
#[test]
fn every_line_is_printable_ascii_and_every_json_line_parses() {
    for first in 1..=255_u8 {
        for second in 1..=255_u8 {
            let address = BindAddress::parse([b'/', first, second]).unwrap();
            let record = record("web", &address);
            let (line, json) = (record.to_string(), record.json().to_string());
            let is_printable = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            assert!(is_printable(&line) && is_printable(&json), "{line} {json}");
            serde_json::from_str::<serde_json::Value>(&json).unwrap();
        }
    }
}

#[test]
fn an_entry_has_its_number_and_time_before_the_record() {
    struct Fixed;
    impl netbind::time::Clock for Fixed {
        fn now(&self) -> netbind::time::Instant {
            netbind::time::Instant::from_nanos(1_000)
        }
    }
    let memory = bumpalo::Bump::new();
    let address = BindAddress::parse("/run/two words").unwrap();
    for clock in [false, true] {
        let mut ring = AuditRing::new_in(4, &memory).unwrap();
        if clock {
            ring = ring.with_clock(&Fixed);
        }
        ring.record(&record("web", &address));
        let entry = ring.reader().next().unwrap();
        assert_eq!(entry.record(), record("web", &address));
        let (logfmt_time, json_time) =
            if clock { ("time=1000 ", "\"time\":1000,") } else { ("", "") };
        assert_eq!(entry.to_string(), format!("sequence=0 {logfmt_time}{}", entry.record()));
        let json = entry.record().json().to_string();
        assert_eq!(
            entry.json().to_string(),
            format!("{{\"sequence\":0,{json_time}{}", json.strip_prefix('{').unwrap())
        );
    }
}

/// Every form of address, at each length of a path, comes out of the ring as it went in.
#[test]
fn the_ring_returns_every_address_as_it_was() {
    let memory = bumpalo::Bump::new();
    let ring = AuditRing::new_in(2, &memory).unwrap();
    let mut texts: Vec<String> =
        [":0", "1.2.3.4:65535", "[::]:1", "[fe80::1%4294967295]:2"].map(String::from).into();
    for length in (1..=107).rev().chain(1..=107) {
        texts.push(format!("unix:{}", "p".repeat(length)));
        texts.push(format!("unix:@{}", "n".repeat(length)));
    }
    let mut reader = ring.reader();
    for text in &texts {
        let address = BindAddress::parse(text).unwrap();
        ring.record(&record("web", &address));
        assert_eq!(reader.next().unwrap().record(), record("web", &address), "{text}");
    }
}

#[test]
fn a_child_records_under_its_id_to_its_sink_and_to_those_of_its_ancestors() {
    let (roots, childs) = (Lines::default(), Lines::default());
    let root = NetBind::new("root").unwrap().with_sink(&roots);
    let middle = root.child("middle").unwrap();
    let child = middle.child("child").unwrap().with_sink(&childs);
    assert!(child.check(&"/run/a b".parse().unwrap()).is_err());
    let line = "capability=child operation=check_bind_address address=\"unix:/run/a b\" \
                port=none result=denied";
    assert_eq!((roots.take(), childs.take()), (vec![line.into()], vec![line.into()]));
}

/// One allowed and one denied address for each kind of rule, opened for real.
#[cfg(target_os = "linux")]
#[test]
fn every_kind_of_rule_opens_a_socket_and_leaves_its_records() {
    use netbind::{ListenOptions, Rights, Rule, SocketError};

    let directory = tempfile::Builder::new().prefix("nb").tempdir_in("/tmp").unwrap();
    let base = directory.path().display().to_string();
    let name = format!("netbind-trail-{}", std::process::id());
    let cases = [
        ("port 0".to_string(), "127.0.0.1:0".to_string(), "127.0.0.1:22".to_string()),
        ("port 0-9".into(), "127.0.0.1:0".into(), "127.0.0.1:10".into()),
        ("host 127.0.0.0/8 port 0".into(), "127.0.0.1:0".into(), ":0".into()),
        (format!("path {base}/a"), format!("{base}/a"), format!("{base}/b")),
        (format!("beneath {base}"), format!("{base}/a"), format!("{base}/../b")),
        ("any-path".into(), format!("{base}/a"), format!("unix:@{name}")),
        (format!("abstract {name}"), format!("unix:@{name}"), format!("unix:@{name}x")),
        (format!("abstract-prefix {name}"), format!("unix:@{name}.x"), "unix:@netbind".into()),
        ("any-abstract".into(), format!("unix:@{name}.y"), format!("{base}/a")),
    ];
    for (rule, allowed, denied) in cases {
        let lines = Lines::default();
        let rules: [Rule; 1] = [rule.parse().unwrap()];
        let mut capability = NetBind::empty("web").unwrap().with_rules(&rules).with_sink(&lines);
        capability.grant(Rights::all());
        let memory = bumpalo::Bump::new();
        let options = ListenOptions::new().capability(&capability);

        let listener = options.listen(&allowed, &memory).unwrap();
        let (asked, bound) =
            (BindAddress::parse(&allowed).unwrap(), listener.local_address().unwrap());
        let port =
            |address: &BindAddress| address.port().map_or("none".into(), |port| port.to_string());
        let line = |operation, address: &BindAddress, result| {
            let port = port(address);
            format!(
                "capability=web operation={operation} address={address} port={port} result={result}"
            )
        };
        let expected =
            [line("check_bind_address", &asked, "allowed"), line("bind_socket", &bound, "allowed")];
        assert_eq!(lines.take(), expected, "{rule}");

        let error = options.listen(&denied, &memory).unwrap_err();
        assert_eq!(error, SocketError::CapabilityDenied, "{rule}: {denied}");
        let asked = BindAddress::parse(&denied).unwrap();
        assert_eq!(lines.take(), [line("check_bind_address", &asked, "denied")], "{rule}");
    }
}
