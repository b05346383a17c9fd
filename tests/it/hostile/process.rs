//! An address that another process holds, and what is left of it when that process is killed.

use std::fs::symlink_metadata;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};

use netbind::error::{Errno, Step};
use netbind::{BindAddress, listen};

use super::{again, connect, is_child, refused};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated_network};

const HELD: [&str; 4] =
    ["127.0.0.1:0", "[::1]:0", "unix:run.sock", "unix:@netbind-another-process"];

/// The child: holds the addresses until it is killed, or until nobody is left who would.
fn hold() {
    let listeners = HELD.map(|address| listen(address, allocator_api2::alloc::Global).unwrap());
    for listener in &listeners {
        println!("holds {}", listener.local_address().unwrap());
    }
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// A child, killed whatever becomes of the test.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(test: &str) -> (Holder, Vec<BindAddress>) {
    let child = again(test).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = Holder(child);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    // The test harness has its own words, and not always a line for them.
    let addresses =
        lines.filter_map(|line| Some(line.unwrap().split_once("holds ")?.1.parse().unwrap()));
    let addresses = addresses.take(HELD.len()).collect();
    (child, addresses)
}

#[test]
fn what_another_process_holds_is_in_use_and_free_when_it_is_killed_but_for_the_path() {
    if is_child() {
        return hold();
    }
    let test = "hostile::process::what_another_process_holds_is_in_use_and_free_when_it_is_killed_but_for_the_path";
    isolated_network(|_| {
        let directory = tempfile::tempdir().unwrap();
        std::env::set_current_dir(directory.path()).unwrap();
        let before = descriptors();
        let (child, mut addresses) = start(test);
        assert_eq!(addresses.len(), HELD.len(), "the child did not come up");
        let wildcard = format!(":{}", addresses[0].port().unwrap());
        addresses.push(wildcard.parse().unwrap());
        let file = symlink_metadata("run.sock").unwrap().ino();

        let arena = Arena::new();
        let refusal = |address: &BindAddress| listen(address.to_bytes(), &arena).map(drop);
        for address in &addresses {
            let error = refusal(address).unwrap_err();
            assert_eq!(error, refused(Step::Bind, Errno::ADDRINUSE), "{address}");
            assert!(error.is_address_in_use());
            drop(connect(address));
        }
        drop(child);
        for address in &addresses {
            if let BindAddress::Path(_) = address {
                assert_eq!(
                    refusal(address),
                    Err(refused(Step::Bind, Errno::ADDRINUSE)),
                    "nobody knows whose it is"
                );
                assert_eq!(symlink_metadata("run.sock").unwrap().ino(), file);
            } else {
                assert_eq!(refusal(address), Ok(()), "{address}");
            }
        }
        assert_eq!((descriptors(), arena.live()), (before, 0));
    });
}
