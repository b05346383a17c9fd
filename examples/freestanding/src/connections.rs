//! The open connections: a table of fixed size, in which the newest takes the place of the oldest.

use core::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

/// How many connections are served at once.
pub const CONNECTIONS: usize = 16;

pub const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

/// A full table does not keep anybody out: silent peers cannot hold all places for ever.
pub struct Connections {
    places: [Option<OwnedFd>; CONNECTIONS],
    next: usize,
}

impl Connections {
    pub const fn new() -> Self {
        Self { places: [const { None }; CONNECTIONS], next: 0 }
    }

    /// The place that the next connection takes.
    pub fn place(&self) -> usize {
        self.next % CONNECTIONS
    }

    /// Puts a connection, or none, in the place of the oldest.
    #[inline(never)]
    pub fn replace(&mut self, connection: Option<OwnedFd>) {
        if let Some(place) = self.places.get_mut(self.next % CONNECTIONS) {
            *place = connection;
        }
        self.next = self.next.wrapping_add(1);
    }

    /// Serves the connection at this place, to which something happened.
    pub fn serve(&mut self, place: usize) {
        if let Some(place) = self.places.get_mut(place)
            && place.as_ref().is_some_and(|connection| !answer(connection))
        {
            *place = None;
        }
    }
}

/// Answers whatever was asked, and ends the sending; the connection stays until the peer ends as well, as closing it before
/// could take the answer back. Whether it is to stay.
fn answer(connection: &OwnedFd) -> bool {
    let mut request = [MaybeUninit::<u8>::uninit(); 512];
    match recv(connection, &mut request, RecvFlags::DONTWAIT) {
        Ok((_, 1..)) => {
            let _ = send(connection, ANSWER, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            shutdown(connection, Shutdown::Write).is_ok()
        }
        Ok(_) => false,
        Err(errno) => errno == rustix::io::Errno::AGAIN,
    }
}
