//! Hostile company: what others do at the same time, for real and without a supervisor. Other processes, other sockets,
//! other threads' signals, and a process that has run out of descriptors.

mod exhausted;
mod process;
mod replaced;
mod storm;
mod twins;

use std::ffi::OsStr;
use std::fs::File;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;

use netbind::error::{Errno, Step};
use netbind::{BindAddress, SocketError};

/// A client of whatever listens there.
fn connect(address: &BindAddress) -> File {
    let client: OwnedFd = match address {
        BindAddress::Path(path) => {
            UnixStream::connect(OsStr::from_bytes(path.as_bytes())).unwrap().into()
        }
        BindAddress::Abstract(name) => {
            UnixStream::connect_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap())
                .unwrap()
                .into()
        }
        ip => TcpStream::connect(ip.to_socket_addr().unwrap()).unwrap().into(),
    };
    client.into()
}

const fn refused(step: Step, errno: Errno) -> SocketError {
    SocketError::System { step, errno }
}

const CHILD: &str = "NETBIND_HOSTILE_CHILD";

/// Whether this process was started by [`again`].
fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// This test alone, in another process.
///
/// For an isolated thread: until the child runs its program it has copies of the descriptors of the thread that starts it,
/// and those of other tests would be held open.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, "1");
    command
}
