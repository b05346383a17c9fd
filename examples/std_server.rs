//! Opens a listener with netbind and serves it with `std::net`.
//!
//! ```text
//! cargo run --example std_server --features std -- 127.0.0.1:8080
//! ```
//!
//! It echoes the bytes of one client, which may be `nc 127.0.0.1 8080`, and ends.

use std::error::Error;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread;

use netbind::alloc::Global;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = open(&address)?;
    println!("listening on {}", listener.local_addr()?);

    let server = thread::spawn(move || -> io::Result<u64> {
        let (client, peer) = listener.accept()?;
        println!("connected to {peer}");
        echo(&client)
    });
    let bytes = server.join().map_err(|_| "the server thread panicked")??;
    println!("echoed {bytes} bytes");
    Ok(())
}

/// Opens a TCP listener. An error has the address, the failed system call and the errno.
fn open(address: &str) -> Result<TcpListener, Box<dyn Error>> {
    let listener = netbind::listen(address, Global).map_err(|error| error.at(address))?;
    // It fails for a Unix socket, which converts into a `std::os::unix::net::UnixListener`.
    Ok(TcpListener::try_from(listener).map_err(|error| format!("{address}: {error}"))?)
}

/// Sends back all bytes until the client ends.
fn echo(client: &TcpStream) -> io::Result<u64> {
    let (mut input, mut output) = (client, client);
    io::copy(&mut input, &mut output)
}
