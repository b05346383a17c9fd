//! Threads that change what the supervisor is to judge, while it judges.
#![allow(unsafe_code)]

use std::hint::spin_loop;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicUsize, Ordering};
use std::sync::mpsc::{TryRecvError, channel};
use std::thread::{scope, yield_now};
use std::time::{Duration, Instant};

use libc::{AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC, IPPROTO_IPV6, IPV6_V6ONLY};
use libc::{SOCK_DGRAM, SOCK_STREAM};
use netbind::error::Errno;

use super::{bind_bytes, bind_to, succeeds_under, tcp};
use crate::suite::probe::{
    Address, Outcome, bind, connect, errno, is_listening, listen, name_of, option, set_option,
    socket,
};

/// Runs `other` again and again in another thread while `own` runs.
pub(super) fn while_another(other: impl Fn() + Sync, own: impl FnOnce()) {
    /// Ends the other thread, also after a panic.
    struct End<'a>(&'a AtomicBool);
    impl Drop for End<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let ends = AtomicBool::new(false);
    scope(|scope| {
        let _end = End(&ends);
        scope.spawn(|| {
            while !ends.load(Ordering::Relaxed) {
                other();
            }
        });
        own();
    });
}

/// The outcomes of a race. It was none unless it ended in both ways.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) made: usize,
    pub(super) refused: usize,
}

impl Tally {
    pub(super) fn add(&mut self, outcome: Outcome) {
        match outcome {
            Err(Errno::ACCESS) => self.refused += 1,
            Err(Errno::NOSYS) => panic!("the supervisor has ended"),
            _ => self.made += 1,
        }
    }

    #[track_caller]
    pub(super) fn assert_both(&self) {
        assert!(self.made > 0 && self.refused > 0, "{} made, {} not", self.made, self.refused);
    }
}

pub(super) fn an_address_that_changes_meanwhile_is_bound_as_it_was_judged() {
    succeeds_under(&["port 8000"], || {
        let words: [AtomicU16; 8] = Default::default();
        words[0].store(AF_INET as u16, Ordering::Relaxed);
        words[2].store(u16::from_ne_bytes([127, 0]), Ordering::Relaxed);
        words[3].store(u16::from_ne_bytes([0, 1]), Ordering::Relaxed);
        let change = || {
            for port in [8000_u16, 8001] {
                words[1].store(port.to_be(), Ordering::Relaxed);
            }
        };
        while_another(change, || {
            let (mut tally, mut forbidden) = (Tally::default(), 0);
            for _ in 0..5000 {
                let socket = tcp(AF_INET);
                // The other thread changes the memory.
                let bound = bind_bytes(&socket, words.as_ptr().cast(), 16);
                forbidden += usize::from(bound.is_ok() && name_of(&socket).port() != 8000);
                tally.add(bound);
            }
            assert_eq!(forbidden, 0, "forbidden sockets are bound");
            tally.assert_both();
        });
    });
}

/// Lets a descriptor refer to an allowed socket and to another one in turn, and makes calls of it.
fn exchange(allowed: &OwnedFd, tcp: &OwnedFd, call: impl Fn(&OwnedFd) -> Outcome) {
    let target = allowed.try_clone().unwrap();
    let change = || {
        for socket in [allowed, tcp] {
            // SAFETY: the call takes only numbers, and `target` stays open.
            unsafe { libc::dup3(socket.as_raw_fd(), target.as_raw_fd(), libc::O_CLOEXEC) };
        }
    };
    while_another(change, || {
        let mut tally = Tally::default();
        for _ in 0..3000 {
            tally.add(call(&target));
            assert!(!is_listening(tcp), "it listens");
            assert_eq!(name_of(tcp).port(), 0, "it is bound");
        }
        tally.assert_both();
    });
}

pub(super) fn a_descriptor_that_changes_meanwhile_opens_nothing_else() {
    // A UDP bind to port 0 is always allowed.
    succeeds_under(&["port 8000"], || {
        let udp = socket(AF_INET, SOCK_DGRAM, 0).unwrap();
        let address = Address::ip("127.0.0.1:0");
        exchange(&udp, &tcp(AF_INET), |socket| bind(socket, &address));
    });
    succeeds_under(&["abstract allowed"], || {
        let unix = socket(AF_UNIX, SOCK_STREAM, 0).unwrap();
        bind(&unix, &Address::abstract_name("allowed")).unwrap();
        exchange(&unix, &tcp(AF_INET), listen);
    });
}

fn set_v6_only(socket: &OwnedFd, value: i32) -> Outcome {
    set_option(socket, IPPROTO_IPV6, IPV6_V6ONLY, value)
}

fn is_dual_stack_listener(socket: &OwnedFd) -> bool {
    is_listening(socket) && option(socket, IPPROTO_IPV6, IPV6_V6ONLY) == Ok(0)
}

pub(super) fn a_listener_that_turns_dual_stack_meanwhile_does_not_listen() {
    for (rule, address) in [
        ("host :: port 8000", Some("[::]:8000")),
        ("host :: port 0", Some("[::]:0")),
        ("host :: port 0", None),
    ] {
        succeeds_under(&[rule], || {
            let current = AtomicI32::new(-1);
            let flip = || {
                for value in [0_i32, 1] {
                    let (fd, pointer) =
                        (current.load(Ordering::Relaxed), (&raw const value).cast());
                    // SAFETY: the value has this length. The descriptor may be closed.
                    unsafe { libc::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, pointer, 4) };
                }
            };
            while_another(flip, || {
                let mut tally = Tally::default();
                for _ in 0..2000 {
                    let socket = tcp(AF_INET6);
                    current.store(socket.as_raw_fd(), Ordering::Relaxed);
                    let bound = address.map_or(Ok(()), |a| bind_to(&socket, &Address::ip(a)));
                    tally.add(bound.and_then(|()| listen(&socket)));
                    assert!(!is_dual_stack_listener(&socket), "{rule}, {address:?}");
                }
                tally.assert_both();
            });
        });
    }
}

/// Lets another thread work on each of many sockets once, while this thread listens on it. The
/// other starts later and later, so that it meets each moment of the `listen`. Returns how many
/// sockets are wrong afterwards.
fn duel(
    tries: usize,
    prepare: impl Fn() -> OwnedFd,
    other: impl Fn(&OwnedFd) + Send,
    is_wrong: impl Fn(&OwnedFd) -> bool,
) -> usize {
    let ((give, take), finished) = (channel::<OwnedFd>(), &AtomicUsize::new(0));
    let work = move || {
        loop {
            match take.try_recv() {
                Ok(socket) => {
                    (0..finished.load(Ordering::Relaxed) * 7 % 2000).for_each(|_| spin_loop());
                    other(&socket);
                    drop(socket);
                    finished.fetch_add(1, Ordering::Release);
                }
                Err(TryRecvError::Empty) => yield_now(),
                Err(TryRecvError::Disconnected) => break,
            }
        }
    };
    scope(|scope| {
        scope.spawn(work);
        let give = give; // dropped at the end, also after a panic
        let try_once = |index| {
            let socket = prepare();
            give.send(socket.try_clone().unwrap()).unwrap();
            let _ = listen(&socket);
            while finished.load(Ordering::Acquire) <= index {
                yield_now();
            }
            is_wrong(&socket)
        };
        // On a busy machine fewer tries are made.
        let start = Instant::now();
        let in_time = |_: &usize| start.elapsed() < Duration::from_secs(15);
        let results: Vec<_> = (0..tries).take_while(in_time).map(try_once).collect();
        assert!(results.len() >= 100, "only {} tries", results.len());
        results.iter().filter(|is_wrong| **is_wrong).count()
    })
}

/// A connected socket has an allowed address, and listens on another one after it is disconnected.
pub(super) fn a_socket_that_is_disconnected_meanwhile_listens_nowhere_else() {
    const TRIES: usize = 3000;
    succeeds_under(&["host 127.0.0.1 port 0-65535"], || {
        let (peer, address) = (tcp(AF_INET), Address::ip("127.0.0.1:7000"));
        bind_to(&peer, &address).unwrap();
        // SAFETY: the call takes only numbers.
        assert_eq!(unsafe { libc::listen(peer.as_raw_fd(), TRIES as i32) }, 0);
        let connected = || {
            let socket = tcp(AF_INET);
            connect(&socket, &address).unwrap();
            socket
        };
        let disconnect = |socket: &OwnedFd| {
            connect(socket, &Address::new(AF_UNSPEC, &[0; 14])).unwrap();
        };
        let is_wrong =
            |socket: &OwnedFd| is_listening(socket) && name_of(socket).ip() != Ipv4Addr::LOCALHOST;
        assert_eq!(duel(TRIES, connected, disconnect, is_wrong), 0, "listeners");
    });
}

/// `IP_LOCAL_PORT_RANGE` makes the kernel choose the same port again.
fn choose_port(socket: &OwnedFd, port: u16) -> Outcome {
    const IP_LOCAL_PORT_RANGE: i32 = 51;
    let range = i32::from(port) | i32::from(port) << 16;
    set_option(socket, libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, range)
}

pub(super) fn a_socket_that_is_disconnected_meanwhile_does_not_turn_dual_stack() {
    succeeds_under(&["host :: port 0"], || {
        let bound = || {
            let socket = tcp(AF_INET6);
            set_v6_only(&socket, 1).unwrap();
            let _ = choose_port(&socket, 40_000); // Linux 6.3
            bind_to(&socket, &Address::ip("[::]:0")).unwrap();
            socket
        };
        let other = |socket: &OwnedFd| {
            let _ = connect(socket, &Address::ip("[::1]:9"));
            let _ = set_v6_only(socket, 0);
        };
        assert_eq!(duel(5000, bound, other, is_dual_stack_listener), 0, "dual-stack listeners");
    });
}

pub(super) fn memory_that_is_unmapped_meanwhile_is_efault() {
    const SIZE: usize = 4096;
    succeeds_under(&["port 8000"], || {
        let map = |address, fixed| {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
            let flags = flags | libc::MAP_ANONYMOUS | fixed;
            // SAFETY: nothing but this test uses the place.
            unsafe { libc::mmap(address, SIZE, protection, flags, -1, 0) }
        };
        let memory = map(std::ptr::null_mut(), 0);
        assert_ne!(memory, libc::MAP_FAILED);
        let place = memory.expose_provenance();
        let change = || {
            let memory = std::ptr::with_exposed_provenance_mut::<libc::c_void>(place);
            map(memory, libc::MAP_FIXED); // zeros, which is AF_UNSPEC, port 0
            // SAFETY: nothing but this test uses the place.
            unsafe { libc::munmap(memory, SIZE) };
        };
        while_another(change, || {
            let mut faults = 0;
            for _ in 0..1000 {
                let socket = tcp(AF_INET);
                let address = std::ptr::with_exposed_provenance(place);
                let bound = bind_bytes(&socket, address, 16);
                assert!(matches!(bound, Err(Errno::ACCESS)) || bound == Err(errno(libc::EFAULT)));
                faults += usize::from(bound != Err(Errno::ACCESS));
            }
            assert!(faults > 0, "no bind met the gap");
        });
        // The address ends where the memory ends.
        let memory = map(std::ptr::null_mut(), 0).wrapping_byte_add(SIZE - 8);
        let bound = bind_bytes(&tcp(AF_INET), memory.cast_const().cast(), 16);
        assert_eq!(bound, Err(errno(libc::EFAULT)));
    });
}
