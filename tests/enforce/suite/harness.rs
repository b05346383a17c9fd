//! Runs the cases, each in a process of its own, and prints what libtest would print.
#![allow(unsafe_code)]

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netbind::error::Errno;

use super::probe;

/// A case. It runs as root, if the tests do, and as an ordinary user.
pub(crate) struct Case {
    name: &'static str,
    body: fn(),
    is_for_root: bool,
    /// Printed with the name.
    known_fault: Option<&'static str>,
}

impl Case {
    pub(crate) const fn new(name: &'static str, body: fn()) -> Self {
        Self { name, body, is_for_root: false, known_fault: None }
    }

    /// Runs it as root only.
    pub(crate) const fn for_root(mut self) -> Self {
        self.is_for_root = true;
        self
    }

    /// Expects it to fail, because the crate has a fault that is not mended yet.
    #[allow(dead_code)] // there may be none
    pub(crate) const fn known_fault(mut self, why: &'static str) -> Self {
        self.known_fault = Some(why);
        self
    }

    /// Returns the name without the modules that all cases share.
    fn name(&self) -> &'static str {
        self.name.strip_prefix("enforce::suite::").unwrap_or(self.name)
    }
}

/// Makes a [`Case`] of a function, with its path as the name.
macro_rules! case {
    ($name:ident) => {
        $crate::suite::harness::Case::new(concat!(module_path!(), "::", stringify!($name)), $name)
    };
}
pub(crate) use case;

/// Makes a table of cases of the functions of submodules.
macro_rules! cases {
    ($(
        $(#[$condition:meta])?
        $module:ident::$name:ident $(.$property:ident($($why:literal)?))*;
    )*) => {
        &[$(
            $(#[$condition])?
            $crate::suite::harness::Case::new(
                concat!(module_path!(), "::", stringify!($module), "::", stringify!($name)),
                $module::$name,
            )$(.$property($($why)?))*,
        )*]
    };
}
pub(crate) use cases;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Exited(i32),
    Killed(i32),
}

/// The exit codes of a child that panicked and of a case that was skipped. They are no errnos.
const PANICKED: i32 = 255;
const SKIP: i32 = 254;

/// Runs `body` in a child process, which exits with its number. The process must have one thread.
pub(crate) fn in_child(body: impl FnOnce() -> i32) -> End {
    wait(fork(body))
}

/// Forks. The child runs `body` and exits with its number, or [`PANICKED`]. The process must have one
/// thread.
pub(crate) fn fork(body: impl FnOnce() -> i32) -> libc::pid_t {
    /// After this many seconds a child that hangs is ended by SIGALRM.
    const PATIENCE: u32 = 60;
    let _ = io::stdout().flush();
    // SAFETY: the process has one thread, so the child can go on in every way.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1, "fork: {}", io::Error::last_os_error());
    if child == 0 {
        // SAFETY: the call takes only a number.
        unsafe { libc::alarm(PATIENCE) };
        let code = catch_unwind(AssertUnwindSafe(body)).unwrap_or(PANICKED);
        let _ = io::stdout().flush();
        // SAFETY: the call does not return. It skips what runs at the end of the whole test.
        unsafe { libc::_exit(code) };
    }
    child
}

/// Waits for the end of a child.
pub(crate) fn wait(child: libc::pid_t) -> End {
    let mut status = 0;
    // SAFETY: the call writes one `int`.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } == -1 {}
    if libc::WIFSIGNALED(status) {
        End::Killed(libc::WTERMSIG(status))
    } else {
        End::Exited(libc::WEXITSTATUS(status))
    }
}

/// Runs the assertions of `body` in a child process. Its restrictions end with the child.
#[track_caller]
pub(crate) fn alone(what: &str, body: impl FnOnce()) {
    let end = in_child(|| {
        body();
        0
    });
    assert_eq!(end, End::Exited(0), "{what}");
}

/// Waits until the condition holds, which is soon, because only the kernel has to do something.
#[track_caller]
pub(crate) fn await_condition(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("this does not happen: {what}");
}

/// The result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    Refused(Errno),
    Killed(i32),
}

/// Runs an attempt in a child process.
pub(crate) fn verdict(attempt: impl FnOnce() -> probe::Outcome) -> Verdict {
    let end = in_child(|| match attempt() {
        Ok(()) => 0,
        Err(errno) => errno.raw_os_error(),
    });
    match end {
        End::Exited(0) => Verdict::Allowed,
        End::Exited(PANICKED) => panic!("the attempt panicked"),
        End::Exited(errno) => Verdict::Refused(Errno::from_raw_os_error(errno).unwrap()),
        End::Killed(signal) => Verdict::Killed(signal),
    }
}

static SKIPPED: AtomicBool = AtomicBool::new(false);

/// Prints that the current case skips something, and why.
pub(crate) fn skip(why: &str) {
    SKIPPED.store(true, Ordering::Relaxed);
    eprintln!("skipped: {why}");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum User {
    Root,
    Ordinary,
}

pub(crate) fn is_root() -> bool {
    // SAFETY: the call takes nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Makes this process an ordinary user.
pub(crate) fn become_nobody() -> probe::Outcome {
    const NOBODY: libc::uid_t = 65534;
    // SAFETY: no groups are read.
    probe::check(unsafe { libc::setgroups(0, std::ptr::null()) }.into())?;
    // SAFETY: the call takes only numbers.
    probe::check(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }.into())?;
    // SAFETY: the call takes only numbers.
    probe::check(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }.into())?;
    // Otherwise its files in /proc belong to root.
    // SAFETY: the call takes only numbers.
    probe::check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) }.into()).map(drop)
}

/// How a case ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Passed,
    /// It passed, except for what this machine cannot run.
    Skipped,
    Failed,
}

fn run_case(case: &Case, user: User) -> Ending {
    let end = in_child(|| {
        SKIPPED.store(false, Ordering::Relaxed);
        if user == User::Ordinary
            && is_root()
            && let Err(errno) = become_nobody()
        {
            skip(&format!("the ordinary user, because root cannot become one: {errno}"));
            return SKIP;
        }
        if case.known_fault.is_some() && !std::env::args().any(|word| word == "--nocapture") {
            std::panic::set_hook(Box::new(|_| ()));
        }
        (case.body)();
        if SKIPPED.load(Ordering::Relaxed) { SKIP } else { 0 }
    });
    match end {
        End::Exited(0) => Ending::Passed,
        End::Exited(SKIP) => Ending::Skipped,
        _ => Ending::Failed,
    }
}

/// Runs a case as root, if this process is, and as an ordinary user. Returns the first ending that
/// is not [`Ending::Passed`].
fn run_for_users(case: &Case) -> Ending {
    let users = match (is_root(), case.is_for_root) {
        (true, true) => &[User::Root][..],
        (true, false) => &[User::Root, User::Ordinary],
        (false, _) => &[User::Ordinary],
    };
    let endings = users.iter().map(|user| run_case(case, *user));
    endings.into_iter().find(|ending| *ending != Ending::Passed).unwrap_or(Ending::Passed)
}

/// The choice of cases, from libtest's arguments.
#[derive(Default)]
struct Choice<'a> {
    words: Vec<&'a str>,
    skipped: Vec<&'a str>,
    exact: bool,
    list: bool,
    ignored: bool,
}

impl<'a> Choice<'a> {
    fn of(arguments: &'a [String]) -> Self {
        let mut choice = Self::default();
        let mut rest = arguments.iter().map(String::as_str);
        while let Some(argument) = rest.next() {
            match argument {
                "--exact" => choice.exact = true,
                "--list" => choice.list = true,
                "--ignored" => choice.ignored = true,
                "--skip" => choice.skipped.extend(rest.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" => drop(rest.next()),
                option if option.starts_with('-') => {}
                word => choice.words.push(word),
            }
        }
        choice
    }

    fn contains(&self, name: &str) -> bool {
        let is = |word: &&str| if self.exact { name == *word } else { name.contains(word) };
        let chosen = self.words.is_empty() || self.words.iter().any(is);
        chosen && !self.skipped.iter().any(is) && !self.ignored
    }
}

/// The cases that have run.
#[derive(Default)]
struct Totals {
    passed: usize,
    known: usize,
    failed: Vec<&'static str>,
}

impl Totals {
    fn add(&mut self, case: &Case, ending: Ending) {
        let name = case.name();
        match (ending, case.known_fault) {
            (Ending::Skipped, _) | (Ending::Passed, None) => {
                self.passed += 1;
                println!("test {name} ... ok");
            }
            (Ending::Failed, Some(why)) => {
                self.known += 1;
                println!("test {name} ... known fault: {why}");
            }
            (Ending::Failed, None) => {
                self.failed.push(name);
                println!("test {name} ... FAILED");
            }
            (Ending::Passed, Some(_)) => {
                self.failed.push(name);
                println!("test {name} ... FAILED: it passes, so remove its `known_fault`");
            }
        }
    }

    /// Prints the totals in libtest's form.
    fn print(&self, filtered: usize, start: Instant) {
        let Self { passed, known, failed } = self;
        for name in failed {
            println!("failed: {name}");
        }
        let (result, count) = (if failed.is_empty() { "ok" } else { "FAILED" }, failed.len());
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "\ntest result: {result}. {passed} passed; {count} failed; {known} known faults; \
             {filtered} filtered out; finished in {seconds:.2}s\n",
        );
    }
}

/// Runs the chosen cases.
pub(crate) fn run(cases: &[&[Case]], arguments: &[String]) -> ExitCode {
    let choice = Choice::of(arguments);
    let all = cases.iter().copied().flatten();
    let (chosen, filtered): (Vec<_>, Vec<_>) = all.partition(|case| choice.contains(case.name()));
    if choice.list {
        for case in chosen {
            println!("{}: test", case.name());
        }
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} cases", chosen.len());
    let (start, mut totals) = (Instant::now(), Totals::default());
    if !chosen.is_empty() {
        probe::close_from_3();
        probe::private_network();
    }
    let has_landlock = probe::landlock_abi() >= 4;
    if !has_landlock {
        skip("all confinements, because the kernel has no Landlock ABI 4");
    }
    for case in chosen.into_iter().filter(|c| has_landlock || c.name().starts_with("seal::")) {
        if case.is_for_root && !is_root() {
            skip(&format!("{}, which needs root", case.name()));
        } else {
            totals.add(case, run_for_users(case));
        }
    }
    totals.print(filtered.len(), start);
    if totals.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
