//! Asks a capability about several addresses, opens those it allows, and prints the audit trail.
//!
//! ```text
//! cargo run --example capability
//! cargo run --example capability -- 127.0.0.1:9000 /tmp/janus.sock unix:@janus
//! ```

use std::error::Error;

use bumpalo::Bump;
use netbind::{AuditRing, BindAddress, ListenOptions, NetBind, Rights, SocketError};

/// The addresses that are tried if the command line has none.
const ADDRESSES: [&str; 6] =
    ["127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:22", "[::1]:5353", "unix:@janus", "[::1]:http"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses = ADDRESSES.map(String::from).to_vec();
    }
    let memory = Bump::new();
    let ring = AuditRing::new_in(64, &memory)?;
    let mut capability = NetBind::empty("example")?.with_sink(&ring);
    capability.grant(Rights::NET_BIND); // IP addresses and Unix paths, but no abstract names
    capability.allow("port 8080".parse()?)?; // on every IP address
    capability.allow("host 127.0.0.0/8 port 0".parse()?)?; // any free port of the loopback
    capability.allow("beneath /tmp".parse()?)?;

    println!("decisions:");
    for address in &addresses {
        match try_address(address, &capability, &memory) {
            Ok(local) => println!("  {address}: allowed, open as {local}"),
            Err(error) => println!("  {}", error.at(address)),
        }
    }
    println!("audit trail:");
    let mut trail = ring.reader();
    for entry in trail.by_ref() {
        println!("  {entry}");
    }
    println!("{} records missed", trail.missed());
    Ok(())
}

/// Opens the address if the capability allows it, and closes it again. Returns the local address.
fn try_address(
    address: &str,
    capability: &NetBind<'_>,
    memory: &Bump,
) -> Result<BindAddress, SocketError> {
    let address = BindAddress::parse(address)?;
    // `open` needs a permit, so no system call is made before the decision.
    let permit = capability.check(&address)?;
    let listener = ListenOptions::new().open(permit, memory)?;
    let local = listener.local_address()?;
    listener.close()?;
    Ok(local)
}
