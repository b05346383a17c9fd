//! The server: opens its listeners under a context and a capability, and answers on all of them until it is told to stop.

use core::mem::MaybeUninit;
use core::time::Duration;

use netbind::{AuditRing, CapabilityError, Clock, Context, ListenOptions, Listener, NetBind, Reader, SocketError};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::arena::Arena;
use crate::connections::{CONNECTIONS, Connections};
use crate::print::Line;
use crate::runtime::{Arguments, STOP, catch_signals};

pub type Memory = &'static Arena<8192>;

/// How many addresses can be served.
const LISTENERS: usize = 8;
const RECORDS: usize = 64;
/// What wakes the server, and is nothing to serve.
const WAKE: usize = LISTENERS + CONNECTIONS;

/// What is waited for has a number: the listeners' places come first, then those of the connections.
pub struct Server {
    listeners: [Option<Listener<Memory>>; LISTENERS],
    connections: Connections,
    epoll: OwnedFd,
}

/// Why there is no server.
pub enum Failure {
    /// The program cannot be used like this.
    Usage,
    Open(&'static [u8], SocketError),
}

#[cfg(feature = "pid1")]
impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Self {
        Self::Open(b"self-test", error)
    }
}

impl From<CapabilityError> for Failure {
    fn from(_: CapabilityError) -> Self {
        Self::Usage
    }
}

impl Server {
    /// A server of nothing.
    pub fn new(epoll: OwnedFd) -> Self {
        Self { listeners: [const { None }; LISTENERS], connections: Connections::new(), epoll }
    }

    /// Opens the addresses of `arguments` one after the other, and prints what was decided and done.
    #[inline(never)]
    pub fn open(&mut self, mut arguments: Arguments, clock: &dyn Clock, memory: Memory) -> Result<(), Failure> {
        let system = |error| Failure::Open(b"system", error);
        let ring = AuditRing::new_in(RECORDS, memory).map_err(system)?.with_clock(clock);
        let mut capability = NetBind::new("freestanding")?.with_sink(&ring);
        let context = Context::new(clock).with_cancel(&STOP).with_timeout(Duration::from_secs(10));
        let mut trail = ring.reader();
        let mut opened = 0;
        while let Some(argument) = arguments.next() {
            if argument == b"--allow-port" {
                capability.allow_port(arguments.next().and_then(number).ok_or(Failure::Usage)?)?;
                continue;
            }
            let place = self.listeners.get_mut(opened).ok_or(Failure::Usage)?;
            let listening = listen(place, argument, &context, &capability, memory);
            let port = print_records(&mut trail);
            let listener = listening.map_err(|error| Failure::Open(argument, error))?;
            watch(&self.epoll, listener.as_fd(), opened).map_err(|_| Failure::Usage)?;
            print_listener(argument, port);
            opened += 1;
        }
        if opened == 0 { Err(Failure::Usage) } else { Ok(()) }
    }

    /// Waits until something happens, and serves it.
    #[inline(never)]
    pub fn turn(&mut self) {
        let mut events = [const { MaybeUninit::uninit() }; WAKE];
        // What interrupts the waiting is a signal, of which the caller knows.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, None) else { return };
        for event in events {
            self.serve(event.data.u64() as usize);
        }
    }

    fn serve(&mut self, number: usize) {
        let Some(place) = self.listeners.get(number) else {
            return self.connections.serve(number - LISTENERS);
        };
        let Some(listener) = place else { return };
        match listener.accept_nonblocking() {
            Ok((connection, _peer)) => {
                // One that cannot be waited for is not kept.
                let _ = watch(&self.epoll, connection.as_fd(), LISTENERS + self.connections.place());
                self.connections.replace(Some(connection));
            }
            // A descriptor is given back, where there is none left to accept with.
            Err(error) if error.is_exhausted() => self.connections.replace(None),
            Err(_) => {}
        }
    }
}

/// Everything that netbind does with an address. In a frame of its own, its values are in reach of short instructions.
#[inline(never)]
fn listen<'p>(
    place: &'p mut Option<Listener<Memory>>,
    address: &[u8],
    context: &Context<'_>,
    capability: &NetBind<'_>,
    memory: Memory,
) -> Result<&'p Listener<Memory>, SocketError> {
    let options = ListenOptions::new().context(context).capability(capability).nonblocking(true);
    match options.listen(address, memory) {
        Ok(listener) => Ok(place.insert(listener)),
        Err(error) => Err(error),
    }
}

/// What the server waits with. A signal ends the waiting.
pub fn waiting() -> rustix::io::Result<OwnedFd> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    watch(&epoll, catch_signals()?, WAKE)?;
    Ok(epoll)
}

/// Waits for what can be read there, under this number.
#[inline(never)]
fn watch(epoll: &OwnedFd, source: BorrowedFd<'_>, number: usize) -> rustix::io::Result<()> {
    epoll::add(epoll, source, EventData::new_u64(number as u64), EventFlags::IN)
}

fn number(text: &[u8]) -> Option<u16> {
    let digit = |number: u16, byte: &u8| {
        number.checked_mul(10)?.checked_add(byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

/// Prints what is new, and gives the port of the last record: of a bind, the one that the kernel chose.
#[inline(never)]
fn print_records(trail: &mut Reader<'_>) -> Option<u16> {
    let mut port = None;
    for entry in trail {
        Line::err().entry(&entry);
        port = entry.record.port;
    }
    port
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
