//! `netbind run`: supervises an unmodified program.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process;

use netbind::enforce::{Supervised, Supervisor};
use netbind::{NetBind, Rule};
use rustix::process::Pid;

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::learn::Learner;
use crate::policy;
use crate::report::{printable, report};
use crate::session::{self, Explainer, own};
use crate::signals::{Mask, Signals};
use crate::trail::Trail;
use crate::watch::Watch;

/// Returns the exit status of the program.
pub(crate) fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let trail = Trail::open(arguments.trail.file.as_deref(), arguments.trail.json)?;
    let Some(learn) = &arguments.run.learn else {
        let capability = policy::capability(&arguments.rules, Some(&trail))?;
        return supervise(&capability, &arguments.rules, arguments, &|| {});
    };
    let learner = Learner::new(learn, trail)?;
    let rules = policy::everything()?;
    let capability = policy::capability(&rules, Some(&learner))?;
    let finish = || learner.finish(&arguments.program);
    let status = supervise(&capability, &rules, arguments, &finish)?;
    finish();
    Ok(status)
}

fn supervise(
    capability: &NetBind<'_>,
    rules: &[Rule],
    arguments: &Arguments,
    on_abandon: &(dyn Fn() + Sync),
) -> Result<u8, Failure> {
    let options = &arguments.run;
    let (mut supervisor, supervised) = Supervisor::new(capability).map_err(own)?;
    if options.udp || options.learn.is_some() {
        supervisor = supervisor.allow_udp();
    }
    if options.privileged_ports {
        supervisor = supervisor.lend_privileged_ports();
    }
    let explainer = Explainer { silent: policy::capability(rules, None)?, options };
    let signals = Signals::block().map_err(|error| Failure::about("signals", error))?;
    let program = spawn(&arguments.program, supervised, signals.original_mask())?;
    session::run(supervisor, &explainer, Watch::new(&signals, program, on_abandon))
}

/// Starts the program under its supervisor.
fn spawn(words: &[OsString], supervised: Supervised, mask: Mask) -> Result<Pid, Failure> {
    let (program, rest) = words.split_first().ok_or_else(|| Failure::new("no program"))?;
    let mut command = process::Command::new(program);
    command.args(rest);
    let enter = move || {
        if let Err(error) = supervised.enter() {
            // If it was returned, it would look like an error of the program.
            let failure = own(error);
            report(failure.message());
            process::exit(failure.status().into());
        }
        mask.set().map(drop)
    };
    // SAFETY: the tool still has one thread, so its child may do everything.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(enter)
    };
    let name = printable(program.as_bytes());
    let child = command.spawn().map_err(|error| Failure::of_program(name, &error))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Failure::new("the program has no process id"))
}
