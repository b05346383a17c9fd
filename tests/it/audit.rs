//! The audit records of an opening, in their order, for every kind of address and every failure.

use netbind::error::SocketOption;
use netbind::{BindAddress, Context, ListenOptions, NetBind, SocketError, listen};

use crate::support::allow_port_0_and_unix;
use crate::support::clock::{DEADLINE, ScriptedClock};
use crate::support::machine::{can_open, directory, openable};
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::thread::{isolated, isolated_network};

fn allow_all(sink: &Lines) -> NetBind<'_> {
    let mut capability = NetBind::empty("web").unwrap();
    allow_port_0_and_unix(&mut capability);
    capability.with_sink(sink)
}

/// Returns the line of a decision about the address.
fn check(address: &str, result: &str) -> String {
    line("check_bind_address", &address.parse().unwrap(), result)
}

/// Returns the line of a bind of the address.
fn bound(address: &BindAddress) -> String {
    line("bind_socket", address, "allowed")
}

fn line(operation: &str, address: &BindAddress, result: &str) -> String {
    let port = address.port().map_or("none".into(), |port| port.to_string());
    format!("capability=web operation={operation} address={address} port={port} result={result}")
}

#[test]
fn an_opening_records_the_decision_and_the_bind_with_the_chosen_port() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        let sink = Lines::default();
        let capability = allow_all(&sink);
        let arena = Arena::new();
        let options = ListenOptions::new().capability(&capability);
        for address in openable(&[":0", "127.0.0.1:0", "[::1]:0"]) {
            let listener = options.listen(address, &arena).unwrap();
            let local = listener.local_address().unwrap();
            assert_eq!(sink.take(), [check(address, "allowed"), bound(&local)], "{address}");
        }
        for address in [&path, "unix:@netbind-audit"] {
            let local = options.listen(address, &arena).unwrap().local_address().unwrap();
            assert_eq!(sink.take(), [check(address, "allowed"), bound(&local)], "{address}");
        }
    });
}

#[test]
fn a_fixed_port_is_in_both_records() {
    isolated_network(|_| {
        let sink = Lines::default();
        let mut capability = allow_all(&sink);
        let arena = Arena::new();
        let found = listen("127.0.0.1:0", &arena).unwrap().local_address().unwrap();
        let port = found.port().unwrap();
        capability.allow_port(port).unwrap();
        drop(ListenOptions::new().capability(&capability).listen_on(&found, &arena).unwrap());
        assert_eq!(sink.take(), [check(&found.to_string(), "allowed"), bound(&found)]);
    });
}

#[test]
fn a_denial_has_one_record() {
    let sink = Lines::default();
    let capability = NetBind::new("web").unwrap().with_sink(&sink);
    let options = ListenOptions::new().capability(&capability);
    for address in ["127.0.0.1:22", "[::]:0", ":65535", "unix:@x"] {
        let denied = options.listen(address, &Arena::new()).map(drop);
        assert_eq!(denied, Err(SocketError::CapabilityDenied));
        assert_eq!(sink.take(), [check(address, "denied")], "{address}");
    }
}

#[test]
fn a_malformed_address_has_no_record() {
    let sink = Lines::default();
    let capability = allow_all(&sink);
    for address in ["", ":http", "127.0.0.1", "unix:", "unix:@", "[::1]:70000"] {
        assert!(
            ListenOptions::new().capability(&capability).listen(address, &Arena::new()).is_err()
        );
        assert_eq!(sink.take(), [""; 0], "{address}");
    }
}

#[test]
fn a_failed_bind_has_only_the_record_of_its_decision() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        let sink = Lines::default();
        let capability = allow_all(&sink);
        let arena = Arena::new();
        let options = ListenOptions::new().capability(&capability);
        let _held =
            [&path, "unix:@netbind-audit-held"].map(|address| listen(address, &arena).unwrap());
        for address in ["192.0.2.1:0", "[2001:db8::1]:0", &path, "unix:@netbind-audit-held"]
            .into_iter()
            .filter(|address| can_open(address))
        {
            assert!(options.listen(address, &arena).is_err());
            assert_eq!(sink.take(), [check(address, "allowed")], "{address}");
        }
    });
}

#[test]
fn an_opening_that_stops_after_its_bind_has_both_records() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        let sink = Lines::default();
        let capability = allow_all(&sink);
        for address in openable(&["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-stop"]) {
            for reading in 1..=5 {
                let clock = ScriptedClock::expires_at(reading);
                let context = Context::new(&clock).with_deadline(DEADLINE);
                let options = ListenOptions::new().context(&context).capability(&capability);
                assert_eq!(
                    options.listen(address, &Arena::new()).err(),
                    Some(SocketError::Timeout)
                );
                let records = sink.take();
                assert_eq!(records[0], check(address, "allowed"));
                assert_eq!(
                    records.len(),
                    if reading == 5 { 2 } else { 1 },
                    "{address} stopped at check {reading}"
                );
                if let Some(record) = records.get(1) {
                    assert!(
                        record.contains("operation=bind_socket") && !record.contains("port=0 "),
                        "{record}"
                    );
                }
            }
        }
    });
}

#[test]
fn an_opening_without_memory_has_only_the_record_of_its_decision() {
    isolated(|| {
        let sink = Lines::default();
        let capability = allow_all(&sink);
        let arena = Arena::refusing_from(1);
        let options = ListenOptions::new().capability(&capability);
        assert_eq!(options.listen("127.0.0.1:0", &arena).err(), Some(SocketError::OutOfMemory));
        assert_eq!(sink.take(), [check("127.0.0.1:0", "allowed")]);
    });
}

#[test]
fn a_check_records_the_decision_and_its_permit_records_the_bind() {
    isolated(|| {
        let sink = Lines::default();
        let capability = allow_all(&sink);
        let address = BindAddress::parse("unix:@netbind-permit").unwrap();
        let permit = capability.check(&address).unwrap();
        assert_eq!(sink.take(), [check("unix:@netbind-permit", "allowed")]);
        let arena = Arena::new();
        let listener = ListenOptions::new().open(permit, &arena).unwrap();
        assert_eq!(sink.take(), [bound(&address)]);
        drop(listener);
        assert_eq!(sink.take(), [""; 0], "the end of a listener has no record");
    });
}

#[test]
fn an_inapplicable_option_is_refused_after_the_decision() {
    let sink = Lines::default();
    let capability = allow_all(&sink);
    let options = ListenOptions::new().capability(&capability).mode(0o600);
    let error = options.listen("127.0.0.1:0", &Arena::new()).unwrap_err();
    assert_eq!(error, SocketError::InvalidOption(SocketOption::Mode));
    assert_eq!(sink.take(), [check("127.0.0.1:0", "allowed")]);
}
