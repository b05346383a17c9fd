//! `netbind run`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Command;

use crate::support::{
    DENIED, Directory, FAILED, LISTENS, Running, finish, helper, is_root, netbind, run, with_helper,
};

#[test]
fn a_refused_bind_says_how_to_allow_it() {
    let directory = Directory::new();
    let socket = directory.text("it's");
    let table: &[(&str, String)] = &[
        ("127.0.0.1:23457", "--allow 'host 127.0.0.1 port 23457'".into()),
        (":23457", "--allow 'port 23457'".into()),
        ("[::ffff:127.0.0.1]:23457", "--allow 'host 127.0.0.1 port 23457'".into()),
        (":0", "--allow 'port 0'".into()),
        (&socket, format!("--allow 'path {}'", socket.replace('\'', r"'\''"))),
        ("unix:@netbind-cli-x", "--allow 'abstract netbind-cli-x'".into()),
        ("unix:relative", "no rule names this path, only any-path allows it".into()),
        ("/tmp/a\nnetbind: b", "no rule names this path, only any-path allows it".into()),
        ("/tmp//x", "no rule names this path, only any-path allows it".into()),
        ("unix:@a\nb", "no rule names exactly this abstract name".into()),
    ];
    for (address, advice) in table {
        let finished = finish(&mut with_helper(&["run"], "bind", &[address.as_bytes()]));
        if finished.status.code() != Some(DENIED) {
            println!("{address}: skipped, because there is no IPv6 here");
            assert!(address.starts_with('['));
            continue;
        }
        let lines: Vec<_> = finished.errors.lines().collect();
        let told: Vec<_> = lines.iter().filter(|line| line.starts_with("netbind: ")).collect();
        let [told] = told[..] else { panic!("{}", finished.errors) };
        assert!(told.ends_with(advice), "{told}");
        assert!(told.contains(" (pid ") && told.contains(" denied; "), "{told}");
    }
}

#[test]
fn a_refused_bind_names_the_program() {
    let program = "import socket
try:
    socket.socket().bind(('127.0.0.1', 0))
except PermissionError:
    input()";
    let mut command = netbind();
    let mut running =
        Running::start(command.args(["run", "--", "/usr/bin/python3", "-c", program]));
    // The program waits, so its name can be found.
    let errors = BufReader::new(running.child.stderr.take().unwrap()).lines();
    let told = errors.map(Result::unwrap).find(|line| line.starts_with("netbind: ")).unwrap();
    assert!(told.starts_with("netbind: python3 (pid "), "{told}");
    running.child.stdin.take().unwrap().write_all(b"\n").unwrap();
    running.finish().expect(0);
}

#[test]
fn the_advice_is_enough() {
    let address: &[&[u8]] = &[b"127.0.0.1:0"];
    let refused = finish(&mut with_helper(&["run"], "bind", address));
    let (_, rule) = refused.expect(DENIED).errors.split_once("--allow '").unwrap();
    let rule = rule.trim_end().trim_end_matches('\'');
    finish(&mut with_helper(&["run", "--allow", rule], "bind", address)).expect(LISTENS);
}

#[test]
fn udp_needs_its_option() {
    let address = [&b"127.0.0.1:23458"[..]];
    let words = ["run", "--allow", "port 23458"];
    finish(&mut with_helper(&words, "udp", &address)).expect(DENIED).says("for UDP too: --udp");
    let words = ["run", "--udp", "--allow", "port 23458"];
    finish(&mut with_helper(&words, "udp", &address)).expect(LISTENS);
    finish(&mut with_helper(&["run", "--udp"], "udp", &address)).expect(DENIED).says("port 23458");
}

#[test]
fn privileged_ports_are_lent_on_request() {
    if !is_root("privileged_ports_are_lent_on_request") {
        return;
    }
    // A network namespace of its own has the port free.
    let script = r#"
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups"
exec "$@" -- $nobody /usr/bin/python3 -c '
import socket, sys
try:
    socket.socket().bind(("", 80))
except PermissionError:
    sys.exit(10)'"#;
    let tool = env!("CARGO_BIN_EXE_netbind");
    let run = |options: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", script, "sh", tool, "run", "--allow", "port 80"]);
        finish(command.args(options))
    };
    run(&[]).expect(DENIED).says("to lend it: --privileged-ports");
    run(&["--privileged-ports"]).expect(LISTENS);
}

#[test]
fn statuses_are_those_of_the_program() {
    let run = |script: &str| run(["run", "--", "sh", "-c", script]);
    for status in [0, 1, 42, 125, 255] {
        run(&format!("exit {status}")).expect(status);
    }
    run("kill -TERM $$").expect(128 + 15);
    run("kill -KILL $$").expect(128 + 9);
    run("kill -SEGV $$").expect(128 + 11);
}

#[test]
fn it_goes_on_for_programs_that_were_left_behind() {
    let directory = Directory::new();
    let (fifo, address) = (directory.text("fifo"), directory.text("late"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // The program ends. The process that it started waits for the test, and then binds.
    let script = r#"fifo=$1; shift; (read line < "$fifo"; "$@"; echo $? > "$fifo") >&- & exit 7"#;
    let mut command = netbind();
    let program = helper(&mut command, "bind", &[address.as_bytes()]);
    command.args(["run", "--allow", "any-path", "--", "sh", "-c", script, "sh", &fifo]);
    let running = Running::start(command.args(program));
    fs::write(&fifo, "go\n").unwrap();
    assert_eq!(fs::read_to_string(&fifo).unwrap(), "0\n");
    running.finish().expect(7);
}

#[test]
fn the_program_starts_with_the_signals_of_the_tool() {
    let script = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let direct = finish(Command::new("sh").args(["-c", script]));
    let supervised = run(["run", "--", "sh", "-c", script]);
    assert_eq!(supervised.expect(0).output, direct.output);
}

#[test]
fn only_the_standard_descriptors_are_inherited() {
    let script = "ls /proc/self/fd";
    let direct = finish(Command::new("sh").args(["-c", script]));
    assert_eq!(run(["run", "--", "sh", "-c", script]).expect(0).output, direct.output);
}

#[test]
fn as_process_1_it_reaps_and_ends_as_the_program_did() {
    if !is_root("as_process_1_it_reaps_and_ends_as_the_program_did") {
        return;
    }
    // The loop ends when the orphan is reaped.
    let script = r#"test $PPID = 1 || exit 99
        orphan=$(sh -c "true >&- & echo \$!")
        while test -e /proc/$orphan; do :; done
        exit 5"#;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", env!("CARGO_BIN_EXE_netbind"), "run", "--"]);
    finish(command.args(["sh", "-c", script])).expect(5);
}

#[test]
fn a_taken_address_fails_as_without_the_tool() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command =
        with_helper(&["run", "--allow", "port 0-65535"], "bind", &[address.as_bytes()]);
    finish(&mut command).expect(FAILED);
}
