//! A process without a free descriptor. The limit `RLIMIT_NOFILE` is one for the whole process, so
//! the test has a process of its own.

use std::fs::File;
use std::io::{Read, Write};

use netbind::error::{Errno, Step};
use netbind::{Listener, listen};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{connect, in_child, is_child, system_error};
use crate::support::machine::{directory, openable};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated_network};

/// Allows only descriptors below this number.
fn set_limit(number: u64) {
    setrlimit(Resource::Nofile, Rlimit { current: Some(number), ..getrlimit(Resource::Nofile) })
        .unwrap();
}

/// Tests one address. At the beginning, the descriptors 0, 1 and 2 are open.
fn exhaust(address: &str) {
    let arena = Arena::new();
    set_limit(3);
    let error = listen(address, &arena).map(drop).unwrap_err();
    assert_eq!(error, system_error(Step::Socket, Errno::MFILE), "{address}");
    assert!(error.is_exhausted() && !error.is_interrupted() && !error.is_connection_lost());
    assert_eq!((descriptors().len(), arena.bytes_in_use()), (3, 0), "{address}");

    set_limit(6);
    let listener = listen(address, &arena).expect("a descriptor is free");
    let mut client = connect(&listener.local_address().unwrap());
    let last = File::open("/dev/null").unwrap();
    for answer in [Listener::accept, Listener::accept_nonblocking, Listener::accept]
        .map(|accept| accept(&listener))
    {
        let error = answer.unwrap_err();
        assert_eq!(error, system_error(Step::Accept, Errno::MFILE), "{address}");
        assert!(error.is_exhausted() && !error.is_would_block() && !error.is_connection_lost());
    }
    drop(last);
    let (connection, _) = listener.accept().expect("the connection is still in the queue");
    client.write_all(b"x").unwrap();
    File::from(connection).read_exact(&mut [0]).unwrap();
    drop(client);
    listener.close().unwrap();
    assert_eq!((descriptors().len(), arena.bytes_in_use()), (3, 0), "{address}");
}

#[test]
fn a_process_without_free_descriptors_gets_an_error_and_loses_no_client() {
    let test =
        "hostile::exhausted::a_process_without_free_descriptors_gets_an_error_and_loses_no_client";
    isolated_network(|_| {
        if !is_child() {
            let child = in_child(test).output().unwrap();
            let output =
                String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
            return assert!(child.status.success() && output.contains(" 1 passed"), "{output}");
        }
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(64);
        let addresses =
            openable(&["127.0.0.1:0", "[::1]:0", "unix:run.sock", "unix:@netbind-exhausted"]);
        for address in addresses {
            exhaust(address);
        }
        set_limit(limit); // removing the directory needs a descriptor
    });
}
