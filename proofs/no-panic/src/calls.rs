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
use netbind::enforce::{Confinement, Gaps, Seal, Supervisor};
use netbind::error::{Errno, SocketOption, Step};
use netbind::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use netbind::sockaddr::{SockAddr, sockaddr_in, sockaddr_in6};
use netbind::time::{Clock, CoarseClock, Instant};
use netbind::{
    BindAddress, CancelEvent, CancelFlag, Context, Existing, ListenOptions, Listener,
    MonotonicClock, NetBind, Rights, Rule, SocketError, inherit,
};

use runtime::{MEMORY, Memory, Sum, Ticks, keep, opaque};

type Opened = Result<Listener<&'static Memory>, SocketError>;

/// Calls the derived traits of a value.
fn value<T: Clone + PartialEq + Hash>(value: &T) {
    let value = opaque(value);
    keep(value.clone() == opaque(value.clone()));
    value.hash(&mut Sum(opaque(0)));
}

/// Calls the traits of an order.
fn order<T: Clone + Ord>(value: &T) {
    let (one, other) = (opaque(value.clone()), opaque(value.clone()));
    keep((one.cmp(&other), one.partial_cmp(&other)));
}

#[unsafe(no_mangle)]
extern "C" fn start() -> i32 {
    let text: &'static [u8] = opaque(b"127.0.0.1:8080");
    let utf8: &str = opaque("127.0.0.1:8080");
    addresses(text, utf8);
    errors();
    audit(utf8);
    capability(text, utf8);
    rules(text, utf8);
    rights(utf8);
    gaps(utf8);
    enforce();
    sockaddr(text);
    context();
    listen(text, utf8);
    if let Ok(listener) = netbind::listen(opaque(text), &MEMORY) {
        life(text, utf8, listener.into_fd());
    }
    #[cfg(feature = "broken")]
    keep(text[opaque(3)]);
    0
}

fn addresses(text: &[u8], utf8: &str) {
    if let Err(error) = BindAddress::parse(opaque(text)) {
        value(&error);
        value(&error.reason());
        keep((error.error(), error.offset(), SocketError::from(error)));
    }
    keep(BindAddress::from_str(utf8));
    keep(BindAddress::try_from(text));
    keep(BindAddress::from(opaque(SocketAddrV4::new(opaque([1, 2, 3, 4]).into(), opaque(80)))));
    let v6 = opaque(SocketAddrV6::new(opaque([1_u16; 8]).into(), opaque(80), opaque(0), opaque(0)));
    keep((BindAddress::try_from(v6), BindAddress::try_from(opaque(SocketAddr::from(v6)))));
    if let Ok(path) = UnixPath::new(opaque(text)) {
        value(&path);
        order(&path);
        keep(path.as_bytes());
    }
    if let Ok(name) = AbstractName::new(opaque(text)) {
        value(&name);
        order(&name);
        keep(name.as_bytes());
    }
    let Ok(address) = BindAddress::parse(opaque(text)) else { return };
    value(&address);
    order(&address);
    let address = opaque(address);
    keep((address.port(), address.ip(), address.to_socket_addr()));
}

fn errors() {
    let Some(errno) = Errno::from_raw_os_error(opaque(98)) else { return };
    value(&errno);
    keep((errno.raw_os_error(), errno.name()));
    let error = opaque(SocketError::OutOfMemory);
    value(&error);
    keep((error.errno(), error.step()));
    keep((error.is_address_in_use(), error.is_address_not_available()));
    keep((error.is_permission_denied(), error.is_exhausted(), error.is_not_supported()));
    keep((error.is_would_block(), error.is_interrupted(), error.is_connection_lost()));
    value(&opaque(Step::Bind));
    value(&opaque(SocketOption::Mode));
    value(&opaque(Cause::Cancelled));
    value(&opaque(CapabilityError::InvalidId));
}

fn audit(utf8: &str) {
    let Ok(ring) = AuditRing::new_in(opaque(8), &MEMORY) else { return };
    let ring = opaque(ring).with_clock(&Ticks);
    let Ok(capability) = CapabilityId::new(opaque(utf8)) else { return };
    value(&capability);
    keep(capability.as_str());
    let operation = opaque(Operation::BindSocket);
    value(&operation);
    let result = opaque(AuditResult::Denied);
    value(&result);
    keep((operation.as_str(), result.as_str()));
    let Ok(address) = BindAddress::parse(opaque(utf8)) else { return };
    let record = Record::new(capability, operation, opaque(&address), result);
    value(&record);
    ring.record(opaque(&record));
    let ring = opaque(&ring);
    keep((ring.capacity(), ring.written()));
    let mut reader = opaque(ring.reader());
    while let Some(entry) = reader.next() {
        value(&entry);
        keep((entry.sequence, entry.time, entry.record()));
    }
    keep((reader.missed(), opaque(ring.reader_from(opaque(7))).clone().next()));
}

fn capability(text: &[u8], utf8: &str) {
    let Ok(mut ours) = NetBind::new(opaque(utf8)) else { return };
    keep(NetBind::empty(opaque(utf8)).map(|capability| capability.rights()));
    ours.grant(opaque(Rights::NET_BIND_ABSTRACT)).revoke(opaque(Rights::NET_BIND));
    allow(&mut ours, text);
    let Ok(ring) = AuditRing::new_in(opaque(8), &MEMORY) else { return };
    let rules = opaque([Rule::any_path(), Rule::any_abstract()]);
    let ours = opaque(ours).with_sink(&ring).with_rules(&rules);
    ours.rules().for_each(keep);
    keep((ours.id().as_str(), ours.rights()));
    let Ok(address) = BindAddress::parse(opaque(text)) else { return };
    if let Ok(permit) = ours.check(opaque(&address)) {
        keep((permit.address(), permit.covers_dual_stack()));
    }
    keep(ours.check_dual_stack(opaque(&address)).map(|permit| permit.covers_dual_stack()));
    if let Ok(child) = ours.child(opaque(utf8)) {
        keep(child.check(opaque(&address)).map(|permit| permit.covers_dual_stack()));
    }
}

fn allow(ours: &mut NetBind<'_>, text: &[u8]) {
    let ip = opaque(IpAddr::from([1, 2, 3, 4]));
    keep(ours.allow_port(opaque(80)).map(|_| ()));
    keep(ours.allow_ports(opaque(80)..=opaque(81)).map(|_| ()));
    keep(ours.allow_host(ip, opaque(80)).map(|_| ()));
    keep(ours.allow_network(ip, opaque(8), opaque(80)..=opaque(81)).map(|_| ()));
    keep(ours.allow_path(opaque(text)).map(|_| ()));
    keep(ours.allow_beneath(opaque(text)).map(|_| ()));
    keep(ours.allow_abstract(opaque(text)).map(|_| ()));
    keep(ours.allow(opaque(Rule::port(opaque(80)))).map(|_| ()));
}

fn rules(text: &[u8], utf8: &str) {
    let ip = opaque(IpAddr::from([1, 2, 3, 4]));
    keep((Rule::port(opaque(1)), Rule::ports(opaque(1)..=opaque(2))));
    keep(Rule::host(ip, opaque(8), opaque(1)..=opaque(2)));
    keep((Rule::path(opaque(text)), Rule::beneath(opaque(text)), Rule::any_path()));
    keep((
        Rule::abstract_name(opaque(text)),
        Rule::abstract_prefix(opaque(text)),
        Rule::any_abstract(),
    ));
    keep(Rule::from_str(utf8));
    match Rule::parse(opaque(text)) {
        Ok(rule) => value(&rule),
        Err(error) => {
            value(&error);
            value(&error.reason());
            keep((error.offset(), CapabilityError::from(error)));
        }
    }
}

/// Defines a function that calls all functions of a set of flags.
macro_rules! call_flags {
    ($name:ident, $Type:ident) => {
        fn $name(utf8: &str) {
            let one = opaque($Type::from_bits_retain(opaque(1)));
            let other = opaque($Type::from_bits_truncate(opaque(2)));
            value(&one);
            keep((
                $Type::empty(),
                $Type::all(),
                $Type::from_bits(opaque(3)),
                $Type::from_name(opaque(utf8)),
            ));
            keep((
                one.bits(),
                one.is_empty(),
                one.is_all(),
                one.intersects(other),
                one.contains(other),
            ));
            keep((one.intersection(other), one.union(other), one.difference(other)));
            keep((one.symmetric_difference(other), one.complement()));
            keep((one & other, one | other, one ^ other, one - other, !one));
            let mut changed = opaque(one);
            changed.insert(opaque(other));
            changed.remove(opaque(other));
            changed.toggle(opaque(other));
            changed.set(opaque(other), opaque(true));
            changed &= opaque(other);
            changed |= opaque(other);
            changed ^= opaque(other);
            changed -= opaque(other);
            changed.extend(opaque([one, other]));
            keep((changed, $Type::from_iter(opaque([one, other]))));
            keep((
                Flags::bits(&one),
                <$Type as Flags>::from_bits_retain(opaque(1)),
                $Type::all_named(),
            ));
            one.iter().for_each(keep);
            one.iter_names().for_each(keep);
            opaque(one).into_iter().for_each(keep);
        }
    };
}

call_flags!(rights, Rights);
call_flags!(gaps, Gaps);

fn enforce() {
    let Ok(capability) = NetBind::new("id") else { return };
    let confinement = opaque(Confinement::new(opaque(&capability))).tolerate(opaque(Gaps::all()));
    if let Err(error) = opaque(&confinement).gaps() {
        value(&error);
    }
    keep(opaque(confinement).apply());
    let seal = opaque(Seal::Listening);
    value(&seal);
    keep((seal.gaps(), seal.apply(), seal.apply_tolerating(opaque(Gaps::all()))));
    supervise(&capability);
}

// A function of its own, as above.
#[inline(never)]
fn supervise(capability: &NetBind<'_>) {
    let Ok((supervisor, supervised)) = Supervisor::new(opaque(capability)) else { return };
    keep(opaque(&supervised).enter());
    let mut supervisor = opaque(opaque(supervisor).allow_udp()).lend_privileged_ports();
    keep(supervisor.attach());
    keep(supervisor.descriptor());
    if let Ok(Some(answered)) = supervisor.step() {
        let answered = opaque(answered);
        keep(opaque(&answered).clone() == answered);
        value(&answered.call);
        value(&answered.outcome);
    }
}

fn sockaddr(text: &[u8]) {
    keep(sockaddr_in(&opaque(SocketAddrV4::new(opaque([1, 2, 3, 4]).into(), opaque(80)))));
    let v6 = SocketAddrV6::new(opaque([1_u16; 8]).into(), opaque(80), opaque(1), opaque(2));
    keep(sockaddr_in6(&opaque(v6)));
    let Ok(address) = BindAddress::parse(opaque(text)) else { return };
    let Ok(sockaddr) = SockAddr::new_in(opaque(&address), &MEMORY) else { return };
    let sockaddr = opaque(sockaddr);
    keep((sockaddr.as_bytes(), sockaddr.to_bind_address()));
}

fn context() {
    let stop = opaque(CancelFlag::new());
    let context = opaque(Context::new(&Ticks)).with_cancel(&stop);
    let child = opaque(context.child()).with_timeout(opaque(Duration::MAX));
    let child = opaque(child).with_deadline(opaque(Instant::FAR_FUTURE));
    keep((child.check(), child.cause(), child.deadline(), child.clock().now()));
    stop.cancel();
    keep((stop.is_cancelled(), CancelFlag::default()));
    let instant = opaque(Instant::from_nanos(opaque(7)));
    value(&instant);
    order(&instant);
    keep((instant + opaque(Duration::MAX), instant.as_nanos()));
    let clock = opaque(MonotonicClock::new());
    keep((clock.now(), clock.clone(), MonotonicClock::default()));
    let coarse = opaque(CoarseClock::from(clock));
    keep((coarse.now(), coarse.clone(), CoarseClock::new(), CoarseClock::default()));
}

fn listen(text: &[u8], utf8: &str) {
    let context = opaque(Context::new(&Ticks));
    let Ok(ring) = AuditRing::new_in(opaque(8), &MEMORY) else { return };
    let Ok(capability) = NetBind::new(opaque(utf8)) else { return };
    let capability = opaque(capability.with_sink(&ring));
    serve(netbind::listen(opaque(text), &MEMORY));
    serve(netbind::listen_with_context(opaque(text), &context, &MEMORY));
    serve(netbind::listen_with_capability(opaque(text), &capability, &MEMORY));
    let options = opaque(ListenOptions::default()).context(&context).capability(&capability);
    let options = opaque(options).backlog(opaque(64)).mode(opaque(0o600));
    let options = opaque(options).receive_buffer(opaque(1)).send_buffer(opaque(1));
    let options = opaque(options).reuse_address(opaque(true)).reuse_port(opaque(true));
    let options =
        opaque(options).dual_stack(opaque(true)).nonblocking(opaque(true)).free_bind(opaque(true));
    let options = opaque(options).keep_alive(opaque(true)).no_delay(opaque(true));
    serve(opaque(options.clone()).listen(opaque(text), &MEMORY));
    let Ok(address) = BindAddress::parse(opaque(text)) else { return };
    serve(opaque(&options).listen_on(opaque(&address), &MEMORY));
    let Ok(permit) = capability.check(&address) else { return };
    serve(opaque(&ListenOptions::new()).open(opaque(permit), &MEMORY));
}

/// Adopts, replaces and hands over.
fn life(text: &'static [u8], utf8: &str, fd: OwnedFd) {
    let Ok(event) = CancelEvent::new() else { return };
    let event = opaque(event);
    event.cancel();
    keep((event.is_cancelled(), event.as_fd().as_raw_fd()));
    let context = opaque(Context::new(&Ticks)).with_cancel_event(&event);
    keep(context.check());
    value(&opaque(Existing::default()));
    let hook =
        |fd: BorrowedFd<'_>| opaque(Errno::from_raw_os_error(fd.as_raw_fd()).map_or(Ok(()), Err));
    let options = opaque(ListenOptions::new()).context(&context).before_bind(&hook);
    let options = opaque(options).existing(opaque(Existing::Replace)).owner(opaque(1), opaque(2));
    if let Ok(mut listener) = opaque(&options).listen(opaque(text), &MEMORY) {
        listener.keep_path();
        keep(listener.remove_path(opaque(true)));
        keep(listener.accept_with_context(&context));
    }
    let Ok(address) = BindAddress::parse(opaque(text)) else { return };
    let fd = match opaque(&options).adopt(opaque(fd), &MEMORY) {
        Ok(listener) => listener.into_fd(),
        Err(error) => {
            keep(error.error());
            error.into_fd()
        }
    };
    if let Err(error) = opaque(&options).adopt_as(opaque(fd), opaque(&address), &MEMORY) {
        keep(SocketError::from(error));
    }
    take(text);
    pass(&event, utf8);
}

// Functions of their own: the compiler would merge their assertions, see `run`, into one without
// debug information.
#[inline(never)]
fn take(text: &'static [u8]) {
    // SAFETY: the program is not run.
    match unsafe { inherit::take_from(opaque([text])) } {
        Ok(inherited) => {
            let mut inherited = opaque(inherited);
            keep(inherited.size_hint());
            keep(inherited.next().map(|socket| (socket.name, socket.fd)));
        }
        Err(error) => value(&error),
    }
    keep(inherit::Inherited::default());
}

#[inline(never)]
fn pass(event: &CancelEvent, utf8: &str) {
    let mut sockets = opaque([(event.as_fd(), utf8), (event.as_fd(), utf8)]);
    // SAFETY: the program is not run.
    if let Ok(variables) = unsafe { inherit::pass(&mut sockets) } {
        opaque(variables).clone().for_each(|variable| keep(opaque(variable).clone().name()));
    }
}

fn serve(opened: Opened) {
    let Ok(listener) = opaque(opened) else { return };
    keep((listener.accept(), listener.accept_nonblocking()));
    keep((listener.local_address(), listener.sockaddr()));
    keep((listener.as_fd().as_raw_fd(), listener.as_raw_fd()));
    match opaque(0) {
        0 => keep(listener.close()),
        1 => keep(listener.into_fd()),
        2 => keep(OwnedFd::from(listener)),
        _ => drop(listener),
    }
}
