//! The function of `before_bind` gets the new socket before the crate's options, and cannot weaken
//! them. Its errno is returned, and nothing is left.

#[cfg(target_pointer_width = "64")] // it needs the supervisor
mod syscalls;

use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use netbind::error::{Errno, SocketOption, Step};
use netbind::{
    CancelEvent, CancelFlag, Context, ListenOptions, MonotonicClock, NetBind, SocketError, listen,
};
use rustix::net::sockopt;

use crate::listen::talk;
use crate::support::allow_port_0_and_unix;
use crate::support::kernel::{bound_bytes, is_nonblocking, socket_option};
use crate::support::machine::{can_open, directory};
use crate::support::memory::Arena;
use crate::support::sink::Lines;
use crate::support::thread::{descriptors, isolated};

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";
const PATH: &str = "unix:/proc/thread-self/cwd/run.sock";

/// Returns every kind of address that this machine can open, and the family of its socket.
fn addresses() -> impl Iterator<Item = (String, i32)> {
    let abstract_name = format!("unix:@netbind-hook-{}", std::process::id());
    let addresses = [
        (V4, libc::AF_INET),
        (V6, libc::AF_INET6),
        (PATH, libc::AF_UNIX),
        ("unix:run.sock", libc::AF_UNIX),
        (&abstract_name, libc::AF_UNIX),
    ];
    addresses
        .map(|(address, family)| (address.to_owned(), family))
        .into_iter()
        .filter(|(address, _)| can_open(address))
}

fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw_os_error(error.raw_os_error()).unwrap()
}

/// Runs `body` in an empty working directory, and asserts that it leaves nothing there and no
/// descriptor.
fn leaving_nothing<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let before = descriptors();
        let value = body();
        assert_eq!(descriptors(), before);
        assert_eq!(directory.path().read_dir().unwrap().count(), 0, "a file is left");
        value
    })
}

#[test]
fn the_hook_gets_the_unbound_socket_of_every_family_once() {
    for (address, family) in addresses() {
        leaving_nothing(|| {
            let (arena, seen) = (Arena::new(), AtomicU32::new(0));
            let hook = |socket: BorrowedFd<'_>| {
                assert_eq!(socket_option(socket, libc::SOL_SOCKET, libc::SO_DOMAIN), family);
                assert_eq!(socket_option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR), 0);
                assert!(is_nonblocking(socket));
                let bound = bound_bytes(socket);
                assert!(bound[2..].iter().all(|byte| *byte == 0), "{address} is bound: {bound:?}");
                let before = seen.swap(socket.as_raw_fd().cast_unsigned(), Ordering::Relaxed);
                assert_eq!(before, 0, "the hook was called again");
                Ok(())
            };
            let options = ListenOptions::new().nonblocking(true).before_bind(&hook);
            let listener = options.listen(&address, &arena).unwrap();
            assert_eq!(seen.load(Ordering::Relaxed), listener.as_raw_fd().cast_unsigned());
        });
    }
}

/// No field of the crate's options sets it.
#[test]
fn an_option_that_the_hook_sets_stays() {
    isolated(|| {
        let arena = Arena::new();
        let hook = |socket: BorrowedFd<'_>| sockopt::set_ip_tos(socket, 0x10).map_err(errno);
        let options = ListenOptions::new().before_bind(&hook);
        let listener = options.listen(V4, &arena).unwrap();
        assert_eq!(socket_option(&listener, libc::IPPROTO_IP, libc::IP_TOS), 0x10);
        let address = listener.local_address().unwrap().to_socket_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        talk(&mut client, listener.accept().unwrap().0);
    });
}

#[test]
fn the_hook_cannot_undo_the_options_of_the_crate() {
    const SOCKET: i32 = libc::SOL_SOCKET;
    isolated(|| {
        let arena = Arena::new();
        let hook = |socket: BorrowedFd<'_>| {
            let set = || {
                sockopt::set_socket_reuseaddr(socket, false)?;
                sockopt::set_socket_keepalive(socket, false)?;
                sockopt::set_socket_reuseport(socket, false)?;
                sockopt::set_tcp_nodelay(socket, false)
            };
            set().map_err(errno)
        };
        let options = ListenOptions::new()
            .keep_alive(true)
            .reuse_port(true)
            .no_delay(true)
            .before_bind(&hook);
        let listener = options.listen(V4, &arena).unwrap();
        for (level, option) in [
            (SOCKET, libc::SO_REUSEADDR),
            (SOCKET, libc::SO_KEEPALIVE),
            (SOCKET, libc::SO_REUSEPORT),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        ] {
            assert_eq!(socket_option(&listener, level, option), 1, "{level}/{option}");
        }
    });
}

/// Otherwise a hook would open the IPv4 wildcard too, which the capability may not allow.
#[test]
fn the_hook_cannot_undo_ipv6_only() {
    if !can_open(V6) {
        return;
    }
    isolated(|| {
        let arena = Arena::new();
        for (dual_stack, opposite) in [(false, false), (true, true)] {
            let hook =
                |socket: BorrowedFd<'_>| sockopt::set_ipv6_v6only(socket, opposite).map_err(errno);
            let options = ListenOptions::new().dual_stack(dual_stack).before_bind(&hook);
            let listener = options.listen("[::]:0", &arena).unwrap();
            let v6_only = socket_option(&listener, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY);
            assert_eq!(v6_only, i32::from(!dual_stack));
            let port = listener.local_address().unwrap().port().unwrap();
            let reached = TcpStream::connect(("127.0.0.1", port)).is_ok();
            assert!(!reached || dual_stack, "IPv4 reaches the port {port}");
        }
    });
}

/// The socket would listen on an address that nobody has decided about.
#[test]
fn a_hook_that_binds_the_socket_makes_the_opening_fail() {
    leaving_nothing(|| {
        let (arena, sink) = (Arena::new(), Lines::default());
        let mut capability = NetBind::empty("web").unwrap().with_sink(&sink);
        allow_port_0_and_unix(&mut capability);
        let bind_v4 = |socket: BorrowedFd<'_>| {
            let elsewhere = std::net::SocketAddrV4::new([127, 9, 9, 9].into(), 0);
            rustix::net::bind(socket, &elsewhere).map_err(errno)
        };
        let bind_unix = |socket: BorrowedFd<'_>| {
            let elsewhere = rustix::net::SocketAddrUnix::new_abstract_name(b"netbind-elsewhere");
            rustix::net::bind(socket, &elsewhere.unwrap()).map_err(errno)
        };
        let options = ListenOptions::new().capability(&capability);
        for (address, options) in [
            (V4, options.clone().before_bind(&bind_v4)),
            (PATH, options.clone().before_bind(&bind_unix)),
            ("unix:run.sock", options.clone().before_bind(&bind_unix)),
            ("unix:@netbind-here", options.clone().before_bind(&bind_unix)),
        ] {
            let error = options.listen(address, &arena).map(drop).unwrap_err();
            let expected = SocketError::System { step: Step::Bind, errno: Errno::INVAL };
            assert_eq!((error, arena.bytes_in_use()), (expected, 0), "{address}");
            let records = sink.take();
            assert!(records.len() == 1 && records[0].contains("check_bind_address"), "{records:?}");
        }
    });
}

#[test]
fn the_errno_of_the_hook_is_returned_and_nothing_is_left() {
    for (address, _) in addresses() {
        for errno in [Errno::PERM, Errno::NOPROTOOPT, Errno::INTR, Errno::AGAIN, Errno::ADDRINUSE] {
            leaving_nothing(|| {
                let (arena, sink) = (Arena::new(), Lines::default());
                let mut capability = NetBind::empty("web").unwrap().with_sink(&sink);
                allow_port_0_and_unix(&mut capability);
                let hook = |_: BorrowedFd<'_>| Err(errno);
                let options = ListenOptions::new().capability(&capability).before_bind(&hook);
                let error = options.listen(&address, &arena).map(drop).unwrap_err();
                assert_eq!(error, SocketError::System { step: Step::BeforeBind, errno });
                assert_eq!(error.to_string(), format!("the hook before bind failed: {errno}"));
                assert_eq!(arena.bytes_in_use(), 0);
                let records = sink.take();
                let expected = format!("operation=check_bind_address address={address} ");
                assert!(records.len() == 1 && records[0].contains(&expected), "{records:?}");
            });
        }
    }
}

#[test]
fn the_hook_is_not_called_for_an_opening_that_is_refused() {
    let called = |_: BorrowedFd<'_>| -> Result<(), Errno> { panic!("the hook was called") };
    let (clock, flag) = (MonotonicClock::new(), CancelFlag::new());
    let stop = CancelEvent::new().unwrap();
    flag.cancel();
    stop.cancel();
    let capability = NetBind::new("web").unwrap();
    let contexts = [
        Context::new(&clock).with_cancel(&flag),
        Context::new(&clock).with_cancel_event(&stop),
        Context::new(&clock).with_timeout(Duration::ZERO),
    ];
    let arena = Arena::new();
    let options = ListenOptions::new().before_bind(&called);
    let attempt = |options: ListenOptions<'_>, address| {
        options.listen(address, &arena).map(drop).unwrap_err()
    };
    for context in &contexts {
        assert_eq!(attempt(options.clone().context(context), V4), SocketError::Timeout);
    }
    for address in [V4, "127.0.0.1:22", "unix:@netbind-denied"] {
        let error = attempt(options.clone().capability(&capability), address);
        assert_eq!(error, SocketError::CapabilityDenied, "{address}");
    }
    assert_eq!(attempt(options.clone(), "localhost:80"), SocketError::InvalidAddress);
    let mode = SocketError::InvalidOption(SocketOption::Mode);
    assert_eq!(attempt(options.mode(0o600), V4), mode);
}

#[test]
fn an_opening_that_the_hook_cancels_stops_and_leaves_nothing() {
    for (address, _) in addresses() {
        leaving_nothing(|| {
            let (arena, clock, flag) = (Arena::new(), MonotonicClock::new(), CancelFlag::new());
            let context = Context::new(&clock).with_cancel(&flag);
            let hook = |_: BorrowedFd<'_>| {
                flag.cancel();
                Ok(())
            };
            let options = ListenOptions::new().context(&context).before_bind(&hook);
            assert_eq!(options.listen(&address, &arena).map(drop), Err(SocketError::Timeout));
            assert_eq!(arena.bytes_in_use(), 0);
        });
    }
}

#[test]
fn the_newest_hook_replaces_an_earlier_one_and_options_can_be_used_again() {
    isolated(|| {
        let (arena, calls) = (Arena::new(), AtomicU32::new(0));
        let earlier = |_: BorrowedFd<'_>| -> Result<(), Errno> { panic!("it was replaced") };
        let newest = |socket: BorrowedFd<'_>| {
            calls.fetch_add(1, Ordering::Relaxed);
            assert_ne!(socket.as_fd().as_raw_fd(), -1);
            Ok(())
        };
        let options = ListenOptions::new().before_bind(&earlier).before_bind(&newest);
        for _ in 0..2 {
            options.listen(V4, &arena).unwrap();
        }
        listen(V4, &arena).unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    });
}
