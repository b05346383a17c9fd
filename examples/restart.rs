//! Replaces itself by exec on SIGHUP, without losing a client of its TCP and Unix sockets.
//!
//! `cargo run --example restart --features std -- 127.0.0.1:8080 unix:/tmp/restart.sock`
//!
//! Each client gets a line, and must close within a second. SIGTERM removes the path and ends it.
//! After a failed exec it exits with 126, and the path stays.
#![allow(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::{env, error::Error, fs::File, mem, process, ptr, thread, time::Duration};

use netbind::{CancelEvent, Context, ListenOptions, Listener, MonotonicClock, NetBind};
use netbind::{SocketError, alloc::Global, fd::AsFd, inherit};
use rustix::net::{Shutdown, shutdown, sockopt};

fn main() -> Result<(), Box<dyn Error>> {
    // SAFETY: nothing else has used a descriptor yet.
    let inherited = unsafe { inherit::take() }?;
    // SAFETY: the set is an array of numbers, and without signals it is zero.
    let mut signals = unsafe { mem::zeroed() };
    for signal in [libc::SIGHUP, libc::SIGTERM] {
        // SAFETY: it changes the set.
        unsafe { libc::sigaddset(&raw mut signals, signal) };
    }
    // SAFETY: it reads the set. Blocked signals wait, even across the exec; SIGHUP would kill.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut()) };
    let program = env::current_exe()?; // before an upgrade renames the file
    let generation: u32 = env::var("GENERATION").map_or(Ok(0), |number| number.parse())?;
    let mut capability = NetBind::new("restart")?; // allows every Unix path
    capability.allow("host 127.0.0.0/8 port 0-65535".parse()?)?;
    let options = ListenOptions::new().capability(&capability).nonblocking(true);
    let adopted = inherited.map(|socket| options.adopt(socket.fd, Global));
    let mut listeners = adopted.collect::<Result<Vec<_>, _>>()?;
    for address in env::args().skip(1).filter(|_| generation == 0) {
        listeners.push(options.listen(&address, Global).map_err(|error| error.at(&address))?);
    }
    let (clock, stop, mut signal) = (MonotonicClock::new(), CancelEvent::new()?, 0);
    let context = Context::new(&clock).with_cancel_event(&stop);
    thread::scope(|scope| {
        for listener in &listeners {
            scope.spawn(|| serve(listener, &context, &format!("generation {generation}\n")));
        }
        println!("generation {generation} is ready");
        // SAFETY: it reads the set and writes the number.
        unsafe { libc::sigwait(&raw const signals, &raw mut signal) };
        stop.cancel(); // the scope ends when the accepted clients are served
    });
    if signal == libc::SIGTERM {
        return Ok(listeners.iter_mut().try_for_each(|listener| listener.remove_path(true))?);
    }
    let mut command = process::Command::new(&program);
    command.args(env::args_os().skip(1)).env("GENERATION", (generation + 1).to_string());
    let mut sockets: Vec<_> = listeners.iter().map(|socket| (socket.as_fd(), "restart")).collect();
    // SAFETY: the process executes the program or exits.
    let error = unsafe { inherit::pass(&mut sockets) }.map_or_else(io::Error::other, |variables| {
        command.envs(variables.map(|v| (v.name(), v.value().to_string()))).exec()
    });
    eprintln!("restart: {}: {error}", program.display());
    process::exit(126)
}

fn serve(listener: &Listener<Global>, context: &Context<'_>, answer: &str) {
    loop {
        match listener.accept_with_context(context) {
            Ok((connection, _)) => drop(exchange(connection.into(), answer.as_bytes())),
            Err(SocketError::Timeout) => return,
            Err(_) => thread::sleep(Duration::from_millis(100)), // out of descriptors or memory
        }
    }
}

/// Waits for the client's end, because closing with unread input would reset the connection.
fn exchange(mut connection: File, answer: &[u8]) -> io::Result<u64> {
    connection.write_all(answer)?;
    shutdown(&connection, Shutdown::Write)?;
    sockopt::set_socket_timeout(&connection, sockopt::Timeout::Recv, Some(Duration::from_secs(1)))?;
    io::copy(&mut connection.take(4096), &mut io::sink())
}
