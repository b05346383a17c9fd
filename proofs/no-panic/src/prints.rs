//! Calls every public function of netbind that prints. See `run` for what is set apart here, and why.

#![no_std]
#![no_main]

mod runtime;

use core::fmt::{self, Debug, Display, Write};
use core::net::IpAddr;

use netbind::{
    AbstractName, AuditResult, AuditRing, AuditSink, BindAddress, CancelFlag, CapabilityError, CapabilityId, Cause,
    Clock, Context, Errno, Instant, InvalidId, ListenOptions, NetBind, Operation, ParseError, Record, Rights,
    SocketError, SocketOption, Step, UnixPath,
};

use runtime::{MEMORY, any, used};

/// A clock of the caller's.
struct Ticks;

impl Clock for Ticks {
    fn now(&self) -> Instant {
        Instant::from_nanos(any(0))
    }
}

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

fn display(value: &dyn Display) {
    used(write!(Out(0), "{}", any(value)));
}

fn debug(value: &dyn Debug) {
    used(write!(Out(0), "{:?}", any(value)));
}

#[unsafe(no_mangle)]
extern "C" fn start() -> i32 {
    let text: &[u8] = any(b"127.0.0.1:8080");
    let utf8: &str = any("127.0.0.1:8080");
    displays(text, utf8);
    debugs(text, utf8);
    0
}

fn displays(text: &[u8], utf8: &str) {
    match BindAddress::parse(any(text)) {
        Ok(address) => {
            display(&address);
            used(address.to_bytes());
        }
        Err(error) => display(&error),
    }
    display(&any(SocketError::Timeout));
    display(&any(Errno::AGAIN));
    display(&any(Step::Bind));
    display(&any(SocketOption::Mode));
    display(&any(Cause::Cancelled));
    display(&any(InvalidId));
    display(&any(CapabilityError::TooManyRules));
    display(&any(Instant::from_nanos(1)));
    display(&any(Operation::BindSocket));
    display(&any(AuditResult::Denied));
    let Ok(capability) = CapabilityId::new(any(utf8)) else { return };
    display(&capability);
    let record =
        Record { capability, operation: any(Operation::BindSocket), port: any(None), result: AuditResult::Denied };
    display(&record);
    let Ok(ring) = AuditRing::new_in(any(8), &MEMORY) else { return };
    ring.record(&record);
    for entry in ring.reader() {
        display(&entry);
    }
}

fn debugs(text: &[u8], utf8: &str) {
    let parsed: Result<BindAddress, ParseError> = BindAddress::parse(any(text));
    debug(&parsed);
    debug(&UnixPath::new(any(text)));
    debug(&AbstractName::new(any(text)));
    debug(&any(SocketError::Timeout));
    debug(&any(Errno::AGAIN));
    debug(&(any(Rights::NET_BIND), any(CapabilityError::InvalidId), any(CancelFlag::new()), any(Cause::Cancelled)));
    let context = any(Context::new(&Ticks));
    debug(&context);
    let Ok(mut capability) = NetBind::new(any(utf8)) else { return };
    used(capability.allow_host(any(IpAddr::from([0; 16])), any(1)).map(|_| ()));
    debug(&capability);
    debug(&ListenOptions::new().context(&context).capability(&capability));
    let Ok(ring) = AuditRing::new_in(any(8), &MEMORY) else { return };
    debug(&ring);
    debug(&ring.reader());
    debug(&ring.reader().next());
    debug(&netbind::listen(any(text), &MEMORY));
    let Ok(address) = BindAddress::parse(any(text)) else { return };
    debug(&capability.check(&address));
}
