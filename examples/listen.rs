//! Opens every address that it is given, with authority, a deadline and a trace, and serves on all of them until Ctrl-C.
//!
//! ```text
//! cargo run --example listen -- 127.0.0.1:8080 '[::1]:8080' unix:/tmp/janus.sock
//! curl http://127.0.0.1:8080/          # or a browser
//! echo hello | nc -N -U /tmp/janus.sock
//! ```
//!
//! This is std's side of the house: threads, a heap and a signal library. What it opens goes through the sovereign path,
//! and Ctrl-C ends it through the context.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bumpalo::Bump;
use netbind::{
    AuditRing, BindAddress, CancelFlag, Context, ListenOptions, Listener, MonotonicClock, NetBind, Reader, Rights,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

const USAGE: &str = "\
Opens every ADDRESS and serves on all of them until Ctrl-C.

usage: listen [--allow-port N]... [--timeout-ms N] [ADDRESS]...

  ADDRESS         :PORT, IPV4:PORT, [IPV6]:PORT, unix:PATH, /PATH or unix:@NAME
                  (127.0.0.1:8080 when there is none)
  --allow-port N  lets the capability open port N too; 8080, 3000 and 8000
                  are allowed, and 0 (any free port) has to be allowed by name
  --allow-abstract lets it open abstract names (unix:@NAME) too
  --timeout-ms N  gives up opening after N milliseconds
  --help          prints this

`listening on ADDRESS` goes to standard output, the audit trail to standard error.
Exit status: 0 after Ctrl-C, 1 when an address could not be opened, 2 for wrong usage.";

/// Raised by the signal handler.
static STOP: CancelFlag = CancelFlag::new();

struct Arguments {
    addresses: Vec<OsString>,
    ports: Vec<u16>,
    abstract_names: bool,
    timeout: Option<Duration>,
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args_os().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(wrong) => {
            eprintln!("listen: {wrong} (try --help)");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("listen: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// `None` is a call for help.
fn arguments(mut words: impl Iterator<Item = OsString>) -> Result<Option<Arguments>, String> {
    fn number<T: std::str::FromStr>(option: &str, word: Option<OsString>) -> Result<T, String> {
        let word = word.ok_or_else(|| format!("{option} needs a number"))?;
        let word = word.to_string_lossy();
        word.parse().map_err(|_| format!("{option} {word}: not a number in range"))
    }
    let mut arguments = Arguments { addresses: Vec::new(), ports: Vec::new(), abstract_names: false, timeout: None };
    while let Some(word) = words.next() {
        match word.to_string_lossy().as_ref() {
            "--help" | "-h" => return Ok(None),
            "--allow-port" => arguments.ports.push(number("--allow-port", words.next())?),
            "--allow-abstract" => arguments.abstract_names = true,
            "--timeout-ms" => {
                arguments.timeout = Some(Duration::from_millis(number("--timeout-ms", words.next())?));
            }
            option if option.starts_with('-') => return Err(format!("{option}: no such option")),
            _ => arguments.addresses.push(word),
        }
    }
    if arguments.addresses.is_empty() {
        arguments.addresses.push("127.0.0.1:8080".into());
    }
    Ok(Some(arguments))
}

fn run(arguments: &Arguments) -> Result<(), String> {
    catch_signals().map_err(|error| format!("cannot handle Ctrl-C: {error}"))?;
    let memory = Bump::new();
    let clock = MonotonicClock::new();
    let service = Context::new(&clock).with_cancel(&STOP);
    let ring = AuditRing::new_in(256, &memory).map_err(|error| error.to_string())?.with_clock(&clock);
    let mut trail = ring.reader();
    let mut capability = NetBind::new("listen").map_err(|error| error.to_string())?.with_sink(&ring);
    if arguments.abstract_names {
        capability.grant(Rights::NET_BIND_ABSTRACT);
    }
    for port in &arguments.ports {
        capability.allow_port(*port).map_err(|error| format!("--allow-port {port}: {error}"))?;
    }
    let mut opening = service.child();
    if let Some(timeout) = arguments.timeout {
        opening = opening.with_timeout(timeout);
    }
    let options = ListenOptions::new().context(&opening).capability(&capability).nonblocking(true);
    let addresses = parse(&arguments.addresses)?;
    let mut listeners = Vec::new();
    for address in &addresses {
        let opened = options.listen_on(address, &memory);
        print_trail(&mut trail);
        let listener = opened.map_err(|error| match opening.cause() {
            Some(cause) => format!("{address}: {error} ({cause})"),
            None => format!("{address}: {error}"),
        })?;
        let local = listener.local_address().map_err(|error| format!("{address}: {error}"))?;
        writeln!(io::stdout(), "listening on {local}").map_err(|error| format!("standard output: {error}"))?;
        listeners.push(listener);
    }
    serve(&listeners, &service)?;
    for (listener, address) in listeners.into_iter().zip(&addresses) {
        listener.close().map_err(|error| format!("{address}: {error}"))?;
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

/// All of them before the first is opened, so that a slip of the pen opens nothing.
fn parse(texts: &[OsString]) -> Result<Vec<BindAddress>, String> {
    let parse = |text: &OsString| {
        BindAddress::parse(text.as_bytes()).map_err(|error| format!("\"{}\": {error}", text.as_bytes().escape_ascii()))
    };
    texts.iter().map(parse).collect()
}

fn print_trail(trail: &mut Reader<'_>) {
    // A line at a time, so that lines of several processes do not mix; nobody is there to be told that it failed.
    let print = |line: String| io::stderr().write_all(line.as_bytes());
    for entry in trail.by_ref() {
        let _ = print(format!("{entry}\n"));
    }
    if trail.missed() > 0 {
        let _ = print(format!("missed={}\n", trail.missed()));
    }
}

/// Waits for connections on all listeners at once, until the context says stop.
fn serve(listeners: &[Listener<&Bump>], context: &Context<'_>) -> Result<(), String> {
    // A signal that comes between the look at the context and the wait does not interrupt the wait: so it is short.
    let wait = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };
    while context.cause().is_none() {
        let mut waiting: Vec<_> = listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
        match poll(&mut waiting, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(format!("poll: {errno}")),
        }
        let ready: Vec<bool> = waiting.iter().map(|waiting| !waiting.revents().is_empty()).collect();
        for (listener, _) in listeners.iter().zip(ready).filter(|(_, ready)| *ready) {
            accept(listener)?;
        }
    }
    Ok(())
}

fn accept(listener: &Listener<&Bump>) -> Result<(), String> {
    match listener.accept() {
        Ok((connection, _peer)) => spawn(File::from(connection)),
        Err(error) if error.is_would_block() || error.is_interrupted() || error.is_connection_lost() => {}
        // The connection stays in the queue: without a pause this would spin.
        Err(error) if error.is_exhausted() => std::thread::sleep(Duration::from_millis(50)),
        Err(error) => return Err(error.to_string()),
    }
    Ok(())
}

/// One thread for each connection, and only so many of them; a connection beyond is closed at once.
fn spawn(connection: File) {
    static BUSY: AtomicUsize = AtomicUsize::new(0);
    if BUSY.fetch_add(1, Ordering::Relaxed) < 64 {
        let talk = move || {
            let _ = exchange(connection);
            BUSY.fetch_sub(1, Ordering::Relaxed);
        };
        if std::thread::Builder::new().spawn(talk).is_ok() {
            return;
        }
    }
    BUSY.fetch_sub(1, Ordering::Relaxed);
}

/// Reads one line; answers a browser in HTTP, and everybody else with the line.
fn exchange(mut connection: File) -> io::Result<()> {
    for direction in [Timeout::Recv, Timeout::Send] {
        set_socket_timeout(&connection, direction, Some(Duration::from_secs(5)))?;
    }
    let mut text = [0; 4096];
    let mut length = 0;
    while length < text.len() && !is_whole(&text[..length]) {
        match connection.read(&mut text[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let text = &text[..length];
    if !is_http(text) {
        return connection.write_all(text);
    }
    let body = if text.starts_with(b"HEAD ") { "" } else { BODY };
    let head = format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", BODY.len());
    connection.write_all(format!("{head}{body}").as_bytes())
}

const BODY: &str = "netbind is listening\n";

fn is_http(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').next().is_some_and(|line| line.windows(8).any(|part| part == b" HTTP/1."))
}

/// A request ends with an empty line, anything else with its first.
fn is_whole(text: &[u8]) -> bool {
    if is_http(text) { text.windows(4).any(|end| end == b"\r\n\r\n") } else { text.contains(&b'\n') }
}
