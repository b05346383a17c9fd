//! The order of the system calls: `socket`, those of the hook, the options, `bind` and `listen`.

use std::os::fd::BorrowedFd;

use netbind::error::Errno;
use netbind::{CancelEvent, CancelFlag, Context, ListenOptions, MonotonicClock};
use rustix::net::sockopt;

use super::{PATH, V4, V6, errno};
use crate::support::machine::{can_open, directory};
use crate::support::memory::Arena;
use crate::support::supervisor::{traced, watched};

const SOCKET: &str = "socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)";

/// Lists the calls of an opening in an empty working directory, without those of its end.
fn calls_of(
    address: &str,
    options: impl Fn(&mut dyn FnMut(ListenOptions<'_>)) + Sync,
) -> Vec<String> {
    let directory = directory();
    let ((), calls) = traced(|| {
        std::env::set_current_dir(directory.path()).unwrap();
        options(&mut |options| {
            let arena = Arena::new();
            let opened =
                watched(|| options.listen(address, &arena).map(netbind::Listener::into_fd));
            drop(opened);
        });
    });
    calls
}

#[test]
fn the_hook_runs_after_socket_and_before_the_options() {
    let mark = |socket: BorrowedFd<'_>| sockopt::set_ip_tos(socket, 0x10).map_err(errno);
    let calls = calls_of(V4, |open| open(ListenOptions::new().no_delay(true).before_bind(&mark)));
    assert_eq!(
        calls,
        [
            "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)",
            "setsockopt(3, IP_TOS, 16)",
            "setsockopt(3, SO_REUSEADDR, 1)",
            "setsockopt(3, TCP_NODELAY, 1)",
            "bind(3, 127.0.0.1:0)",
            "listen(3, 2147483647)",
        ]
    );

    let mode = |socket: BorrowedFd<'_>| {
        rustix::fs::fchmod(socket, rustix::fs::Mode::from_raw_mode(0o777)).map_err(errno)
    };
    let calls = calls_of(PATH, |open| open(ListenOptions::new().mode(0o600).before_bind(&mode)));
    assert_eq!(
        calls,
        [
            SOCKET,
            "fchmod(3, 0o777)",
            "fchmod(3, 0o600)",
            "bind(3, unix \"/proc/thread-self/cwd/run.sock\\x00\")",
            "lstat(/proc/thread-self/cwd/run.sock)",
            "listen(3, 2147483647)",
        ]
    );
}

#[test]
fn ipv6_only_is_set_after_the_hook() {
    if !can_open(V6) {
        return;
    }
    let undo = |socket: BorrowedFd<'_>| sockopt::set_ipv6_v6only(socket, false).map_err(errno);
    let calls = calls_of(V6, |open| open(ListenOptions::new().before_bind(&undo)));
    assert_eq!(
        calls,
        [
            "socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP)",
            "setsockopt(3, IPV6_V6ONLY, 0)",
            "setsockopt(3, SO_REUSEADDR, 1)",
            "setsockopt(3, IPV6_V6ONLY, 1)",
            "bind(3, [::1%0]:0)",
            "listen(3, 2147483647)",
        ]
    );
}

#[test]
fn an_opening_that_the_hook_fails_or_cancels_only_closes_the_socket() {
    let fail = |_: BorrowedFd<'_>| Err(Errno::PERM);
    for address in [PATH, "unix:run.sock"] {
        let calls = calls_of(address, |open| {
            open(ListenOptions::new().mode(0o600).before_bind(&fail));
        });
        assert_eq!(calls, [SOCKET, "close(3)"], "{address}");
        let calls = calls_of(address, |open| {
            let (clock, flag) = (MonotonicClock::new(), CancelFlag::new());
            let context = Context::new(&clock).with_cancel(&flag);
            let cancel = |_: BorrowedFd<'_>| {
                flag.cancel();
                Ok(())
            };
            open(ListenOptions::new().context(&context).mode(0o600).before_bind(&cancel));
        });
        assert_eq!(calls, [SOCKET, "close(3)"], "{address}");
    }
}

/// The hook can cancel by an event too. Each check polls it.
#[test]
fn an_opening_that_the_hook_cancels_by_an_event_only_closes_the_socket() {
    let calls = calls_of(PATH, |open| {
        let (clock, stop) = (MonotonicClock::new(), CancelEvent::new().unwrap());
        let context = Context::new(&clock).with_cancel_event(&stop);
        let cancel = |_: BorrowedFd<'_>| {
            stop.cancel();
            Ok(())
        };
        open(ListenOptions::new().context(&context).before_bind(&cancel));
    });
    assert_eq!(calls, ["ppoll([3], 0ns)", SOCKET, "write(3, 1)", "ppoll([3], 0ns)", "close(4)",]);
}
