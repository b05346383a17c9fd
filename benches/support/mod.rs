//! What the benchmarks share: the pairwise clock, the peers, and the table.
#![allow(dead_code)] // each benchmark uses a part

pub(crate) mod pairs;
pub(crate) mod peers;
pub(crate) mod report;

/// The IP forms, and what `core::net` reads of the same value. It has no form for the wildcard's short way.
pub(crate) const FORMS: [(&str, &str); 5] = [
    (":8080", "0.0.0.0:8080"),
    ("127.0.0.1:9000", "127.0.0.1:9000"),
    ("192.168.100.200:65535", "192.168.100.200:65535"),
    ("[::1]:443", "[::1]:443"),
    ("[2001:db8:85a3::8a2e:370:7334]:65535", "[2001:db8:85a3::8a2e:370:7334]:65535"),
];

/// At most a third of core's cost, and a quarter for the long IPv6.
pub(crate) fn reach_of_form(form: &str) -> f64 {
    if form.len() > 30 { 0.25 } else { 1.0 / 3.0 }
}

/// Paths of usual lengths, a short and two long ones; 64 bytes are what the copy is best at.
pub(crate) fn paths() -> [(&'static str, String); 5] {
    [
        ("`/tmp/a`", "/tmp/a".to_string()),
        ("`/tmp/janus.sock`", "/tmp/janus.sock".to_string()),
        ("`/var/run/docker.sock`", "/var/run/docker.sock".to_string()),
        ("of 64 bytes", format!("/tmp/{}", "a".repeat(59))),
        ("of 100 bytes", format!("/tmp/{}", "a".repeat(95))),
    ]
}

/// `cargo bench` says `--bench`; without it (`cargo test --benches`) everything runs once, to see that it works.
pub(crate) fn is_measured() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}
