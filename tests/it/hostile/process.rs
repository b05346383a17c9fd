//! Addresses that another process holds, and what remains of them when that process is killed.

use std::fs::symlink_metadata;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};

use netbind::error::{Errno, Step};
use netbind::{BindAddress, listen};

use super::{connect, in_child, is_child, system_error};
use crate::support::machine::{directory, openable};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated_network};

const HELD: [&str; 4] =
    ["127.0.0.1:0", "[::1]:0", "unix:run.sock", "unix:@netbind-another-process"];

/// In the child: holds the addresses until it is killed, or its parent ends.
fn hold() {
    let listeners: Vec<_> = openable(&HELD)
        .into_iter()
        .map(|address| listen(address, allocator_api2::alloc::Global).unwrap())
        .collect();
    for listener in &listeners {
        println!("holds {}", listener.local_address().unwrap());
    }
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// A child that is killed even if the test panics.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(test: &str, count: usize) -> (Holder, Vec<BindAddress>) {
    let child = in_child(test).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Holder(child);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    // The test harness prints too, and does not always end its lines.
    let addresses =
        lines.filter_map(|line| Some(line.unwrap().split_once("holds ")?.1.parse().unwrap()));
    let addresses = addresses.take(count).collect();
    (child, addresses)
}

#[test]
fn an_address_of_a_killed_process_is_free_again_except_its_path() {
    if is_child() {
        return hold();
    }
    let test = "hostile::process::an_address_of_a_killed_process_is_free_again_except_its_path";
    isolated_network(|_| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let before = descriptors();
        let count = openable(&HELD).len();
        let (child, mut addresses) = start(test, count);
        assert_eq!(addresses.len(), count, "the child did not start");
        let wildcard = format!(":{}", addresses[0].port().unwrap());
        addresses.push(wildcard.parse().unwrap());
        let file = symlink_metadata("run.sock").unwrap().ino();

        let arena = Arena::new();
        let try_to_listen = |address: &BindAddress| listen(address.to_bytes(), &arena).map(drop);
        for address in &addresses {
            let error = try_to_listen(address).unwrap_err();
            assert_eq!(error, system_error(Step::Bind, Errno::ADDRINUSE), "{address}");
            assert!(error.is_address_in_use());
            drop(connect(address));
        }
        drop(child);
        for address in &addresses {
            if let BindAddress::Path(_) = address {
                assert_eq!(
                    try_to_listen(address),
                    Err(system_error(Step::Bind, Errno::ADDRINUSE)),
                    "the crate never removes a file that it did not create"
                );
                assert_eq!(symlink_metadata("run.sock").unwrap().ino(), file);
            } else {
                assert_eq!(try_to_listen(address), Ok(()), "{address}");
            }
        }
        assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0));
    });
}
