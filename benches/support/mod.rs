//! The parts that the benchmarks share: the comparison by pairs, the peers, and the table.
#![allow(dead_code)] // each benchmark uses a part

pub(crate) mod pairs;
pub(crate) mod peers;
pub(crate) mod report;

/// The IP forms, each with the text of the same value for `core::net`, which has no `:PORT`.
pub(crate) const FORMS: [(&str, &str); 5] = [
    (":8080", "0.0.0.0:8080"),
    ("127.0.0.1:9000", "127.0.0.1:9000"),
    ("192.168.100.200:65535", "192.168.100.200:65535"),
    ("[::1]:443", "[::1]:443"),
    ("[2001:db8:85a3::8a2e:370:7334]:65535", "[2001:db8:85a3::8a2e:370:7334]:65535"),
];

/// Returns the `core::net` type that an IP form is compared with, for the table.
pub(crate) fn peer_of_form(form: &str, of_core: &str) -> String {
    let kind = if form.starts_with('[') { "`SocketAddrV6`" } else { "`SocketAddrV4`" };
    if form == of_core { kind.to_string() } else { format!("{kind}, `{of_core}`") }
}

/// Paths of usual lengths, a short one and two long ones.
pub(crate) fn paths() -> [(&'static str, String); 5] {
    [
        ("`/tmp/a`", "/tmp/a".to_string()),
        ("`/tmp/janus.sock`", "/tmp/janus.sock".to_string()),
        ("`/var/run/docker.sock`", "/var/run/docker.sock".to_string()),
        ("of 64 bytes", format!("/tmp/{}", "a".repeat(59))),
        ("of 100 bytes", format!("/tmp/{}", "a".repeat(95))),
    ]
}

/// Returns true under `cargo bench`, which passes `--bench`. Otherwise (`cargo test --benches`)
/// everything runs once, without a result.
pub(crate) fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
