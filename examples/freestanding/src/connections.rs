//! The open connections: a table of fixed size, in which the newest replaces the oldest.

use core::mem::MaybeUninit;
use core::time::Duration;

use netbind::time::Instant;
use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

/// The maximum number of connections that are open at the same time.
pub const CONNECTIONS: usize = 16;

/// The time that a connection has in total.
const LIFETIME: Duration = Duration::from_secs(5);

pub const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

struct Connection {
    socket: OwnedFd,
    deadline: Instant,
}

/// If the table is full, a new connection closes the oldest, so slow clients lock out no others.
pub struct Connections {
    places: [Option<Connection>; CONNECTIONS],
    /// The place of the next connection, which is that of the oldest.
    next: usize,
}

impl Connections {
    pub const fn new() -> Self {
        Self { places: [const { None }; CONNECTIONS], next: 0 }
    }

    /// Returns the place that the next connection gets.
    pub fn next_place(&self) -> usize {
        self.next % CONNECTIONS
    }

    pub fn is_empty(&self) -> bool {
        self.places.iter().all(Option::is_none)
    }

    pub fn add(&mut self, socket: OwnedFd, now: Instant) {
        self.replace_oldest(Some(Connection { socket, deadline: now + LIFETIME }));
    }

    pub fn close_oldest(&mut self) {
        self.replace_oldest(None);
    }

    #[inline(never)]
    fn replace_oldest(&mut self, connection: Option<Connection>) {
        if let Some(place) = self.places.get_mut(self.next % CONNECTIONS) {
            *place = connection;
        }
        self.next = self.next.wrapping_add(1);
    }

    /// Closes the connections whose deadline has passed.
    pub fn close_expired(&mut self, now: Instant) {
        for place in &mut self.places {
            if place.as_ref().is_some_and(|connection| connection.deadline <= now) {
                *place = None;
            }
        }
    }

    /// Serves the connection at `place`, which has become readable.
    pub fn serve(&mut self, place: usize) {
        if let Some(place) = self.places.get_mut(place)
            && place.as_ref().is_some_and(|connection| !answer(&connection.socket))
        {
            *place = None;
        }
    }
}

/// Answers the first bytes of a client. Returns false if the connection is at its end.
///
/// Closing while the client still sends could destroy the answer. So only the sending side is shut
/// down, and more bytes are read and dropped until the client ends too.
fn answer(socket: &OwnedFd) -> bool {
    let mut request = [MaybeUninit::<u8>::uninit(); 512];
    match recv(socket, &mut request, RecvFlags::DONTWAIT) {
        Ok((_, 1..)) => {
            // After the shutdown it fails, so that only the first bytes are answered.
            let _ = send(socket, ANSWER, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            shutdown(socket, Shutdown::Write).is_ok()
        }
        Ok(_) => false,
        Err(errno) => errno == rustix::io::Errno::AGAIN,
    }
}
