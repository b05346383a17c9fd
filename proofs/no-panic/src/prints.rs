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
use netbind::error::{Errno, SocketOption, Step};
use netbind::time::{CoarseClock, Instant};
use netbind::{
    BindAddress, CancelFlag, Context, ListenOptions, MonotonicClock, NetBind, Rights, Rule,
    SocketError,
};

use runtime::{MEMORY, Sum, Ticks, any, used};

/// A writer that cannot panic itself.
struct Out(u64);

impl Write for Out {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
        any(Ok(()))
    }
}

/// Prints by a call of this function with the formatter.
struct Print<F>(F);

impl<F: Fn(&mut fmt::Formatter<'_>) -> fmt::Result> Display for Print<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.0)(f)
    }
}

/// Prints without options, in the alternate form, and with the other options.
fn print(function: impl Fn(&mut fmt::Formatter<'_>) -> fmt::Result) {
    let print = Print(function);
    used(write!(Out(0), "{print}"));
    used(write!(Out(0), "{print:#}"));
    used(write!(Out(0), "{print:>+090.3}"));
}

fn display<T: Display>(value: &T) {
    print(|f| Display::fmt(any(value), f));
}

fn debug<T: Debug>(value: &T) {
    print(|f| Debug::fmt(any(value), f));
}

fn both<T: Display + Debug>(value: &T) {
    display(value);
    debug(value);
}

#[unsafe(no_mangle)]
extern "C" fn start() -> i32 {
    let text: &[u8] = any(b"127.0.0.1:8080");
    let utf8: &str = any("127.0.0.1:8080");
    addresses(text);
    errors(utf8);
    audit(utf8);
    capability(text, utf8);
    listen(text);
    0
}

fn addresses(text: &[u8]) {
    match BindAddress::parse(any(text)) {
        Ok(address) => {
            both(&address);
            let bytes = any(address.to_bytes());
            debug(&bytes);
            used((bytes.clone() == bytes, &*bytes, bytes.as_ref()));
            bytes.hash(&mut Sum(any(0)));
        }
        Err(error) => {
            both(&error);
            debug(&error.reason());
        }
    }
    if let Ok(path) = UnixPath::new(any(text)) {
        debug(&path);
    }
    if let Ok(name) = AbstractName::new(any(text)) {
        debug(&name);
    }
}

fn errors(utf8: &str) {
    both(&any(SocketError::Timeout));
    both(&any(Errno::AGAIN));
    both(&any(Step::Bind));
    both(&any(SocketOption::Mode));
    both(&any(Cause::Cancelled));
    both(&any(CapabilityError::TooManyRules));
    let error = any(any(SocketError::InvalidPort).at(utf8));
    both(&error);
    used((error.error(), error.clone() == error));
}

fn audit(utf8: &str) {
    both(&any(Operation::BindSocket));
    both(&any(AuditResult::Denied));
    let Ok(capability) = CapabilityId::new(any(utf8)) else { return };
    both(&capability);
    let Ok(address) = BindAddress::parse(any(utf8)) else { return };
    let record =
        Record::new(capability, any(Operation::BindSocket), any(&address), AuditResult::Denied);
    both(&record);
    display(&record.json());
    let Ok(ring) = AuditRing::new_in(any(8), &MEMORY) else { return };
    ring.record(&record);
    debug(&ring);
    let mut reader = ring.reader();
    debug(&reader);
    if let Some(entry) = reader.next() {
        both(&entry);
        display(&entry.json());
    }
}

fn capability(text: &[u8], utf8: &str) {
    let rights = any(Rights::NET_BIND);
    debug(&rights);
    print(|f| Binary::fmt(&rights, f));
    print(|f| Octal::fmt(&rights, f));
    print(|f| LowerHex::fmt(&rights, f));
    print(|f| UpperHex::fmt(&rights, f));
    match Rule::parse(any(text)) {
        Ok(rule) => both(&rule),
        Err(error) => {
            both(&error);
            both(&error.reason());
        }
    }
    let Ok(mut capability) = NetBind::new(any(utf8)) else { return };
    used(capability.allow_host(any(IpAddr::from([0; 16])), any(1)).map(|_| ()));
    debug(&capability);
    let Ok(address) = BindAddress::parse(any(text)) else { return };
    if let Ok(permit) = capability.check(&address) {
        debug(&permit);
    }
}

fn listen(text: &[u8]) {
    both(&any(Instant::from_nanos(1)));
    debug(&MonotonicClock::new());
    debug(&CoarseClock::new());
    debug(&any(CancelFlag::new()));
    let context = any(Context::new(&Ticks));
    debug(&context);
    let options = any(ListenOptions::new()).context(&context);
    debug(&options);
    if let Ok(listener) = options.listen(any(text), &MEMORY) {
        debug(&listener);
    }
}
