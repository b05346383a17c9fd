//! A supervised program, from its start to its end.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use netbind::enforce::{Answered, EnforceError, Outcome, Supervisor};
use netbind::error::Errno;
use netbind::{BindAddress, NetBind};
use rustix::fd::AsFd;

use crate::arguments::RunOptions;
use crate::failure::Failure;
use crate::policy;
use crate::report::{printable, report};
use crate::watch::Watch;

/// The first port that needs no privilege, unless the machine is configured otherwise.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Tells the user why a call was refused.
pub(crate) struct Explainer<'s> {
    /// The policy, without a trail.
    pub(crate) silent: NetBind<'s>,
    pub(crate) options: &'s RunOptions,
}

/// Supervises until the program, and all that it started, have ended. Returns the exit status of
/// the program.
///
/// If a call is interrupted after `poll` has reported it, a step waits for the next one. So signals
/// have a thread of their own. It keeps the privileges that the supervisor
/// takes from its thread, and so can signal programs of other users.
pub(crate) fn run(
    supervisor: Supervisor<'_>,
    explainer: &Explainer<'_>,
    watch: Watch<'_>,
) -> Result<u8, Failure> {
    let failed = AtomicBool::new(false);
    let failed = &failed;
    let (supervision, end) = io::pipe().map_err(|error| Failure::about("pipe", error))?;
    thread::scope(|scope| {
        let watching = thread::Builder::new()
            .spawn_scoped(scope, move || watch.run(supervision.as_fd(), failed))
            .map_err(|error| Failure::about("thread", error))?;
        let supervised = supervise(supervisor, explainer);
        failed.store(supervised.is_err(), Ordering::Release);
        drop(end);
        let status = watching.join().map_err(|_| Failure::new("the thread of the signals failed"));
        supervised.map_err(own)?;
        status
    })
}

pub(crate) fn own(error: EnforceError) -> Failure {
    Failure::about("supervision", error)
}

fn supervise(
    mut supervisor: Supervisor<'_>,
    explainer: &Explainer<'_>,
) -> Result<(), EnforceError> {
    while let Some(answered) = supervisor.step()? {
        explainer.explain(&answered);
    }
    Ok(())
}

impl Explainer<'_> {
    /// Tells the user how to allow what was refused.
    fn explain(&self, answered: &Answered) {
        let needs_privilege = self.needs_privilege(answered);
        if answered.outcome != Outcome::Denied && !needs_privilege {
            return;
        }
        let thread = answered.thread;
        let who = format!("{} (pid {thread})", name_of(thread));
        let Some(address) = &answered.address else {
            report(&format!("{who}: denied; the socket or its address cannot be judged"));
            return;
        };
        let advice = if needs_privilege {
            "the port needs a privilege; to lend it: --privileged-ports".into()
        } else {
            self.advice(address)
        };
        report(&format!("{who}: {} denied; {advice}", printable(address.to_bytes())));
    }

    /// Returns true if the kernel refused a port that the tool could have lent.
    fn needs_privilege(&self, answered: &Answered) -> bool {
        let port = answered.address.as_ref().and_then(BindAddress::port);
        answered.outcome == Outcome::Failed(Errno::ACCESS)
            && !self.options.privileged_ports
            && port.is_some_and(|port| port != 0 && port < FIRST_UNPRIVILEGED)
    }

    fn advice(&self, address: &BindAddress) -> String {
        if self.silent.check_dual_stack(address).is_err() {
            return policy::advice(address);
        }
        // Something else than the rules has decided.
        match address {
            BindAddress::Path(_) => "its root directory is another one, only any-path allows it",
            _ if !self.options.udp => "a rule allows it for TCP; for UDP too: --udp",
            _ => "a rule allows it, but the program changed the socket meanwhile",
        }
        .into()
    }
}

/// Returns the name of a thread's program.
fn name_of(thread: u32) -> String {
    let name = fs::read(format!("/proc/{thread}/comm")).unwrap_or_default();
    let name = printable(name.strip_suffix(b"\n").unwrap_or(&name));
    if name.is_empty() { "a program".into() } else { name }
}
