//! The decision of the capability about a socket that is to be adopted, and the audit records.

use std::net::TcpStream;

use netbind::audit::{AuditSink, Record};
use netbind::{AuditRing, ListenOptions, NetBind, SocketError};

use super::{
    FLAGS, allow_all, assert_accepts, bound_address, flags, for_each_family, foreign, foreign_ipv6,
    port, set_close_on_exec, set_nonblocking,
};
use crate::support::machine::can_open;
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::thread::isolated;

/// A sink that keeps the records as JSON.
#[derive(Default)]
struct JsonLines(std::sync::Mutex<Vec<String>>);

impl AuditSink for JsonLines {
    fn record(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.json().to_string());
    }
}

/// A sink that passes the records on.
struct Sinks<'s>([&'s dyn AuditSink; 3]);

impl AuditSink for Sinks<'_> {
    fn record(&self, record: &Record<'_>) {
        self.0.iter().for_each(|sink| sink.record(record));
    }
}

#[test]
fn an_adoption_is_recorded_in_every_form() {
    for_each_family("records", |address| {
        let (fd, arena) = (foreign(address), Arena::new());
        let local = bound_address(address, &fd);
        let (lines, json) = (Lines::default(), JsonLines::default());
        let ring = AuditRing::new_in(4, &arena).unwrap();
        let sinks = Sinks([&lines, &json, &ring]);
        let capability = allow_all().with_sink(&sinks);
        let listener = ListenOptions::new().capability(&capability).adopt(fd, &arena).unwrap();
        drop(listener);

        let (port, json_port) = match local.port() {
            Some(port) => (port.to_string(), port.to_string()),
            None => ("none".into(), "null".into()),
        };
        let operations = ["check_bind_address", "adopt_socket"];
        let logfmt = operations.map(|operation| {
            format!(
                "capability=web operation={operation} address={local} port={port} result=allowed"
            )
        });
        assert_eq!(lines.take(), logfmt);
        let expected = operations.map(|operation| {
            format!(
                "{{\"capability\":\"web\",\"operation\":\"{operation}\",\"address\":\"{local}\",\
                 \"port\":{json_port},\"result\":\"allowed\"}}"
            )
        });
        assert_eq!(*json.0.lock().unwrap(), expected);
        let kept: Vec<_> = ring.reader().map(|entry| entry.record().to_string()).collect();
        assert_eq!(kept, logfmt);
    });
}

#[test]
fn a_denied_socket_comes_back_and_the_denial_is_recorded() {
    for_each_family("denied", |address| {
        for [close_on_exec, nonblocking] in FLAGS {
            let (fd, arena, sink) = (foreign(address), Arena::new(), Lines::default());
            set_close_on_exec(&fd, close_on_exec);
            set_nonblocking(&fd, nonblocking);
            let (before, local) = (flags(&fd), bound_address(address, &fd));
            let capability = NetBind::empty("web").unwrap().with_sink(&sink);
            let options = ListenOptions::new().capability(&capability).nonblocking(true);
            let error = options.adopt(fd, &arena).unwrap_err();
            assert_eq!(error.error(), SocketError::CapabilityDenied, "{address}");
            let fd = error.into_fd();
            assert_eq!((flags(&fd), arena.bytes_in_use()), (before, 0), "{address}");
            let port = local.port().map_or("none".into(), |port| port.to_string());
            assert_eq!(
                sink.take(),
                [format!(
                    "capability=web operation=check_bind_address address={local} port={port} \
                     result=denied"
                )]
            );
            assert_accepts(&ListenOptions::new().adopt(fd, &arena).unwrap());
        }
    });
}

/// The address, whether `IPV6_V6ONLY` is on, the rules without their port, and the decision.
type Decision = (&'static str, bool, &'static [&'static str], bool);

#[test]
fn a_socket_with_v6only_off_is_decided_as_dual_stack() {
    const DECISIONS: &[Decision] = &[
        ("::", true, &["host ::"], true),
        ("::", false, &["host ::"], false),
        ("::", false, &["host 0.0.0.0"], false),
        ("::", false, &["host ::", "host 0.0.0.0"], true),
        ("::", false, &["host ::/0", "host 0.0.0.0/0"], true),
        ("::1", true, &["host ::1"], true),
        ("::1", false, &["host ::1"], true),
        ("::1", false, &["host ::"], false),
        ("::ffff:127.0.0.1", false, &["host 127.0.0.1"], true),
        ("::ffff:127.0.0.1", false, &["host ::/0"], false),
    ];
    if !can_open("[::1]:0") {
        return;
    }
    isolated(|| {
        for (ip, v6_only, rules, allowed) in DECISIONS {
            let fd = foreign_ipv6(ip.parse().unwrap(), *v6_only);
            set_close_on_exec(&fd, false);
            let (before, port) = (flags(&fd), port(&fd));
            let (sink, arena) = (Lines::default(), Arena::new());
            let mut capability = NetBind::empty("web").unwrap().with_sink(&sink);
            capability.grant(netbind::Rights::NET_BIND);
            for rule in *rules {
                capability.allow(format!("{rule} port {port}").parse().unwrap()).unwrap();
            }
            let case = format!("{ip}, IPV6_V6ONLY {v6_only}, {rules:?}");
            let adopted = ListenOptions::new().capability(&capability).adopt(fd, &arena);
            let result = if *allowed { "allowed" } else { "denied" };
            let line = |operation| {
                format!(
                    "capability=web operation={operation} address=[{ip}]:{port} port={port} \
                     result={result}"
                )
            };
            match adopted {
                Ok(listener) => {
                    assert!(allowed, "{case}");
                    assert_accepts(&listener);
                    if *ip == "::" && !v6_only {
                        drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
                    }
                    assert_eq!(sink.take(), ["check_bind_address", "adopt_socket"].map(line));
                }
                Err(error) => {
                    assert!(!allowed, "{case}");
                    assert_eq!(error.error(), SocketError::CapabilityDenied, "{case}");
                    assert_eq!(flags(error.into_fd()), before, "{case}");
                    assert_eq!(sink.take(), [line("check_bind_address")], "{case}");
                }
            }
        }
    });
}
