//! Calls every public function of netbind that prints. `run` says which panics are expected here.

#![no_std]
#![no_main]

mod runtime;

use core::fmt::{self, Binary, Debug, Display, LowerHex, Octal, UpperHex, Write};
use core::hash::Hash;
use core::net::IpAddr;

use netbind::address::{AbstractName, UnixPath};
use netbind::audit::{AuditResult, AuditRing, AuditSink, Operation, Record};
use netbind::capability::{CapabilityError, CapabilityId};
use netbind::context::Cause;
use netbind::enforce::{Confinement, Gaps, Seal, Supervisor};
use netbind::error::{Errno, SocketOption, Step};
use netbind::fd::AsFd;
use netbind::time::{CoarseClock, Instant};
use netbind::{
    BindAddress, CancelEvent, CancelFlag, Context, Existing, ListenOptions, MonotonicClock,
    NetBind, Rights, Rule, SocketError, inherit,
};

use runtime::{MEMORY, Sum, Ticks, keep, opaque};

/// A writer that cannot panic itself.
struct Out(u64);

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
        opaque(Ok(()))
    }
}

/// Prints by calling this function.
struct Print<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> Display for Print<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

/// Prints without options, in the alternate form, and with the other options.
fn print(function: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) {
    let print = Print(function);
    keep(write!(Out(0), "{print}"));
    keep(write!(Out(0), "{print:#}"));
    keep(write!(Out(0), "{print:>+090.3}"));
}

fn display<T: Display>(value: &T) {
    print(|f| Display::fmt(opaque(value), f));
}

fn debug<T: Debug>(value: &T) {
    print(|f| Debug::fmt(opaque(value), f));
}

fn both<T: Display + Debug>(value: &T) {
    display(value);
    debug(value);
}

#[unsafe(no_mangle)]
extern "C" fn start() -> i32 {
    let text: &'static [u8] = opaque(b"127.0.0.1:8080");
    let utf8: &str = opaque("127.0.0.1:8080");
    addresses(text);
    errors(utf8);
    audit(utf8);
    enforce();
    capability(text, utf8);
    listen(text);
    take(text);
    if let Ok(event) = CancelEvent::new() {
        debug(&event);
        pass(&event, utf8);
    }
    0
}

fn addresses(text: &[u8]) {
    match BindAddress::parse(opaque(text)) {
        Ok(address) => {
            both(&address);
            let bytes = opaque(address.to_bytes());
            debug(&bytes);
            keep((bytes.clone() == bytes, &*bytes, bytes.as_ref()));
            bytes.hash(&mut Sum(opaque(0)));
        }
        Err(error) => {
            both(&error);
            debug(&error.reason());
        }
    }
    if let Ok(path) = UnixPath::new(opaque(text)) {
        debug(&path);
    }
    if let Ok(name) = AbstractName::new(opaque(text)) {
        debug(&name);
    }
}

fn errors(utf8: &str) {
    both(&opaque(SocketError::Timeout));
    both(&opaque(Errno::AGAIN));
    both(&opaque(Step::Bind));
    both(&opaque(SocketOption::Mode));
    both(&opaque(Cause::Cancelled));
    both(&opaque(CapabilityError::TooManyRules));
    let error = opaque(opaque(SocketError::InvalidPort).at(utf8));
    both(&error);
    keep((error.error(), error.clone() == error));
}

fn audit(utf8: &str) {
    both(&opaque(Operation::BindSocket));
    both(&opaque(AuditResult::Denied));
    let Ok(capability) = CapabilityId::new(opaque(utf8)) else { return };
    both(&capability);
    let Ok(address) = BindAddress::parse(opaque(utf8)) else { return };
    let record = Record::new(
        capability,
        opaque(Operation::BindSocket),
        opaque(&address),
        AuditResult::Denied,
    );
    both(&record);
    display(&record.json());
    let Ok(ring) = AuditRing::new_in(opaque(8), &MEMORY) else { return };
    ring.record(&record);
    debug(&ring);
    let mut reader = ring.reader();
    debug(&reader);
    if let Some(entry) = reader.next() {
        both(&entry);
        display(&entry.json());
    }
}

fn flags<T: Debug + Binary + Octal + LowerHex + UpperHex>(flags: &T) {
    debug(flags);
    print(|f| Binary::fmt(flags, f));
    print(|f| Octal::fmt(flags, f));
    print(|f| LowerHex::fmt(flags, f));
    print(|f| UpperHex::fmt(flags, f));
}

fn enforce() {
    let Ok(capability) = NetBind::new("id") else { return };
    flags(&opaque(Gaps::all()));
    display(&opaque(Gaps::all()));
    debug(&opaque(Seal::Listening));
    let confinement = Confinement::new(&capability);
    debug(&confinement);
    if let Err(error) = confinement.gaps() {
        both(&error);
    }
    let Ok((mut supervisor, supervised)) = Supervisor::new(opaque(&capability)) else { return };
    debug(&supervised);
    debug(&supervisor);
    if let Ok(Some(answered)) = supervisor.step() {
        debug(&answered);
        debug(&answered.call);
        debug(&answered.outcome);
    }
}

fn capability(text: &[u8], utf8: &str) {
    flags(&opaque(Rights::NET_BIND));
    match Rule::parse(opaque(text)) {
        Ok(rule) => both(&rule),
        Err(error) => {
            both(&error);
            both(&error.reason());
        }
    }
    let Ok(mut capability) = NetBind::new(opaque(utf8)) else { return };
    keep(capability.allow_host(opaque(IpAddr::from([0; 16])), opaque(1)).map(|_| ()));
    debug(&capability);
    let Ok(address) = BindAddress::parse(opaque(text)) else { return };
    if let Ok(permit) = capability.check(&address) {
        debug(&permit);
    }
}

fn listen(text: &[u8]) {
    both(&opaque(Instant::from_nanos(1)));
    debug(&MonotonicClock::new());
    debug(&CoarseClock::new());
    debug(&opaque(CancelFlag::new()));
    let context = opaque(Context::new(&Ticks));
    debug(&context);
    let options = opaque(ListenOptions::new()).context(&context);
    debug(&options);
    debug(&opaque(Existing::Replace));
    let Ok(listener) = options.listen(opaque(text), &MEMORY) else { return };
    debug(&listener);
    if let Err(error) = opaque(&options).adopt(opaque(listener.into_fd()), &MEMORY) {
        both(&error);
    }
}

// Functions of their own: the compiler would merge their assertions, see `run`, into one without
// debug information.
#[inline(never)]
fn take(text: &'static [u8]) {
    // SAFETY: the program is not run.
    match unsafe { inherit::take_from(opaque([text])) } {
        Ok(mut inherited) => {
            debug(&inherited);
            if let Some(socket) = inherited.next() {
                debug(&socket);
            }
        }
        Err(error) => both(&error),
    }
}

#[inline(never)]
fn pass(event: &CancelEvent, utf8: &str) {
    let mut sockets = opaque([(event.as_fd(), utf8), (event.as_fd(), utf8)]);
    // SAFETY: the program is not run.
    if let Ok(variables) = unsafe { inherit::pass(&mut sockets) } {
        debug(&variables);
        for variable in variables {
            both(&variable);
            display(&variable.value());
        }
    }
}
