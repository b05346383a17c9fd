//! The open connections: a table of fixed size, in which the newest takes the place of the oldest.

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

/// How many connections are served at once.
pub const CONNECTIONS: usize = 16;

pub const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";

/// A full table does not keep anybody out: silent peers cannot hold all places for ever.
#[derive(Default)]
pub struct Connections {
    places: [Option<OwnedFd>; CONNECTIONS],
    next: usize,
}

impl Connections {
    pub fn add(&mut self, connection: OwnedFd) {
        self.replace(Some(connection));
    }

    /// Gives a descriptor back, where there is none left to accept with.
    pub fn drop_oldest(&mut self) {
        self.replace(None);
    }

    fn replace(&mut self, connection: Option<OwnedFd>) {
        if let Some(place) = self.places.get_mut(self.next % CONNECTIONS) {
            *place = connection;
        }
        self.next = self.next.wrapping_add(1);
    }

    /// What to wait for, place by place; an empty place waits for nothing on `idle`.
    pub fn interests<'a>(&'a self, idle: BorrowedFd<'a>) -> impl Iterator<Item = PollFd<'a>> {
        self.places.iter().map(move |place| match place {
            Some(connection) => PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::IN),
            None => PollFd::from_borrowed_fd(idle, PollFlags::empty()),
        })
    }

    /// Serves the places that something happened to.
    pub fn serve(&mut self, happened: impl Iterator<Item = bool>) {
        for (place, _) in self.places.iter_mut().zip(happened).filter(|(_, happened)| *happened) {
            if place.as_ref().is_some_and(|connection| !answer(connection)) {
                *place = None;
            }
        }
    }
}

/// Answers whatever was asked, and ends the sending; the connection stays until the peer ends as well, as closing it before
/// could take the answer back. Whether it is to stay.
fn answer(connection: &OwnedFd) -> bool {
    let mut request = [0; 512];
    match recv(connection, &mut request, RecvFlags::DONTWAIT) {
        Ok((_, 1..)) => {
            let _ = send(connection, ANSWER, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            shutdown(connection, Shutdown::Write).is_ok()
        }
        Ok(_) => false,
        Err(errno) => errno == rustix::io::Errno::AGAIN,
    }
}
