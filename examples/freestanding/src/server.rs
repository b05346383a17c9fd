//! The server: opens its listeners under a context and a capability, and answers on all of them until it is told to stop.

use core::time::Duration;

use netbind::{AuditRing, Clock, Context, ListenOptions, Listener, NetBind, Reader, SocketError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::arena::Arena;
use crate::connections::{CONNECTIONS, Connections};
use crate::print::Line;
use crate::runtime::{Arguments, STOP, catch_signals};

pub type Memory = &'static Arena<8192>;

/// How many addresses can be served.
const LISTENERS: usize = 8;
const RECORDS: usize = 64;

pub struct Server {
    listeners: [Option<Listener<Memory>>; LISTENERS],
    connections: Connections,
    wake: OwnedFd,
}

/// Why there is no server.
pub enum Failure {
    /// The program cannot be used like this.
    Usage,
    Open(&'static [u8], SocketError),
    System(SocketError),
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Self {
        Self::System(error)
    }
}

impl Server {
    /// Opens every address of `arguments`, and prints what was decided and done.
    #[inline(never)]
    pub fn open(arguments: Arguments, clock: &dyn Clock, memory: Memory) -> Result<Self, Failure> {
        let ring = AuditRing::new_in(RECORDS, memory)?.with_clock(clock);
        let mut capability = NetBind::new("freestanding").map_err(|_| Failure::Usage)?.with_sink(&ring);
        allow_ports(arguments, &mut capability).ok_or(Failure::Usage)?;
        let context = Context::new(clock).with_cancel(&STOP).with_timeout(Duration::from_secs(10));
        let options = ListenOptions::new().context(&context).capability(&capability).nonblocking(true);

        let wake = catch_signals().map_err(|_| Failure::Usage)?;
        let mut server = Self { listeners: Default::default(), connections: Connections::default(), wake };
        let mut trail = ring.reader();
        let mut places = server.listeners.iter_mut();
        for address in addresses(arguments) {
            let place = places.next().ok_or(Failure::Usage)?;
            let opened = options.listen(address, memory);
            print_records(&mut trail);
            let listener = opened.map_err(|error| Failure::Open(address, error))?;
            print_listener(address, listener.local_address()?.port());
            *place = Some(listener);
        }
        if server.listeners.iter().all(Option::is_none) { Err(Failure::Usage) } else { Ok(server) }
    }

    /// Waits until something happens, and serves it.
    #[inline(never)]
    pub fn turn(&mut self) {
        let Self { listeners, connections, wake } = self;
        let mut ready = [false; LISTENERS + CONNECTIONS];
        wait(listeners, connections, wake.as_fd(), &mut ready);
        let (accepting, talking) = ready.split_at(LISTENERS);
        connections.serve(talking.iter().copied());
        for (listener, _) in listeners.iter().zip(accepting).filter(|(_, ready)| **ready) {
            let Some(listener) = listener else { continue };
            match listener.accept_nonblocking() {
                Ok((connection, _peer)) => connections.add(connection),
                Err(error) if error.is_exhausted() => connections.drop_oldest(),
                Err(_) => {}
            }
        }
    }

    /// Closes the listeners, whose socket files go with them.
    pub fn close(self) -> Result<(), SocketError> {
        let mut closed = Ok(());
        for listener in self.listeners {
            closed = closed.and(listener.map_or(Ok(()), Listener::close));
        }
        closed
    }
}

#[inline(never)]
fn wait(
    listeners: &[Option<Listener<Memory>>; LISTENERS],
    connections: &Connections,
    wake: BorrowedFd<'_>,
    ready: &mut [bool; LISTENERS + CONNECTIONS],
) {
    let nothing = || PollFd::from_borrowed_fd(wake, PollFlags::empty());
    let mut fds: [PollFd<'_>; 1 + LISTENERS + CONNECTIONS] = core::array::from_fn(|_| nothing());
    let wakes = core::iter::once(PollFd::from_borrowed_fd(wake, PollFlags::IN));
    let accepts = listeners.iter().map(|listener| match listener {
        Some(listener) => PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        None => nothing(),
    });
    for (fd, interest) in fds.iter_mut().zip(wakes.chain(accepts).chain(connections.interests(wake))) {
        *fd = interest;
    }
    let _ = poll(&mut fds, None);
    for (ready, fd) in ready.iter_mut().zip(fds.iter().skip(1)) {
        *ready = !fd.revents().is_empty();
    }
}

/// The addresses are the arguments but `--allow-port N`.
pub fn addresses(mut arguments: Arguments) -> impl Iterator<Item = &'static [u8]> {
    core::iter::from_fn(move || {
        loop {
            match arguments.next()? {
                b"--allow-port" => arguments.next(),
                address => return Some(address),
            };
        }
    })
}

#[inline(never)]
fn allow_ports(mut arguments: Arguments, capability: &mut NetBind<'_>) -> Option<()> {
    while let Some(argument) = arguments.next() {
        if argument == b"--allow-port" {
            capability.allow_port(number(arguments.next()?)?).ok()?;
        }
    }
    Some(())
}

fn number(text: &[u8]) -> Option<u16> {
    let digit = |number: u16, byte: &u8| {
        number.checked_mul(10)?.checked_add(byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

#[inline(never)]
fn print_records(trail: &mut Reader<'_>) {
    for entry in trail {
        Line::err().entry(&entry);
    }
}

/// The address as it was given, with the port that the kernel chose in the place of 0.
fn print_listener(given: &[u8], port: Option<u16>) {
    let mut line = Line::out();
    line.bytes(b"listening on ");
    match (port, given.iter().rposition(|byte| *byte == b':')) {
        (Some(port), Some(colon)) => line.bytes(given.get(..=colon).unwrap_or_default()).number(port.into()),
        _ => line.bytes(given),
    };
}
