//! The server: opens its listeners under a context and a capability, and serves them with epoll.

use core::mem::MaybeUninit;
use core::time::Duration;

use netbind::capability::CapabilityError;
use netbind::time::Clock;
use netbind::{Context, ListenOptions, Listener, NetBind, Rights, Rule, SocketError};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;

use crate::arena::Arena;
use crate::connections::{CONNECTIONS, Connections};
use crate::print::{Line, Trail};
use crate::runtime::{Arguments, STOP, catch_signals, epoll_above_stdio};

pub type Memory = &'static Arena<8192>;

/// The id of the capability.
pub const CAPABILITY: &str = "freestanding";
/// The policy, made at compile time.
static RULES: [Rule; 2] = match Rule::ports(3000..=8080) {
    Ok(ports) => [ports, Rule::any_path()],
    Err(_) => panic!("a malformed rule"),
};
/// The maximum number of addresses.
const LISTENERS: usize = 8;
/// Epoll numbers: the listeners, then the connections, then the descriptor that signals write to.
const SIGNAL: usize = LISTENERS + CONNECTIONS;
/// The longest pause after a failed accept.
const MAX_PAUSE_MS: u32 = 128;

pub struct Server<'c> {
    listeners: [Option<Listener<Memory>>; LISTENERS],
    connections: Connections,
    epoll: OwnedFd,
    clock: &'c dyn Clock,
    /// The pause after the last failed accept, or 0 after one that succeeded.
    pause_ms: u32,
}

/// The reason why the server does not run.
pub enum Failure {
    Usage,
    /// This address could not be opened.
    Open(&'static [u8], SocketError),
    /// A system call that has nothing to do with an address failed.
    System(Errno),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::System(errno)
    }
}

impl From<CapabilityError> for Failure {
    fn from(_: CapabilityError) -> Self {
        Self::Usage
    }
}

impl<'c> Server<'c> {
    /// Makes a server without listeners. From now on a signal ends
    /// [`serve_once`](Self::serve_once).
    pub fn new(clock: &'c dyn Clock) -> Result<Self, Failure> {
        let epoll = epoll_above_stdio()?;
        watch(&epoll, catch_signals()?, SIGNAL)?;
        let (listeners, connections) = ([const { None }; LISTENERS], Connections::new());
        Ok(Self { listeners, connections, epoll, clock, pause_ms: 0 })
    }

    /// Opens the addresses of `arguments` in their order, and prints the audit trail.
    #[inline(never)]
    pub fn open(&mut self, mut arguments: Arguments, memory: Memory) -> Result<(), Failure> {
        let trail = Trail::new(self.clock);
        let mut capability = NetBind::empty(CAPABILITY)?.with_rules(&RULES).with_sink(&trail);
        capability.grant(Rights::NET_BIND);
        let timeout = Duration::from_secs(10);
        let context = Context::new(self.clock).with_cancel(&STOP).with_timeout(timeout);
        let mut opened = 0;
        while let Some(argument) = arguments.next() {
            if argument == b"--allow-port" {
                capability.allow_port(arguments.next().and_then(number).ok_or(Failure::Usage)?)?;
                continue;
            }
            let place = self.listeners.get_mut(opened).ok_or(Failure::Usage)?;
            let listener = listen(place, argument, &context, &capability, memory)
                .map_err(|error| Failure::Open(argument, error))?;
            watch(&self.epoll, listener.as_fd(), opened)?;
            print_listener(argument, trail.last_port());
            opened += 1;
        }
        if opened == 0 { Err(Failure::Usage) } else { Ok(()) }
    }

    /// Waits for an event, at most a second if there are connections, and serves what is ready.
    #[inline(never)]
    pub fn serve_once(&mut self) {
        let second = Timespec { tv_sec: 1, tv_nsec: 0 };
        let timeout = if self.connections.is_empty() { None } else { Some(&second) };
        let mut events = [const { MaybeUninit::uninit() }; SIGNAL];
        // It fails when a signal interrupts it; the caller checks for that.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, timeout) else { return };
        for event in events {
            self.serve(event.data.u64() as usize);
        }
        self.connections.close_expired(self.clock.now());
    }

    fn serve(&mut self, number: usize) {
        let Some(place) = self.listeners.get(number) else {
            return self.connections.serve(number - LISTENERS);
        };
        let Some(listener) = place else { return };
        match listener.accept_nonblocking() {
            Ok((connection, _peer)) => {
                self.pause_ms = 0;
                let number = LISTENERS + self.connections.next_place();
                // A connection that cannot be watched is closed at its deadline.
                let _ = watch(&self.epoll, connection.as_fd(), number);
                self.connections.add(connection, self.clock.now());
            }
            Err(error) if error.is_would_block() => {}
            Err(error) => {
                if error.is_exhausted() {
                    self.connections.close_oldest();
                }
                self.back_off();
            }
        }
    }

    /// Sleeps, because the client stays in the queue and the listener stays readable. The pause
    /// doubles as long as accept fails.
    fn back_off(&mut self) {
        self.pause_ms = (self.pause_ms * 2).clamp(1, MAX_PAUSE_MS);
        let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(self.pause_ms) * 1_000_000 };
        let _ = poll(&mut [], Some(&pause));
    }
}

/// Opens an address and puts the listener in `place`.
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

/// Lets epoll report `number` when the descriptor is readable.
#[inline(never)]
fn watch(epoll: &OwnedFd, source: BorrowedFd<'_>, number: usize) -> rustix::io::Result<()> {
    epoll::add(epoll, source, EventData::new_u64(number as u64), EventFlags::IN)
}

/// Parses a port. Returns `None` if the text is not a number from 0 to 65535.
fn number(text: &[u8]) -> Option<u16> {
    let digit = |number: u16, byte: &u8| {
        number.checked_mul(10)?.checked_add(byte.is_ascii_digit().then(|| u16::from(byte - b'0'))?)
    };
    if text.is_empty() { None } else { text.iter().try_fold(0, digit) }
}

/// Prints the address as it was given, with the port that the kernel chose for port 0.
fn print_listener(given: &[u8], port: Option<u16>) {
    let mut line = Line::out();
    line.bytes(b"listening on ");
    match (port, given.iter().rposition(|byte| *byte == b':')) {
        (Some(port), Some(colon)) => {
            line.bytes(given.get(..=colon).unwrap_or_default()).number(port.into())
        }
        _ => line.bytes(given),
    };
}
