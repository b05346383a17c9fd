//! Threads, signals and many processes, and attacks on the supervisor.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd};
use std::path::Path;
use std::process::exit;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libc::{AF_INET, AF_UNIX, SOCK_STREAM, pid_t};
use netbind::enforce::{Confinement, EnforceError, Gaps, Outcome as Made, Seal, Supervisor};
use netbind::error::Errno;

use super::races::while_another;
use super::{bind_to, succeeds_under, tcp};
use crate::suite::attempts::{self, directories};
use crate::suite::harness::{End, is_root};
use crate::suite::probe::{
    Address, Outcome, call, capability, check, errno, is_listening, listen, listen_unbound, socket,
};
use crate::suite::supervised::{Pair, fork, supervised, wait};
use crate::suite::trap;

const RULES: &[&str] = &["port 8000"];

/// Binds a new socket and listens on it: first to an allowed address and then to another one.
#[track_caller]
fn assert_judged() {
    for (port, expected) in [(8000, Ok(())), (8001, Err(Errno::ACCESS))] {
        let socket = tcp(AF_INET);
        let bound = bind_to(&socket, &Address::ip(&format!("127.0.0.1:{port}")));
        assert_eq!(bound.and_then(|()| listen(&socket)), expected, "port {port}");
    }
    assert_eq!(listen_unbound(AF_INET, 0).map(drop), Err(Errno::ACCESS));
}

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn signal(process: pid_t, number: i32) -> Outcome {
    // SAFETY: the call takes only numbers.
    check(unsafe { libc::kill(process, number) }.into()).map(drop)
}

pub(super) fn a_thread_with_descriptors_of_its_own_is_judged_by_them() {
    succeeds_under(RULES, || {
        let allowed = socket(AF_UNIX, SOCK_STREAM, 0).unwrap();
        let thread = || {
            // SAFETY: the call takes only a number.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            // The number of the other thread's Unix socket is a TCP socket here.
            let tcp = tcp(AF_INET);
            // SAFETY: the call takes only numbers.
            unsafe { libc::dup2(tcp.as_raw_fd(), allowed.as_raw_fd()) };
            assert_eq!(listen(&allowed), Err(Errno::ACCESS));
            assert!(!is_listening(&tcp));
            assert_eq!(bind_to(&allowed, &Address::ip("127.0.0.1:8000")), Ok(()));
            assert_judged_after(&allowed);
        };
        std::thread::scope(|scope| scope.spawn(thread).join().unwrap());
    });
}

fn assert_judged_after(listener: &std::os::fd::OwnedFd) {
    assert_eq!(listen(listener), Ok(()));
    assert!(is_listening(listener));
}

pub(super) fn a_thread_goes_on_after_its_leader() {
    succeeds_under(RULES, || {
        std::thread::spawn(|| {
            pause(20);
            let judged = std::panic::catch_unwind(assert_judged);
            // SAFETY: the call does not return.
            unsafe { libc::_exit(i32::from(judged.is_err())) };
        });
        // SAFETY: it ends this thread, and nothing that the other one uses.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
}

extern "C" fn ignore(_: i32) {}

/// Handles SIGALRM by doing nothing.
fn handle_alarms(flags: i32) {
    // SAFETY: a structure of numbers can be zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = ignore as *const () as usize;
    action.sa_flags = flags;
    // SAFETY: the handler does nothing.
    let set = unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    check(set.into()).expect("sigaction");
}

fn send_alarms_every(microseconds: libc::suseconds_t) {
    let time = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: the timer outlives the call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// A signal that comes before the supervisor has received the call interrupts it. With `SA_RESTART`
/// the program does not notice, and otherwise nothing was done.
pub(super) fn a_storm_of_signals_fails_no_bind() {
    for flags in [libc::SA_RESTART, 0] {
        succeeds_under(RULES, || {
            handle_alarms(flags);
            send_alarms_every(100);
            let repeat = |call: &dyn Fn() -> Outcome| loop {
                match call() {
                    Err(interrupted) if flags == 0 && interrupted == errno(libc::EINTR) => {}
                    outcome => return outcome,
                }
            };
            for _ in 0..1000 {
                let (socket, address) = (tcp(AF_INET), Address::ip("127.0.0.1:8000"));
                assert_eq!(repeat(&|| bind_to(&socket, &address)), Ok(()));
                assert_eq!(repeat(&|| listen(&socket)), Ok(()));
            }
            send_alarms_every(0);
        });
    }
}

/// Memory that processes share.
fn shared_count() -> &'static AtomicU32 {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: the kernel chooses an address that is not in use.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED);
    // SAFETY: the memory is aligned, zero, and never unmapped.
    unsafe { AtomicU32::from_ptr(memory.cast()) }
}

/// A process is killed while it binds, 300 times. Only the last bind of each can have been answered
/// without the process having noticed.
pub(super) fn a_process_that_is_killed_leaves_at_most_the_answered_file() {
    let directory = directories();
    let rule = format!("beneath {}", directory.path().display());
    let returned = shared_count();
    let (mut answered, mut unknown) = (0, 0);
    let bind_until_killed = |round: usize| -> i32 {
        for index in 0.. {
            let path = directory.path().join(format!("in/{round}.{index}"));
            let unix = socket(AF_UNIX, SOCK_STREAM, 0).unwrap();
            bind_to(&unix, &Address::path(&path)).unwrap();
            returned.store(index + 1, Ordering::SeqCst);
        }
        0
    };
    succeeds_under(&[&rule, RULES[0]], || {
        for round in 0..300 {
            returned.store(0, Ordering::SeqCst);
            let child = fork(|| bind_until_killed(round));
            std::thread::sleep(Duration::from_micros(100 + round as u64 * 7 % 400));
            signal(child, libc::SIGKILL).unwrap();
            assert_eq!(wait(child), End::Killed(libc::SIGKILL));
            // The next call is answered after the last one of the child.
            assert_judged();
            let count = returned.load(Ordering::SeqCst);
            for entry in fs::read_dir(directory.path().join("in")).unwrap() {
                let path = entry.unwrap().path();
                let Some(index) = path.extension().map(|index| index.to_str().unwrap()) else {
                    continue; // a directory
                };
                match index.parse::<u32>().unwrap() {
                    index if index < count => answered += 1,
                    index => {
                        assert_eq!(index, count, "{}", path.display());
                        unknown += 1;
                    }
                }
                fs::remove_file(path).unwrap();
            }
        }
        assert!(answered > 0, "{unknown} unknown");
    });
}

pub(super) fn without_its_supervisor_a_program_binds_nothing() {
    let (results, mut sender) = std::io::pipe().unwrap();
    let broker = fork(|| {
        let capability = capability(RULES);
        let _ = supervised(&capability, || {
            // SAFETY: the call takes nothing.
            let broker = unsafe { libc::getppid() };
            assert_judged();
            let in_flight = tcp(AF_INET);
            signal(broker, libc::SIGSTOP).unwrap();
            let (socket, address) = (tcp(AF_INET), Address::ip("127.0.0.1:8000"));
            std::thread::scope(|scope| {
                let waiting = [
                    scope.spawn(|| bind_to(&in_flight, &address)),
                    scope.spawn(|| listen(&in_flight)),
                ];
                pause(20);
                assert!(waiting.iter().all(|thread| !thread.is_finished()));
                signal(broker, libc::SIGKILL).unwrap();
                for thread in waiting {
                    assert_eq!(thread.join().unwrap(), Err(Errno::NOSYS));
                }
            });
            assert_eq!(bind_to(&socket, &address), Err(Errno::NOSYS));
            assert_eq!(listen(&socket), Err(Errno::NOSYS));
            assert!(![&socket, &in_flight].into_iter().any(is_listening));
            std::io::Write::write_all(&mut sender, b"ok").unwrap();
            0
        });
        0
    });
    drop(sender);
    assert_eq!(std::io::read_to_string(results).unwrap(), "ok");
    assert_eq!(wait(broker), End::Killed(libc::SIGKILL));
}

/// A tree of 40 processes that start 24 each.
pub(super) fn a_thousand_processes_are_judged_one_by_one() {
    fn bind_both() {
        let (allowed, refused) = (tcp(AF_INET), tcp(AF_INET));
        assert_eq!(bind_to(&allowed, &Address::ip("127.0.0.1:0")), Ok(()));
        assert_eq!(bind_to(&refused, &Address::ip("127.0.0.1:8001")), Err(Errno::ACCESS));
    }
    fn start(count: usize, body: impl Fn()) {
        let children: Vec<_> = (0..count)
            .map(|_| {
                fork(|| {
                    body();
                    0
                })
            })
            .collect();
        assert!(children.into_iter().all(|child| wait(child) == End::Exited(0)));
    }
    let capability = capability(&["host 127.0.0.1 port 0"]);
    let (end, answers) = supervised(&capability, || {
        start(40, || {
            bind_both();
            start(24, bind_both);
        });
        0
    });
    assert_eq!(end, End::Exited(0));
    let count = |outcome| answers.iter().filter(|answered| answered.outcome == outcome).count();
    assert_eq!([count(Made::Made), count(Made::Denied)], [1000, 1000]);
    let threads: std::collections::BTreeSet<_> = answers.iter().map(|a| a.thread).collect();
    assert_eq!((answers.len(), threads.len()), (2000, 1000));
}

pub(super) fn a_program_cannot_take_the_supervisor_over() {
    succeeds_under(RULES, || {
        // SAFETY: the call takes nothing.
        let broker = unsafe { libc::getppid() };
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the call takes only numbers.
        let traced = check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, broker, none, none) });
        assert_eq!(traced, Err(Errno::PERM));
        let bytes = [0_u64; 2];
        let place = bytes.as_ptr().expose_provenance();
        let span = [place, 8];
        let pointer = span.as_ptr().expose_provenance();
        for number in [libc::SYS_process_vm_readv, libc::SYS_process_vm_writev] {
            // SAFETY: both spans are eight bytes of `bytes`, which outlive the call.
            let copied = check(unsafe {
                libc::syscall(number, broker, pointer, 1_usize, pointer, 1_usize, 0_usize)
            });
            assert_eq!(copied, Err(Errno::PERM));
        }
        let pidfd = call(libc::SYS_pidfd_open, [broker as usize, 0, 0, 0]).unwrap() as usize;
        assert_eq!(call(libc::SYS_pidfd_getfd, [pidfd, 0, 0, 0]), Err(Errno::PERM));
        // Since Linux 6.16, `CAP_PERFMON` is enough to read the maps and the environment.
        let names = ["mem", "fd", "root", "maps", "environ"];
        for name in &names[..if is_root() { 3 } else { 5 }] {
            let path = format!("/proc/{broker}/{name}");
            let opened = match *name {
                "fd" => fs::read_dir(&path)
                    .map(|mut fds| fds.next().unwrap())
                    .and_then(|fd| fs::read_link(fd?.path()).map(drop)),
                "root" => fs::read_link(&path).map(drop),
                "mem" => fs::OpenOptions::new().write(true).open(&path).map(drop),
                _ => fs::read(&path).map(drop),
            };
            assert!(opened.is_err(), "{path}");
        }
        assert_judged();
    });
}

/// A program of the same user can stop its supervisor, and so its own binds.
pub(super) fn a_supervisor_that_is_stopped_only_delays_binds() {
    succeeds_under(RULES, || {
        // SAFETY: the call takes nothing.
        let broker = unsafe { libc::getppid() };
        signal(broker, libc::SIGSTOP).unwrap();
        std::thread::scope(|scope| {
            let binds = scope.spawn(assert_judged);
            pause(20);
            assert!(!binds.is_finished());
            signal(broker, libc::SIGCONT).unwrap();
            binds.join().unwrap();
        });
    });
}

/// Takes the free descriptors of the supervisor away, which a program of the same user can do.
fn limit_supervisor() {
    let limit = libc::rlimit { rlim_cur: 3, rlim_max: 3 };
    let none = std::ptr::null_mut();
    // SAFETY: the call takes nothing.
    let broker = unsafe { libc::getppid() };
    // SAFETY: the limit outlives the call.
    let set = unsafe { libc::prlimit(broker, libc::RLIMIT_NOFILE, &raw const limit, none) };
    check(set.into()).expect("prlimit");
}

pub(super) fn a_supervisor_without_free_descriptors_opens_nothing() {
    succeeds_under(RULES, || {
        assert_judged();
        limit_supervisor();
        for port in [8000, 8001] {
            let socket = tcp(AF_INET);
            let bound = bind_to(&socket, &Address::ip(&format!("127.0.0.1:{port}")));
            assert_eq!(bound, Err(errno(libc::EMFILE)));
            assert!(listen(&socket).is_err() && !is_listening(&socket));
        }
    });
}

/// The first step receives a descriptor.
pub(super) fn a_supervisor_without_a_free_descriptor_does_not_report_an_end() {
    let capability = capability(RULES);
    let mut pair = Pair::start(
        &capability,
        |supervisor| supervisor,
        || {
            let bound = bind_to(&tcp(AF_INET), &Address::ip("127.0.0.1:8000"));
            i32::from(bound != Err(Errno::NOSYS))
        },
    );
    let limit = libc::rlimit { rlim_cur: 3, rlim_max: 3 };
    // SAFETY: the limit outlives the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let step = pair.supervisor.step();
    assert_eq!(wait(pair.child), End::Exited(0));
    let error = EnforceError::System { call: "recvmsg", errno: errno(libc::EMFILE) };
    assert_eq!(step, Err(error));
}

pub(super) fn supervision_does_not_nest() {
    succeeds_under(RULES, || {
        let everything = capability(&["port 0-65535"]);
        let (mut supervisor, supervised) = Supervisor::new(&everything).unwrap();
        let child = fork(|| {
            let busy = EnforceError::System { call: "seccomp", errno: errno(libc::EBUSY) };
            assert_eq!(supervised.enter(), Err(busy));
            let address = Address::ip("127.0.0.1:8001");
            assert_eq!(bind_to(&tcp(AF_INET), &address), Err(Errno::ACCESS));
            0
        });
        drop(supervised);
        assert_eq!(supervisor.step(), Ok(None));
        assert_eq!(wait(child), End::Exited(0));
    });
}

/// The filter refuses one other call, and allows everything else.
pub(super) fn a_filter_of_the_program_changes_nothing() {
    succeeds_under(RULES, || {
        trap::refuse(libc::SYS_syslog, libc::EPERM);
        assert_judged();
    });
}

pub(super) fn an_executed_program_is_judged() {
    for (name, expected) in [
        ("TCP, an allowed port, IPv4", 0),
        ("TCP, another port, IPv4", libc::EACCES),
        ("TCP, listen without bind, IPv4", libc::EACCES),
        ("MPTCP, an allowed port", libc::EPROTONOSUPPORT),
    ] {
        let capability = capability(&["port 8080"]);
        let (end, _) = supervised(&capability, || execute(name, Path::new("/tmp")));
        assert_eq!(end, End::Exited(expected), "{name}");
    }
}

/// Executes this program again, to make an attempt.
fn execute(name: &str, directory: &Path) -> i32 {
    let arguments = ["enforce", attempts::FLAG, name, directory.to_str().unwrap()];
    let arguments = arguments.map(|text| CString::new(text).unwrap());
    let mut pointers = arguments.each_ref().map(|text| text.as_ptr()).to_vec();
    pointers.push(std::ptr::null());
    // SAFETY: the path and the arguments end with a NUL, and the list with a null pointer.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
    exit(253)
}

/// A program that is not a descendant of the supervisor any more, and one that cannot be traced.
pub(super) fn a_daemon_is_judged() {
    let capability = capability(RULES);
    let pair = Pair::start(
        &capability,
        |supervisor| supervisor,
        || {
            // SAFETY: the call takes nothing.
            assert_ne!(unsafe { libc::setsid() }, -1);
            fork(|| {
                pause(50);
                assert_judged();
                // SAFETY: the call takes only numbers.
                unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) };
                let _ = bind_to(&tcp(AF_INET), &Address::ip("127.0.0.1:8000"));
                0
            });
            0
        },
    );
    let (end, answers) = pair.finish();
    assert_eq!(end, End::Exited(0));
    let outcomes: Vec<_> = answers.iter().map(|answered| answered.outcome).collect();
    let last = if is_root() { Made::Made } else { Made::Denied };
    assert_eq!(outcomes, [Made::Made, Made::Made, Made::Denied, Made::Denied, last]);
}

pub(super) fn binds_while_threads_come_and_go_are_judged() {
    succeeds_under(RULES, || {
        let come_and_go = || std::thread::scope(|scope| drop(scope.spawn(|| ())));
        while_another(come_and_go, || (0..200).for_each(|_| assert_judged()));
    });
}

/// Until `exec`, a process has what its parent has: also the supervisor's end of the channel, if it
/// does not close it. The notifications are in there.
pub(super) fn a_program_that_is_not_executed_can_take_the_notifications() {
    let capability = capability(RULES);
    let (mut supervisor, supervised) = Supervisor::new(&capability).unwrap();
    let end = supervisor.descriptor().unwrap().as_raw_fd();
    // SAFETY: the call takes only numbers.
    assert_eq!(unsafe { libc::fcntl(end, libc::F_GETFD) }, libc::FD_CLOEXEC);
    let child = fork(move || {
        supervised.enter().unwrap();
        // SAFETY: the descriptor is open, and nothing else of this process uses it.
        let channel = unsafe { std::os::fd::OwnedFd::from_raw_fd(end) };
        let taken = super::sockets::receive(&channel);
        let path = format!("/proc/self/fd/{}", taken.as_raw_fd());
        assert_eq!(fs::read_link(path).unwrap().to_str(), Some("anon_inode:seccomp notify"));
        0
    });
    assert_eq!(wait(child), End::Exited(0));
    assert_eq!(supervisor.step(), Ok(None));
}

/// The supervisor is in no Landlock domain of its programs. Another filter of theirs holds.
pub(super) fn a_confinement_of_the_program_does_not_hold_for_binds_and_a_seal_does() {
    let (directory, any) = (directories(), capability(&["port 8000-8001", "any-path"]));
    let (end, _) = supervised(&any, || {
        let rule = format!("beneath {}/in", directory.path().display());
        let narrow = capability(&["port 8000", &rule]);
        Confinement::new(&narrow).tolerate(Gaps::all()).apply().unwrap();
        assert_eq!(bind_to(&tcp(AF_INET), &Address::ip("127.0.0.1:8001")), Ok(()));
        let unix = || socket(AF_UNIX, SOCK_STREAM, 0).unwrap();
        let path = directory.path().join("out/s");
        assert_eq!(bind_to(&unix(), &Address::path(&path)), Ok(()));
        Seal::Listening.apply().unwrap();
        let refused = Err(Errno::ACCESS);
        assert_eq!(bind_to(&tcp(AF_INET), &Address::ip("127.0.0.1:8000")), refused);
        assert_eq!(listen_unbound(AF_INET, 0).map(drop), refused);
        0
    });
    assert_eq!(end, End::Exited(0));
}
