//! The decision about one call, and the call itself.

use rustix::fd::OwnedFd;
use rustix::fs::CWD;
use rustix::net::{Shutdown, shutdown, sockopt};
use rustix::thread::CapabilitySet;

use super::identity::{Identity, Own, Thread, capabilities_of, process_of};
use super::notify::{Call, Notifications};
use super::socket::{Ip, Kind, ip_address, is_dual_stack};
use super::target::{copy_address, duplicate};
use super::{Answered, Outcome, SocketCall};
use crate::address::{AbstractName, BindAddress};
use crate::capability::{NetBind, Permit};
use crate::enforce::error::EnforceError;
use crate::enforce::sys::number;
use crate::error::{Errno, SocketError};
use crate::linux::{
    FileId, TerminatedPath, bind, borrow, from_rustix, getsockname, hexadecimal, listen_on,
    remove_at, socket_id,
};
use crate::rule::Form;
use crate::sockaddr::{self, AF_UNIX, MAX_LENGTH};

/// How many names are tried for a Unix socket that asks for any.
const ATTEMPTS: u64 = 16;

/// Why a call was not made.
enum Failure {
    /// It is not allowed, or it cannot be judged.
    Denied,
    /// The kernel's answer.
    Failed(Errno),
    /// The supervisor cannot go on.
    Broken(EnforceError),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Self {
        error.errno().map_or(Self::Denied, Self::Failed)
    }
}

type Result<T> = core::result::Result<T, Failure>;

/// The sockets that were bound to port 0, by their cookies. The newest ones are known.
pub(super) struct EphemeralSockets {
    cookies: [u64; 256],
    oldest: usize,
}

impl Default for EphemeralSockets {
    fn default() -> Self {
        Self { cookies: [0; 256], oldest: 0 } // no socket has the cookie 0
    }
}

impl EphemeralSockets {
    fn insert(&mut self, cookie: u64) {
        if let Some(place) = self.cookies.get_mut(self.oldest) {
            *place = cookie;
        }
        self.oldest = (self.oldest + 1) % self.cookies.len();
    }

    fn remove(&mut self, cookie: u64) {
        self.cookies.iter_mut().filter(|known| **known == cookie).for_each(|known| *known = 0);
    }

    fn contains(&self, cookie: u64) -> bool {
        self.cookies.contains(&cookie)
    }
}

/// The file of a socket that was bound for a call which is not answered yet.
struct CreatedFile {
    path: TerminatedPath,
    file: FileId,
    identity: Identity,
}

/// The policy and the state with which a call is decided and made.
pub(super) struct Judge<'s> {
    pub(super) capability: &'s NetBind<'s>,
    pub(super) allows_udp: bool,
    pub(super) lends_ports: bool,
    pub(super) notifications: &'s Notifications,
    pub(super) own: &'s Own,
    pub(super) ephemeral: &'s mut EphemeralSockets,
}

impl Judge<'_> {
    /// Decides about a call, makes it if it is allowed, and answers.
    pub(super) fn answer(mut self, call: &Call) -> core::result::Result<Answered, EnforceError> {
        let mut address = None;
        let (name, made) = if call.number == number::LISTEN {
            (SocketCall::Listen, self.listen(call, &mut address).map(|()| None))
        } else {
            (SocketCall::Bind, self.bind(call, &mut address))
        };
        let (outcome, result, made) = match made {
            Ok(made) => (Outcome::Made, Ok(()), made),
            Err(Failure::Denied) => (Outcome::Denied, Err(Errno::ACCESS), None),
            Err(Failure::Failed(errno)) => (Outcome::Failed(errno), Err(errno), None),
            Err(Failure::Broken(error)) => return Err(error),
        };
        let answered = self.notifications.answer(call, result);
        if let (Some(created), false) = (made, matches!(answered, Ok(true))) {
            self.remove(&created)?;
        }
        answered?;
        Ok(Answered { thread: call.thread, call: name, address, outcome })
    }

    /// Fails if the call is not pending any more: then what was read can be about another thread.
    fn require_waiting(&self, call: &Call) -> Result<()> {
        if self.notifications.is_waiting(call) { Ok(()) } else { Err(Errno::INTR.into()) }
    }

    fn bind(
        &mut self,
        call: &Call,
        address: &mut Option<BindAddress>,
    ) -> Result<Option<CreatedFile>> {
        let (socket, kind) = socket_of(call)?;
        let copied = copy_address(call)?;
        self.require_waiting(call)?;
        let bytes = copied.as_bytes();
        match kind {
            Kind::Tcp(ip) => {
                let asked = &*address.insert(ip_address(ip, bytes)?);
                let dual_stack = is_dual_stack_tcp(&socket, kind)?;
                self.bind_tcp(call, &socket, asked, dual_stack).map(|()| None)
            }
            Kind::Udp(ip) => {
                let asked = &*address.insert(ip_address(ip, bytes)?);
                self.bind_udp(call, &socket, asked).map(|()| None)
            }
            Kind::Unix | Kind::UnixDatagram => self.bind_unix(call, &socket, bytes, address),
            Kind::RouteNetlink => self.bind_netlink(call, &socket, bytes).map(|()| None),
        }
    }

    fn bind_tcp(
        &mut self,
        call: &Call,
        socket: &OwnedFd,
        address: &BindAddress,
        dual_stack: bool,
    ) -> Result<()> {
        let permit = self.capability.permit(address, dual_stack)?;
        self.bind_ip(call, socket, address)?;
        self.note_port(socket, address)?;
        record_bind(permit, socket)
    }

    /// Remembers whether the kernel chose the port of a socket that was bound to this address.
    fn note_port(&mut self, socket: &OwnedFd, address: &BindAddress) -> Result<()> {
        let cookie = cookie(socket)?;
        if address.port() == Some(0) {
            self.ephemeral.insert(cookie);
        } else {
            self.ephemeral.remove(cookie);
        }
        Ok(())
    }

    fn bind_udp(&self, call: &Call, socket: &OwnedFd, address: &BindAddress) -> Result<()> {
        if address.port() == Some(0) {
            return self.bind_ip(call, socket, address);
        }
        if !self.allows_udp {
            return self.deny(address);
        }
        // UDP has no `listen` that could be judged again, so dual stack is assumed.
        let permit = self.capability.permit(address, true)?;
        self.bind_ip(call, socket, address)?;
        record_bind(permit, socket)
    }

    /// Binds an IP socket. For a port that needs `CAP_NET_BIND_SERVICE`, the thread must have it,
    /// or the supervisor lends its own.
    fn bind_ip(&self, call: &Call, socket: &OwnedFd, address: &BindAddress) -> Result<()> {
        const PRIVILEGE: CapabilitySet = CapabilitySet::NET_BIND_SERVICE;
        match bind_to(socket, address) {
            Err(Failure::Failed(Errno::ACCESS)) => {}
            bound => return bound,
        }
        if !self.lends_ports {
            let has_it = capabilities_of(call.thread, &self.own.identity)?.contains(PRIVILEGE);
            self.require_waiting(call)?;
            if !has_it {
                return Err(Errno::ACCESS.into());
            }
        }
        self.own.with_privileges(PRIVILEGE, || bind_to(socket, address)).map_err(Failure::Broken)?
    }

    fn bind_unix(
        &self,
        call: &Call,
        socket: &OwnedFd,
        bytes: &[u8],
        address: &mut Option<BindAddress>,
    ) -> Result<Option<CreatedFile>> {
        let (family, name) = bytes.split_first_chunk().ok_or(Errno::INVAL)?;
        if *family != AF_UNIX.to_ne_bytes() || bytes.len() > MAX_LENGTH {
            return Err(Errno::INVAL.into());
        }
        if name.is_empty() {
            return self.bind_to_any_name(socket, address).map(|()| None);
        }
        // A path of 108 bytes and a name with a NUL have no form.
        let asked = &*address.insert(sockaddr::decode(bytes).ok_or(Failure::Denied)?);
        let BindAddress::Path(path) = asked else {
            let permit = self.capability.permit(asked, false)?;
            bind_to(socket, asked)?;
            permit.record_bind(asked);
            return Ok(None);
        };
        let identity = Identity::of(Thread::Other(call.thread)).map_err(|_| Failure::Denied)?;
        self.require_waiting(call)?;
        let has_same_root = identity.has_root_of(&self.own.identity);
        // Only `any-path` allows a relative path.
        let relative = BindAddress::parse("unix:relative").map_err(|_| Errno::INVAL)?;
        if !has_same_root && !self.capability.allows(&relative, false) {
            return self.deny(asked);
        }
        let permit = self.capability.permit(asked, false)?;
        let path = TerminatedPath::new(path.as_bytes());
        let bind = || {
            bind_to(socket, asked)?;
            Ok(socket_id(CWD, path.as_c_str()).ok().flatten())
        };
        let undo = |bound: Result<Option<FileId>>| {
            if let Ok(Some(file)) = bound {
                let _ = remove_at(identity.working_directory(), path.as_c_str(), file);
            }
        };
        let bound = self.own.with_identity(&identity, bind, undo).map_err(Failure::Broken)?;
        let file = bound.unwrap_or(Err(Failure::Denied))?;
        // The sinks run with the supervisor's identity again.
        permit.record_bind(asked);
        Ok(file.map(|file| CreatedFile { path, file, identity }))
    }

    /// Removes a file whose call was not answered.
    fn remove(&self, created: &CreatedFile) -> core::result::Result<(), EnforceError> {
        let CreatedFile { path, file, identity } = created;
        let remove = || {
            let _ = remove_at(CWD, path.as_c_str(), *file);
        };
        self.own.with_identity(identity, remove, |()| ()).map(drop)
    }

    /// Binds a Unix socket to an abstract name of five hexadecimal digits, as the kernel does. Only
    /// `any-abstract` allows it: whether another rule does would depend on the name.
    fn bind_to_any_name(&self, socket: &OwnedFd, address: &mut Option<BindAddress>) -> Result<()> {
        let first = cookie(socket)?;
        for attempt in 0..ATTEMPTS {
            #[allow(clippy::cast_possible_truncation)] // any number will do
            let digits = hexadecimal::<5>(first.wrapping_add(attempt << 8) as u32);
            let name = AbstractName::new(digits).map_err(|_| Errno::INVAL)?;
            let asked = &*address.insert(BindAddress::Abstract(name));
            if !self.allows_any_abstract() {
                return self.deny(asked);
            }
            let permit = self.capability.permit(asked, false)?;
            match bind_to(socket, asked) {
                Ok(()) => {
                    permit.record_bind(asked);
                    return Ok(());
                }
                Err(Failure::Failed(Errno::ADDRINUSE)) => {}
                failed => return failed,
            }
        }
        Err(Errno::ADDRINUSE.into())
    }

    /// Returns true if this capability and all its ancestors have the rule `any-abstract`.
    fn allows_any_abstract(&self) -> bool {
        self.capability
            .with_ancestors()
            .all(|capability| capability.rules().any(|rule| rule.parts().form == Form::AnyAbstract))
    }

    fn listen(&mut self, call: &Call, address: &mut Option<BindAddress>) -> Result<()> {
        let (socket, kind) = socket_of(call)?;
        self.require_waiting(call)?;
        #[allow(clippy::cast_possible_truncation)] // the kernel too looks at the lower half
        let backlog = call.arguments[1] as i32;
        if matches!(kind, Kind::Udp(_) | Kind::UnixDatagram | Kind::RouteNetlink) {
            return Err(Errno::OPNOTSUPP.into());
        }
        let local = address.insert(local_address(&socket)?);
        if matches!(kind, Kind::Tcp(_)) && local.port() == Some(0) {
            *local = self.bind_unbound(call, &socket, local, is_dual_stack_tcp(&socket, kind)?)?;
        }
        let dual_stack = is_dual_stack_tcp(&socket, kind)?;
        if self.ephemeral.contains(cookie(&socket)?) {
            self.judge_listen(&with_port_0(local), dual_stack, local)?;
        } else {
            self.judge_listen(local, dual_stack, local)?;
        }
        listen_on(borrow(&socket), backlog)?;
        // Meanwhile, another thread can have connected and disconnected the socket. It then loses a
        // port that the kernel chose, gets a new one by `listen`, and `IPV6_V6ONLY` can be changed.
        let is_same =
            local_address(&socket)? == *local && (dual_stack || !is_dual_stack_tcp(&socket, kind)?);
        if !is_same {
            let _ = shutdown(borrow(&socket), Shutdown::Both);
            return self.deny(local);
        }
        Ok(())
    }

    /// Binds a TCP socket that is to listen without a bind, which is a bind to port 0.
    fn bind_unbound(
        &mut self,
        call: &Call,
        socket: &OwnedFd,
        local: &BindAddress,
        dual_stack: bool,
    ) -> Result<BindAddress> {
        let permit = self.capability.permit(local, dual_stack)?;
        self.bind_ip(call, socket, local)?;
        self.note_port(socket, local)?;
        let bound = local_address(socket)?;
        permit.record_bind(&bound);
        Ok(bound)
    }

    /// Binds a route netlink socket. Port id 0 means that of the process, which would be the
    /// supervisor's.
    fn bind_netlink(&self, call: &Call, socket: &OwnedFd, bytes: &[u8]) -> Result<()> {
        const AF_NETLINK: u16 = 16;
        let [f0, f1, z0, z1, p0, p1, p2, p3, g0, g1, g2, g3] =
            *bytes.first_chunk().ok_or(Errno::INVAL)?;
        if u16::from_ne_bytes([f0, f1]) != AF_NETLINK {
            return Err(Errno::INVAL.into());
        }
        let bind_to = |port: u32| {
            let [p0, p1, p2, p3] = port.to_ne_bytes();
            bind(borrow(socket), &[f0, f1, z0, z1, p0, p1, p2, p3, g0, g1, g2, g3])
        };
        let asked = u32::from_ne_bytes([p0, p1, p2, p3]);
        if asked != 0 {
            return Ok(bind_to(asked)?);
        }
        let process = process_of(call.thread)?;
        self.require_waiting(call)?;
        match bind_to(process) {
            Err(error) if error.is_address_in_use() => {
                #[allow(clippy::cast_possible_truncation)] // any number will do
                let other = 1 << 31 | cookie(socket)? as u32;
                Ok(bind_to(other)?)
            }
            bound => Ok(bound?),
        }
    }

    /// Decides about a `listen`. Only a refusal is recorded, because the bind was.
    fn judge_listen(
        &self,
        judged: &BindAddress,
        dual_stack: bool,
        local: &BindAddress,
    ) -> Result<()> {
        if self.capability.allows(judged, dual_stack) { Ok(()) } else { self.deny(local) }
    }

    fn deny<T>(&self, address: &BindAddress) -> Result<T> {
        self.capability.record_denial(address);
        Err(Failure::Denied)
    }
}

/// Duplicates the socket of a call. A kind that cannot be judged is denied.
fn socket_of(call: &Call) -> Result<(OwnedFd, Kind)> {
    let socket = duplicate(call.thread, call.arguments[0]).map_err(|errno| match errno {
        // The supervisor may not look at this process.
        Errno::PERM => Failure::Denied,
        errno => errno.into(),
    })?;
    let kind = Kind::of(&socket)?.ok_or(Failure::Denied)?;
    Ok((socket, kind))
}

/// Returns true for a dual-stack TCP socket.
fn is_dual_stack_tcp(socket: &OwnedFd, kind: Kind) -> Result<bool> {
    Ok(kind == Kind::Tcp(Ip::V6) && is_dual_stack(socket)?)
}

fn cookie(socket: &OwnedFd) -> Result<u64> {
    Ok(sockopt::socket_cookie(borrow(socket)).map_err(from_rustix)?)
}

/// Returns the address that the socket is bound to. There is none for a Unix socket without a name.
fn local_address(socket: &OwnedFd) -> Result<BindAddress> {
    Ok(getsockname(borrow(socket))?.ok_or(Errno::INVAL)?)
}

/// Records a bind, with the port that the kernel chose.
fn record_bind(permit: Permit<'_>, socket: &OwnedFd) -> Result<()> {
    let address = permit.address();
    if address.port() == Some(0) && permit.is_audited() {
        permit.record_bind(&local_address(socket)?);
    } else {
        permit.record_bind(address);
    }
    Ok(())
}

fn bind_to(socket: &OwnedFd, address: &BindAddress) -> Result<()> {
    let mut bytes = [0; MAX_LENGTH];
    let length = sockaddr::encode(address, &mut bytes);
    Ok(bind(borrow(socket), bytes.get(..length).unwrap_or_default())?)
}

/// Returns the address with port 0.
fn with_port_0(address: &BindAddress) -> BindAddress {
    match *address {
        BindAddress::Ipv4 { ip, .. } => BindAddress::Ipv4 { ip, port: 0 },
        BindAddress::Ipv6 { ip, scope_id, .. } => BindAddress::Ipv6 { ip, port: 0, scope_id },
        ref address => address.clone(),
    }
}
