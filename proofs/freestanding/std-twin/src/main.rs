//! The same server as `examples/freestanding`, written with std: parses addresses, listens, accepts
//! and answers.
//!
//! It has no capability, no deadline, no audit trail and no clean end, which makes it smaller.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::thread;

const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

fn answer(mut connection: impl Read + Write) {
    let _ = connection.read(&mut [0; 512]);
    let _ = connection.write_all(ANSWER);
}

fn serve(address: &str) -> Result<thread::JoinHandle<()>, Box<dyn std::error::Error>> {
    if let Some(path) = address.strip_prefix("unix:") {
        let listener = UnixListener::bind(path)?;
        println!("listening on {address}");
        return Ok(thread::spawn(move || listener.incoming().flatten().for_each(answer)));
    }
    let listener = TcpListener::bind(address.parse::<SocketAddr>()?)?;
    println!("listening on {}", listener.local_addr()?);
    Ok(thread::spawn(move || listener.incoming().flatten().for_each(answer)))
}

fn main() -> ExitCode {
    let mut threads = Vec::new();
    for address in std::env::args().skip(1) {
        match serve(&address) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                eprintln!("{address}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap_or(()));
    ExitCode::SUCCESS
}
