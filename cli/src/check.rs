//! `netbind check`: prints the decision for each address.

use std::os::unix::ffi::OsStrExt;

use netbind::{BindAddress, NetBind};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::policy;
use crate::report::{print, printable, report};
use crate::trail::Trail;

/// At least one address is denied.
const DENIED: u8 = 1;

/// Returns the exit status.
pub(crate) fn check(arguments: &Arguments) -> Result<u8, Failure> {
    let audit = arguments.trail.file.as_deref();
    // The decisions are printed, so there is no trail unless it has a file.
    let trail = audit.map(|file| Trail::open(Some(file), arguments.trail.json)).transpose()?;
    let sink = trail.as_ref().map(|trail| trail as _);
    let capability = policy::capability(&arguments.rules, sink)?;
    let (mut status, mut malformed) = (0, false);
    for text in &arguments.addresses {
        match BindAddress::parse(text.as_bytes()) {
            Ok(address) => {
                let decision = if is_allowed(&capability, &address, arguments.open.dual_stack) {
                    "allowed"
                } else {
                    status = DENIED;
                    "denied"
                };
                print(format!("{decision} {}\n", printable(address.to_bytes())).as_bytes())?;
            }
            Err(error) => {
                malformed = true;
                report(&format!("{}: {error}", printable(text.as_bytes())));
            }
        }
    }
    if malformed {
        return Err(Failure::new("not every argument is an address"));
    }
    Ok(status)
}

fn is_allowed(capability: &NetBind<'_>, address: &BindAddress, dual_stack: bool) -> bool {
    if dual_stack {
        capability.check_dual_stack(address).is_ok()
    } else {
        capability.check(address).is_ok()
    }
}
