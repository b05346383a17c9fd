//! Bad input: a clear message, a status of 125 or more, and nothing half open.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::support::{Directory, finish, helper, netbind, run};

#[test]
fn malformed_commands_say_where_to_read_on() {
    let table: &[(&[&str], &str)] = &[
        (&[], "open, run or check is missing"),
        (&["serve"], "unknown command 'serve'"),
        (&["--frob"], "unknown command '--frob'"),
        (&["run", "--frob", "--", "true"], "unknown option '--frob'"),
        (&["run", "-x", "--", "true"], "unknown option '-x'"),
        (&["run", "python3", "-m"], "unexpected 'python3', write -- before it"),
        (&["run"], "a program is missing"),
        (&["run", "--"], "a program is missing"),
        (&["open", "--allow", "port 0", "127.0.0.1:0"], "a program is missing"),
        (&["open", "--", "true"], "an address is missing"),
        (&["check"], "an address is missing"),
        (&["check", ":80", "--", "true"], "unexpected --"),
        (&["run", "--allow", "--", "true"], "missing argument for option '--allow'"),
        (&["run", "--udp=yes", "--", "true"], "unexpected argument for option '--udp'"),
        (&["check", "--udp", ":80"], "unknown option '--udp'"),
        (&["run", "--seal", "--", "true"], "unknown option '--seal'"),
        (&["run", "--learn", "--allow", "port 1", "--", "true"], "it takes no rules"),
        (&["open", "--mode", "8", "/x", "--", "true"], "--mode expects"),
        (&["open", "--mode", "1777", "/x", "--", "true"], "--mode expects"),
        (&["open", "--mode", "+7", "/x", "--", "true"], "--mode expects"),
        (&["open", "--mode", "", "/x", "--", "true"], "--mode expects"),
        (&["open", "--backlog", "many", ":80", "--", "true"], "--backlog expects"),
        (&["open", "--mode", "600", ":80", "--", "true"], "--mode: it applies to none"),
        (&["open", "--owner", "0", ":80", "--", "true"], "--owner: it applies to none"),
        (&["open", "--replace-stale", ":80", "--", "true"], "--replace-stale: it applies to none"),
        (&["open", "--dual-stack", ":80", "--", "true"], "--dual-stack: it applies to none"),
        (&["open", "--owner", "nobody-such", "/x", "--", "true"], "unknown user 'nobody-such'"),
        (&["open", "--owner", "0:no-such", "/x", "--", "true"], "unknown group 'no-such'"),
        (&["open", "--owner", "", "/x", "--", "true"], "unknown user ''"),
        (&["open", "--user", "no-such", ":80", "--", "true"], "unknown user 'no-such'"),
        (&["open", "--user", "54321", ":80", "--", "true"], "user 54321 has no entry"),
        (&["open", "--user", "4294967295", ":80", "--", "true"], "unknown user '4294967295'"),
        (&["open", "=:80", "--", "true"], "=:80: the name before = must be printable ASCII"),
        (&["open", "a=b", "--", "true"], "a=b: not an address: unexpected 'b' at byte 0"),
        (&["open", "localhost:80", "--", "true"], "localhost:80: not an address"),
    ];
    for (words, message) in table {
        let finished = run(*words);
        finished.expect(125).says(message);
        assert_eq!(finished.errors.lines().count(), 1, "{}", finished.errors);
        assert_eq!(finished.output, "");
    }
}

#[test]
fn malformed_rules_name_the_byte() {
    run(["check", "--allow", "port x", ":80"])
        .expect(125)
        .says("--allow 'port x': not a rule: expected a port");
    run(["check", "--allow", "port 80\n", ":80"]).expect(125).says("--allow 'port 80\\n'");
    run([OsStr::new("check"), OsStr::new("--allow"), OsStr::from_bytes(b"p\xff"), ":80".as_ref()])
        .expect(125)
        .says("--allow 'p\\xff': not a rule: unknown word");
}

#[test]
fn malformed_policy_files_name_the_line_and_the_column() {
    let directory = Directory::new();
    let table: &[(&[u8], &str)] = &[
        (b"", ": the policy file is empty"),
        (b"# a web server\n\nport 80\nport x\n", ":4:6: expected a port"),
        (b"port 80\r\n", ":1:8: carriage return"),
        (b"# comment\r\n", ":1:10: carriage return"),
        (b"\n port 80", ":2:1: unknown word"),
        (b"port 80 # web", ":1:8: text after the end"),
        (b"path run.sock", ":1:6: the path must be absolute"),
        (b"path /a\0b", ":1:8: byte 0x00"),
    ];
    for (text, message) in table {
        let file = directory.write("policy", text);
        run(["check", "--policy", &file, ":80"]).expect(125).says(&format!("{file}{message}"));
    }
    for text in ["# nothing\n", "\n\n"] {
        let file = directory.write("policy", text.as_bytes());
        run(["check", "--policy", &file, ":80"]).expect(1);
    }
}

#[test]
fn a_policy_file_that_cannot_be_read_is_an_error() {
    let directory = Directory::new();
    let missing = directory.text("missing");
    run(["check", "--policy", &missing, ":80"]).expect(125).says("No such file");
    run(["check", "--policy", "/tmp", ":80"]).expect(125).says("/tmp: Is a directory");
    let large = directory.text("large");
    fs::File::create(&large).and_then(|file| file.set_len(100 << 20)).unwrap();
    run(["check", "--policy", &large, ":80"]).expect(125).says("longer than 1 MiB");
    let mut just_fits = b"port 80\n".to_vec();
    just_fits.resize(1 << 20, b'\n');
    let just_fits = directory.write("fits", &just_fits);
    run(["check", "--policy", &just_fits, ":80"]).expect(0);
}

#[test]
fn a_missing_program_is_127_and_leaves_no_socket() {
    let directory = Directory::new();
    let socket = directory.text("socket");
    for program in ["no-such-program", "/no/such/program", "./no-such", ""] {
        run(["run", "--", program]).expect(127).says("No such file");
        run(["open", "--allow", "any-path", &socket, "--", program]).expect(127);
    }
    assert!(directory.entries().is_empty());
}

#[test]
fn a_program_that_cannot_be_executed_is_126_and_leaves_no_socket() {
    let directory = Directory::new();
    let plain = directory.write("plain", b"#!/bin/sh\n");
    let script = directory.text("script");
    // By another process: the kernel does not execute a file that this one may have open.
    let write = "echo '#!/no/such/interpreter' > $0; chmod 755 $0";
    assert!(Command::new("sh").args(["-c", write, &script]).status().unwrap().success());
    let socket = directory.text("socket");
    for (program, status) in [(plain.as_str(), 126), (&script, 127), ("/tmp", 126)] {
        run(["run", "--", program]).expect(status);
        run(["open", "--allow", "any-path", &socket, "--", program]).expect(status);
        assert!(!directory.path("socket").exists(), "{program}");
    }
    // Found by PATH, but not executable.
    let path = directory.path("").into_os_string();
    finish(netbind().args(["run", "--", "plain"]).env("PATH", &path)).expect(126);
    finish(
        netbind().args(["open", "--allow", "any-path", &socket, "--", "plain"]).env("PATH", path),
    )
    .expect(126);
}

#[test]
fn an_address_that_is_taken_or_denied_leaves_no_other_open() {
    let directory = Directory::new();
    let (first, taken) = (directory.text("first"), directory.write("taken", b""));
    let open = |last: &str| {
        let rule = format!("beneath {}", directory.text("").trim_end_matches('/'));
        run(["open", "--allow", &rule, &first, last, "--", "echo", "started"])
    };
    let refused = open(&taken);
    refused.expect(125).says("address in use");
    assert!(!refused.output.contains("started"));
    open("127.0.0.1:8001")
        .expect(125)
        .says("127.0.0.1:8001: denied; to allow it: --allow 'host 127.0.0.1 port 8001'");
    assert_eq!(directory.entries(), ["taken"]);
}

#[test]
fn supervision_that_is_not_possible_is_125() {
    // A supervised program cannot supervise.
    let inner = env!("CARGO_BIN_EXE_netbind");
    run(["run", "--", inner, "run", "--", "true"]).expect(125).says("supervision: ");
}

#[test]
fn control_characters_of_arguments_do_not_reach_the_terminal() {
    run(["check", "\x1b[31m:80"]).expect(125);
    for words in [
        &["check", "\x1b[31m\n:80"][..],
        &["run", "--\x1bx", "--", "true"],
        &["\x1bx"],
        &["run", "--", "/no/\x1b\n"],
        &["check", "--allow", "port \x1b", ":80"],
        &["check", "--policy", "/no/\x1b", ":80"],
        &["open", "--owner", "\x1b", "/x", "--", "true"],
    ] {
        let errors = run(words).errors;
        assert!(!errors.contains('\x1b'), "{errors:?}");
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (words, text) in [
        (&["--help"][..], "netbind run [POLICY]"),
        (&["-h"], "netbind run"),
        (&["help"], "netbind run"),
        (&["run", "--help"], "netbind run [OPTIONS]"),
        (&["open", "-h"], "netbind open [OPTIONS]"),
        (&["check", ":80", "--help"], "netbind check [OPTIONS]"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        assert!(run(words).expect(0).output.contains(text));
    }
    let mut full = netbind();
    full.arg("--help").stdout(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    finish(&mut full).expect(125).says("standard output: No space left");
}

#[test]
fn arguments_of_the_program_are_left_alone() {
    let finished = run(["run", "--", "echo", "--help", "--", "--udp"]);
    assert_eq!(finished.expect(0).output, "--help -- --udp\n");
    let words = [OsStr::new("run"), "--".as_ref(), "printf".as_ref(), OsStr::from_bytes(b"\xff")];
    let output = netbind().args(words).output().unwrap();
    assert_eq!(output.stdout, b"\xff");
}

#[test]
fn a_closed_standard_error_does_not_stop_the_program() {
    use std::os::unix::process::CommandExt;
    let mut command = netbind();
    let program = helper(&mut command, "bind", &[b"127.0.0.1:0"]);
    command.args(["run", "--allow", "port 0", "--"]).args(program);
    let close = || {
        // SAFETY: the number is a descriptor of the child, which nothing else uses.
        #[allow(unsafe_code)]
        let closed = unsafe { libc::close(2) };
        if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: it makes one system call.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(close)
    };
    finish(&mut command).expect(0);
}
