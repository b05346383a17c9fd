//! Signals of `netbind run`.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::{io, ptr};

use crate::support::{Running, finish, kill, netbind};

/// Says `ready`, and then each signal that it gets. It ends with 3 by USR1.
const PROGRAM: &str = "
    for signal in INT TERM HUP QUIT USR2 WINCH CONT; do trap \"echo $signal\" $signal; done
    trap 'exit 3' USR1
    echo ready $$
    while :; do read line; done";

fn start(script: &str) -> Running {
    let mut running = Running::start(netbind().args(["run", "--", "sh", "-c", script]));
    assert!(running.line().starts_with("ready"));
    running
}

#[test]
fn every_signal_reaches_the_program() {
    let mut running = start(PROGRAM);
    let signals = [
        (libc::SIGINT, "INT"),
        (libc::SIGTERM, "TERM"),
        (libc::SIGHUP, "HUP"),
        (libc::SIGQUIT, "QUIT"),
        (libc::SIGUSR2, "USR2"),
        (libc::SIGWINCH, "WINCH"),
        (libc::SIGCONT, "CONT"),
    ];
    for (signal, name) in signals {
        running.signal(signal);
        assert_eq!(running.line(), name);
    }
    running.signal(libc::SIGUSR1);
    running.finish().expect(3);
}

#[test]
fn sigterm_to_the_tool_ends_the_program() {
    let running = start("echo ready; read line");
    running.signal(libc::SIGTERM);
    running.finish().expect(128 + libc::SIGTERM);
}

#[test]
fn sigterm_reaches_a_program_of_another_user() {
    if !crate::support::is_root("sigterm_reaches_a_program_of_another_user") {
        return;
    }
    // After the first bind, the supervisor has no privilege to signal other users.
    let program = "import socket
socket.socket().bind(('127.0.0.1', 0))
print('ready', flush=True)
input()";
    let mut command = netbind();
    command.args(["run", "--allow", "port 0", "--", "setpriv", "--reuid=65534", "--regid=65534"]);
    command.args(["--clear-groups", "/usr/bin/python3", "-c", program]);
    let mut running = Running::start(&mut command);
    assert_eq!(running.line(), "ready");
    running.signal(libc::SIGTERM);
    running.finish().expect(128 + libc::SIGTERM);
}

#[test]
fn a_program_that_was_left_behind_ends_with_the_tool() {
    // The program ends, and its child keeps the supervision alive.
    let mut running = start("exec 3<&0; (read line <&3) & echo ready; exit 0");
    let status = loop {
        // Until the tool knows of the end of the program, the signal has no effect.
        running.signal(libc::SIGTERM);
        if let Some(status) = running.child.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(128 + libc::SIGTERM));
}

#[test]
fn the_tool_works_where_the_end_of_children_is_ignored() {
    let mut command = netbind();
    command.args(["run", "--", "sh", "-c", "exit 4"]);
    let ignore = || {
        // SAFETY: ignoring needs no handler.
        #[allow(unsafe_code)]
        unsafe {
            libc::signal(libc::SIGCHLD, libc::SIG_IGN)
        };
        Ok(())
    };
    // SAFETY: it makes one system call.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(ignore)
    };
    finish(&mut command).expect(4);
}

/// Opens a pseudo terminal.
fn terminal() -> (File, OwnedFd) {
    let (mut control, mut terminal) = (0, 0);
    let none = ptr::null_mut();
    // SAFETY: both numbers are valid for the call, and the rest is optional.
    #[allow(unsafe_code)]
    let opened = unsafe {
        libc::openpty(&raw mut control, &raw mut terminal, none, ptr::null(), ptr::null())
    };
    assert_eq!(opened, 0);
    // SAFETY: the call has opened it.
    #[allow(unsafe_code)]
    let control = unsafe { File::from_raw_fd(control) };
    // SAFETY: the call has opened it.
    #[allow(unsafe_code)]
    let terminal = unsafe { OwnedFd::from_raw_fd(terminal) };
    (control, terminal)
}

/// Starts a command whose terminal is this one.
fn start_in(terminal: &OwnedFd, mut command: Command) -> std::process::Child {
    let copy = || Stdio::from(terminal.try_clone().unwrap());
    command.stdin(copy()).stdout(copy()).stderr(copy());
    let take = || {
        // SAFETY: the call has no arguments.
        #[allow(unsafe_code)]
        let session = unsafe { libc::setsid() };
        // SAFETY: the call takes numbers only.
        #[allow(unsafe_code)]
        let taken = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
        if session < 0 || taken < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: it makes system calls only.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(take)
    };
    command.spawn().unwrap()
}

#[test]
fn control_c_reaches_the_program_once() {
    let (mut control, terminal) = terminal();
    let mut command = Command::new(env!("CARGO_BIN_EXE_netbind"));
    command.args(["run", "--", "sh", "-c", PROGRAM]);
    let mut child = start_in(&terminal, command);
    let mut lines = BufReader::new(control.try_clone().unwrap()).lines().map_while(Result::ok);
    assert!(lines.next().unwrap().starts_with("ready"));
    // A second signal can be merged with the first, but not each time.
    for _ in 0..20 {
        control.write_all(b"\x03").unwrap();
        assert!(lines.next().unwrap().ends_with("INT"));
        kill(child.id(), libc::SIGUSR2);
        assert_eq!(lines.next().unwrap(), "USR2");
    }
    kill(child.id(), libc::SIGUSR1);
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn control_c_reaches_a_program_in_another_process_group() {
    let (mut control, terminal) = terminal();
    let mut command = Command::new(env!("CARGO_BIN_EXE_netbind"));
    command.args(["run", "--", "setsid", "sh", "-c", PROGRAM]);
    let mut child = start_in(&terminal, command);
    let mut lines = BufReader::new(control.try_clone().unwrap()).lines().map_while(Result::ok);
    assert!(lines.next().unwrap().starts_with("ready"));
    control.write_all(b"\x03").unwrap();
    assert!(lines.next().unwrap().ends_with("INT"));
    kill(child.id(), libc::SIGUSR1);
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn control_z_stops_the_tool_with_the_program() {
    let (mut control, terminal) = terminal();
    // The shell starts the tool as a job, and `fg` continues it.
    let script = r#"set -m; "$@"; echo stopped; fg; echo ended $?"#;
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_netbind"), "run", "--"]);
    command.args(["sh", "-c", "echo ready; read line; exit 6"]);
    let mut child = start_in(&terminal, command);
    let mut lines = BufReader::new(control.try_clone().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("ready")));
    control.write_all(b"\x1a").unwrap();
    assert!(lines.any(|line| line.contains("stopped")));
    control.write_all(b"line\n").unwrap();
    assert!(lines.any(|line| line.contains("ended 6")));
    child.wait().unwrap();
}
