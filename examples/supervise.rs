//! Runs a program that may listen only where the rules say.
//!
//! ```text
//! cargo run --features enforce,std --example supervise -- \
//!     --allow 'port 8000' -- python3 -m http.server 8000
//! ```
//!
//! `--allow RULE` can be repeated. `--udp` judges UDP binds by the rules too. `--lend-ports` lends
//! the privilege for ports below 1024. It ends when the last supervised process has ended, with the
//! status of the program, or 128 plus the signal that killed it.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode};

use netbind::audit::{AuditSink, Record};
use netbind::enforce::Supervisor;
use netbind::{NetBind, Rights, Rule};

/// Prints each record to standard error.
struct Printer;

impl AuditSink for Printer {
    fn record(&self, record: &Record<'_>) {
        eprintln!("{record}");
    }
}

struct Arguments {
    rules: Vec<Rule>,
    udp: bool,
    lend_ports: bool,
    program: Vec<OsString>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1);
    let (mut rules, mut udp, mut lend_ports) = (Vec::new(), false, false);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--allow") => {
                let rule = words.next().ok_or("--allow needs a rule")?;
                rules.push(rule.to_str().ok_or("a rule must be UTF-8")?.parse()?);
            }
            Some("--udp") => udp = true,
            Some("--lend-ports") => lend_ports = true,
            Some("--") => break,
            _ => {
                return Err(
                    "usage: supervise [--allow RULE] [--udp] [--lend-ports] -- PROGRAM".into()
                );
            }
        }
    }
    Ok(Arguments { rules, udp, lend_ports, program: words.collect() })
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = arguments()?;
    let (program, rest) = arguments.program.split_first().ok_or("no program")?;
    let mut capability =
        NetBind::empty("supervise")?.with_rules(&arguments.rules).with_sink(&Printer);
    capability.grant(Rights::all());

    let (mut supervisor, supervised) = Supervisor::new(&capability)?;
    if arguments.udp {
        supervisor = supervisor.allow_udp();
    }
    if arguments.lend_ports {
        supervisor = supervisor.lend_privileged_ports();
    }
    let mut command = Command::new(program);
    command.args(rest);
    let mut child = supervised.spawn(command)?;
    while supervisor.step()?.is_some() {}
    let status = child.wait()?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
