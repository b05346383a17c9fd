//! Tools that the modules share: counting allocators, scripted clocks and sinks, and on Linux
//! isolated threads and a supervisor that sees every system call.

pub(crate) mod clock;
pub(crate) mod memory;
pub(crate) mod sink;

#[cfg(target_os = "linux")]
pub(crate) mod kernel;
#[cfg(target_os = "linux")]
pub(crate) mod machine;
#[cfg(target_os = "linux")]
pub(crate) mod mounts;
#[cfg(target_os = "linux")]
pub(crate) mod process;
#[cfg(target_os = "linux")]
pub(crate) mod thread;

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) mod calls;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) mod supervisor;

/// Allows port 0 on every IP address, every Unix path and every abstract name.
#[cfg(target_os = "linux")]
pub(crate) fn allow_port_0_and_unix(capability: &mut netbind::NetBind<'_>) {
    capability.grant(netbind::Rights::all());
    for rule in ["port 0", "any-path", "any-abstract"] {
        capability.allow(rule.parse().unwrap()).unwrap();
    }
}
