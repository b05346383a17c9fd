//! Opens all given addresses with a capability, a deadline and an audit trail, and serves them.
//!
//! ```text
//! cargo run --example listen -- 127.0.0.1:8080 '[::1]:8080' unix:/tmp/janus.sock
//! curl http://127.0.0.1:8080/
//! echo hello | nc -N -U /tmp/janus.sock
//! ```
//!
//! - An HTTP request is answered with a line of text. Its request line has at most 8 KiB.
//! - Other input is echoed up to the end of its first line, which may have any length.
//! - A connection ends after 5 seconds at most, finished or not.
//! - 64 connections are served at the same time; further clients wait in the kernel's queue.
//!
//! SIGINT (Ctrl-C) and SIGTERM end the program through its context. It then removes its socket
//! files. The exit status is documented by `--help`.

mod arguments;
mod connection;
mod policy;
mod server;

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use bumpalo::Bump;
use netbind::audit::Reader;
use netbind::{
    AuditRing, BindAddress, CancelFlag, Context, ListenOptions, MonotonicClock, NetBind, Rights,
    Rule, SocketError,
};

use crate::arguments::{Arguments, USAGE};

/// Set by the signal handler.
static STOP: CancelFlag = CancelFlag::new();

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            print_error(format_args!("{message} (try --help)"));
            return ExitCode::from(2);
        }
    };
    let result = if arguments.help { print(USAGE).map_err(Into::into) } else { run(&arguments) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(error);
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. `print!` would panic if that fails.
fn print(text: &str) -> Result<(), String> {
    let mut stdout = io::stdout();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| format!("standard output: {error}"))
}

/// Writes a message to standard error. There is no place to report that this fails.
fn print_error(message: impl Display) {
    let _ = io::stderr().write_all(format!("listen: {message}\n").as_bytes());
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    catch_signals()?;
    let memory = Bump::new();
    let clock = MonotonicClock::new();
    let service = Context::new(&clock).with_cancel(&STOP);
    let ring = AuditRing::new_in(256, &memory)?.with_clock(&clock);
    let rules = arguments.policy.as_deref().map(policy::read).transpose()?;
    let mut capability = match &rules {
        Some(rules) => NetBind::empty("listen")?.with_rules(rules),
        None => NetBind::new("listen")?,
    };
    if rules.is_some() {
        capability.grant(Rights::all());
    }
    if arguments.allow_abstract {
        capability.grant(Rights::NET_BIND_ABSTRACT).allow(Rule::any_abstract())?;
    }
    for port in &arguments.ports {
        capability.allow_port(*port).map_err(|error| format!("--allow-port {port}: {error}"))?;
    }
    let mut opening = service.child();
    if let Some(timeout) = arguments.timeout {
        opening = opening.with_timeout(timeout);
    }
    let capability = capability.with_sink(&ring);
    let options = ListenOptions::new().context(&opening).capability(&capability).nonblocking(true);

    let addresses = parse_addresses(&arguments.addresses)?;
    let mut trail = ring.reader();
    let mut listeners = Vec::new();
    for address in &addresses {
        let opened = options.listen_on(address, &memory);
        print_trail(&mut trail);
        let listener = opened.map_err(|error| match opening.cause() {
            Some(cause) => format!("{} ({cause})", error.at(address)),
            None => error.at(address).to_string(),
        })?;
        let local = listener.local_address().map_err(|error| error.at(address))?;
        print(&format!("listening on {local}\n"))?;
        listeners.push((local, listener));
    }
    server::serve(&listeners, &service)?;
    for (address, listener) in listeners {
        listener.close().map_err(|error| error.at(address))?;
    }
    Ok(())
}

fn catch_signals() -> io::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // SAFETY: the handler is one atomic store, which is async-signal-safe.
        #[allow(unsafe_code)]
        unsafe {
            signal_hook::low_level::register(signal, || STOP.cancel())?
        };
    }
    Ok(())
}

/// Parses all addresses, so that nothing is opened if one of them is malformed.
fn parse_addresses(texts: &[OsString]) -> Result<Vec<BindAddress>, Box<dyn Error>> {
    let parse = |text: &OsString| {
        BindAddress::parse(text.as_bytes())
            .map_err(|error| SocketError::from(error).at(text.display()).into())
    };
    texts.iter().map(parse).collect()
}

/// Prints the new records, each with one write, so that lines of several processes do not mix.
fn print_trail(trail: &mut Reader<'_>) {
    for entry in trail.by_ref() {
        let _ = io::stderr().write_all(format!("{entry}\n").as_bytes());
    }
    if trail.missed() > 0 {
        print_error(format_args!("{} audit records missed", trail.missed()));
    }
}
