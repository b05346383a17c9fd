//! The plan of one opening, and the check of its result: the first error, the records, and the
//! number of readings of the clock.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use arbitrary::{Result, Unstructured};
use netbind::audit::{AuditResult, AuditSink, Operation, Record};
use netbind::error::Step;
use netbind::time::{Clock, Instant};
use netbind::{
    BindAddress, CancelFlag, Context, ListenOptions, Listener, NetBind, Rights, SocketError,
    listen, listen_with_capability, listen_with_context,
};

use super::draw::pick;
use super::memory::Arena;

/// The number of context checks in one opening: before the first step and between every two.
const CHECKS: u64 = 5;

/// A clock that advances by one at each reading, and sets a flag at one of them.
struct Ticks {
    readings: AtomicU32,
    cancel_at: u64,
    flag: CancelFlag,
}

impl Clock for Ticks {
    fn now(&self) -> Instant {
        let reading = u64::from(self.readings.fetch_add(1, Ordering::Relaxed)) + 1;
        if reading == self.cancel_at {
            self.flag.cancel();
        }
        Instant::from_nanos(reading)
    }
}

#[derive(Default)]
struct Trail(Mutex<Vec<OwnedRecord>>);

/// The parts of a record that are checked.
#[derive(Debug)]
struct OwnedRecord {
    operation: Operation,
    address: BindAddress,
    port: Option<u16>,
    result: AuditResult,
}

impl AuditSink for Trail {
    fn record(&self, record: &Record<'_>) {
        let Record { operation, address, port, result, .. } = *record;
        let address = address.clone();
        self.0.lock().unwrap().push(OwnedRecord { operation, address, port, result });
    }
}

/// The event that stops the opening.
#[derive(Clone, Copy)]
enum Stop {
    NoContext,
    Never,
    /// The clock reaches the deadline at this reading.
    DeadlineAt(u64),
    /// The flag is set at this reading. A check reads the flag before the clock, so the next check
    /// stops.
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

#[allow(clippy::struct_excessive_bools)] // independent choices
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

    /// Opens as planned, and checks the result, the records and the readings of the clock.
    pub fn open<'m>(
        &self,
        address: &[u8],
        memory: &'m Arena,
    ) -> core::result::Result<Listener<&'m Arena>, SocketError> {
        let trail = Trail::default();
        let (cancel_at, limit) = match self.stop {
            Stop::NoContext | Stop::Never => (0, u64::MAX),
            Stop::DeadlineAt(reading) => (0, reading),
            Stop::FlagAt(reading) => (reading, u64::MAX),
        };
        let ticks = Ticks { readings: AtomicU32::new(0), cancel_at, flag: CancelFlag::new() };
        let context =
            Context::new(&ticks).with_deadline(Instant::from_nanos(limit)).with_cancel(&ticks.flag);
        let context = (!matches!(self.stop, Stop::NoContext)).then_some(&context);
        let capability = self
            .capability()
            .map(|capability| if self.audited { capability.with_sink(&trail) } else { capability });

        let opened = self.call(address, context, capability.as_ref(), memory);
        let outcome = Outcome {
            readings: ticks.readings.into_inner().into(),
            records: trail.0.into_inner().unwrap(),
            opened: opened.as_ref().map_err(|error| *error),
        };
        self.check(address, &outcome);
        opened
    }

    fn capability(&self) -> Option<NetBind<'static>> {
        let mut capability = match self.authority {
            Authority::Ambient => return None,
            Authority::Empty => NetBind::empty("fuzz").expect("an id"),
            _ => NetBind::new("fuzz").expect("an id"),
        };
        match self.authority {
            Authority::Port0 => drop(capability.allow_port(0).map(drop)),
            Authority::Abstract => drop(capability.grant(Rights::NET_BIND_ABSTRACT)),
            _ => {}
        }
        Some(capability)
    }

    fn options(&self) -> ListenOptions<'static> {
        let has_flag = |bit: u8| self.flags & bit != 0;
        let mut options = ListenOptions::new()
            .reuse_port(has_flag(1))
            .reuse_address(!has_flag(2))
            .dual_stack(has_flag(4))
            .nonblocking(has_flag(8))
            .free_bind(has_flag(16))
            .keep_alive(has_flag(32))
            .no_delay(has_flag(128));
        if let Some(mode) = self.mode {
            options = options.mode(mode);
        }
        if let Some(backlog) = self.backlog {
            options = options.backlog(backlog.into());
        }
        options
    }

    /// Calls the simplest entry point that has the planned options.
    fn call<'m>(
        &self,
        address: &[u8],
        context: Option<&Context<'_>>,
        capability: Option<&NetBind<'_>>,
        memory: &'m Arena,
    ) -> core::result::Result<Listener<&'m Arena>, SocketError> {
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

    /// Panics if this plan cannot have this outcome.
    fn check(&self, address: &[u8], outcome: &Outcome<'_, '_>) {
        let parsed = match BindAddress::parse(address) {
            Ok(address) => address,
            Err(error) => {
                assert_eq!(outcome.opened.err(), Some(error.error()));
                assert!(
                    outcome.records.is_empty() && outcome.readings == 0,
                    "a malformed address is not recorded"
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
        assert_eq!(
            outcome.opened.err() == Some(SocketError::CapabilityDenied),
            !allowed,
            "{parsed}"
        );
        self.check_context(outcome, allowed);
        if self.audited && !matches!(self.authority, Authority::Ambient) {
            check_records(&parsed, outcome, allowed);
        } else {
            assert!(outcome.records.is_empty());
        }
        if self.no_memory {
            assert!(outcome.opened.is_err(), "there was no memory for {parsed}");
        }
    }

    fn check_context(&self, outcome: &Outcome<'_, '_>, allowed: bool) {
        // The check at which the context stops the opening, counted from 1.
        let stops = match self.stop {
            Stop::NoContext => {
                assert_eq!(outcome.readings, 0, "there is no clock");
                u64::MAX
            }
            Stop::Never => u64::MAX,
            Stop::DeadlineAt(reading) => reading,
            Stop::FlagAt(reading) => reading + 1,
        };
        assert!(outcome.readings <= CHECKS, "the clock was read {} times", outcome.readings);
        match outcome.opened {
            Ok(_) => {
                assert!(stops > CHECKS, "opened although the context stops at check {stops}");
                assert!(
                    outcome.readings == CHECKS || matches!(self.stop, Stop::NoContext),
                    "not all checks were made"
                );
            }
            Err(SocketError::Timeout) => assert!(stops <= CHECKS, "nothing stops at check {stops}"),
            Err(SocketError::System { step: Step::Listen, .. }) => assert!(stops > CHECKS),
            Err(SocketError::System { step: Step::Socket, .. } | SocketError::OutOfMemory) => {
                assert!(stops > 1);
            }
            Err(_) if !allowed => {
                assert_eq!(outcome.readings, 0, "a denial comes before the first check");
            }
            Err(_) => {}
        }
    }
}

/// The observable result of an opening.
struct Outcome<'r, 'm> {
    readings: u64,
    records: Vec<OwnedRecord>,
    opened: core::result::Result<&'r Listener<&'m Arena>, SocketError>,
}

/// Checks that the decision and a successful bind are recorded, and nothing else.
fn check_records(address: &BindAddress, outcome: &Outcome<'_, '_>, allowed: bool) {
    let (check, rest) = outcome.records.split_first().expect("a record of the decision");
    assert_eq!((check.operation, check.port), (Operation::CheckBindAddress, address.port()));
    assert_eq!(check.address, *address);
    assert_eq!(check.result == AuditResult::Allowed, allowed);
    match (rest, outcome.opened) {
        ([bind], Ok(listener)) => {
            let local = listener.local_address().expect("it is bound");
            assert_eq!(
                (bind.operation, bind.port, bind.result),
                (Operation::BindSocket, local.port(), AuditResult::Allowed)
            );
            assert_eq!((bind.address.ip(), bind.address.port()), (local.ip(), local.port()));
            assert_ne!(local.port(), Some(0));
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
