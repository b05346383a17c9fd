//! Other threads: a gap of confinements, and covered by seals.
#![allow(unsafe_code)]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use libc::{AF_INET, SOCK_DGRAM};
use netbind::enforce::{Confinement, EnforceError, Gaps, Seal};
use netbind::error::Errno;

use super::harness::{Case, alone, await_condition, case};
use super::probe::{
    Outcome, assert_unrestricted, bind_tcp, capability, has_no_new_privs, has_seccomp_filter,
    listen_unbound, socket,
};
use super::trap;

pub(crate) const CASES: &[Case] = &[
    case!(a_thread_is_a_gap_until_it_ends),
    case!(a_thread_that_is_not_tolerated_refuses_everything),
    case!(landlock_misses_older_threads_and_seccomp_does_not),
    case!(newer_threads_are_confined),
    case!(a_seal_covers_older_threads),
    case!(a_thread_with_other_filters_refuses_a_seal),
    case!(a_thread_with_other_filters_refuses_a_confinement),
];

const RULES: [&str; 3] = ["port 0", "any-path", "any-abstract"];
const REFUSED: Outcome = Err(Errno::ACCESS);

/// A thread that makes what it is sent.
struct Older<T> {
    thread: JoinHandle<()>,
    jobs: Sender<fn() -> T>,
    values: Receiver<T>,
}

impl<T: Send + 'static> Older<T> {
    fn start() -> Self {
        let ((jobs, received), (answers, values)) = (channel::<fn() -> T>(), channel());
        let thread = std::thread::spawn(move || {
            for job in received {
                answers.send(job()).unwrap();
            }
        });
        Self { thread, jobs, values }
    }

    fn run(&self, job: fn() -> T) -> T {
        self.jobs.send(job).unwrap();
        self.values.recv().unwrap()
    }

    fn end(self) {
        drop(self.jobs);
        self.thread.join().unwrap();
    }
}

fn a_thread_is_a_gap_until_it_ends() {
    let capability = capability(&RULES);
    let gaps = || Confinement::new(&capability).gaps().unwrap();
    assert_eq!(gaps(), Gaps::empty());
    let older = Older::<()>::start();
    assert_eq!(gaps(), Gaps::THREADS, "and no io_uring");
    assert_eq!(Seal::Listening.gaps(), Gaps::empty());
    older.end();
    // A joined thread is in the kernel for another moment.
    await_condition("the end of the thread", || gaps() == Gaps::empty());
}

fn a_thread_that_is_not_tolerated_refuses_everything() {
    let before = has_no_new_privs();
    let older = Older::<()>::start();
    let tolerated = Gaps::all().difference(Gaps::THREADS);
    let applied = Confinement::new(&capability(&RULES)).tolerate(tolerated).apply();
    assert_eq!(applied, Err(EnforceError::Gaps(Gaps::THREADS)));
    assert_unrestricted("after the refusal", before);
    older.end();
}

fn landlock_misses_older_threads_and_seccomp_does_not() {
    let older = Older::<Outcome>::start();
    Confinement::new(&capability(&RULES)).tolerate(Gaps::THREADS).apply().unwrap();
    assert_eq!(bind_tcp("127.0.0.1:8081"), REFUSED);
    assert_eq!(older.run(|| bind_tcp("127.0.0.1:8081")), Ok(()), "the gap");
    assert_eq!(older.run(|| socket(AF_INET, SOCK_DGRAM, 0).map(drop)), REFUSED);
    let newer = older.run(|| std::thread::spawn(|| bind_tcp("127.0.0.1:8081")).join().unwrap());
    assert_eq!(newer, Ok(()), "a thread that the older one makes");
    older.end();
}

fn newer_threads_are_confined() {
    Confinement::new(&capability(&RULES)).apply().unwrap();
    let newer = Older::<Outcome>::start();
    assert_eq!(newer.run(|| bind_tcp("127.0.0.1:8081")), REFUSED);
    assert_eq!(newer.run(|| socket(AF_INET, SOCK_DGRAM, 0).map(drop)), REFUSED);
    newer.end();
}

fn a_seal_covers_older_threads() {
    for seal in [Seal::Listening, Seal::Sockets] {
        alone("a seal", || {
            let older = Older::<Outcome>::start();
            assert_eq!(older.run(|| bind_tcp("127.0.0.1:8081")), Ok(()));
            seal.apply().unwrap();
            assert_eq!(older.run(|| bind_tcp("127.0.0.1:8081")), REFUSED, "{seal:?}");
            assert_eq!(older.run(|| listen_unbound(AF_INET, 0).map(drop)), REFUSED, "{seal:?}");
            let newer =
                older.run(|| std::thread::spawn(|| bind_tcp("127.0.0.1:81")).join().unwrap());
            assert_eq!(newer, REFUSED, "{seal:?}");
            older.end();
        });
    }
}

/// Starts a thread with a seccomp filter of its own, and returns also its number.
fn start_filtered() -> (Older<u32>, u32) {
    let filtered = Older::<u32>::start();
    let number = filtered.run(|| {
        trap::refuse(libc::SYS_syslog, libc::EPERM);
        // SAFETY: the call takes nothing.
        unsafe { libc::gettid().cast_unsigned() }
    });
    (filtered, number)
}

fn a_thread_with_other_filters_refuses_a_seal() {
    let had_filter = has_seccomp_filter();
    let (filtered, number) = start_filtered();
    assert_eq!(Seal::Listening.apply(), Err(EnforceError::OtherThread(number)));
    assert_eq!(bind_tcp("127.0.0.1:8081"), Ok(()), "nothing is sealed");
    assert_eq!(listen_unbound(AF_INET, 0).map(drop), Ok(()), "nothing is sealed");
    assert_eq!(has_seccomp_filter(), had_filter);
    filtered.end();
    await_condition("the end of the thread", || Seal::Listening.apply() == Ok(()));
    assert_eq!(bind_tcp("127.0.0.1:8081"), REFUSED, "it is sealed after the thread ended");
}

fn a_thread_with_other_filters_refuses_a_confinement() {
    let (filtered, number) = start_filtered();
    let applied = Confinement::new(&capability(&RULES)).tolerate(Gaps::THREADS).apply();
    assert_eq!(applied, Err(EnforceError::OtherThread(number)));
    assert_eq!(bind_tcp("127.0.0.1:8081"), Ok(()), "nothing is restricted");
    assert_eq!(socket(AF_INET, SOCK_DGRAM, 0).map(drop), Ok(()), "no filter is set");
    filtered.end();
}
