//! A process that may open no more descriptors (`RLIMIT_NOFILE`, which is the whole process's: so it is one of its own).

use std::fs::File;
use std::io::{Read, Write};

use netbind::error::{Errno, Step};
use netbind::{Listener, listen};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{again, connect, is_child, refused};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated_network};

/// From here on descriptors below this number alone can be opened.
fn allow(number: u64) {
    setrlimit(Resource::Nofile, Rlimit { current: Some(number), ..getrlimit(Resource::Nofile) })
        .unwrap();
}

/// The descriptors 0, 1 and 2 are open.
fn exhaust(address: &str) {
    let arena = Arena::new();
    allow(3);
    let error = listen(address, &arena).map(drop).unwrap_err();
    assert_eq!(error, refused(Step::Socket, Errno::MFILE), "{address}");
    assert!(error.is_exhausted() && !error.is_interrupted() && !error.is_connection_lost());
    assert_eq!((descriptors().len(), arena.live()), (3, 0), "{address}");

    allow(6);
    let listener = listen(address, &arena).expect("one more was allowed");
    let mut client = connect(&listener.local_address().unwrap());
    let last = File::open("/dev/null").unwrap();
    for answer in [Listener::accept, Listener::accept_nonblocking, Listener::accept]
        .map(|accept| accept(&listener))
    {
        let error = answer.unwrap_err();
        assert_eq!(error, refused(Step::Accept, Errno::MFILE), "{address}");
        assert!(error.is_exhausted() && !error.is_would_block() && !error.is_connection_lost());
    }
    drop(last);
    let (connection, _) = listener.accept().expect("the connection is still in the queue");
    client.write_all(b"x").unwrap();
    File::from(connection).read_exact(&mut [0]).unwrap();
    drop(client);
    listener.close().unwrap();
    assert_eq!((descriptors().len(), arena.live()), (3, 0), "{address}");
}

#[test]
fn a_process_without_descriptors_is_told_so_and_goes_on_when_it_has_one() {
    let test =
        "hostile::exhausted::a_process_without_descriptors_is_told_so_and_goes_on_when_it_has_one";
    isolated_network(|_| {
        if !is_child() {
            let child = again(test).output().unwrap();
            let said =
                String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
            return assert!(child.status.success() && said.contains(" 1 passed"), "{said}");
        }
        let directory = tempfile::tempdir().unwrap();
        std::env::set_current_dir(directory.path()).unwrap();
        for address in ["127.0.0.1:0", "[::1]:0", "unix:run.sock", "unix:@netbind-exhausted"] {
            exhaust(address);
        }
        allow(64); // to remove the directory takes one
    });
}
