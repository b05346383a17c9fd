//! The caller's memory: nothing else is touched, everything is given back, and a refusal is an error that leaves nothing.

use core::fmt::Write;
use std::net::TcpStream;

use netbind::{
    AuditRing, BindAddress, Context, ListenOptions, Listener, MonotonicClock, NetBind, Rights,
    SocketError, listen, listen_with_capability, listen_with_context,
};

use crate::support::memory::{Arena, global_requests};
use crate::support::thread::{descriptors, isolated};

/// Runs `body`, which may not touch the global allocator.
fn without_global_memory<T>(what: &str, body: impl FnOnce() -> T) -> T {
    let before = global_requests();
    let value = body();
    assert_eq!(global_requests(), before, "{what} took global memory");
    value
}

#[test]
fn the_count_of_global_memory_counts() {
    let before = global_requests();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(global_requests(), before + 1);
}

#[test]
fn nothing_takes_memory_but_the_callers() {
    let directory = tempfile::tempdir().unwrap();
    let path = format!("unix:{}/s", directory.path().display());
    for address in ["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-memory"] {
        let arena = Arena::new();
        let clock = MonotonicClock::new();
        let ring = without_global_memory("a ring", || {
            AuditRing::new_in(8, &arena).unwrap().with_clock(&clock)
        });
        let capability = without_global_memory("a capability", || {
            let mut capability = NetBind::new("test").unwrap().with_sink(&ring);
            capability.allow_port(0).unwrap();
            capability.grant(Rights::all());
            capability
        });
        let context = Context::new(&clock).with_timeout(std::time::Duration::from_secs(3600));
        without_global_memory("listen", || listen(address, &arena).map(drop)).unwrap();
        without_global_memory("a context", || {
            listen_with_context(address, &context, &arena).map(drop)
        })
        .unwrap();
        without_global_memory("a denial", || {
            assert!(listen_with_capability(":22", &capability, &arena).is_err());
        });
        let listener = without_global_memory("a capability", || {
            listen_with_capability(address, &capability, &arena)
        })
        .unwrap();
        let local = without_global_memory("local_address", || listener.local_address()).unwrap();
        let _client = local.to_socket_addr().map(|address| TcpStream::connect(address).unwrap());
        if local.port().is_some() {
            drop(without_global_memory("accept", || listener.accept()).unwrap());
        }
        without_global_memory("close", || listener.close()).unwrap();
        without_global_memory("reading", || {
            let mut line = heapless::String::<256>::new();
            ring.reader()
                .for_each(|entry| writeln!(line.as_mut_view(), "{}", entry.sequence).unwrap());
            write!(line, "{local}").unwrap();
        });
    }
}

#[test]
fn parsing_and_its_errors_take_no_memory_at_all() {
    for text in [
        ":8080",
        "[fe80::1%2]:443",
        "unix:/run/x",
        "unix:@x",
        "localhost:80",
        ":http",
        "[::1",
        "unix:",
    ] {
        without_global_memory(text, || {
            let mut line = heapless::String::<256>::new();
            match BindAddress::parse(text) {
                Ok(address) => write!(line, "{address}").unwrap(),
                Err(error) => write!(line, "{error}").unwrap(),
            }
        });
    }
}

/// An opening makes one request; a ring another. Each one is refused in turn.
#[test]
fn a_refusal_at_any_request_leaves_no_descriptor_path_or_memory() {
    isolated(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = format!("unix:{}/s", directory.path().display());
        for address in ["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-refused"] {
            for refused in 1..=3 {
                let arena = Arena::refusing_from(refused);
                let before = descriptors();
                let outcome = (|| {
                    let ring = AuditRing::new_in(8, &arena)?;
                    let mut capability = NetBind::empty("test").unwrap().with_sink(&ring);
                    capability.grant(Rights::all()).allow_port(0).unwrap();
                    listen_with_capability(address, &capability, &arena).map(drop)
                })();
                let expected = if refused == 3 { Ok(()) } else { Err(SocketError::OutOfMemory) };
                assert_eq!(outcome, expected, "{address}, request {refused}");
                assert_eq!(
                    (descriptors(), arena.live()),
                    (before, 0),
                    "{address}, request {refused}"
                );
                assert_eq!(directory.path().read_dir().unwrap().count(), 0);
            }
        }
        assert!(SocketError::OutOfMemory.is_exhausted());
    });
}

#[test]
fn every_failure_gives_the_memory_back() {
    let arena = Arena::new();
    for address in ["192.0.2.1:0", "[2001:db8::1]:0", "/nonexistent/netbind/s", "[fe80::1]:0"] {
        assert!(listen(address, &arena).is_err());
        assert_eq!(arena.live(), 0, "{address}");
    }
    let listener = listen("127.0.0.1:0", &arena).unwrap();
    assert_eq!(arena.live(), 16);
    let fd = listener.into_fd();
    assert_eq!(arena.live(), 0, "the descriptor needs no address");
    drop(fd);
}

#[test]
fn values_are_as_small_as_they_are_said_to_be() {
    assert!(size_of::<SocketError>() <= 8);
    if cfg!(target_pointer_width = "64") {
        assert!(size_of::<Listener<allocator_api2::alloc::Global>>() <= 40);
        assert!(size_of::<Listener<&Arena>>() <= 48);
        assert!(size_of::<Option<Listener<&Arena>>>() <= 48);
    }
    assert!(size_of::<ListenOptions<'_>>() <= 64);
    assert!(size_of::<BindAddress>() <= 112);
}
