//! The caller's allocator is the only one used. Everything is freed, and a failed allocation leaves
//! nothing.

use core::fmt::Write;
use std::net::TcpStream;

use netbind::{
    AuditRing, BindAddress, Context, ListenOptions, Listener, MonotonicClock, NetBind, SocketError,
    listen, listen_with_capability, listen_with_context,
};

use crate::support::allow_port_0_and_unix;
use crate::support::machine::{directory, openable};
use crate::support::memory::{Arena, global_requests};
use crate::support::thread::{descriptors, isolated};

/// Runs `body`, and fails if it uses the global allocator.
fn without_global_memory<T>(step: &str, body: impl FnOnce() -> T) -> T {
    let before = global_requests();
    let value = body();
    assert_eq!(global_requests(), before, "{step} used the global allocator");
    value
}

#[test]
fn the_counter_counts_requests_of_the_global_allocator() {
    let before = global_requests();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(global_requests(), before + 1);
}

#[test]
fn an_opening_uses_only_the_callers_allocator() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        for address in openable(&["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-memory"]) {
            let arena = Arena::new();
            let clock = MonotonicClock::new();
            let ring = without_global_memory("a ring", || {
                AuditRing::new_in(8, &arena).unwrap().with_clock(&clock)
            });
            let capability = without_global_memory("a capability", || {
                let mut capability = NetBind::new("test").unwrap().with_sink(&ring);
                allow_port_0_and_unix(&mut capability);
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
            let local =
                without_global_memory("local_address", || listener.local_address()).unwrap();
            let _client =
                local.to_socket_addr().map(|address| TcpStream::connect(address).unwrap());
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
    });
}

#[test]
fn parsing_and_printing_use_no_allocator() {
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

/// A ring makes one request, and an opening another. Each one is refused in turn.
#[test]
fn a_failed_allocation_leaves_no_descriptor_path_or_memory() {
    isolated(|| {
        let directory = directory();
        let path = format!("unix:{}/s", directory.path().display());
        for address in openable(&["127.0.0.1:0", "[::1]:0", &path, "unix:@netbind-refused"]) {
            for refused in 1..=3 {
                let arena = Arena::refusing_from(refused);
                let before = descriptors();
                let outcome = (|| {
                    let ring = AuditRing::new_in(8, &arena)?;
                    let mut capability = NetBind::empty("test").unwrap().with_sink(&ring);
                    allow_port_0_and_unix(&mut capability);
                    listen_with_capability(address, &capability, &arena).map(drop)
                })();
                let expected = if refused == 3 { Ok(()) } else { Err(SocketError::OutOfMemory) };
                assert_eq!(outcome, expected, "{address}, request {refused}");
                assert_eq!(
                    (descriptors(), arena.bytes_in_use()),
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
fn a_failed_opening_frees_its_memory() {
    isolated(|| {
        let arena = Arena::new();
        for address in ["192.0.2.1:0", "[2001:db8::1]:0", "/nonexistent/netbind/s", "[fe80::1]:0"] {
            assert!(listen(address, &arena).is_err());
            assert_eq!(arena.bytes_in_use(), 0, "{address}");
        }
        let listener = listen("127.0.0.1:0", &arena).unwrap();
        assert_eq!(arena.bytes_in_use(), 16);
        let fd = listener.into_fd();
        assert_eq!(arena.bytes_in_use(), 0, "a descriptor needs no memory");
        drop(fd);
    });
}

#[test]
fn values_stay_small() {
    assert!(size_of::<SocketError>() <= 8);
    if cfg!(target_pointer_width = "64") {
        assert!(size_of::<Listener<allocator_api2::alloc::Global>>() <= 48);
        assert!(size_of::<Listener<&Arena>>() <= 56);
        assert!(size_of::<Option<Listener<&Arena>>>() <= 56);
    }
    assert!(size_of::<ListenOptions<'_>>() <= 64);
    assert!(size_of::<BindAddress>() <= 112);
}
