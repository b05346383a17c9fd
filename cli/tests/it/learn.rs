//! `netbind run --learn`.

use std::fs;

use crate::support::{DENIED, Directory, LISTENS, finish, run, with_helper};

#[test]
fn what_was_learned_lets_the_same_program_run() {
    let directory = Directory::new();
    let (policy, socket) = (directory.text("policy"), directory.text("a socket # 1"));
    let addresses: [&[u8]; 5] =
        [b"127.0.0.1:0", b":0", socket.as_bytes(), b"unix:@netbind-cli-learn", b"127.0.0.1:0"];
    let words = ["run", "--learn-to", &policy];
    finish(&mut with_helper(&words, "bind", &addresses)).expect(LISTENS);
    let text = fs::read_to_string(&policy).unwrap();
    let rules: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let path = format!("path {socket}");
    assert_eq!(rules, ["abstract netbind-cli-learn", "host 127.0.0.1 port 0", &path, "port 0"]);
    let words = ["run", "--policy", &policy];
    finish(&mut with_helper(&words, "bind", &addresses)).expect(LISTENS);
    finish(&mut with_helper(&words, "bind", &[b"127.0.0.2:23459"])).expect(DENIED);
}

#[test]
fn an_address_that_is_no_rule_is_a_comment() {
    let directory = Directory::new();
    let policy = directory.text("policy");
    let socket = directory.text("x\nport 0-65535\r\x1b\u{9b}");
    let escape = directory.text("\u{9b}");
    let addresses: [&[u8]; 4] =
        [socket.as_bytes(), escape.as_bytes(), b"unix:@\xff", b"unix:@a\nany-path"];
    let words = ["run", "--learn-to", &policy];
    finish(&mut with_helper(&words, "bind", &addresses)).expect(LISTENS);
    let text = fs::read_to_string(&policy).unwrap();
    assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    assert!(text.contains("x\\nport 0-65535\\r\\u{1b}\\u{9b}: no rule names this path"), "{text}");
    assert!(text.contains("unix:@\\xff: no rule"), "{text}");
    // It is a policy, which allows nothing.
    run(["check", "--policy", &policy, ":1"]).expect(1);
}

#[test]
fn the_policy_goes_to_standard_error_without_a_file() {
    let finished = finish(&mut with_helper(&["run", "--learn"], "bind", &[b"127.0.0.1:0"]));
    assert!(finished.expect(LISTENS).errors.ends_with("\nhost 127.0.0.1 port 0\n"));
}

#[test]
fn the_name_of_the_program_cannot_become_a_rule() {
    let directory = Directory::new();
    let policy = directory.text("policy");
    run(["run", "--learn-to", &policy, "--", "echo", "a\nany-path"]).expect(0);
    assert!(fs::read_to_string(&policy).unwrap().lines().all(|line| line.starts_with('#')));
}

#[test]
fn a_file_that_cannot_be_written_is_found_before_the_program_starts() {
    let finished = run(["run", "--learn-to", "/no/such/file", "--", "echo", "started"]);
    assert_eq!(finished.expect(125).says("/no/such/file").output, "");
}
