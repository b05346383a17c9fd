//! One connection: an HTTP request or an echo, under one deadline.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{Shutdown, shutdown};

const BODY: &str = "netbind is listening\n";

/// The time that a connection has in total.
const LIFETIME: Duration = Duration::from_secs(5);
/// The maximum length of an HTTP request line, and of the pieces in which a line is echoed.
const PIECE: u64 = 8 * 1024;
/// The maximum size of the headers of an HTTP request.
const HEADERS: u64 = 64 * 1024;

/// Answers an HTTP request, or echoes the first line.
pub(crate) fn exchange(connection: &File) -> io::Result<()> {
    let mut stream = Timed { connection, deadline: Instant::now() + LIFETIME };
    let mut input = BufReader::new(stream);
    let mut line = Vec::new();
    input.by_ref().take(PIECE).read_until(b'\n', &mut line)?;
    if line.windows(8).any(|part| part == b" HTTP/1.") {
        skip_headers(&mut input)?;
        stream.write_all(response(&line).as_bytes())?;
    } else {
        echo(line, &mut input, &mut stream)?;
    }
    // Closing with unread input would reset the connection, and could destroy the answer.
    shutdown(connection, Shutdown::Write)?;
    io::copy(&mut input, &mut io::sink())?;
    Ok(())
}

/// Reads up to the empty line after the headers.
fn skip_headers(input: &mut impl BufRead) -> io::Result<()> {
    let mut input = input.take(HEADERS);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 && line != b"\r\n" && line != b"\n" {
        line.clear();
    }
    Ok(())
}

fn response(request: &[u8]) -> String {
    let length = BODY.len();
    let body = if request.starts_with(b"HEAD ") { "" } else { BODY };
    format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// Echoes `piece` and the input after it, up to the end of the line or of the input.
fn echo(mut piece: Vec<u8>, input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    output.write_all(&piece)?;
    while !piece.is_empty() && !piece.ends_with(b"\n") {
        piece.clear();
        input.take(PIECE).read_until(b'\n', &mut piece)?;
        output.write_all(&piece)?;
    }
    Ok(())
}

/// A connection with one deadline for all reads and writes together.
#[derive(Clone, Copy)]
struct Timed<'a> {
    connection: &'a File,
    deadline: Instant,
}

impl Timed<'_> {
    /// Sets the timeout of the next call to the time that is left.
    fn limit(&self, direction: Timeout) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(set_socket_timeout(self.connection, direction, Some(left))?)
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.limit(Timeout::Recv)?;
        self.connection.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.limit(Timeout::Send)?;
        self.connection.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
