//! Calls every public function of netbind that does not print. It links only if none of them can panic.
//!
//! It is there to be linked, not to be run. `run` checks that every public function is named here or in its two neighbours.

#![no_std]
#![no_main]

mod runtime;

use core::cmp::Ordering;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::time::Duration;

use netbind::{
    AbstractName, AuditResult, AuditRing, AuditSink, BindAddress, CancelFlag, CapabilityError, CapabilityId, Clock,
    CoarseClock, Context, Errno, Instant, ListenOptions, Listener, MonotonicClock, NetBind, Operation, ParseError,
    Record, Rights, SockAddr, SocketError, UnixPath,
};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};

use runtime::{MEMORY, Memory, any, used};

type Opened = Result<Listener<&'static Memory>, SocketError>;

/// A clock of the caller's.
struct Ticks;

impl Clock for Ticks {
    fn now(&self) -> Instant {
        Instant::from_nanos(any(0))
    }
}

/// A hasher that cannot panic itself.
struct Sum(u64);

impl Hasher for Sum {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn start() -> i32 {
    let text: &[u8] = any(b"127.0.0.1:8080");
    let utf8: &str = any("127.0.0.1:8080");
    addresses(text, utf8);
    errors();
    audit(utf8);
    capability(text, utf8);
    sockaddr(text);
    context();
    listen(text, utf8);
    #[cfg(feature = "broken")]
    used(text[any(3)]);
    0
}

fn addresses(text: &[u8], utf8: &str) {
    let parsed: Result<BindAddress, ParseError> = BindAddress::parse(any(text));
    if let Err(error) = any(parsed.clone()) {
        used((error.error(), error.offset(), SocketError::from(error)));
    }
    used(utf8.parse::<BindAddress>());
    used(BindAddress::try_from(text));
    used(BindAddress::from(any(SocketAddrV4::new(any([1, 2, 3, 4]).into(), any(80)))));
    let v6 = any(SocketAddrV6::new(any([1_u16; 8]).into(), any(80), any(0), any(0)));
    used((BindAddress::try_from(v6), BindAddress::try_from(any(SocketAddr::from(v6)))));
    let path = UnixPath::new(any(text));
    used(path.as_ref().map(UnixPath::as_bytes));
    let name = AbstractName::new(any(text));
    used(name.as_ref().map(AbstractName::as_bytes));
    let (Ok(one), Ok(other)) = (any(parsed.clone()), any(parsed)) else { return };
    used((one.port(), one.ip(), one.to_socket_addr()));
    let order: Ordering = one.cmp(&other);
    used((one == other, order, one.partial_cmp(&other)));
    let mut sum = Sum(0);
    one.hash(&mut sum);
    used(sum.finish());
}

fn errors() {
    let number = any(98);
    let Some(errno) = Errno::from_raw(number) else { return };
    used((errno.raw_os_error(), errno.name(), errno == any(Errno::ADDRINUSE)));
    let error = any(SocketError::OutOfMemory);
    used((error.errno(), error.step(), error == any(SocketError::Timeout)));
    used((error.is_address_in_use(), error.is_address_not_available(), error.is_permission_denied()));
    used((error.is_exhausted(), error.is_not_supported(), error.is_would_block()));
    used((error.is_interrupted(), error.is_connection_lost()));
}

fn audit(utf8: &str) {
    let Ok(ring) = AuditRing::new_in(any(8), &MEMORY) else { return };
    let ring = any(ring).with_clock(&Ticks);
    let Ok(capability) = CapabilityId::new(any(utf8)) else { return };
    used((capability.as_str(), capability == any(capability)));
    let record = Record {
        capability,
        operation: any(Operation::BindSocket),
        port: any(Some(80)),
        result: any(AuditResult::Denied),
    };
    ring.record(any(&record));
    let ring = any(&ring);
    used((ring.capacity(), ring.written()));
    let mut reader = any(ring.reader());
    for entry in reader.by_ref() {
        used((entry.sequence, entry.time, entry.record == record));
    }
    used((reader.missed(), any(ring.reader_from(any(7))).clone().next()));
}

fn capability(text: &[u8], utf8: &str) {
    let Ok(mut ours) = NetBind::new(any(utf8)) else { return };
    let empty: Result<NetBind<'_>, CapabilityError> = NetBind::empty(any(utf8));
    used(empty.map(|capability| capability.rights()));
    ours.grant(any(Rights::NET_BIND_ABSTRACT)).revoke(any(Rights::NET_BIND));
    used(ours.allow_port(any(80)).map(|_| ()));
    used(ours.allow_host(any(IpAddr::from([1, 2, 3, 4])), any(80)).map(|_| ()));
    let Ok(ring) = AuditRing::new_in(any(8), &MEMORY) else { return };
    let ours = ours.with_sink(&ring);
    used(ours.id().as_str());
    let Ok(address) = BindAddress::parse(any(text)) else { return };
    used(ours.check(any(&address)).map(|permit| permit.covers_dual_stack()));
    used(ours.check_dual_stack(any(&address)).map(|permit| permit.address().port()));
}

fn sockaddr(text: &[u8]) {
    used(netbind::sockaddr_in(&any(SocketAddrV4::new(any([1, 2, 3, 4]).into(), any(80)))));
    used(netbind::sockaddr_in6(&any(SocketAddrV6::new(any([1_u16; 8]).into(), any(80), any(1), any(2)))));
    let Ok(address) = BindAddress::parse(any(text)) else { return };
    let Ok(sockaddr) = SockAddr::new_in(any(&address), &MEMORY) else { return };
    let sockaddr = any(sockaddr);
    used((sockaddr.as_bytes(), sockaddr.to_bind_address()));
}

fn context() {
    static STOP: CancelFlag = CancelFlag::new();
    let context = any(Context::new(&Ticks)).with_cancel(&STOP);
    let child = any(context.child()).with_timeout(any(Duration::MAX)).with_deadline(any(Instant::FAR_FUTURE));
    used((child.check(), child.cause(), child.deadline(), child.clock().now().as_nanos()));
    STOP.cancel();
    used(STOP.is_cancelled());
    used(any(Instant::from_nanos(7)) + any(Duration::MAX));
    let clock = any(MonotonicClock::new());
    used((clock.now(), any(MonotonicClock::default())));
    let coarse = any(CoarseClock::from(clock));
    used((coarse.now(), any(CoarseClock::new()), any(CoarseClock::default())));
}

fn listen(text: &[u8], utf8: &str) {
    let context = any(Context::new(&Ticks));
    let Ok(ring) = AuditRing::new_in(any(8), &MEMORY) else { return };
    let Ok(capability) = NetBind::new(any(utf8)) else { return };
    let capability = any(capability.with_sink(&ring));
    serve(netbind::listen(any(text), &MEMORY));
    serve(netbind::listen_with_context(any(text), &context, &MEMORY));
    serve(netbind::listen_with_capability(any(text), &capability, &MEMORY));
    let options = any(ListenOptions::default()).context(&context).capability(&capability);
    let options = any(options).backlog(any(64)).mode(any(0o600)).receive_buffer(any(1)).send_buffer(any(1));
    let options = any(options).reuse_address(any(true)).reuse_port(any(true)).dual_stack(any(true));
    let options = any(options).nonblocking(any(true)).free_bind(any(true)).keep_alive(any(true)).no_delay(any(true));
    serve(any(&options).listen(any(text), &MEMORY));
    let Ok(address) = BindAddress::parse(any(text)) else { return };
    serve(any(&options).listen_on(any(&address), &MEMORY));
    let Ok(permit) = capability.check(&address) else { return };
    serve(any(&ListenOptions::new()).open(any(permit), &MEMORY));
}

fn serve(opened: Opened) {
    let Ok(listener) = any(opened) else { return };
    used((listener.accept(), listener.accept_nonblocking()));
    used((listener.local_address(), listener.sockaddr(), listener.as_fd().as_raw_fd(), listener.as_raw_fd()));
    match any(0) {
        0 => used(listener.close()),
        1 => used(listener.into_fd()),
        2 => used(OwnedFd::from(listener)),
        _ => drop(listener),
    }
}
