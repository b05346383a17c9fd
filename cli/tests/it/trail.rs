//! The audit trail.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use crate::support::{Directory, LISTENS, finish, run, with_helper};

const ADDRESSES: [&[u8]; 2] = [b"127.0.0.1:0", b"127.0.0.1:0"];
const WORDS: [&str; 3] = ["run", "--allow", "port 0"];

#[test]
fn a_file_is_appended_to_and_lines_are_whole() {
    let directory = Directory::new();
    let trail = directory.write("trail", b"before\n");
    // Many processes write at the same time.
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let words = [&WORDS[..], &["--audit", &trail]].concat();
            let mut command = with_helper(&words, "bind", &ADDRESSES);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in runs {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stderr, b"");
    }
    let text = fs::read_to_string(&trail).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("before"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 8 * 4);
    for line in lines {
        assert!(line.starts_with("capability=netbind operation="), "{line}");
        assert!(line.ends_with(" result=allowed"), "{line}");
    }
}

#[test]
fn a_line_break_in_a_path_does_not_break_the_line() {
    let directory = Directory::new();
    let (trail, socket) = (directory.text("trail"), directory.text("a\nb"));
    for option in ["--audit", "--json"] {
        let mut words = vec!["run", "--allow", "any-path", "--audit", &trail];
        words.extend((option == "--json").then_some(option));
        finish(&mut with_helper(&words, "bind", &[socket.as_bytes()])).expect(LISTENS);
    }
    let text = fs::read_to_string(&trail).unwrap();
    assert_eq!(text.lines().count(), 4);
    assert_eq!(text.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 2);
}

#[test]
fn a_full_disk_is_told_once_and_stops_nothing() {
    let words = [&WORDS[..], &["--audit", "/dev/full"]].concat();
    let finished = finish(&mut with_helper(&words, "bind", &ADDRESSES));
    finished.expect(LISTENS).says("/dev/full: an audit record is lost: No space left");
    assert_eq!(finished.errors.lines().count(), 1);
    let words = ["open", "--allow", "port 0", "--audit", "/dev/full", "127.0.0.1:0", "--", "true"];
    run(words).expect(0).says("/dev/full");
    // A refusal stays a refusal.
    run(["open", "--audit", "/dev/full", ":0", "--", "true"]).expect(125).says("denied");
}

#[test]
fn a_closed_pipe_stops_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = with_helper(&WORDS, "bind", &ADDRESSES);
    finish(command.stderr(OwnedFd::from(writer))).expect(LISTENS);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let words = [&WORDS[..], &["--audit", "/dev/stdin"]].concat();
    let finished = finish(with_helper(&words, "bind", &ADDRESSES).stdin(OwnedFd::from(writer)));
    // The pipe may not be opened again without a reader.
    let refused = finished.status.code() == Some(125);
    assert!(refused || finished.status.code() == Some(LISTENS), "{}", finished.errors);
    finished.says("/dev/stdin: ");
}

#[test]
fn a_pipe_that_nobody_reads_stops_nothing() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // As much as a pipe holds.
    writer.write_all(&vec![b'\n'; 65536]).unwrap();
    let words = [&WORDS[..], &["--audit", "/dev/stdin"]].concat();
    let finished = finish(with_helper(&words, "bind", &ADDRESSES).stdin(OwnedFd::from(writer)));
    finished.expect(LISTENS).says("an audit record is lost: Resource temporarily unavailable");
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text.trim(), "");
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let words = ["open", "--allow", "port 0", "--audit", "/no/such", "127.0.0.1:0", "--", "true"];
    run(words).expect(125).says("/no/such: No such file");
}
