//! Serves the sockets that systemd passes to it, if the rules on the command line allow them.
//!
//! `systemd-socket-activate -l 8080 target/debug/examples/activated --allow 'port 8080'`
//!
//! Each client gets a line with the name and address of the socket. Standard error gets the audit
//! trail. If a socket is not allowed, the program serves none, and exits with 1.

use std::io::{self, Read, Write};
use std::{error::Error, fs::File, process::ExitCode, thread, time::Duration};

use netbind::alloc::Global;
use netbind::audit::{AuditSink, Record};
use netbind::{Context, ListenOptions, Listener, MonotonicClock, NetBind, Rights, Rule, inherit};
use rustix::net::{Shutdown, shutdown, sockopt};

/// Prints the audit records.
struct StandardError;

impl AuditSink for StandardError {
    fn record(&self, record: &Record<'_>) {
        eprintln!("{record}");
    }
}

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("activated: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    // SAFETY: nothing else has used a descriptor yet.
    #[allow(unsafe_code)]
    let inherited = unsafe { inherit::take() }?;
    if inherited.len() == 0 {
        return Err("no sockets were passed: start it with systemd-socket-activate".into());
    }
    let words: Vec<_> = std::env::args().skip(1).collect();
    let rules = words.chunks(2).map(|words| match words {
        [flag, rule] if flag == "--allow" => Rule::parse(rule).map_err(|e| format!("{rule}: {e}")),
        _ => Err("usage: activated --allow RULE ...".into()),
    });
    let rules = rules.collect::<Result<Vec<_>, String>>()?;
    let mut capability = NetBind::empty("activated")?.with_rules(&rules).with_sink(&StandardError);
    capability.grant(Rights::all());
    let options = ListenOptions::new().capability(&capability).nonblocking(true);
    let mut listeners = Vec::new();
    for socket in inherited {
        let adopted = options.adopt(socket.fd, Global);
        let listener = adopted.map_err(|error| format!("socket {}: {error}", socket.name))?;
        let greeting = format!("{} {}\n", socket.name, listener.local_address()?);
        listeners.push((listener, greeting));
    }
    thread::scope(|scope| {
        for (listener, greeting) in &listeners {
            scope.spawn(|| serve(listener, greeting));
        }
    });
    Ok(())
}

fn serve(listener: &Listener<Global>, greeting: &str) {
    let clock = MonotonicClock::new();
    loop {
        match listener.accept_with_context(&Context::new(&clock)) {
            Ok((connection, _)) => drop(exchange(connection.into(), greeting.as_bytes())),
            Err(_) => thread::sleep(Duration::from_millis(100)), // out of descriptors or memory
        }
    }
}

/// Waits for the client's end, because closing with unread input would reset the connection.
fn exchange(mut connection: File, greeting: &[u8]) -> io::Result<u64> {
    connection.write_all(greeting)?;
    shutdown(&connection, Shutdown::Write)?;
    sockopt::set_socket_timeout(&connection, sockopt::Timeout::Recv, Some(Duration::from_secs(1)))?;
    io::copy(&mut connection.take(4096), &mut io::sink())
}
