//! Waiting for a client under a context: a client, an event, the deadline or a signal ends the
//! wait, and no client is lost.
#![allow(unsafe_code)]

mod clocks;
mod events;
#[cfg(target_pointer_width = "64")] // they need the supervisor
mod faults;
mod signals;
#[cfg(target_pointer_width = "64")]
mod syscalls;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use allocator_api2::alloc::Global;
use netbind::context::Cause;
use netbind::error::{Errno, SocketOption, Step};
use netbind::time::{Clock, Instant};
use netbind::{
    BindAddress, CancelEvent, CancelFlag, Context, ListenOptions, Listener, MonotonicClock,
    SocketError,
};
use rustix::net::{
    AddressFamily, Shutdown, SocketAddrUnix, SocketType, bind, connect, shutdown, socket,
};
use rustix::process::{WaitOptions, waitpid};

use crate::listen::talk;
use crate::support::kernel::{is_close_on_exec, is_nonblocking};
use crate::support::machine::{can_open, directory};
use crate::support::thread::{descriptors, isolated, join, spawn};

const V4: &str = "127.0.0.1:0";

/// A test that would wait for ever fails after this time.
const LIMIT: Duration = Duration::from_secs(60);

type Accepted = Result<(OwnedFd, Option<BindAddress>), SocketError>;

fn open(address: &str) -> Listener<Global> {
    ListenOptions::new().nonblocking(true).listen(address, Global).unwrap()
}

/// Returns a name that no other process and no other test uses.
fn abstract_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("unix:@netbind-accept-{}-{number}", std::process::id())
}

/// Connects a client, bound to `name` if it is a Unix client and has one.
fn client_of(listener: &Listener<Global>, name: Option<&SocketAddrUnix>) -> File {
    let server = match listener.local_address().unwrap() {
        BindAddress::Path(path) => SocketAddrUnix::new(OsStr::from_bytes(path.as_bytes())),
        BindAddress::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        ip => {
            let client = TcpStream::connect(ip.to_socket_addr().unwrap()).unwrap();
            return OwnedFd::from(client).into();
        }
    };
    let client = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    if let Some(name) = name {
        bind(&client, name).unwrap();
    }
    connect(&client, &server.unwrap()).unwrap();
    client.into()
}

/// The thread that accepts, for another thread.
#[derive(Clone, Copy)]
struct Acceptor {
    id: rustix::process::Pid,
    handle: libc::pthread_t,
}

impl Acceptor {
    fn this_thread() -> Self {
        // SAFETY: the call has no argument and cannot fail.
        let handle = unsafe { libc::pthread_self() };
        Self { id: rustix::thread::gettid(), handle }
    }

    /// Returns when the thread sleeps in the kernel.
    fn until_asleep(self) {
        let path = format!("/proc/self/task/{}/stat", self.id.as_raw_nonzero());
        let is_asleep = || {
            let stat = std::fs::read_to_string(&path).unwrap();
            // The state comes after the name, which is in parentheses.
            stat.rsplit_once(')').unwrap().1.starts_with(" S")
        };
        while !is_asleep() {
            std::thread::yield_now();
        }
    }
}

/// Accepts in this thread, while another one calls `act`. Returns the values of both.
fn accept_and<T: Send>(
    listener: &Listener<Global>,
    context: &Context<'_>,
    act: impl FnOnce(Acceptor) -> T + Send,
) -> (Accepted, T) {
    let (this, begun) = (Acceptor::this_thread(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let other = spawn(scope, || {
            while !begun.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            act(this)
        });
        // After this, the thread sleeps nowhere but in the wait.
        begun.store(true, Ordering::Release);
        let accepted = listener.accept_with_context(context);
        (accepted, join(other))
    })
}

/// Does the same as [`accept_and`], but calls `act` only when this thread sleeps in the wait.
fn accept_asleep<T: Send>(
    listener: &Listener<Global>,
    context: &Context<'_>,
    act: impl FnOnce(Acceptor) -> T + Send,
) -> (Accepted, T) {
    accept_and(listener, context, |acceptor| {
        acceptor.until_asleep();
        act(acceptor)
    })
}

/// Asserts that `context` was cancelled, and that the wait did not go on until [`LIMIT`].
#[track_caller]
fn assert_cancelled(accepted: Accepted, context: &Context<'_>, limit: &Context<'_>) {
    assert_eq!(accepted.map(drop), Err(SocketError::Timeout));
    assert_eq!(context.cause(), Some(Cause::Cancelled));
    assert_eq!(limit.cause(), None, "the wait ended at the limit of the test");
}

#[test]
fn another_thread_ends_the_wait_by_an_event() {
    isolated(|| {
        let (clock, stop, listener) =
            (MonotonicClock::new(), CancelEvent::new().unwrap(), open(V4));
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let context = limit.child().with_cancel_event(&stop);
        let before = descriptors();
        let (accepted, ()) = accept_asleep(&listener, &context, |_| stop.cancel());
        assert_cancelled(accepted, &context, &limit);
        assert_cancelled(listener.accept_with_context(&context), &context, &limit);
        assert_eq!(descriptors(), before);
        assert!(listener.accept().unwrap_err().is_would_block(), "the listener is unchanged");
    });
}

/// The clients come before the wait and during it, from a Unix client with a name too.
#[test]
fn every_family_returns_the_client_and_its_address_as_accept_does() {
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let named = SocketAddrUnix::new("client.sock").unwrap();
        let clock = MonotonicClock::new();
        let abstract_name = abstract_name();
        for (address, name) in [
            (V4, None),
            ("[::1]:0", None),
            ("unix:run.sock", None),
            ("unix:run.sock", Some(&named)),
            (abstract_name.as_str(), None),
            (&abstract_name, Some(&named)),
        ] {
            if can_open(address) {
                let listener = open(address);
                let context = Context::new(&clock).with_timeout(LIMIT);
                assert_accepts_as_accept(&listener, &context, name);
            }
        }
    });
}

fn assert_accepts_as_accept(
    listener: &Listener<Global>,
    context: &Context<'_>,
    name: Option<&SocketAddrUnix>,
) {
    let connect = || {
        let _ = std::fs::remove_file("client.sock");
        client_of(listener, name)
    };
    let is_tcp = listener.local_address().unwrap().port().is_some();
    let assert_is = |client: &mut File, (connection, peer): (OwnedFd, Option<BindAddress>)| {
        if is_tcp {
            let client = TcpStream::from(OwnedFd::from(client.try_clone().unwrap()));
            assert_eq!(peer.unwrap().to_socket_addr(), client.local_addr().ok());
        } else {
            let expected = name.map(|_| BindAddress::parse("unix:client.sock").unwrap());
            assert_eq!(peer, expected, "{listener:?}");
        }
        assert!(is_close_on_exec(&connection) && !is_nonblocking(&connection), "{listener:?}");
        talk(client, connection);
    };

    let mut client = connect();
    assert_is(&mut client, listener.accept().unwrap());
    let mut client = connect();
    assert_is(&mut client, listener.accept_with_context(context).unwrap());
    let (accepted, mut client) = accept_asleep(listener, context, |_| connect());
    assert_is(&mut client, accepted.unwrap());
}

#[test]
fn a_cancelled_or_expired_context_leaves_the_client_for_a_later_accept() {
    isolated(|| {
        let (clock, stop, flag) =
            (MonotonicClock::new(), CancelEvent::new().unwrap(), CancelFlag::new());
        stop.cancel();
        flag.cancel();
        let listener = open(V4);
        let mut client = client_of(&listener, None);
        for context in [
            Context::new(&clock).with_cancel_event(&stop),
            Context::new(&clock).with_cancel(&flag),
            Context::new(&clock).with_timeout(Duration::ZERO),
        ] {
            let accepted = listener.accept_with_context(&context);
            assert_eq!(accepted.map(drop), Err(SocketError::Timeout), "{context:?}");
        }
        let limit = Context::new(&clock).with_timeout(LIMIT);
        talk(&mut client, listener.accept_with_context(&limit).unwrap().0);
    });
}

/// A flag that another thread sets does not end the wait. It is checked before the client.
#[test]
fn a_flag_is_noticed_when_a_client_ends_the_wait() {
    isolated(|| {
        let (clock, flag, listener) = (MonotonicClock::new(), CancelFlag::new(), open(V4));
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let context = limit.child().with_cancel(&flag);
        let (accepted, mut client) = accept_asleep(&listener, &context, |_| {
            flag.cancel();
            client_of(&listener, None)
        });
        assert_cancelled(accepted, &context, &limit);
        talk(&mut client, listener.accept_with_context(&limit).unwrap().0);
    });
}

#[test]
fn a_blocking_listener_is_refused_even_if_a_client_is_waiting() {
    isolated(|| {
        let clock = MonotonicClock::new();
        for options in [ListenOptions::new(), ListenOptions::new().nonblocking(true)] {
            let listener = options.nonblocking(false).listen(V4, Global).unwrap();
            let mut client = client_of(&listener, None);
            let accepted = listener.accept_with_context(&Context::new(&clock));
            let error = accepted.map(drop).unwrap_err();
            assert_eq!(error, SocketError::InvalidOption(SocketOption::Nonblocking));
            talk(&mut client, listener.accept().unwrap().0);
        }
    });
}

/// A fork copies the descriptors of the thread, so the child has the event.
#[test]
fn a_forked_child_ends_the_wait_by_an_event() {
    isolated(|| {
        let (clock, stop, listener) =
            (MonotonicClock::new(), CancelEvent::new().unwrap(), open(V4));
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let context = limit.child().with_cancel_event(&stop);
        let (accepted, status) = accept_asleep(&listener, &context, |_| {
            // SAFETY: the child makes two system calls and ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                stop.cancel();
                // SAFETY: the call takes only a number, and does not return.
                unsafe { libc::_exit(0) }
            }
            let child = rustix::process::Pid::from_raw(child).expect("a child");
            waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap().1
        });
        assert_eq!(status.exit_status(), Some(0));
        assert!(stop.is_cancelled());
        assert_cancelled(accepted, &context, &limit);
    });
}

const THREADS: usize = 16;
const CLIENTS: u32 = 1_000;

/// Sends the number of each client back. Returns the numbers when the context stops it.
fn serve(listener: &Listener<Global>, context: &Context<'_>) -> Vec<u32> {
    let mut served = Vec::new();
    loop {
        match listener.accept_with_context(context) {
            Ok((connection, _)) => {
                let (mut connection, mut number) = (File::from(connection), [0; 4]);
                connection.read_exact(&mut number).unwrap();
                connection.write_all(&number).unwrap();
                served.push(u32::from_ne_bytes(number));
            }
            Err(error) => {
                assert_eq!(error, SocketError::Timeout);
                return served;
            }
        }
    }
}

#[test]
fn many_threads_serve_each_client_once_and_end_by_one_cancel() {
    isolated(|| {
        let (clock, stop, listener) =
            (MonotonicClock::new(), CancelEvent::new().unwrap(), open(V4));
        let limit = Context::new(&clock).with_timeout(LIMIT);
        let context = limit.child().with_cancel_event(&stop);
        let (context, listener) = (&context, &listener);
        let mut served = std::thread::scope(|scope| {
            let servers = [(); THREADS].map(|()| spawn(scope, || serve(listener, context)));
            let clients = [0, 1].map(|first| {
                spawn(scope, move || {
                    for number in (first..CLIENTS).step_by(2) {
                        let (mut client, mut answer) = (client_of(listener, None), Vec::new());
                        client.write_all(&number.to_ne_bytes()).unwrap();
                        client.read_to_end(&mut answer).unwrap();
                        assert_eq!(answer, number.to_ne_bytes());
                    }
                })
            });
            let _ = clients.map(join);
            stop.cancel();
            servers.map(join).concat()
        });
        served.sort_unstable();
        assert!(served.iter().copied().eq(0..CLIENTS), "{served:?}");
        assert_eq!(limit.cause(), None, "the threads ended at the limit of the test");
    });
}

/// A clock that stands at zero, and raises a flag in its 1,000th reading: a busy loop ends.
struct BusyLoopClock<'f> {
    readings: AtomicU32,
    flag: &'f CancelFlag,
}

impl Clock for BusyLoopClock<'_> {
    fn now(&self) -> Instant {
        if self.readings.fetch_add(1, Ordering::Relaxed) == 1_000 {
            self.flag.cancel();
        }
        Instant::from_nanos(0)
    }
}

/// `shutdown` by any process that has the socket makes it readable, but no client will ever come.
/// For a Unix socket `accept4` returns `EAGAIN` then, so the wait must not go on.
#[test]
fn a_listener_that_is_shut_down_is_an_error_and_no_busy_loop() {
    isolated(|| {
        let (clock, directory) = (MonotonicClock::new(), directory());
        std::env::set_current_dir(directory.path()).unwrap();
        for address in [V4, "unix:run.sock", &abstract_name()] {
            for how in [Shutdown::Both, Shutdown::Read] {
                let (listener, flag) = (open(address), CancelFlag::new());
                shutdown(&listener, how).unwrap();
                let clock = BusyLoopClock { readings: AtomicU32::new(0), flag: &flag };
                let limit = Context::new(&clock).with_deadline(clock.now() + LIMIT);
                let accepted = listener.accept_with_context(&limit.with_cancel(&flag));
                let error = accepted.map(drop).unwrap_err();
                assert!(error.errno().is_some(), "{error} by {how:?} of {address}");
            }
        }
        let listener = open(V4);
        let (accepted, ()) =
            accept_asleep(&listener, &Context::new(&clock).with_timeout(LIMIT), |_| {
                shutdown(&listener, Shutdown::Both).unwrap();
            });
        let error = accepted.map(drop).unwrap_err();
        assert_eq!(error, SocketError::System { step: Step::Accept, errno: Errno::INVAL });
    });
}
