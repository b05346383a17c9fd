//! Listening under bad conditions, without a supervisor: other processes, other sockets, many
//! signals, files that others replace, and no free descriptor.

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

/// Connects a client to the address.
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

const fn system_error(step: Step, errno: Errno) -> SocketError {
    SocketError::System { step, errno }
}

const CHILD: &str = "NETBIND_HOSTILE_CHILD";

/// Returns true if this process was started by [`in_child`].
fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Returns the command that runs only this test, in another process.
///
/// Only for isolated threads: the child would hold the sockets of other tests open for a moment.
fn in_child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, "1");
    command
}
