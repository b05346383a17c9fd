//! Rings of `io_uring` from before the restriction, whose requests no filter sees.
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;

use libc::{AF_INET, SOCK_STREAM};
use netbind::enforce::{Confinement, EnforceError, Gaps, Seal};
use netbind::error::Errno;

use super::harness::{Case, alone, await_condition, case, skip};
use super::probe::{
    Address, Outcome, assert_unrestricted, bind_tcp, capability, has_no_new_privs, is_listening,
    socket,
};
use super::ring::{Request, Ring};

pub(crate) const CASES: &[Case] = &[
    case!(a_ring_that_the_kernel_polls_refuses_a_confinement),
    case!(a_ring_that_the_kernel_polls_refuses_a_seal),
    case!(a_tolerated_ring_binds_in_spite_of_a_confinement),
    case!(a_tolerated_ring_binds_in_spite_of_a_seal),
    case!(a_ring_that_was_closed_is_no_gap),
    case!(a_ring_without_a_thread_is_a_gap),
    case!(a_request_that_waits_in_a_ring_does_not_outlive_a_seal),
    case!(a_request_that_waits_in_a_ring_opens_no_refused_socket),
    case!(a_ring_is_found_among_many_threads),
    case!(a_ring_is_a_gap_from_its_first_moment).for_root(),
    case!(a_thread_of_the_kernel_with_another_name_is_a_gap),
    case!(a_ring_with_a_thread_is_found_without_its_descriptor),
    case!(a_task_that_ends_meanwhile_is_no_ring),
    case!(a_ring_without_descriptor_and_name_is_found),
    case!(a_ring_without_descriptor_is_found),
    case!(a_ring_of_a_thread_with_its_own_descriptors_is_found),
];

const RULES: [&str; 3] = ["port 0", "any-path", "any-abstract"];

fn tcp() -> OwnedFd {
    socket(AF_INET, SOCK_STREAM, 0).unwrap()
}

/// Returns a ring with a thread of the kernel, unless the kernel forbids it, or rings cannot bind.
fn polled() -> Option<Ring> {
    let mut ring = Ring::polled()?;
    let (socket, address) = (tcp(), Address::ip("127.0.0.1:8082"));
    ring.push(&[Request::bind(&socket, &address)]);
    ring.wake().unwrap();
    if ring.complete() != Ok(()) {
        skip("io_uring, because its requests cannot bind before Linux 6.11");
        return None;
    }
    Some(ring)
}

fn a_ring_that_the_kernel_polls_refuses_a_confinement() {
    let before = has_no_new_privs();
    let Some(_ring) = polled() else { return };
    let gaps = Gaps::THREADS | Gaps::IO_URING;
    let capability = capability(&RULES);
    let confinement = Confinement::new(&capability);
    assert_eq!(confinement.gaps(), Ok(gaps));
    for gap in [Gaps::THREADS, Gaps::IO_URING] {
        let tolerated = Gaps::all().difference(gap);
        let applied = Confinement::new(&capability).tolerate(tolerated).apply();
        assert_eq!(applied, Err(EnforceError::Gaps(gap)));
    }
    assert_unrestricted("after the refusals", before);
}

fn a_ring_that_the_kernel_polls_refuses_a_seal() {
    let before = has_no_new_privs();
    let Some(_ring) = polled() else { return };
    for seal in [Seal::Listening, Seal::Sockets] {
        assert_eq!(seal.gaps(), Gaps::IO_URING);
        assert_eq!(seal.apply(), Err(EnforceError::Gaps(Gaps::IO_URING)));
        let others = Gaps::all().difference(Gaps::IO_URING);
        assert_eq!(seal.apply_tolerating(others), Err(EnforceError::Gaps(Gaps::IO_URING)));
    }
    assert_unrestricted("after the refusals", before);
}

fn a_tolerated_ring_binds_in_spite_of_a_confinement() {
    let Some(mut ring) = polled() else { return };
    let gaps = Gaps::THREADS | Gaps::IO_URING;
    Confinement::new(&capability(&RULES)).tolerate(gaps).apply().unwrap();
    assert_eq!(bind_tcp("127.0.0.1:8081"), Err(Errno::ACCESS));
    let (socket, address) = (tcp(), Address::ip("127.0.0.1:8081"));
    ring.push(&[Request::bind(&socket, &address)]);
    assert_eq!(ring.complete(), Ok(()), "the gap");
}

fn a_tolerated_ring_binds_in_spite_of_a_seal() {
    let Some(mut ring) = polled() else { return };
    Seal::Listening.apply_tolerating(Gaps::IO_URING).unwrap();
    let (socket, address) = (tcp(), Address::ip("127.0.0.1:0"));
    ring.push(&[Request::bind(&socket, &address)]);
    assert_eq!(ring.complete(), Ok(()), "the gap");
    ring.push(&[Request::listen(&socket)]);
    assert_eq!(ring.complete(), Ok(()), "the gap");
    assert!(is_listening(&socket));
}

fn a_ring_that_was_closed_is_no_gap() {
    let Some(ring) = polled() else { return };
    drop(ring);
    // The kernel ends the thread a moment after the ring is closed.
    await_condition("the end of its thread", || Seal::Listening.gaps() == Gaps::empty());
    let capability = capability(&RULES);
    let gaps = || Confinement::new(&capability).gaps();
    await_condition("the end of its threads", || gaps() == Ok(Gaps::empty()));
    Confinement::new(&capability).apply().unwrap();
    Seal::Listening.apply().unwrap();
}

fn a_ring_without_a_thread_is_a_gap() {
    let Some(ring) = Ring::new() else { return };
    let (socket, address) = (tcp(), Address::ip("127.0.0.1:8081"));
    ring.push(&[Request::bind(&socket, &address)]);
    let capability = capability(&RULES);
    assert_eq!(Confinement::new(&capability).gaps(), Ok(Gaps::IO_URING));
    assert_eq!(Seal::Listening.apply(), Err(EnforceError::Gaps(Gaps::IO_URING)));
    Confinement::new(&capability).tolerate(Gaps::IO_URING).apply().unwrap();
    Seal::Listening.apply_tolerating(Gaps::IO_URING).unwrap();
    assert_eq!(ring.submit(1), Err(Errno::NOSYS));
}

/// Requests in a ring without a thread of its own, which wait until the pipe is written to.
struct Waiting {
    ring: Ring,
    pipe: [OwnedFd; 2],
}

impl Waiting {
    fn submit(requests: &[Request]) -> Option<Self> {
        let ring = Ring::new()?;
        let (reader, writer) = std::io::pipe().unwrap();
        let pipe = [reader.into(), writer.into()];
        ring.push(&[&[Request::poll(&pipe[0]).and_then()], requests].concat());
        ring.submit(1 + requests.len()).unwrap();
        Some(Self { ring, pipe })
    }

    /// Starts the requests, and returns the result of the last one.
    fn go_on(mut self, requests: usize) -> Outcome {
        let [_, writer] = self.pipe;
        File::from(writer).write_all(b"x").unwrap();
        (0..requests).for_each(|_| _ = self.ring.complete());
        self.ring.complete()
    }
}

/// Returns true if a restriction is refused because of a ring, and false if it is in force.
fn is_refused(restricted: Result<(), EnforceError>) -> bool {
    let Err(error) = restricted else { return false };
    assert_eq!(error, EnforceError::Gaps(Gaps::IO_URING));
    true
}

fn a_request_that_waits_in_a_ring_does_not_outlive_a_seal() {
    let (socket, address) = (tcp(), Address::ip("127.0.0.1:8081"));
    let requests = [Request::bind(&socket, &address).and_then(), Request::listen(&socket)];
    let Some(waiting) = Waiting::submit(&requests) else { return };
    if !is_refused(Seal::Listening.apply()) {
        let done = waiting.go_on(2);
        assert!(done.is_err() && !is_listening(&socket), "it listens");
    }
}

fn a_request_that_waits_in_a_ring_opens_no_refused_socket() {
    let request = Request::socket(AF_INET, libc::SOCK_DGRAM);
    let Some(waiting) = Waiting::submit(&[request]) else { return };
    if !is_refused(Confinement::new(&capability(&RULES)).apply()) {
        assert!(waiting.go_on(1).is_err(), "a UDP socket is open");
    }
}

/// Their names do not fit into one answer of the kernel.
fn a_ring_is_found_among_many_threads() {
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let receive = std::sync::Mutex::new(receive);
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| receive.lock().unwrap().recv());
        }
        assert_eq!(Seal::Listening.gaps(), Gaps::empty(), "100 threads");
        if let Some(_ring) = polled() {
            assert_eq!(Seal::Listening.gaps(), Gaps::IO_URING, "100 threads and a ring");
        }
        drop(send);
    });
}

/// Lets no other thread of this process run before this one waits. Returns false if it may not.
fn run_alone() -> bool {
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: a set of processors can be zero.
    let mut first: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes to the set, which outlives it.
    let found = unsafe { libc::sched_getaffinity(0, size_of_val(&first), &raw mut first) };
    // SAFETY: the macros read and write the set.
    let cpu = (0..1024).find(|cpu| unsafe { libc::CPU_ISSET(*cpu, &first) }).unwrap_or(0);
    // SAFETY: the macros read and write the set.
    unsafe { libc::CPU_ZERO(&mut first) };
    // SAFETY: the macros read and write the set.
    unsafe { libc::CPU_SET(cpu, &mut first) };
    // SAFETY: the set outlives the call.
    let pinned = unsafe { libc::sched_setaffinity(0, size_of_val(&first), &raw const first) };
    // SAFETY: the parameters outlive the call.
    let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters) };
    (found, pinned, set) == (0, 0, 0)
}

fn a_ring_is_a_gap_from_its_first_moment() {
    if !run_alone() {
        return skip("the first moment of a ring, because root cannot schedule itself");
    }
    let Some(_ring) = Ring::polled() else { return };
    assert_eq!(Seal::Listening.gaps(), Gaps::IO_URING);
}

fn a_thread_of_the_kernel_with_another_name_is_a_gap() {
    let Some(_ring) = polled() else { return };
    rename_polling_thread();
    assert_eq!(Seal::Listening.gaps(), Gaps::IO_URING);
}

fn rename_polling_thread() {
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let name = task.unwrap().path().join("comm");
        if fs::read_to_string(&name).unwrap().starts_with("iou-sqp-") {
            fs::write(&name, "web").unwrap();
        }
    }
}

fn a_ring_with_a_thread_is_found_without_its_descriptor() {
    let Some(mut ring) = polled() else { return };
    ring.close();
    assert_eq!(Seal::Listening.gaps(), Gaps::IO_URING);
    let gaps = Confinement::new(&capability(&RULES)).gaps();
    assert_eq!(gaps, Ok(Gaps::THREADS | Gaps::IO_URING));
}

fn a_ring_without_descriptor_and_name_is_found() {
    let Some(mut ring) = polled() else { return };
    ring.close();
    rename_polling_thread();
    if !is_refused(Seal::Listening.apply()) {
        let (socket, address) = (tcp(), Address::ip("127.0.0.1:8081"));
        ring.push(&[Request::bind(&socket, &address)]);
        assert!(ring.complete().is_err(), "it binds");
    }
}

fn a_ring_without_descriptor_is_found() {
    let (socket, address) = (tcp(), Address::ip("127.0.0.1:8081"));
    let requests = [Request::bind(&socket, &address).and_then(), Request::listen(&socket)];
    let Some(mut waiting) = Waiting::submit(&requests) else { return };
    waiting.ring.close();
    if !is_refused(Seal::Listening.apply()) {
        let done = waiting.go_on(2);
        assert!(done.is_err() && !is_listening(&socket), "it listens");
    }
}

fn a_ring_of_a_thread_with_its_own_descriptors_is_found() {
    let (started, starts) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        // SAFETY: the call takes only a number.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        let (socket, address) = (tcp(), Address::ip("127.0.0.1:8081"));
        let requests = [Request::bind(&socket, &address).and_then(), Request::listen(&socket)];
        let waiting = Waiting::submit(&requests);
        started.send(waiting.is_some()).unwrap();
        if let (Ok(()), Some(waiting)) = (goes_on.recv(), waiting) {
            let done = waiting.go_on(2);
            assert!(done.is_err() && !is_listening(&socket), "it listens");
        }
    });
    if starts.recv().unwrap() && !is_refused(Seal::Listening.apply()) {
        go_on.send(()).unwrap();
    }
    drop(go_on);
    thread.join().unwrap();
}

/// The files of a task that has ended cannot be opened or read.
fn a_task_that_ends_meanwhile_is_no_ring() {
    alone("threads that end", || {
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        std::thread::spawn(|| {}).join().unwrap();
                    }
                });
            }
            for _ in 0..500 {
                assert_eq!(Seal::Listening.gaps(), Gaps::empty());
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    });
}
