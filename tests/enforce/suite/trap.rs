//! Answers to chosen system calls of this process, instead of the kernel's: a seccomp filter turns
//! them into SIGSYS, and the handler of the signal answers. A call that goes on is made again, with
//! a mark in its last argument that the filter lets through.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicUsize, Ordering};

use libc::c_long;

use super::probe::check;

/// The calls of `Confinement` and `Seal` that can fail.
pub(crate) const CALLS: &[(c_long, &str)] = &[
    (libc::SYS_landlock_create_ruleset, "landlock_create_ruleset"),
    (libc::SYS_landlock_add_rule, "landlock_add_rule"),
    (libc::SYS_landlock_restrict_self, "landlock_restrict_self"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_openat, "openat"),
    (libc::SYS_getdents64, "getdents64"),
    (libc::SYS_read, "read"),
    (libc::SYS_clone, "clone"),
    (libc::SYS_wait4, "wait4"),
    (libc::SYS_prctl, "prctl"),
    (libc::SYS_seccomp, "seccomp"),
];

/// The call that reads what a descriptor refers to.
pub(crate) const READ_LINK: (c_long, &str) = (libc::SYS_readlinkat, "readlinkat");

/// The last argument of a call that the kernel shall answer.
const MARK: u32 = 0x5eed_ca11;

/// Marks a fault as one of the process that `Confinement` makes for its trial.
pub(crate) const IN_TRIAL: usize = 1 << 16;

static IS_WATCHING: AtomicBool = AtomicBool::new(false);
static PROCESS: AtomicI32 = AtomicI32::new(0);
/// The number of the call that gets `ANSWER`, counted from 0.
static CHOSEN: AtomicUsize = AtomicUsize::new(usize::MAX);
static ANSWER: AtomicI64 = AtomicI64::new(0);
/// The calls of this process so far, and those of the trial's in that process.
static COUNT: AtomicUsize = AtomicUsize::new(0);
static COUNT_IN_TRIAL: AtomicUsize = AtomicUsize::new(0);
static SEEN: [AtomicU32; 256] = [const { AtomicU32::new(u32::MAX) }; 256];

/// Traps calls in this process and its children. They go on as usual until [`watched`].
///
/// It sets `no_new_privs` only if that is needed, for an ordinary user.
pub(crate) fn install(calls: &[(c_long, &str)]) {
    set_handler();
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let equal =
        |value, jt, jf| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, value);
    let answer = |value| statement(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let mut program = vec![load(16 + 8 * 5), equal(MARK, 0, 1), answer(libc::SECCOMP_RET_ALLOW)];
    program.push(load(0));
    for (number, _) in calls {
        program.extend([equal(*number as u32, 0, 1), answer(libc::SECCOMP_RET_TRAP)]);
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    install_filter(&mut program);
}

/// Refuses one call with an errno in this thread, and in what it makes from now on.
pub(crate) fn refuse(number: c_long, errno: i32) {
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    install_filter(&mut program);
}

const fn statement(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

fn install_filter(program: &mut [libc::sock_filter]) {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let (call, filter) = (libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the program has this number of statements and outlives the call, which copies it.
    let set = || check(unsafe { libc::syscall(call, filter, 0, &raw const program) });
    if set().is_err() {
        // SAFETY: the call takes only numbers.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        set().expect("seccomp");
    }
}

fn set_handler() {
    // SAFETY: a structure of numbers can be zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handle as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the handler uses atomics and system calls only.
    let set = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
    check(set.into()).expect("sigaction");
}

/// Returns the registers of a call: its number, its first five arguments, and the place of its
/// answer.
#[cfg(target_arch = "x86_64")]
fn registers(context: &mut libc::ucontext_t) -> (c_long, [c_long; 5], &mut c_long) {
    use libc::{REG_R8, REG_R10, REG_RAX, REG_RDI, REG_RDX, REG_RSI};
    let all = &mut context.uc_mcontext.gregs;
    let arguments = [REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8].map(|name| all[name as usize]);
    (all[REG_RAX as usize], arguments, &mut all[REG_RAX as usize])
}

#[cfg(target_arch = "aarch64")]
fn registers(context: &mut libc::ucontext_t) -> (c_long, [c_long; 5], &mut u64) {
    let all = &mut context.uc_mcontext.regs;
    let arguments = [0, 1, 2, 3, 4].map(|index| all[index] as c_long);
    (all[8] as c_long, arguments, &mut all[0])
}

extern "C" fn handle(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes a context that this handler may change.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let (number, arguments, place) = registers(context);
    let answer = choose(number).unwrap_or_else(|| {
        let [first, second, third, fourth, fifth] = arguments;
        let mark = c_long::from(MARK);
        // SAFETY: the interrupted code makes this call, with the same memory.
        let answer = unsafe { libc::syscall(number, first, second, third, fourth, fifth, mark) };
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        if answer == -1 { -c_long::from(errno) } else { answer }
    });
    *place = answer as _;
}

/// Counts a call, and returns its answer if it is the chosen one.
fn choose(number: c_long) -> Option<c_long> {
    if !IS_WATCHING.load(Ordering::Relaxed) {
        return None;
    }
    // SAFETY: the call takes nothing.
    let index = if unsafe { libc::getpid() } == PROCESS.load(Ordering::Relaxed) {
        let index = COUNT.fetch_add(1, Ordering::Relaxed);
        SEEN.get(index)?.store(number as u32, Ordering::Relaxed);
        index
    } else {
        IN_TRIAL + COUNT_IN_TRIAL.fetch_add(1, Ordering::Relaxed)
    };
    if CHOSEN.load(Ordering::Relaxed) != index {
        return None;
    }
    let answer = ANSWER.load(Ordering::Relaxed);
    if answer == KILL {
        // SAFETY: the call takes only a number.
        unsafe { libc::raise(libc::SIGKILL) };
    }
    Some(answer)
}

/// The answer that ends the process that makes the call.
pub(crate) const KILL: c_long = c_long::MIN;

/// The call that gets another answer than the kernel's.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    /// Counted from 0, or from [`IN_TRIAL`].
    pub(crate) index: usize,
    /// As the kernel answers: minus an errno, or a number.
    pub(crate) answer: c_long,
}

/// Runs `body` with one fault or none, and returns also the names of its calls.
pub(crate) fn watched<T>(fault: Option<Fault>, body: impl FnOnce() -> T) -> (T, Vec<&'static str>) {
    let fault = fault.unwrap_or(Fault { index: usize::MAX, answer: 0 });
    CHOSEN.store(fault.index, Ordering::Relaxed);
    ANSWER.store(fault.answer, Ordering::Relaxed);
    COUNT.store(0, Ordering::Relaxed);
    // SAFETY: the call takes nothing.
    PROCESS.store(unsafe { libc::getpid() }, Ordering::Relaxed);
    IS_WATCHING.store(true, Ordering::Relaxed);
    let value = body();
    IS_WATCHING.store(false, Ordering::Relaxed);
    let seen = SEEN[..COUNT.load(Ordering::Relaxed)].iter();
    (value, seen.map(|number| name(number.load(Ordering::Relaxed))).collect())
}

fn name(number: u32) -> &'static str {
    CALLS.iter().chain([&READ_LINK]).find(|(known, _)| *known == c_long::from(number)).unwrap().1
}
