//! One opening as a plan, and what its outcome has to be: which error comes first, which records are left, how often the
//! clock is read.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use arbitrary::{Result, Unstructured};
use netbind::audit::{AuditResult, AuditSink, Operation, Record};
use netbind::error::Step;
use netbind::time::{Clock, Instant};
use netbind::{
    BindAddress, CancelFlag, Context, ListenOptions, Listener, NetBind, Rights, SocketError,
    listen, listen_with_capability, listen_with_context,
};

use super::draw::pick;
use super::memory::Counted;

/// The checks of a context during one opening: before the first step and between every two.
const CHECKS: u64 = 5;

/// Goes on by one at each reading, and raises a flag at one of them.
struct Ticks {
    readings: AtomicU64,
    raise_at: u64,
    flag: CancelFlag,
}

impl Clock for Ticks {
    fn now(&self) -> Instant {
        let reading = self.readings.fetch_add(1, Ordering::Relaxed) + 1;
        if reading == self.raise_at {
            self.flag.cancel();
        }
        Instant::from_nanos(reading)
    }
}

#[derive(Default)]
struct Trail(Mutex<Vec<Record>>);

impl AuditSink for Trail {
    fn record(&self, record: &Record) {
        self.0.lock().unwrap().push(*record);
    }
}

/// What stops the context, if it has one at all.
#[derive(Clone, Copy)]
enum Stop {
    NoContext,
    Never,
    /// The deadline is met at this reading of the clock.
    DeadlineAt(u64),
    /// The flag goes up at this reading: the check that reads the clock has looked at the flag before.
    FlagAt(u64),
}

#[derive(Clone, Copy)]
enum Authority {
    Ambient,
    Empty,
    Defaults,
    Port0,
    Abstract,
}

#[allow(clippy::struct_excessive_bools)] // a plan is what is switched on
pub struct Plan {
    pub no_memory: bool,
    pub reuse_port: bool,
    flags: u8,
    mode: Option<u16>,
    backlog: Option<u8>,
    stop: Stop,
    authority: Authority,
    audited: bool,
    permit_first: bool,
}

impl Plan {
    pub fn draw(u: &mut Unstructured<'_>) -> Result<Self> {
        let flags = if u.arbitrary()? { u.arbitrary()? } else { 0 };
        let at = |u: &mut Unstructured<'_>| u.int_in_range(1..=CHECKS + 1);
        Ok(Self {
            no_memory: u.int_in_range(0..=15_u8)? == 15,
            reuse_port: flags & 1 != 0,
            flags,
            mode: if flags & 64 != 0 { Some(u.arbitrary()?) } else { None },
            backlog: u.arbitrary()?,
            stop: match u.int_in_range(0..=3_u8)? {
                0 => Stop::NoContext,
                1 => Stop::Never,
                2 => Stop::DeadlineAt(at(u)?),
                _ => Stop::FlagAt(at(u)?),
            },
            authority: pick(
                u,
                &[
                    Authority::Ambient,
                    Authority::Empty,
                    Authority::Defaults,
                    Authority::Port0,
                    Authority::Abstract,
                ],
            )?,
            audited: u.arbitrary()?,
            permit_first: u.arbitrary()?,
        })
    }

    /// Opens as planned, and looks at all that there is to see of it.
    pub fn open<'m>(
        &self,
        address: &[u8],
        memory: &'m Counted,
    ) -> core::result::Result<Listener<&'m Counted>, SocketError> {
        let trail = Trail::default();
        let (raise_at, limit) = match self.stop {
            Stop::NoContext | Stop::Never => (0, u64::MAX),
            Stop::DeadlineAt(reading) => (0, reading),
            Stop::FlagAt(reading) => (reading, u64::MAX),
        };
        let ticks = Ticks { readings: AtomicU64::new(0), raise_at, flag: CancelFlag::new() };
        let context =
            Context::new(&ticks).with_deadline(Instant::from_nanos(limit)).with_cancel(&ticks.flag);
        let context = (!matches!(self.stop, Stop::NoContext)).then_some(&context);
        let capability = self
            .capability()
            .map(|capability| if self.audited { capability.with_sink(&trail) } else { capability });

        let opened = self.call(address, context, capability.as_ref(), memory);
        let seen = Seen {
            readings: ticks.readings.into_inner(),
            records: trail.0.into_inner().unwrap(),
            opened: opened.as_ref().map_err(|error| *error),
        };
        self.judge(address, &seen);
        opened
    }

    fn capability(&self) -> Option<NetBind<'static>> {
        let mut capability = match self.authority {
            Authority::Ambient => return None,
            Authority::Empty => NetBind::empty("fuzz").expect("an id"),
            _ => NetBind::new("fuzz").expect("an id"),
        };
        match self.authority {
            Authority::Port0 => drop(capability.allow_port(0).map(|_| ())),
            Authority::Abstract => drop(capability.grant(Rights::NET_BIND_ABSTRACT)),
            _ => {}
        }
        Some(capability)
    }

    fn options(&self) -> ListenOptions<'static> {
        let asked = |bit: u8| self.flags & bit != 0;
        let mut options = ListenOptions::new()
            .reuse_port(asked(1))
            .reuse_address(!asked(2))
            .dual_stack(asked(4))
            .nonblocking(asked(8))
            .free_bind(asked(16))
            .keep_alive(asked(32))
            .no_delay(asked(128));
        if let Some(mode) = self.mode {
            options = options.mode(mode);
        }
        if let Some(backlog) = self.backlog {
            options = options.backlog(backlog.into());
        }
        options
    }

    /// The simplest entry point that can do what is planned.
    fn call<'m>(
        &self,
        address: &[u8],
        context: Option<&Context<'_>>,
        capability: Option<&NetBind<'_>>,
        memory: &'m Counted,
    ) -> core::result::Result<Listener<&'m Counted>, SocketError> {
        let plain = self.flags == 0 && self.backlog.is_none();
        match (context, capability) {
            (None, None) if plain => return listen(address, memory),
            (Some(context), None) if plain => return listen_with_context(address, context, memory),
            (None, Some(capability)) if plain => {
                return listen_with_capability(address, capability, memory);
            }
            _ => {}
        }
        let mut options = self.options();
        if let Some(context) = context {
            options = options.context(context);
        }
        match capability {
            None => options.listen(address, memory),
            Some(capability) if self.permit_first => {
                let address = BindAddress::parse(address)?;
                let dual_stack = self.flags & 4 != 0;
                let permit = if dual_stack {
                    capability.check_dual_stack(&address)
                } else {
                    capability.check(&address)
                }?;
                options.open(permit, memory)
            }
            Some(capability) => options.capability(capability).listen(address, memory),
        }
    }

    /// Whether the outcome is one that the plan can have.
    fn judge(&self, address: &[u8], seen: &Seen<'_, '_>) {
        let parsed = match BindAddress::parse(address) {
            Ok(address) => address,
            Err(error) => {
                assert_eq!(seen.opened.err(), Some(error.error()));
                assert!(
                    seen.records.is_empty() && seen.readings == 0,
                    "a malformed address leaves no trace"
                );
                return;
            }
        };
        let allowed = self.capability().is_none_or(|capability| {
            if self.flags & 4 != 0 {
                capability.check_dual_stack(&parsed).is_ok()
            } else {
                capability.check(&parsed).is_ok()
            }
        });
        assert_eq!(seen.opened.err() == Some(SocketError::CapabilityDenied), !allowed, "{parsed}");
        self.judge_context(seen, allowed);
        if self.audited && !matches!(self.authority, Authority::Ambient) {
            judge_records(&parsed, seen, allowed);
        } else {
            assert!(seen.records.is_empty());
        }
        if self.no_memory {
            assert!(seen.opened.is_err(), "there was no memory for {parsed}");
        }
    }

    fn judge_context(&self, seen: &Seen<'_, '_>, allowed: bool) {
        // The check at which the context stops, counted from 1.
        let stops = match self.stop {
            Stop::NoContext => {
                assert_eq!(seen.readings, 0, "no clock was given");
                u64::MAX
            }
            Stop::Never => u64::MAX,
            Stop::DeadlineAt(reading) => reading,
            Stop::FlagAt(reading) => reading + 1,
        };
        assert!(seen.readings <= CHECKS, "the clock was read {} times", seen.readings);
        match seen.opened {
            Ok(_) => {
                assert!(stops > CHECKS, "opened although the context stops at check {stops}");
                assert!(
                    seen.readings == CHECKS || matches!(self.stop, Stop::NoContext),
                    "not all checks were made"
                );
            }
            Err(SocketError::Timeout) => assert!(stops <= CHECKS, "nothing stops at check {stops}"),
            Err(SocketError::System { step: Step::Listen, .. }) => assert!(stops > CHECKS),
            Err(SocketError::System { step: Step::Socket, .. } | SocketError::OutOfMemory) => {
                assert!(stops > 1)
            }
            Err(_) if !allowed => {
                assert_eq!(seen.readings, 0, "denied before anything is looked at")
            }
            Err(_) => {}
        }
    }
}

/// What an opening showed.
struct Seen<'r, 'm> {
    readings: u64,
    records: Vec<Record>,
    opened: core::result::Result<&'r Listener<&'m Counted>, SocketError>,
}

/// The decision is recorded always, the bind if there was one, and nothing else.
fn judge_records(address: &BindAddress, seen: &Seen<'_, '_>, allowed: bool) {
    let (check, rest) = seen.records.split_first().expect("the decision is recorded");
    assert_eq!((check.operation, check.port), (Operation::CheckBindAddress, address.port()));
    assert_eq!(check.result == AuditResult::Allowed, allowed);
    match (rest, seen.opened) {
        ([bind], Ok(listener)) => {
            let port = listener.local_address().expect("it is bound").port();
            assert_eq!(
                (bind.operation, bind.port, bind.result),
                (Operation::BindSocket, port, AuditResult::Allowed)
            );
            assert_ne!(port, Some(0));
        }
        ([bind], Err(SocketError::Timeout | SocketError::System { step: Step::Listen, .. })) => {
            assert_eq!(
                (bind.operation, bind.result),
                (Operation::BindSocket, AuditResult::Allowed)
            );
        }
        ([], Err(_)) => {}
        (rest, opened) => panic!("{opened:?} left {rest:?}"),
    }
}
