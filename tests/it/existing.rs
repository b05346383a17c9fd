//! `existing`, `owner` and `mode` of a Unix path: which entries are replaced, and that the path
//! always leads to a complete socket.

mod entries;
#[cfg(target_pointer_width = "64")] // they need the supervisor
mod faults;
mod file_systems;
mod owner;
mod places;
mod process;
mod races;
mod soak;
#[cfg(target_pointer_width = "64")]
mod syscalls;
mod takeover;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use netbind::error::{Errno, Step};
use netbind::{Existing, ListenOptions, NetBind, SocketError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::support::allow_port_0_and_unix;
use crate::support::machine::directory;
use crate::support::sink::Lines;
use crate::support::thread::isolated;

const IN_USE: SocketError = system_error(Step::Bind, Errno::ADDRINUSE);

const fn system_error(step: Step, errno: Errno) -> SocketError {
    SocketError::System { step, errno }
}

/// Returns options for a listener that `accept` does not wait for.
const fn with(existing: Existing) -> ListenOptions<'static> {
    ListenOptions::new().nonblocking(true).existing(existing)
}

/// Runs `body` in an isolated thread whose working directory is empty.
fn in_directory<T: Send>(body: impl FnOnce(&Path) -> T + Send) -> T {
    isolated(|| {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        body(directory.path())
    })
}

/// Returns the sorted names in a directory.
fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The number, the kind and mode, the owner, and the size of an entry.
type Identity = (u64, u32, (u32, u32), u64);

fn identity(path: impl AsRef<Path>) -> Identity {
    let data = fs::symlink_metadata(path).unwrap();
    (data.ino(), data.mode(), (data.uid(), data.gid()), data.size())
}

fn inode(path: impl AsRef<Path>) -> u64 {
    identity(path).0
}

/// Leaves a socket as a killed server does.
fn leave_stale(path: impl AsRef<Path>) {
    drop(UnixListener::bind(path).unwrap());
}

/// Makes a socket that is bound and does not listen.
fn bind_only(path: &Path, kind: SocketType) -> OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

/// Connects without waiting.
fn connect(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&client, &SocketAddrUnix::new(path)?)?;
    Ok(client)
}

/// Asserts that a client of the path reaches this listening socket.
///
/// Connections that have ended are skipped, because another process may have probed the socket.
#[track_caller]
fn assert_serves(listener: impl AsFd, path: impl AsRef<Path>) {
    let mut client = UnixStream::connect(path).unwrap();
    client.write_all(b"?").unwrap();
    let mut word = [0];
    while word == [0] {
        let mut waiting = [PollFd::new(&listener, PollFlags::IN)];
        let immediately = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(poll(&mut waiting, Some(&immediately)), Ok(1), "the client is elsewhere");
        let mut connection = UnixStream::from(rustix::net::accept(&listener).unwrap());
        let _ = connection.read(&mut word).unwrap();
        connection.write_all(b"!").unwrap_or_default();
    }
    client.read_exact(&mut word).unwrap();
    assert_eq!((&word, client.read(&mut [0]).unwrap()), (b"!", 0));
}

/// Runs `end` when it is dropped, also by a panic.
struct AtEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Returns the sorted names in a directory, without the temporary ones, and the number of these.
fn names_and_temporaries(directory: impl AsRef<Path>) -> (Vec<String>, usize) {
    let (temporary, other): (Vec<_>, Vec<_>) =
        names(directory).into_iter().partition(|name| name.starts_with(".netbind-"));
    (other, temporary.len())
}

/// Calls `body` with a capability for every path. Returns its value and the names of the recorded
/// operations, each of which must be allowed and have this address.
fn audited<T>(address: &str, body: impl FnOnce(&NetBind<'_>) -> T) -> (T, Vec<String>) {
    let sink = Lines::default();
    let mut capability = NetBind::empty("web").unwrap().with_sink(&sink);
    allow_port_0_and_unix(&mut capability);
    let value = body(&capability);
    let end = format!(" address={address} port=none result=allowed");
    let operation = |record: &String| {
        let start = record.strip_suffix(&end).unwrap_or_else(|| panic!("{record}"));
        start.strip_prefix("capability=web operation=").unwrap().to_owned()
    };
    (value, sink.take().iter().map(operation).collect())
}

const DENIED_ENTRY: [&str; 1] = ["check_bind_address"];
const PUBLISHED: [&str; 2] = ["check_bind_address", "bind_socket"];
