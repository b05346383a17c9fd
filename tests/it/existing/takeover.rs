//! A server takes over from another one while clients connect. No client is refused.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use allocator_api2::alloc::Global;
use netbind::{
    CancelEvent, Context, Existing, ListenOptions, Listener, MonotonicClock, SocketError,
};

use super::{AtEnd, in_directory, names};
use crate::support::thread::{in_isolation, join, spawn};

const CLIENTS: usize = 2;
const TAKEOVERS: u32 = 100;

/// What the servers and the clients share.
struct Shared {
    /// The number of connections that each client has ended, or [`FINISHED`].
    ended: [AtomicU32; CLIENTS],
    /// The number of servers that were opened. Each has an event that the next one cancels.
    opened: AtomicU32,
    superseded: Vec<CancelEvent>,
    /// A thread has panicked, so the others need not wait for it.
    failed: AtomicBool,
}

const FINISHED: u32 = u32::MAX / CLIENTS as u32;

impl Shared {
    fn new() -> Self {
        Self {
            ended: [const { AtomicU32::new(0) }; CLIENTS],
            opened: AtomicU32::new(0),
            superseded: (0..=TAKEOVERS).map(|_| CancelEvent::new().unwrap()).collect(),
            failed: AtomicBool::new(false),
        }
    }

    fn note_panic(&self) {
        self.failed.fetch_or(std::thread::panicking(), Ordering::AcqRel);
    }

    fn counts(&self) -> [u32; CLIENTS] {
        self.ended.each_ref().map(|ended| ended.load(Ordering::Acquire))
    }

    /// Returns true if each client has ended the connection that it had begun at these counts, so
    /// that it has looked up the path since.
    fn have_all_gone_on(&self, counts: [u32; CLIENTS]) -> bool {
        let has_gone_on = |(now, before)| now == FINISHED || now > before;
        self.failed.load(Ordering::Acquire)
            || self.counts().into_iter().zip(counts).all(has_gone_on)
    }
}

fn answer(connection: OwnedFd) {
    let (mut connection, mut number) = (UnixStream::from(connection), [0; 4]);
    connection.read_exact(&mut number).unwrap();
    connection.write_all(&number).unwrap();
}

/// Serves as the server with this number, until the next one has taken over and no client can
/// be on its way to this one. Returns the number of connections.
fn serve(listener: &Listener<Global>, number: u32, shared: &Shared) -> u32 {
    let clock = MonotonicClock::new();
    let superseded = &shared.superseded[number as usize];
    let context = Context::new(&clock).with_cancel_event(superseded);
    let mut served = 0;
    loop {
        match listener.accept_with_context(&context) {
            Ok((connection, _)) => answer(connection),
            Err(SocketError::Timeout) => break,
            Err(error) => panic!("{error}"),
        }
        served += 1;
    }
    let counts = shared.counts();
    loop {
        // Before the queue is emptied, because the last client can be in it.
        let is_last = shared.have_all_gone_on(counts);
        while let Ok((connection, _)) = listener.accept() {
            answer(connection);
            served += 1;
        }
        if is_last {
            return served;
        }
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Opens every second server, from this number on. Returns the number of connections.
fn take_turns(first: u32, connections: u32, path: &Path, shared: &Shared) -> u32 {
    let _at_end = AtEnd(|| shared.note_panic());
    let address = format!("unix:{}", path.display());
    let options = ListenOptions::new().nonblocking(true).existing(Existing::Replace).mode(0o600);
    let mut served = 0;
    for number in (first..=TAKEOVERS).step_by(2) {
        let is_time = || {
            let ended: u32 = shared.counts().iter().sum();
            shared.opened.load(Ordering::Acquire) == number
                && ended >= connections * number / (TAKEOVERS + 1)
        };
        while !is_time() && !shared.failed.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_micros(50));
        }
        let mut listener = options.listen(&address, Global).unwrap();
        shared.opened.store(number + 1, Ordering::Release);
        if number > 0 {
            shared.superseded[number as usize - 1].cancel();
        }
        if number == TAKEOVERS {
            listener.keep_path();
        }
        served += serve(&listener, number, shared);
        listener.close().unwrap();
    }
    served
}

/// Makes connections, each of which must be answered.
fn connect(path: &Path, client: usize, connections: u32, shared: &Shared) {
    let _at_end = AtEnd(|| {
        shared.note_panic();
        shared.ended[client].store(FINISHED, Ordering::Release);
    });
    while shared.opened.load(Ordering::Acquire) == 0 && !shared.failed.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    for number in 0..connections / CLIENTS as u32 {
        let case = || {
            let opened = shared.opened.load(Ordering::Acquire);
            format!("connection {number} of client {client}, server {opened}")
        };
        let connected = UnixStream::connect(path);
        let mut connection = connected.unwrap_or_else(|error| panic!("{}: {error}", case()));
        let mut answer = Vec::new();
        connection.write_all(&number.to_ne_bytes()).unwrap();
        let answered = connection.read_to_end(&mut answer);
        assert!(answered.is_ok_and(|length| length == 4), "{}", case());
        assert_eq!(answer, number.to_ne_bytes(), "{}", case());
        shared.ended[client].fetch_add(1, Ordering::AcqRel);
    }
}

/// Lets two servers take over from each other while two clients make this number of connections.
pub(super) fn take_over(connections: u32) {
    in_directory(|directory| {
        let (path, shared) = (&directory.join("s"), &Shared::new());
        let served: u32 = std::thread::scope(|scope| {
            // The servers share the events, and so the descriptors of this thread.
            let serve = |first| move || take_turns(first, connections, path, shared);
            let servers = [0, 1].map(|first| spawn(scope, serve(first)));
            let client =
                |number| move || in_isolation(|| connect(path, number, connections, shared));
            let clients = [0, 1].map(|number| spawn(scope, client(number)));
            let ended = clients.map(std::thread::ScopedJoinHandle::join);
            shared.superseded.iter().for_each(CancelEvent::cancel);
            assert!(ended.iter().all(Result::is_ok), "a client has failed");
            servers.into_iter().map(join).sum()
        });
        assert_eq!((served, shared.opened.load(Ordering::Acquire)), (connections, TAKEOVERS + 1));
        assert_eq!(names(directory), ["s"], "the last server keeps the path");
    });
    println!("{connections} connections served during {TAKEOVERS} takeovers");
}

#[test]
fn no_client_is_refused_while_servers_take_over_from_each_other() {
    take_over(2_000);
}
