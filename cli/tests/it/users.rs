//! `--user` and `--group`.

use std::process::Command;

use crate::support::{Directory, finish, is_root, run};

const SHOW: &str = "grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb))' /proc/self/status";

/// A copy of the tool that every user can execute.
struct Tool {
    directory: Directory,
    path: String,
}

impl Tool {
    fn new() -> Self {
        let directory = Directory::new();
        directory.open_to_all();
        let path = directory.text("netbind");
        // By another process: the kernel does not execute a file that this one may have open.
        let copied = Command::new("cp").args([env!("CARGO_BIN_EXE_netbind"), &path]).status();
        assert!(copied.unwrap().success());
        Self { directory, path }
    }
}

/// Returns the fields of a line of `/proc/self/status`.
fn line(status: &str, name: &str) -> Vec<String> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim_start_matches(':').split_whitespace().map(ToOwned::to_owned).collect()
}

fn status_of(options: &[&str]) -> String {
    let words = ["open", "--allow", "port 0", "127.0.0.1:0"];
    let program = ["--", "sh", "-c", SHOW];
    run(words.iter().chain(options).chain(&program)).expect(0).output.clone()
}

#[test]
fn another_user_keeps_no_privilege() {
    if !is_root("another_user_keeps_no_privilege") {
        return;
    }
    let group = "65534";
    for options in [&["--user", "nobody"][..], &["--user", "65534", "--group", group]] {
        let status = status_of(options);
        assert_eq!(line(&status, "Uid"), ["65534"; 4]);
        assert_eq!(line(&status, "Gid"), [group; 4]);
        assert_eq!(line(&status, "Groups"), [group]);
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(line(&status, set), ["0000000000000000"], "{set}");
        }
    }
    let status = status_of(&["--user", "4242", "--group", "4343"]);
    assert_eq!(line(&status, "Uid"), ["4242"; 4]);
    assert_eq!(line(&status, "Groups"), ["4343"]);
    let status = status_of(&["--group", "4343"]);
    assert_eq!(
        (line(&status, "Uid"), line(&status, "Gid")),
        (vec!["0".into(); 4], vec!["4343".into(); 4])
    );
}

#[test]
fn a_user_that_stays_the_same_keeps_no_privilege() {
    if !is_root("a_user_that_stays_the_same_keeps_no_privilege") {
        return;
    }
    let tool = Tool::new();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    for option in ["--inh-caps", "--ambient-caps"] {
        command.arg(format!("{option}=+net_bind_service,+setuid,+setgid"));
    }
    command.args([&tool.path, "open", "--allow", "port 0", "--user", "nobody", "127.0.0.1:0"]);
    let status = finish(command.args(["--", "sh", "-c", SHOW])).expect(0).output.clone();
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(line(&status, set), ["0000000000000000"], "{set}");
    }
}

#[test]
fn a_missing_program_of_another_user_leaves_no_socket() {
    if !is_root("a_missing_program_of_another_user_leaves_no_socket") {
        return;
    }
    let directory = Directory::new();
    let socket = directory.text("socket");
    let words = ["open", "--allow", "any-path", "--user", "nobody", &socket, "--", "no-such"];
    run(words).expect(127);
    assert!(directory.entries().is_empty());
}

#[test]
fn a_privileged_port_is_opened_before_the_user_changes() {
    if !is_root("a_privileged_port_is_opened_before_the_user_changes") {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["-n", env!("CARGO_BIN_EXE_netbind"), "open", "--allow", "port 80", "--seal"]);
    command.args(["--user", "nobody", ":80", "--", "sh", "-c", "id -u"]);
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"65534\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_user_without_privileges_cannot_become_another() {
    if !is_root("a_user_without_privileges_cannot_become_another") {
        return;
    }
    let tool = Tool::new();
    let socket = tool.directory.text("socket");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &tool.path, "open"]);
    command.args(["--allow", "any-path", "--user", "root", &socket, "--", "echo", "started"]);
    let finished = finish(&mut command);
    finished.expect(125).says("setgroups: Operation not permitted");
    assert!(finished.output.is_empty() && !tool.directory.path("socket").exists());
}
