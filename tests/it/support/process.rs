//! Tests in a process of their own: this binary again, which runs only that test.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{getgid, getuid};

use super::kernel::check_return;

/// In the processes of a test: the number of programs that were executed for it.
const STAGE: &str = "NETBIND_TEST_STAGE";

/// Printed at the end of a test that ran.
const DONE: &str = "done in its own process";

/// Returns the command that runs only this test function, as this stage.
///
/// Only for isolated threads: the child would hold the sockets of other tests open for a moment.
pub(crate) fn command<T>(_test: T, stage: u32) -> Command {
    let (_, name) = std::any::type_name::<T>().split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(STAGE, stage.to_string());
    command
}

/// Returns the stage of this process, or `None` in the process that runs all tests.
pub(crate) fn stage() -> Option<u32> {
    let stage = std::env::var(STAGE).ok()?;
    Some(stage.parse().unwrap())
}

/// Tells the process that runs all tests that a stage was completed.
pub(crate) fn complete_stage() {
    println!("{DONE}");
}

/// Runs a command of [`command`], which must complete its stage. Fails if it cannot be executed.
pub(crate) fn run(mut command: Command) -> io::Result<()> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains(DONE), "{text}");
    for line in text.lines().filter(|line| line.starts_with("skipped in ")) {
        eprintln!("{line}");
    }
    Ok(())
}

/// Executes the command in a user namespace of its own, in which this user is root and can mount.
pub(crate) fn in_user_namespace(mut command: Command) -> Command {
    let maps = [
        ("/proc/self/setgroups", "deny".into()),
        ("/proc/self/uid_map", format!("0 {} 1", getuid().as_raw())),
        ("/proc/self/gid_map", format!("0 {} 1", getgid().as_raw())),
    ];
    let enter = move || {
        // SAFETY: the call takes only a number. The child has one thread, as it requires.
        check_return(unsafe { libc::unshare(libc::CLONE_NEWUSER) }.into())?;
        maps.iter().try_for_each(|(file, text)| std::fs::write(file, text))
    };
    // SAFETY: the function makes system calls and uses no lock.
    unsafe { command.pre_exec(enter) };
    command
}
