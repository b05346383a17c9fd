//! `netbind open`.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::{collections::BTreeSet, fs};

use crate::support::{Directory, finish, is_root, netbind, run, with_helper};

#[test]
fn the_program_gets_the_sockets_under_its_own_process_id() {
    let script = "echo $$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES
        cd /proc/self/fd; test -S 3 && test -S 4 && echo sockets";
    let mut command = netbind();
    command.args(["open", "--allow", "port 0", "web=127.0.0.1:0", "127.0.0.1:0", "--"]);
    let child = command.args(["sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    let output = child.wait_with_output().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let (variables, descriptors) = output.split_once('\n').unwrap();
    assert_eq!(variables, format!("{id} {id} 2 web:unknown"));
    assert_eq!(descriptors, "sockets\n");
}

#[test]
fn the_program_gets_no_other_descriptor() {
    let directory = Directory::new();
    // `ls` has one of its own, which takes the lowest number that is free.
    let list = ["sh", "-c", "exec 9</proc/self/fd; ls /proc/self/fd | sort -n"];
    let numbers = |output: &str| output.lines().map(ToOwned::to_owned).collect::<BTreeSet<_>>();
    let direct = numbers(&finish(Command::new("sh").args(&list[1..])).output);
    let trail = directory.text("trail");
    let words = ["open", "--allow", "port 0", "--audit", &trail, "127.0.0.1:0", "127.0.0.1:0"];
    let opened = run(words.iter().chain(&["--"]).chain(&list));
    let added: Vec<_> = numbers(&opened.expect(0).output).difference(&direct).cloned().collect();
    // Number 3 is that of `ls` without sockets.
    assert_eq!(added, ["4", "5"]);
}

#[test]
fn the_program_starts_with_the_signals_of_the_tool() {
    let script = ["-c", "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status"];
    let direct = finish(Command::new("sh").args(script));
    let words = ["open", "--allow", "port 0", "127.0.0.1:0", "--", "sh"];
    assert_eq!(run(words.iter().chain(&script)).expect(0).output, direct.output);
}

#[test]
fn variables_of_an_earlier_activation_are_replaced() {
    let mut command = netbind();
    command.args(["open", "--allow", "port 0", "a=127.0.0.1:0", "--", "env"]);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "7").env("LISTEN_FDNAMES", "x");
    command.env("LISTEN_PIDFDID", "1");
    let output = finish(&mut command).expect(0).output.clone();
    assert!(output.contains("LISTEN_FDS=1\n") && output.contains("LISTEN_FDNAMES=a\n"));
    assert!(!output.contains("LISTEN_PIDFDID=1\n") && !output.contains("LISTEN_PID=1\n"));
}

#[test]
fn an_activated_program_serves() {
    let directory = Directory::new();
    let report = UnixListener::bind(directory.path("report")).unwrap();
    let socket = directory.text("socket");
    let unix = format!("local={socket}");
    let words =
        ["open", "--allow", "port 0", "--allow", "any-path", "web=127.0.0.1:0", unix.as_str()];
    let mut command = with_helper(&words, "activated", &[directory.text("report").as_bytes()]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let (report, _) = report.accept().unwrap();
    let mut lines = BufReader::new(report).lines().map(Result::unwrap);
    let web = lines.next().unwrap();
    let address = web.strip_prefix("web ").unwrap();
    assert_eq!(lines.next().unwrap(), format!("local unix:{socket}"));
    assert_eq!(lines.next().unwrap(), "ready");
    let mut answer = String::new();
    TcpStream::connect(address).unwrap().read_to_string(&mut answer).unwrap();
    UnixStream::connect(&socket).unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "weblocal");
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_equals_sign_in_an_address_is_no_name() {
    let directory = Directory::new();
    let plain = directory.text("a=b");
    let with_scheme = format!("unix:{}", directory.text("c=d"));
    let named = format!("e={}", directory.text("f=g"));
    let words = ["open", "--allow", "any-path", &plain, &with_scheme, &named, "--", "printenv"];
    let finished = run(words.into_iter().chain(["LISTEN_FDNAMES"]));
    assert_eq!(finished.expect(0).output, "unknown:unknown:e\n");
    let mut entries = directory.entries();
    entries.sort();
    assert_eq!(entries, ["a=b", "c=d", "f=g"]);
}

#[test]
fn paths_have_their_mode_and_owner_and_stay_for_the_program() {
    let directory = Directory::new();
    let socket = directory.text("socket");
    let mut words = vec!["open", "--allow", "any-path", "--mode", "640"];
    if is_root("owner") {
        words.extend(["--owner", "12:34"]);
    }
    words.extend([socket.as_str(), "--", "test", "-S", socket.as_str()]);
    run(&words).expect(0);
    let file = fs::metadata(&socket).unwrap();
    assert!(file.file_type().is_socket());
    assert_eq!(file.mode() & 0o777, 0o640);
    if is_root("owner") {
        assert_eq!((file.uid(), file.gid()), (12, 34));
    }
    // Its program has ended, so it is stale.
    run(&words).expect(125).says("address in use");
    words.insert(1, "--replace-stale");
    run(&words).expect(0);
    let _live = {
        fs::remove_file(&socket).unwrap();
        UnixListener::bind(&socket).unwrap()
    };
    run(&words).expect(125).says("address in use");
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
}

#[test]
fn a_sealed_program_opens_nothing_else() {
    let program = "import os, socket, sys
s = socket.socket(fileno=3)
c = socket.create_connection(s.getsockname())
s.accept()
try:
    socket.socket().bind(('127.0.0.1', 0))
except PermissionError:
    sys.exit(7)";
    let words = ["--allow", "port 0", "127.0.0.1:0", "--", "python3", "-c", program];
    run(["open", "--seal"].iter().chain(&words)).expect(7);
    run(["open"].iter().chain(&words)).expect(0);
}

#[test]
fn backlog_and_dual_stack_reach_the_socket() {
    let program = "import socket, sys
s = socket.socket(fileno=3)
sys.exit(40 + s.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))";
    let words = ["--allow", "port 0", "--backlog", "5", "[::]:0", "--", "python3", "-c", program];
    if fs::exists("/proc/net/if_inet6").unwrap_or(false) {
        run(["open"].iter().chain(&words)).expect(41);
        run(["open", "--dual-stack"].iter().chain(&words)).expect(40);
    }
}

#[test]
fn the_exit_status_is_that_of_the_program() {
    let open = |script| run(["open", "--allow", "port 0", "127.0.0.1:0", "--", "sh", "-c", script]);
    open("exit 3").expect(3);
    // It is the program itself.
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&open("kill -9 $$").status), Some(9));
}
