//! The decision about a raw `bind` and `listen` is that of the library.

use std::path::Path;

use libc::{IPPROTO_IPV6, IPV6_V6ONLY, SOCK_STREAM};
use netbind::enforce::{Answered, Outcome as Came, SocketCall};
use netbind::error::Errno;
use netbind::{BindAddress, NetBind, Rights};

use super::super::probe::{Outcome, capability, directory, grant, set_option, socket};
use super::{address, assert_serves, bind, listen, parse, supervise};

const ALL: Rights = Rights::all();
const PATHS: Rights = Rights::NET_BIND;
const NAMES: Rights = Rights::NET_BIND_ABSTRACT;
const NONE: Rights = Rights::empty();

/// The rules of a parent that allows everything.
const EVERYTHING: &[&str] = &["port 0-65535", "any-path", "any-abstract"];

/// The rights and rules of a capability, and the rules of its parent. `D` is the directory.
const POLICIES: &[(Rights, &[&str], &[&str])] = &[
    (ALL, &[], EVERYTHING),
    (ALL, &["port 8000"], EVERYTHING),
    (ALL, &["port 0"], EVERYTHING),
    (ALL, &["port 0-65535"], EVERYTHING),
    (ALL, &["port 1-7999", "port 8001-65535"], EVERYTHING),
    (ALL, &["host 127.0.0.1 port 8000"], EVERYTHING),
    (ALL, &["host 127.0.0.0/8 port 0-65535"], EVERYTHING),
    (ALL, &["host 127.0.0.2 port 0", "host 127.1.0.0/16 port 8001"], EVERYTHING),
    (ALL, &["host 0.0.0.0/0 port 8000"], EVERYTHING),
    (ALL, &["host 0.0.0.0 port 8000"], EVERYTHING),
    (ALL, &["host 0.0.0.0/1 port 8000"], EVERYTHING),
    (ALL, &["host ::1 port 8000"], EVERYTHING),
    (ALL, &["host ::/0 port 8000"], EVERYTHING),
    (ALL, &["host ::/1 port 8000"], EVERYTHING),
    (ALL, &["host :: port 8000"], EVERYTHING),
    (ALL, &["host :: port 0", "host 0.0.0.0 port 0"], EVERYTHING),
    (ALL, &["host ::/0 port 8000", "host 0.0.0.0/0 port 8001"], EVERYTHING),
    (ALL, &["host ::ffff:127.0.0.0/104 port 8001"], EVERYTHING),
    (ALL, &["host fe80::/10 port 0-65535"], EVERYTHING),
    (ALL, &["path D/a"], EVERYTHING),
    (ALL, &["path D/in/a", "abstract app"], EVERYTHING),
    (ALL, &["beneath D/in"], EVERYTHING),
    (ALL, &["beneath D"], EVERYTHING),
    (ALL, &["beneath /"], EVERYTHING),
    (ALL, &["any-path"], EVERYTHING),
    (ALL, &["abstract app"], EVERYTHING),
    (ALL, &["abstract-prefix app."], EVERYTHING),
    (ALL, &["any-abstract"], EVERYTHING),
    (PATHS, EVERYTHING, EVERYTHING),
    (NAMES, EVERYTHING, EVERYTHING),
    (NONE, EVERYTHING, EVERYTHING),
    (ALL, EVERYTHING, &["port 8000"]),
    (ALL, &["port 0", "port 8000"], &["host 127.0.0.0/8 port 0-65535"]),
    (ALL, &["beneath D"], &["beneath D/in", "any-abstract"]),
    (ALL, &["host ::/0 port 8000", "host 0.0.0.0/0 port 8000"], &["host ::/0 port 0-65535"]),
];

/// The hosts, with `true` for a dual-stack socket.
const HOSTS: [(&str, bool); 12] = [
    ("0.0.0.0", false),
    ("127.0.0.1", false),
    ("127.0.0.2", false),
    ("127.1.2.3", false),
    ("192.0.2.1", false), // it is of no interface
    ("[::]", false),
    ("[::]", true),
    ("[::1]", false),
    ("[::1]", true),
    ("[::ffff:127.0.0.1]", true),
    ("[::ffff:0.0.0.0]", true),
    ("[fe80::1]", false), // it needs a scope id
];
const PORTS: [u16; 3] = [0, 8000, 8001];
const NAMES_OF_UNIX: [&str; 9] = [
    "unix:D/a",
    "unix:D/in/a",
    "unix:D/in/sub/a",
    "unix:D/in/../a",
    "unix:D//a",
    "unix:relative",
    "unix:@app",
    "unix:@app.x",
    "unix:@other",
];

/// An address, and whether the socket takes IPv4 connections too.
type Asked = (BindAddress, bool);

fn all_addresses(directory: &Path) -> Vec<Asked> {
    let ip = |host: &str, port| parse(&format!("{host}:{port}"));
    let hosts = HOSTS
        .iter()
        .flat_map(|(host, dual_stack)| PORTS.iter().map(move |port| (ip(host, port), *dual_stack)));
    hosts.chain(NAMES_OF_UNIX.map(|name| (parse(&in_directory(name, directory)), false))).collect()
}

fn in_directory(text: &str, directory: &Path) -> String {
    text.replace('D', directory.to_str().unwrap())
}

/// Returns the decision of the library.
fn is_allowed(capability: &NetBind<'_>, (address, dual_stack): &Asked) -> bool {
    let permit =
        if *dual_stack { capability.check_dual_stack(address) } else { capability.check(address) };
    permit.is_ok()
}

/// Binds and listens as a program would. The listener must serve.
fn open((asked, dual_stack): &Asked) -> Outcome {
    let address = address(&asked.to_string());
    let socket = socket(address.family(), SOCK_STREAM, 0).unwrap();
    if let BindAddress::Ipv6 { .. } = asked {
        set_option(&socket, IPPROTO_IPV6, IPV6_V6ONLY, (!dual_stack).into()).unwrap();
    }
    bind(&socket, &address)?;
    listen(&socket, 1)?;
    assert_serves(&socket);
    if let BindAddress::Path(path) = asked {
        std::fs::remove_file(std::str::from_utf8(path.as_bytes()).unwrap()).unwrap();
    }
    Ok(())
}

/// Asks a supervised child to open all addresses, and compares. Returns how many it opened.
fn assert_agreement(what: &str, capability: &NetBind<'_>, directory: &Path) -> usize {
    let addresses = all_addresses(directory);
    let answers = supervise(capability, || {
        for asked in &addresses {
            let opened = open(asked);
            let is_refused = opened == Err(Errno::ACCESS);
            assert_ne!(is_refused, is_allowed(capability, asked), "{what}: {asked:?}: {opened:?}");
        }
    });
    let is_denied = |answered: &Answered| answered.outcome == Came::Denied;
    let (binds, listens): (Vec<_>, Vec<_>) =
        answers.iter().partition(|answered| answered.call == SocketCall::Bind);
    assert_eq!(binds.len(), addresses.len(), "{what}");
    for (answered, asked) in binds.iter().zip(&addresses) {
        assert_eq!(answered.address.as_ref(), Some(&asked.0), "{what}");
        assert_ne!(is_denied(answered), is_allowed(capability, asked), "{what}: {answered:?}");
    }
    let made = binds.iter().filter(|answered| answered.outcome == Came::Made).count();
    assert_eq!(listens.len(), made, "{what}");
    assert!(listens.iter().all(|answered| answered.outcome == Came::Made), "{what}: {listens:?}");
    made
}

/// Runs `body` with a directory that has the directory `in/sub`, as the working directory.
fn in_a_directory(body: impl FnOnce(&Path)) {
    let directory = directory();
    std::fs::create_dir_all(directory.path().join("in/sub")).unwrap();
    std::env::set_current_dir(directory.path()).unwrap();
    body(directory.path());
}

pub(super) fn the_decision_is_that_of_the_library() {
    in_a_directory(|d| {
        let (mut most, mut least) = (0, usize::MAX);
        for (rights, rules, parents) in POLICIES {
            let in_d = |rule: &&str| &*in_directory(rule, d).leak();
            let rules: Vec<_> = rules.iter().map(in_d).collect();
            let parent = capability(&parents.iter().map(in_d).collect::<Vec<_>>());
            let mut child = parent.child("child").unwrap();
            grant(&mut child, &rules);
            child.revoke(Rights::all()).grant(*rights);
            let opened = assert_agreement(&format!("{rights:?} {rules:?}"), &child, d);
            (most, least) = (most.max(opened), least.min(opened));
        }
        assert!(most > 20 && least == 0, "at most {most} and at least {least} were opened");
    });
}

pub(super) fn the_defaults_of_a_capability_hold() {
    in_a_directory(|d| {
        let opened = assert_agreement("new", &NetBind::new("web").unwrap(), d);
        assert!(opened > 10, "{opened} were opened");
    });
}

/// The same `[::]:8000` is allowed or refused by `IPV6_V6ONLY` alone.
pub(super) fn a_dual_stack_wildcard_needs_both_wildcards() {
    let one = capability(&["host ::/0 port 8000"]);
    let both = capability(&["host ::/0 port 8000", "host 0.0.0.0/0 port 8000"]);
    for (rules, dual_stack, expected) in [
        (&one, false, Ok(())),
        (&one, true, Err(Errno::ACCESS)),
        (&both, false, Ok(())),
        (&both, true, Ok(())),
    ] {
        supervise(rules, || {
            assert_eq!(open(&(parse("[::]:8000"), dual_stack)), expected, "{dual_stack}");
        });
    }
}
