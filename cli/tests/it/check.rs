//! `netbind check`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::support::{Directory, run};

#[test]
fn decisions_are_one_line_each_in_canonical_text() {
    let words = ["check", "--allow", "host 127.0.0.0/8 port 8080", "--allow", "beneath /run/app"];
    let addresses = ["127.0.0.1:08080", ":8080", "/run/app/x", "unix:@x", "[0:0::1]:8080"];
    let finished = run(words.iter().chain(&addresses));
    let expected = "\
        allowed 127.0.0.1:8080\n\
        denied 0.0.0.0:8080\n\
        allowed unix:/run/app/x\n\
        denied unix:@x\n\
        denied [::1]:8080\n";
    assert_eq!(finished.expect(1).output, expected);
    assert_eq!(finished.errors, "");
    run(["check", "--allow", "port 0-65535", ":1", "[::]:2"]).expect(0);
    run(["check", ":1"]).expect(1);
}

#[test]
fn malformed_addresses_are_125_and_the_others_are_decided() {
    let finished = run(["check", "--allow", "port 1", ":1", "127.0.0.256:1", ":http"]);
    assert_eq!(finished.expect(125).output, "allowed 0.0.0.0:1\n");
    assert!(finished.errors.contains("127.0.0.256:1: not an address: unexpected '6' at byte 10"));
    assert!(finished.errors.contains(":http: not a port: unexpected 'h' at byte 1"));
}

#[test]
fn an_address_with_a_line_break_is_one_line() {
    let finished = run(["check", "--allow", "any-path", "/tmp/a\nallowed b"]);
    assert_eq!(finished.expect(0).output, "allowed unix:/tmp/a\\nallowed b\n");
    let finished = run([OsStr::new("check"), OsStr::from_bytes(b"unix:@\xff")]);
    assert_eq!(finished.expect(1).output, "denied unix:@\\xff\n");
}

#[test]
fn dual_stack_needs_both_wildcards() {
    let rule = "host ::/0 port 80";
    run(["check", "--allow", rule, "[::]:80"]).expect(0);
    run(["check", "--allow", rule, "--dual-stack", "[::]:80"]).expect(1);
    run(["check", "--allow", "port 80", "--dual-stack", "[::]:80"]).expect(0);
}

#[test]
fn a_trail_is_written_only_to_a_file() {
    let directory = Directory::new();
    let trail = directory.text("trail");
    run(["check", "--audit", &trail, "--json", ":80"]).expect(1);
    let lines = std::fs::read_to_string(trail).unwrap();
    assert!(lines.starts_with('{') && lines.ends_with("\"result\":\"denied\"}\n"), "{lines}");
}
