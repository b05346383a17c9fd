//! Sockets, addresses and calls by which a program could open what the rules do not allow.
#![allow(unsafe_code)]

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};

use libc::{AF_INET, AF_INET6, AF_UNSPEC, IPPROTO_IP, IPPROTO_MPTCP, IPPROTO_TCP, SOCK_STREAM};
use libc::{SO_REUSEPORT, SOL_SOCKET};
use netbind::NetBind;
use netbind::enforce::{EnforceError, Gaps, Supervisor};
use netbind::error::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{bind_bytes, bind_to, succeeds_under, tcp};
use crate::suite::harness::{End, alone, skip};
use crate::suite::probe::{
    Address, Outcome, call, capability, errno, is_listening, listen, listen_unbound, name_of,
    set_option, socket,
};
use crate::suite::ring::Ring;
use crate::suite::supervised::{fork, supervised, wait};

const RULES: &[&str] = &["port 8000", "host 127.0.0.1 port 8002", "any-abstract"];

/// Binds a new TCP socket with these options, and listens on it. Returns it.
fn open(address: &Address, family: i32, options: &[(i32, i32)]) -> Outcome<OwnedFd> {
    let socket = tcp(family);
    for (level, name) in options {
        set_option(&socket, *level, *name, 1)?;
    }
    bind_to(&socket, address)?;
    listen(&socket)?;
    assert!(is_listening(&socket));
    Ok(socket)
}

pub(super) fn every_form_of_an_address_is_judged() {
    const IP_BIND_ADDRESS_NO_PORT: i32 = 24;
    const ACCES: Outcome = Err(Errno::ACCESS);
    let family: Outcome = Err(errno(libc::EAFNOSUPPORT));
    let reuse = &[(SOL_SOCKET, SO_REUSEPORT)][..];
    let no_port = &[(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT)][..];
    let ip = Address::ip;
    let unspecified = |text| ip(text).with_family(AF_UNSPEC);
    let attempts = [
        (ip("0.0.0.0:8001"), AF_INET, &[][..], ACCES),
        (ip("[::]:8001"), AF_INET6, &[], ACCES),
        (unspecified("0.0.0.0:8001"), AF_INET, &[], ACCES),
        (unspecified("0.0.0.0:8000"), AF_INET, &[], Ok(())),
        (unspecified("127.0.0.1:8000"), AF_INET, &[], family),
        (unspecified("[::]:8000"), AF_INET6, &[], family),
        (ip("[::]:8000"), AF_INET, &[], family),
        (ip("[::ffff:127.0.0.1]:8001"), AF_INET6, &[], ACCES),
        (ip("[::ffff:127.0.0.1]:8002"), AF_INET6, &[], Ok(())),
        (ip("[::ffff:0.0.0.0]:8002"), AF_INET6, &[], ACCES),
        (ip("[::1]:8002"), AF_INET6, &[], ACCES),
        (ip("0.0.0.0:8002"), AF_INET, &[], ACCES),
        (ip("127.0.0.1:0"), AF_INET, &[], ACCES),
        (ip("127.0.0.1:0"), AF_INET, no_port, ACCES),
        (ip("127.0.0.1:8001"), AF_INET, reuse, ACCES),
    ];
    succeeds_under(RULES, || {
        for (index, (address, domain, options, expected)) in attempts.into_iter().enumerate() {
            let found = open(&address, domain, options).map(drop);
            assert_eq!(found, expected, "attempt {index}");
        }
        // Twins that share an allowed port.
        let twins = [(); 2].map(|()| open(&ip("127.0.0.1:8000"), AF_INET, reuse).unwrap());
        assert!(twins.iter().all(is_listening));
        assert_eq!(listen_unbound(AF_INET, 0).map(drop), ACCES);
        assert_eq!(listen_unbound(AF_INET6, 0).map(drop), ACCES);
    });
}

/// The kernel looks at the lower half of a descriptor, a length and a call's number.
pub(super) fn the_upper_halves_of_arguments_hide_nothing() {
    const HIGH: usize = 1 << 32;
    succeeds_under(RULES, || {
        let numbers: &[libc::c_long] = &[libc::SYS_bind, libc::SYS_bind | 1 << 32];
        for (port, expected) in [(8000, Ok(0)), (8001, Err(Errno::ACCESS))] {
            let address = Address::ip(&format!("127.0.0.1:{port}"));
            let pointer = address.as_ptr().expose_provenance();
            for number in numbers {
                let socket = tcp(AF_INET);
                let fd = socket.as_raw_fd() as usize | HIGH;
                let bound = call(*number, [fd, pointer, 16 | HIGH, 0]);
                assert_eq!(bound, expected);
                assert_ne!(name_of(&socket).port(), 8001);
            }
        }
        let socket = tcp(AF_INET);
        let fd = socket.as_raw_fd() as usize | HIGH;
        assert_eq!(call(libc::SYS_listen | 1 << 32, [fd, 1, 0, 0]), Err(Errno::ACCESS));
        for (length, expected) in [(0, libc::EINVAL), (129, libc::EINVAL), (-1, libc::EINVAL)] {
            let bound = bind_bytes(&socket, [0_u8; 129].as_ptr(), length as u32);
            assert_eq!(bound, Err(errno(expected)), "length {length}");
        }
        for address in [std::ptr::null(), std::ptr::dangling::<u8>()] {
            assert_eq!(bind_bytes(&socket, address, 16), Err(errno(libc::EFAULT)));
        }
        let closed = call(libc::SYS_listen, [usize::MAX, 1, 0, 0]);
        assert_eq!(closed, Err(errno(libc::EBADF)));
    });
}

pub(super) fn kinds_that_are_not_judged_cannot_be_made() {
    use libc::{AF_NETLINK, AF_PACKET, AF_VSOCK, AF_XDP, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
    const AF_TIPC: i32 = 30;
    const AF_SMC: i32 = 43;
    const IPPROTO_SMC: i32 = 256;
    let attempts = [
        (AF_INET, SOCK_STREAM, IPPROTO_MPTCP, libc::EPROTONOSUPPORT),
        (AF_INET6, SOCK_STREAM, IPPROTO_MPTCP, libc::EPROTONOSUPPORT),
        (AF_INET, SOCK_STREAM, IPPROTO_SMC, libc::EPROTONOSUPPORT),
        (AF_INET, SOCK_STREAM, libc::IPPROTO_SCTP, libc::EPROTONOSUPPORT),
        (AF_INET, SOCK_SEQPACKET, libc::IPPROTO_SCTP, libc::EACCES),
        (AF_INET, SOCK_DGRAM, libc::IPPROTO_UDPLITE, libc::EACCES),
        (AF_INET, SOCK_DGRAM, libc::IPPROTO_ICMP, libc::EACCES),
        (AF_INET, SOCK_RAW, IPPROTO_TCP, libc::EACCES),
        (AF_NETLINK, SOCK_RAW, libc::NETLINK_SOCK_DIAG, libc::EPROTONOSUPPORT),
        (AF_SMC, SOCK_STREAM, 0, libc::EAFNOSUPPORT),
        (AF_TIPC, SOCK_STREAM, 0, libc::EAFNOSUPPORT),
        (AF_VSOCK, SOCK_STREAM, 0, libc::EAFNOSUPPORT),
        (AF_XDP, SOCK_RAW, 0, libc::EAFNOSUPPORT),
        (AF_PACKET, SOCK_RAW, 0, libc::EAFNOSUPPORT),
    ];
    succeeds_under(&["port 0-65535", "any-abstract"], || {
        for (family, kind, protocol, expected) in attempts {
            let made = socket(family, kind, protocol).map(drop);
            assert_eq!(made, Err(errno(expected)), "{family}, {kind}, {protocol}");
        }
    });
}

/// Runs the assertions of `body` in a supervised child, with sockets that were opened before.
fn with_sockets(rules: &[&str], sockets: &[OwnedFd], body: impl FnOnce(&[OwnedFd])) {
    succeeds_under(rules, || body(sockets));
}

pub(super) fn an_mptcp_socket_from_before_opens_nothing() {
    let Ok(mptcp) = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP) else {
        return skip("MPTCP, because this kernel has none");
    };
    with_sockets(&["port 0-65535"], &[mptcp], |sockets| {
        let [mptcp] = sockets else { unreachable!() };
        assert_eq!(bind_to(mptcp, &Address::ip("127.0.0.1:8000")), Err(Errno::ACCESS));
        assert_eq!(listen(mptcp), Err(Errno::ACCESS));
    });
}

pub(super) fn a_socket_in_repair_is_judged() {
    succeeds_under(RULES, || {
        let socket = tcp(AF_INET);
        if set_option(&socket, IPPROTO_TCP, libc::TCP_REPAIR, 1).is_err() {
            return; // without the privilege
        }
        assert_eq!(bind_to(&socket, &Address::ip("127.0.0.1:8001")), Err(Errno::ACCESS));
        assert_eq!(listen(&socket), Err(Errno::ACCESS));
        set_option(&socket, IPPROTO_TCP, libc::TCP_REPAIR, 0).unwrap();
        assert_eq!(listen(&socket), Err(Errno::ACCESS));
    });
}

/// `connect` and `sendto` give a socket a port, as documented, but no listener.
pub(super) fn a_fast_open_makes_no_listener() {
    succeeds_under(RULES, || {
        let (socket, peer) = (tcp(AF_INET), Address::ip("127.0.0.1:9"));
        let (fd, flags) = (socket.as_raw_fd(), libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL);
        // SAFETY: the byte and the address have these lengths and outlive the call.
        unsafe { libc::sendto(fd, [0_u8].as_ptr().cast(), 1, flags, peer.as_ptr(), peer.len()) };
        assert!(listen(&socket).is_err() && !is_listening(&socket));
    });
}

fn send(channel: &OwnedFd, socket: &OwnedFd) {
    use std::os::fd::AsFd;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let sockets = [socket.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&sockets)));
    sendmsg(channel, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
}

pub(super) fn receive(channel: &OwnedFd) -> OwnedFd {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .unwrap();
    let mut messages = control.drain();
    let Some(RecvAncillaryMessage::ScmRights(mut sockets)) = messages.next() else {
        panic!("no descriptor")
    };
    sockets.next().unwrap()
}

/// A process that is not supervised binds the socket of one that is.
pub(super) fn a_socket_that_another_process_bound_does_not_listen() {
    let (own, others) = std::os::unix::net::UnixStream::pair().unwrap();
    let (own, others) = (OwnedFd::from(own), OwnedFd::from(others));
    let accomplice = fork(|| {
        let socket = receive(&others);
        bind_to(&socket, &Address::ip("127.0.0.1:8001")).unwrap();
        send(&others, &tcp_bound("127.0.0.1:8003"));
        0
    });
    succeeds_under(RULES, || {
        let socket = tcp(AF_INET);
        send(&own, &socket);
        let received = receive(&own);
        for (socket, port) in [(&socket, 8001), (&received, 8003)] {
            assert_eq!(name_of(socket).port(), port);
            assert_eq!(listen(socket), Err(Errno::ACCESS));
            assert!(!is_listening(socket));
        }
    });
    assert_eq!(wait(accomplice), End::Exited(0));
}

fn tcp_bound(address: &str) -> OwnedFd {
    let socket = tcp(AF_INET);
    bind_to(&socket, &Address::ip(address)).unwrap();
    socket
}

/// A socket whose port the kernel chose stays judged as port 0, also after it is disconnected and
/// bound by name.
pub(super) fn a_chosen_port_is_no_leave_for_another_one() {
    succeeds_under(&["host 127.0.0.1 port 0"], || {
        let socket = tcp(AF_INET);
        bind_to(&socket, &Address::ip("127.0.0.1:0")).unwrap();
        let port = name_of(&socket).port();
        let other = Address::ip(&format!("127.0.0.1:{}", port ^ 1));
        let again = [bind_to(&socket, &other), bind_to(&tcp(AF_INET), &other)];
        assert_eq!(again, [Err(Errno::ACCESS); 2]);
        assert_eq!(listen(&socket), Ok(()));
        // A socket that is not known to have such a port.
        let plain = tcp(AF_INET);
        assert_eq!(listen(&plain), Err(Errno::ACCESS), "0.0.0.0");
    });
}

pub(super) fn a_ring_cannot_be_made_or_brought_along() {
    succeeds_under(&["port 8000"], || {
        let mut parameters = [0_u64; 15];
        let pointer = parameters.as_mut_ptr().expose_provenance();
        assert_eq!(call(libc::SYS_io_uring_setup, [1, pointer, 0, 0]), Err(Errno::NOSYS));
        for number in [libc::SYS_io_uring_enter, libc::SYS_io_uring_register] {
            assert_eq!(call(number, [0; 4]), Err(Errno::NOSYS));
        }
    });
    let gaps = [Gaps::IO_URING, Gaps::IO_URING | Gaps::THREADS];
    for (ring, gaps) in [Ring::new as fn() -> Option<Ring>, Ring::polled].into_iter().zip(gaps) {
        alone("a ring from before", || {
            let capability = capability(&["port 8000"]);
            let (_supervisor, supervised) = Supervisor::new(&capability).unwrap();
            let Some(_ring) = ring() else { return };
            assert_eq!(supervised.enter(), Err(EnforceError::Gaps(gaps)));
            assert_eq!(bind_to(&tcp(AF_INET), &Address::ip("127.0.0.1:8001")), Ok(()), "free");
        });
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) fn calls_of_another_abi_end_the_process() {
    /// `socketcall(SYS_LISTEN, NULL)` of a 32-bit program.
    fn socketcall() -> i32 {
        // SAFETY: the call reads no memory of this process that the compiler knows of.
        unsafe {
            std::arch::asm!(
                "push rbx", "mov ebx, 4", "xor ecx, ecx", "int 0x80", "pop rbx",
                inlateout("eax") 102 => _, out("ecx") _,
                lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
            );
        }
        0
    }
    fn x32(number: libc::c_long) -> i32 {
        let _ = call(number | 0x4000_0000, [0; 4]);
        0
    }
    let calls: [fn() -> i32; 3] = [socketcall, || x32(libc::SYS_bind), || x32(libc::SYS_listen)];
    for (index, attempt) in calls.into_iter().enumerate() {
        if wait(fork(attempt)) != End::Exited(0) {
            skip("a foreign call, because this kernel has none");
            continue;
        }
        let capability: NetBind<'_> = capability(&["port 0-65535"]);
        let (end, answers) = supervised(&capability, attempt);
        assert_eq!((end, answers), (End::Killed(libc::SIGSYS), Vec::new()), "{index}");
    }
}
