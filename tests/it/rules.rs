//! The text of rules: what parses, what it prints, and what is wrong with the rest.

use std::net::IpAddr;

use netbind::Rule;
use netbind::capability::{RuleError, RuleReason};

fn host(ip: &str, prefix: u8, ports: std::ops::RangeInclusive<u16>) -> Rule {
    Rule::host(ip.parse::<IpAddr>().unwrap(), prefix, ports).unwrap()
}

/// Text, rule, and the text that it prints.
#[rustfmt::skip]
fn rules() -> Vec<(&'static str, Rule, &'static str)> {
    vec![
        ("port 443",                        Rule::port(443),                       "port 443"),
        ("port 00443",                      Rule::port(443),                       "port 443"),
        ("port 0",                          Rule::port(0),                         "port 0"),
        ("port 8000-8999",                  Rule::ports(8000..=8999).unwrap(),     "port 8000-8999"),
        ("port 80-80",                      Rule::port(80),                        "port 80"),
        ("port 0-65535",                    Rule::ports(0..=65535).unwrap(),       "port 0-65535"),
        ("host 127.0.0.0/8 port 8080",      host("127.0.0.0", 8, 8080..=8080),     "host 127.0.0.0/8 port 8080"),
        ("host 127.0.0.1 port 1-2",         host("127.0.0.1", 32, 1..=2),          "host 127.0.0.1 port 1-2"),
        ("host 127.0.0.1/32 port 1",        host("127.0.0.1", 32, 1..=1),          "host 127.0.0.1 port 1"),
        ("host 0.0.0.0/0 port 1",           host("0.0.0.0", 0, 1..=1),             "host 0.0.0.0/0 port 1"),
        ("host ::1 port 0-65535",           host("::1", 128, 0..=65535),           "host ::1 port 0-65535"),
        ("host ::1/128 port 1",             host("::1", 128, 1..=1),               "host ::1 port 1"),
        ("host fe80::/10 port 1",           host("fe80::", 10, 1..=1),             "host fe80::/10 port 1"),
        ("host ::/0 port 1",                host("::", 0, 1..=1),                  "host ::/0 port 1"),
        ("host ::ffff:10.0.0.0/104 port 1", host("10.0.0.0", 8, 1..=1),            "host 10.0.0.0/8 port 1"),
        ("host ::ffff:1.2.3.4 port 1",      host("1.2.3.4", 32, 1..=1),            "host 1.2.3.4 port 1"),
        ("path /run/app.sock",              Rule::path(b"/run/app.sock").unwrap(), "path /run/app.sock"),
        ("path /a b",                       Rule::path(b"/a b").unwrap(),          "path /a b"),
        ("path /...",                       Rule::path(b"/...").unwrap(),          "path /..."),
        ("path /.a/b.",                     Rule::path(b"/.a/b.").unwrap(),        "path /.a/b."),
        ("beneath /run/app",                Rule::beneath(b"/run/app").unwrap(),   "beneath /run/app"),
        ("beneath /",                       Rule::beneath(b"/").unwrap(),          "beneath /"),
        ("any-path",                        Rule::any_path(),                      "any-path"),
        ("abstract app",                    Rule::abstract_name(b"app").unwrap(),  "abstract app"),
        ("abstract  app ",                  Rule::abstract_name(b" app ").unwrap(), "abstract  app "),
        ("abstract grüße",                  Rule::abstract_name("grüße".as_bytes()).unwrap(), "abstract grüße"),
        ("abstract-prefix app.",            Rule::abstract_prefix(b"app.").unwrap(), "abstract-prefix app."),
        ("any-abstract",                    Rule::any_abstract(),                  "any-abstract"),
    ]
}

#[test]
fn every_form_parses_and_prints_a_text_that_parses_to_the_same_rule() {
    for (text, rule, printed) in rules() {
        assert_eq!(Rule::parse(text), Ok(rule), "{text}");
        assert_eq!(text.parse::<Rule>(), Ok(rule), "{text}");
        assert_eq!(rule.to_string(), printed);
        assert_eq!(Rule::parse(printed), Ok(rule), "{printed}");
        assert_eq!(format!("{rule:?}"), format!("Rule({printed})"));
    }
}

#[test]
fn a_name_that_is_not_utf_8_is_compared_exactly() {
    let rule = Rule::parse(b"path /a\xff").unwrap();
    assert_eq!(rule, Rule::path(b"/a\xff").unwrap());
    assert_ne!(rule, Rule::path(b"/a\xfe").unwrap());
    assert_eq!(rule.to_string(), "path /a\u{fffd}");
}

/// Text, offset and reason.
#[rustfmt::skip]
const MALFORMED: &[(&str, usize, RuleReason)] = &[
    ("",                              0,  RuleReason::Empty),
    (" port 1",                       0,  RuleReason::UnknownWord),
    ("ports 1",                       0,  RuleReason::UnknownWord),
    ("Port 1",                        0,  RuleReason::UnknownWord),
    ("# comment",                     0,  RuleReason::UnknownWord),
    ("port\t1",                       0,  RuleReason::UnknownWord),
    ("port",                          4,  RuleReason::MissingWord),
    ("port ",                         5,  RuleReason::MissingWord),
    ("port  1",                       5,  RuleReason::MissingWord),
    ("port 70000",                    5,  RuleReason::InvalidPort),
    ("port 65536",                    5,  RuleReason::InvalidPort),
    ("port 000001",                   5,  RuleReason::InvalidPort),
    ("port http",                     5,  RuleReason::InvalidPort),
    ("port -1",                       5,  RuleReason::InvalidPort),
    ("port 1-",                       7,  RuleReason::InvalidPort),
    ("port 1-2-3",                    7,  RuleReason::InvalidPort),
    ("port 9-1",                      5,  RuleReason::EmptyRange),
    ("port 1 ",                       6,  RuleReason::TrailingText),
    ("port 1 port 2",                 6,  RuleReason::TrailingText),
    ("host",                          4,  RuleReason::MissingWord),
    ("host localhost port 1",         5,  RuleReason::InvalidHost),
    ("host fe80::1%2 port 1",         5,  RuleReason::InvalidHost),
    ("host [::1] port 1",             5,  RuleReason::InvalidHost),
    ("host 10.0.0.0/33 port 1",       14, RuleReason::InvalidPrefix(32)),
    ("host 10.0.0.0/ port 1",         14, RuleReason::InvalidPrefix(32)),
    ("host 10.0.0.0/8/8 port 1",      14, RuleReason::InvalidPrefix(32)),
    ("host ::/129 port 1",            8,  RuleReason::InvalidPrefix(128)),
    ("host ::ffff:0.0.0.0/95 port 1", 5,  RuleReason::MappedPrefix),
    ("host 10.0.0.1",                 13, RuleReason::MissingWord),
    ("host 10.0.0.1 80",              14, RuleReason::ExpectedPort),
    ("host 10.0.0.1 foo 80",          14, RuleReason::ExpectedPort),
    ("host 10.0.0.1 port",            18, RuleReason::MissingWord),
    ("host 10.0.0.1 port 2-1",        19, RuleReason::EmptyRange),
    ("host 10.0.0.1 port 1 x",        20, RuleReason::TrailingText),
    ("path",                          4,  RuleReason::MissingWord),
    ("path ",                         5,  RuleReason::EmptyName),
    ("path relative",                 5,  RuleReason::RelativePath),
    ("path  /a",                      5,  RuleReason::RelativePath),
    ("path /",                        6,  RuleReason::UnnormalizedPath),
    ("path /a/",                      8,  RuleReason::UnnormalizedPath),
    ("path //a",                      6,  RuleReason::UnnormalizedPath),
    ("path /a//b",                    8,  RuleReason::UnnormalizedPath),
    ("path /./a",                     6,  RuleReason::UnnormalizedPath),
    ("path /a/.",                     8,  RuleReason::UnnormalizedPath),
    ("path /a/..",                    8,  RuleReason::UnnormalizedPath),
    ("beneath /a/../b",               11, RuleReason::UnnormalizedPath),
    ("beneath //",                    9,  RuleReason::UnnormalizedPath),
    ("beneath /a\nb",                 10, RuleReason::ControlByte(b'\n')),
    ("abstract a\x7f",                10, RuleReason::ControlByte(0x7f)),
    ("abstract \0",                   9,  RuleReason::ControlByte(0)),
    ("abstract-prefix ",              16, RuleReason::EmptyName),
    ("any-path ",                     8,  RuleReason::TrailingText),
    ("any-abstract x",                12, RuleReason::TrailingText),
];

#[test]
fn a_malformed_rule_is_refused_with_its_reason_and_offset() {
    for &(text, offset, reason) in MALFORMED {
        let error = Rule::parse(text).expect_err(text);
        assert_eq!((error.offset(), error.reason()), (offset, reason), "{text:?}");
        let end = format!(", at byte {offset}");
        assert!(error.to_string().starts_with("not a rule: "), "{error}");
        assert!(error.to_string().ends_with(&end), "{error}");
    }
}

#[test]
fn host_bits_are_refused_and_the_network_is_named() {
    let cases = [
        ("host 10.0.0.1/8 port 1", "the network is 10.0.0.0/8"),
        ("host 127.0.0.1/0 port 1", "the network is 0.0.0.0/0"),
        ("host 2001:db8::1/32 port 1", "the network is 2001:db8::/32"),
        ("host ::ffff:10.0.0.1/104 port 1", "the network is 10.0.0.0/8"),
    ];
    for (text, network) in cases {
        let error = Rule::parse(text).unwrap_err();
        assert!(matches!(error.reason(), RuleReason::HostBits(..)), "{text}");
        assert!(error.to_string().contains(network), "{error}");
        assert_eq!(error.offset(), 5);
    }
}

#[test]
fn a_path_or_name_has_at_most_107_bytes() {
    let path = |length: usize| format!("/{}", "x".repeat(length - 1));
    for (word, name) in [("path", path(107)), ("beneath", path(107)), ("abstract", "x".repeat(107))]
    {
        let text = format!("{word} {name}");
        assert_eq!(Rule::parse(&text).unwrap().to_string(), text);
        let error = Rule::parse(format!("{text}x")).unwrap_err();
        assert_eq!(error.reason(), RuleReason::TooLong(108));
        assert_eq!(error.offset(), word.len() + 1 + 107);
    }
}

#[test]
fn constructors_refuse_invalid_arguments() {
    let ip: IpAddr = [10, 0, 0, 1].into();
    let reason = |made: Result<Rule, RuleError>| made.unwrap_err().reason();
    #[allow(clippy::reversed_empty_ranges)] // on purpose
    let empty = 2..=1;
    assert_eq!(reason(Rule::ports(empty.clone())), RuleReason::EmptyRange);
    assert_eq!(reason(Rule::host(ip, 32, empty)), RuleReason::EmptyRange);
    assert_eq!(reason(Rule::host(ip, 33, 1..=1)), RuleReason::InvalidPrefix(32));
    let mapped: IpAddr = "::ffff:10.0.0.0".parse().unwrap();
    assert_eq!(reason(Rule::host(mapped, 129, 1..=1)), RuleReason::InvalidPrefix(128));
    assert_eq!(reason(Rule::host(mapped, 8, 1..=1)), RuleReason::MappedPrefix);
    assert_eq!(reason(Rule::path(b"/a\nb")), RuleReason::ControlByte(b'\n'));
    assert_eq!(reason(Rule::abstract_name(b"")), RuleReason::EmptyName);
}

#[test]
fn a_policy_can_be_static() {
    const fn valid(rule: Result<Rule, RuleError>) -> Rule {
        match rule {
            Ok(rule) => rule,
            Err(_) => panic!("a malformed rule"),
        }
    }
    static POLICY: [Rule; 3] = [
        Rule::port(80),
        valid(Rule::beneath(b"/run/app")),
        valid(Rule::host(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 32, 8000..=8999)),
    ];
    let texts = POLICY.map(|rule| rule.to_string());
    assert_eq!(texts, ["port 80", "beneath /run/app", "host 127.0.0.1 port 8000-8999"]);
}

#[cfg(feature = "serde")]
#[test]
fn rules_and_addresses_are_strings_in_json() {
    use netbind::BindAddress;

    for (text, rule, printed) in rules() {
        let json = serde_json::to_string(&rule).unwrap();
        assert_eq!(json, serde_json::to_string(printed).unwrap());
        let quoted = serde_json::to_string(text).unwrap();
        assert_eq!(serde_json::from_str::<Rule>(&quoted).unwrap(), rule);
    }
    let error = serde_json::from_str::<Rule>("\"port 9-1\"").unwrap_err().to_string();
    assert!(error.contains("the first port of the range is larger"), "{error}");

    let address: BindAddress = serde_json::from_str("\":8080\"").unwrap();
    assert_eq!(serde_json::to_string(&address).unwrap(), "\"0.0.0.0:8080\"");
    assert!(serde_json::from_str::<BindAddress>("\"8080\"").is_err());
    assert!(serde_json::to_string(&BindAddress::parse(b"/\xff").unwrap()).is_err());
    assert!(serde_json::to_string(&Rule::path(b"/\xff").unwrap()).is_err());
}
