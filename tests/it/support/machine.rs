//! Differences between machines. A test skips the part that a machine cannot run, and prints why.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

/// Prints once that the current test skips something, and why. The harness does not capture the
/// line.
pub(crate) fn skip(why: &str) {
    static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let thread = std::thread::current();
    let line = format!("skipped in {}: {why}\n", thread.name().unwrap_or("a test"));
    if PRINTED.lock().unwrap().insert(line.clone()) {
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Returns false, and prints a line, if the address is IPv6 and this machine has no IPv6.
pub(crate) fn can_open(address: &str) -> bool {
    let possible = !address.starts_with('[') || has_ipv6();
    if !possible {
        skip(&format!("{address}, because there is no IPv6"));
    }
    possible
}

/// Returns the addresses that this machine can open, in the same order.
pub(crate) fn openable<'a>(addresses: &[&'a str]) -> Vec<&'a str> {
    addresses.iter().copied().filter(|address| can_open(address)).collect()
}

/// Returns true if the network of this thread has `::1`.
fn has_ipv6() -> bool {
    let Err(error) = TcpListener::bind("[::1]:0") else { return true };
    let without_ipv6 = [libc::EADDRNOTAVAIL, libc::EAFNOSUPPORT];
    let is_expected = error.raw_os_error().is_some_and(|errno| without_ipv6.contains(&errno));
    assert!(is_expected, "unexpected error of ::1: {error}");
    false
}

/// Returns false, and prints a line, if the kernel does not show the files of Unix sockets. Emulators
/// do not.
pub(crate) fn has_sock_diag() -> bool {
    use rustix::net::{AddressFamily, SocketType, netlink, socket};
    let opened = socket(AddressFamily::NETLINK, SocketType::DGRAM, Some(netlink::SOCK_DIAG));
    if let Err(error) = &opened {
        skip(&format!("the file of a Unix socket, because there is no sock_diag: {error}"));
    }
    opened.is_ok()
}

/// The length of the longest name that a test adds to its directory, with the slash.
const ROOM_FOR_NAMES: usize = 40;

/// Makes an empty directory, in `/tmp` if the usual place is too long for the paths of sockets.
pub(crate) fn directory() -> TempDir {
    let usual = tempfile::tempdir().expect("a temporary directory");
    if is_short(usual.path()) {
        return usual;
    }
    let short = tempfile::tempdir_in("/tmp").expect("a directory in /tmp");
    assert!(is_short(short.path()), "{} is too long", short.path().display());
    short
}

/// A socket path has at most 107 bytes.
fn is_short(directory: &Path) -> bool {
    directory.as_os_str().len() + ROOM_FOR_NAMES <= 107
}
