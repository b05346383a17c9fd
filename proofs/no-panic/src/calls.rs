//! Calls every public function of netbind that does not print, and every function of a trait on its
//! types. The program exists to be linked and searched for panics, not to be run.

#![no_std]
#![no_main]

mod runtime;

use core::hash::Hash;
use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use core::str::FromStr;
use core::time::Duration;

use bitflags::Flags;
use netbind::address::{AbstractName, UnixPath};
use netbind::audit::{AuditResult, AuditRing, AuditSink, Operation, Record};
use netbind::capability::{CapabilityError, CapabilityId};
use netbind::context::Cause;
use netbind::error::{Errno, SocketOption, Step};
use netbind::fd::{AsFd, AsRawFd, OwnedFd};
use netbind::sockaddr::{SockAddr, sockaddr_in, sockaddr_in6};
use netbind::time::{Clock, CoarseClock, Instant};
use netbind::{
    BindAddress, CancelFlag, Context, ListenOptions, Listener, MonotonicClock, NetBind, Rights,
    Rule, SocketError,
};

use runtime::{MEMORY, Memory, Sum, Ticks, any, used};

type Opened = Result<Listener<&'static Memory>, SocketError>;

/// Calls the derived traits of a value.
fn value<T: Clone + PartialEq + Hash>(value: &T) {
    let value = any(value);
    used(value.clone() == any(value.clone()));
    value.hash(&mut Sum(any(0)));
}

/// Calls the traits of an order.
fn order<T: Clone + Ord>(value: &T) {
    let (one, other) = (any(value.clone()), any(value.clone()));
    used((one.cmp(&other), one.partial_cmp(&other)));
}

#[unsafe(no_mangle)]
extern "C" fn start() -> i32 {
    let text: &[u8] = any(b"127.0.0.1:8080");
    let utf8: &str = any("127.0.0.1:8080");
    addresses(text, utf8);
    errors();
    audit(utf8);
    capability(text, utf8);
    rules(text, utf8);
    rights(utf8);
    sockaddr(text);
    context();
    listen(text, utf8);
    #[cfg(feature = "broken")]
    used(text[any(3)]);
    0
}

fn addresses(text: &[u8], utf8: &str) {
    if let Err(error) = BindAddress::parse(any(text)) {
        value(&error);
        value(&error.reason());
        used((error.error(), error.offset(), SocketError::from(error)));
    }
    used(BindAddress::from_str(utf8));
    used(BindAddress::try_from(text));
    used(BindAddress::from(any(SocketAddrV4::new(any([1, 2, 3, 4]).into(), any(80)))));
    let v6 = any(SocketAddrV6::new(any([1_u16; 8]).into(), any(80), any(0), any(0)));
    used((BindAddress::try_from(v6), BindAddress::try_from(any(SocketAddr::from(v6)))));
    if let Ok(path) = UnixPath::new(any(text)) {
        value(&path);
        order(&path);
        used(path.as_bytes());
    }
    if let Ok(name) = AbstractName::new(any(text)) {
        value(&name);
        order(&name);
        used(name.as_bytes());
    }
    let Ok(address) = BindAddress::parse(any(text)) else { return };
    value(&address);
    order(&address);
    let address = any(address);
    used((address.port(), address.ip(), address.to_socket_addr()));
}

fn errors() {
    let Some(errno) = Errno::from_raw_os_error(any(98)) else { return };
    value(&errno);
    used((errno.raw_os_error(), errno.name()));
    let error = any(SocketError::OutOfMemory);
    value(&error);
    used((error.errno(), error.step()));
    used((error.is_address_in_use(), error.is_address_not_available()));
    used((error.is_permission_denied(), error.is_exhausted(), error.is_not_supported()));
    used((error.is_would_block(), error.is_interrupted(), error.is_connection_lost()));
    value(&any(Step::Bind));
    value(&any(SocketOption::Mode));
    value(&any(Cause::Cancelled));
    value(&any(CapabilityError::InvalidId));
}

fn audit(utf8: &str) {
    let Ok(ring) = AuditRing::new_in(any(8), &MEMORY) else { return };
    let ring = any(ring).with_clock(&Ticks);
    let Ok(capability) = CapabilityId::new(any(utf8)) else { return };
    value(&capability);
    used(capability.as_str());
    let operation = any(Operation::BindSocket);
    value(&operation);
    let result = any(AuditResult::Denied);
    value(&result);
    used((operation.as_str(), result.as_str()));
    let Ok(address) = BindAddress::parse(any(utf8)) else { return };
    let record = Record::new(capability, operation, any(&address), result);
    value(&record);
    ring.record(any(&record));
    let ring = any(&ring);
    used((ring.capacity(), ring.written()));
    let mut reader = any(ring.reader());
    while let Some(entry) = reader.next() {
        value(&entry);
        used((entry.sequence, entry.time, entry.record()));
    }
    used((reader.missed(), any(ring.reader_from(any(7))).clone().next()));
}

fn capability(text: &[u8], utf8: &str) {
    let Ok(mut ours) = NetBind::new(any(utf8)) else { return };
    used(NetBind::empty(any(utf8)).map(|capability| capability.rights()));
    ours.grant(any(Rights::NET_BIND_ABSTRACT)).revoke(any(Rights::NET_BIND));
    allow(&mut ours, text);
    let Ok(ring) = AuditRing::new_in(any(8), &MEMORY) else { return };
    let rules = any([Rule::any_path(), Rule::any_abstract()]);
    let ours = any(ours).with_sink(&ring).with_rules(&rules);
    ours.rules().for_each(used);
    used((ours.id().as_str(), ours.rights()));
    let Ok(address) = BindAddress::parse(any(text)) else { return };
    if let Ok(permit) = ours.check(any(&address)) {
        used((permit.address(), permit.covers_dual_stack()));
    }
    used(ours.check_dual_stack(any(&address)).map(|permit| permit.covers_dual_stack()));
    if let Ok(child) = ours.child(any(utf8)) {
        used(child.check(any(&address)).map(|permit| permit.covers_dual_stack()));
    }
}

fn allow(ours: &mut NetBind<'_>, text: &[u8]) {
    let ip = any(IpAddr::from([1, 2, 3, 4]));
    used(ours.allow_port(any(80)).map(|_| ()));
    used(ours.allow_ports(any(80)..=any(81)).map(|_| ()));
    used(ours.allow_host(ip, any(80)).map(|_| ()));
    used(ours.allow_network(ip, any(8), any(80)..=any(81)).map(|_| ()));
    used(ours.allow_path(any(text)).map(|_| ()));
    used(ours.allow_beneath(any(text)).map(|_| ()));
    used(ours.allow_abstract(any(text)).map(|_| ()));
    used(ours.allow(any(Rule::port(any(80)))).map(|_| ()));
}

fn rules(text: &[u8], utf8: &str) {
    let ip = any(IpAddr::from([1, 2, 3, 4]));
    used((Rule::port(any(1)), Rule::ports(any(1)..=any(2))));
    used(Rule::host(ip, any(8), any(1)..=any(2)));
    used((Rule::path(any(text)), Rule::beneath(any(text)), Rule::any_path()));
    used((Rule::abstract_name(any(text)), Rule::abstract_prefix(any(text)), Rule::any_abstract()));
    used(Rule::from_str(utf8));
    match Rule::parse(any(text)) {
        Ok(rule) => value(&rule),
        Err(error) => {
            value(&error);
            value(&error.reason());
            used((error.offset(), CapabilityError::from(error)));
        }
    }
}

fn rights(utf8: &str) {
    let one = any(Rights::from_bits_retain(any(1)));
    let other = any(Rights::from_bits_truncate(any(2)));
    value(&one);
    used((Rights::empty(), Rights::all(), Rights::from_bits(any(3)), Rights::from_name(any(utf8))));
    used((one.bits(), one.is_empty(), one.is_all(), one.intersects(other), one.contains(other)));
    used((one.intersection(other), one.union(other), one.difference(other)));
    used((one.symmetric_difference(other), one.complement()));
    used((one & other, one | other, one ^ other, one - other, !one));
    let mut changed = any(one);
    changed.insert(any(other));
    changed.remove(any(other));
    changed.toggle(any(other));
    changed.set(any(other), any(true));
    changed &= any(other);
    changed |= any(other);
    changed ^= any(other);
    changed -= any(other);
    changed.extend(any([one, other]));
    used((changed, Rights::from_iter(any([one, other]))));
    used((Flags::bits(&one), <Rights as Flags>::from_bits_retain(any(1)), Rights::all_named()));
    one.iter().for_each(used);
    one.iter_names().for_each(used);
    any(one).into_iter().for_each(used);
}

fn sockaddr(text: &[u8]) {
    used(sockaddr_in(&any(SocketAddrV4::new(any([1, 2, 3, 4]).into(), any(80)))));
    let v6 = SocketAddrV6::new(any([1_u16; 8]).into(), any(80), any(1), any(2));
    used(sockaddr_in6(&any(v6)));
    let Ok(address) = BindAddress::parse(any(text)) else { return };
    let Ok(sockaddr) = SockAddr::new_in(any(&address), &MEMORY) else { return };
    let sockaddr = any(sockaddr);
    used((sockaddr.as_bytes(), sockaddr.to_bind_address()));
}

fn context() {
    let stop = any(CancelFlag::new());
    let context = any(Context::new(&Ticks)).with_cancel(&stop);
    let child = any(context.child()).with_timeout(any(Duration::MAX));
    let child = any(child).with_deadline(any(Instant::FAR_FUTURE));
    used((child.check(), child.cause(), child.deadline(), child.clock().now()));
    stop.cancel();
    used((stop.is_cancelled(), CancelFlag::default()));
    let instant = any(Instant::from_nanos(any(7)));
    value(&instant);
    order(&instant);
    used((instant + any(Duration::MAX), instant.as_nanos()));
    let clock = any(MonotonicClock::new());
    used((clock.now(), clock.clone(), MonotonicClock::default()));
    let coarse = any(CoarseClock::from(clock));
    used((coarse.now(), coarse.clone(), CoarseClock::new(), CoarseClock::default()));
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
    let options = any(options).backlog(any(64)).mode(any(0o600));
    let options = any(options).receive_buffer(any(1)).send_buffer(any(1));
    let options = any(options).reuse_address(any(true)).reuse_port(any(true));
    let options = any(options).dual_stack(any(true)).nonblocking(any(true)).free_bind(any(true));
    let options = any(options).keep_alive(any(true)).no_delay(any(true));
    serve(any(options.clone()).listen(any(text), &MEMORY));
    let Ok(address) = BindAddress::parse(any(text)) else { return };
    serve(any(&options).listen_on(any(&address), &MEMORY));
    let Ok(permit) = capability.check(&address) else { return };
    serve(any(&ListenOptions::new()).open(any(permit), &MEMORY));
}

fn serve(opened: Opened) {
    let Ok(listener) = any(opened) else { return };
    used((listener.accept(), listener.accept_nonblocking()));
    used((listener.local_address(), listener.sockaddr()));
    used((listener.as_fd().as_raw_fd(), listener.as_raw_fd()));
    match any(0) {
        0 => used(listener.close()),
        1 => used(listener.into_fd()),
        2 => used(OwnedFd::from(listener)),
        _ => drop(listener),
    }
}
