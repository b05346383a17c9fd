//! Attempts to open sockets, and what becomes of each under the two mechanisms.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::ExitCode;
use std::ptr;

use libc::{AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, AF_UNSPEC, AF_VSOCK, AF_XDP};
use libc::{IPPROTO_MPTCP, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDPLITE};
use libc::{NETLINK_ROUTE, NETLINK_SOCK_DIAG};
use libc::{SOCK_DGRAM as DGRAM, SOCK_RAW as RAW, SOCK_STREAM as STREAM};
use netbind::enforce::{Confinement, Gaps, Seal};
use netbind::error::Errno;

use super::harness::{Verdict, is_root, skip, verdict};
use super::probe::{self, Address, Outcome, bind, call, capability, errno, listen, socket};
use super::ring::Ring;

/// The part of an attempt that comes after the restriction.
type Rest = Box<dyn FnOnce() -> Outcome>;

struct Attempt {
    name: &'static str,
    /// Prepares it in a directory, before the restriction.
    prepare: fn(&Path) -> Rest,
    confined: Verdict,
    sealed: Verdict,
    /// With [`Seal::Sockets`].
    sealed_sockets: Verdict,
}

const YES: Verdict = Verdict::Allowed;
const ACCES: Verdict = Verdict::Refused(Errno::ACCESS);
const PERM: Verdict = Verdict::Refused(Errno::PERM);
const NOSYS: Verdict = Verdict::Refused(Errno::NOSYS);
const PROTO: Verdict = Verdict::Refused(Errno::PROTONOSUPPORT);
const FAMILY: Verdict = Verdict::Refused(Errno::AFNOSUPPORT);
#[cfg(target_arch = "x86_64")]
const SIGSYS: Verdict = Verdict::Killed(libc::SIGSYS);

/// The rules of the confined process, with the directory `in` of the attempts.
const RULES: &[&str] = &["port 8080", "port 8000-8010", "any-abstract"];

/// Makes the table of attempts. The last expression prepares the attempt, in a directory.
macro_rules! attempts {
    ($directory:ident: $(
        $(#[$condition:meta])?
        $name:literal $confined:ident $sealed:ident $sealed_sockets:ident $prepare:expr;
    )*) => {
        const ATTEMPTS: &[Attempt] = &[$(
            $(#[$condition])?
            Attempt {
                name: $name,
                prepare: |$directory| {
                    let _ = $directory; // most attempts need none
                    $prepare
                },
                confined: $confined,
                sealed: $sealed,
                sealed_sockets: $sealed_sockets,
            },
        )*];
    };
}

attempts! { d:
    //                                      confined sealed sealed with `Sockets`
    "TCP, an allowed port, IPv4"              YES    ACCES  ACCES  tcp("127.0.0.1:8080");
    "TCP, an allowed port, IPv6"              YES    ACCES  ACCES  tcp("[::1]:8080");
    "TCP, another port, IPv4"                 ACCES  ACCES  ACCES  tcp("127.0.0.1:8081");
    "TCP, another port, IPv6"                 ACCES  ACCES  ACCES  tcp("[::1]:8081");
    "TCP, another port, both wildcards"       ACCES  ACCES  ACCES  tcp("[::]:8081");
    "TCP, another port, IPv4-mapped"          ACCES  ACCES  ACCES  tcp("[::ffff:127.0.0.1]:8081");
    "TCP, an allowed port, AF_UNSPEC"         YES    ACCES  ACCES  unspecified("0.0.0.0:8080");
    "TCP, another port, AF_UNSPEC"            ACCES  ACCES  ACCES  unspecified("0.0.0.0:8081");
    "TCP, port 0, IPv4"                       ACCES  ACCES  ACCES  tcp("127.0.0.1:0");
    "TCP, port 0, IPv6"                       ACCES  ACCES  ACCES  tcp("[::1]:0");
    "TCP, another port, opened before"        ACCES  ACCES  ACCES  opened(STREAM, 0);
    "TCP, listen without bind, IPv4"          YES    ACCES  ACCES  unbound(AF_INET, 0);
    "TCP, listen without bind, IPv6"          YES    ACCES  ACCES  unbound(AF_INET6, 0);
    "TCP, listen, bound before"               YES    ACCES  ACCES  bound_before();
    "TCP, accept"                             YES    YES    YES    accept();
    "TCP, connect"                            YES    YES    ACCES  connect();
    "MPTCP, an allowed port"                  PROTO  ACCES  ACCES  ip(STREAM, IPPROTO_MPTCP);
    "MPTCP, listen without bind, IPv4"        PROTO  ACCES  ACCES  unbound(AF_INET, IPPROTO_MPTCP);
    "MPTCP, listen without bind, IPv6"        PROTO  ACCES  ACCES  unbound(AF_INET6, IPPROTO_MPTCP);
    "MPTCP, another port, opened before"      YES    ACCES  ACCES  opened(STREAM, IPPROTO_MPTCP);
    "SCTP, an allowed port"                   PROTO  ACCES  ACCES  ip(STREAM, IPPROTO_SCTP);
    "UDP, an allowed port"                    ACCES  ACCES  ACCES  ip(DGRAM, 0);
    "UDP, sendto without bind"                ACCES  YES    ACCES  send_unbound();
    "UDP, another port, opened before"        YES    ACCES  ACCES  opened(DGRAM, 0);
    "UDP-Lite, an allowed port"               ACCES  ACCES  ACCES  ip(DGRAM, IPPROTO_UDPLITE);
    "raw socket, opened, IPv4"                ACCES  YES    ACCES  open(AF_INET, RAW, IPPROTO_TCP);
    "raw socket, opened, IPv6"                ACCES  YES    ACCES  open(AF_INET6, RAW, IPPROTO_TCP);
    "raw socket, bound"                       ACCES  ACCES  ACCES  ip(RAW, IPPROTO_TCP);
    "packet socket, opened"                   FAMILY YES    ACCES  open(AF_PACKET, RAW, 0);
    "vsock, opened"                           FAMILY YES    ACCES  open(AF_VSOCK, STREAM, 0);
    "vsock, bound"                            FAMILY ACCES  ACCES  vsock();
    "XDP socket, opened"                      FAMILY YES    ACCES  open(AF_XDP, RAW, 0);
    "route netlink, opened"                   YES    YES    ACCES  netlink(NETLINK_ROUTE);
    "route netlink, bound"                    YES    ACCES  ACCES  netlink_bound();
    "sock_diag netlink, opened"               PROTO  YES    ACCES  netlink(NETLINK_SOCK_DIAG);
    "getaddrinfo"                             YES    YES    YES    Box::new(look_up_name);
    "getifaddrs"                              YES    ACCES  ACCES  Box::new(list_interfaces);
    "Unix path in the directory"              YES    ACCES  ACCES  path(d, "in/s", STREAM);
    "Unix path below the directory"           YES    ACCES  ACCES  path(d, "in/sub/s", STREAM);
    "Unix path outside of the directory"      ACCES  ACCES  ACCES  path(d, "out/s", STREAM);
    "Unix path outside of it, datagrams"      ACCES  ACCES  ACCES  path(d, "out/s", DGRAM);
    "Unix path outside of it, by .."          ACCES  ACCES  ACCES  path(d, "in/../out/s", STREAM);
    "Unix path outside of it, by mknod"       ACCES  YES    YES    node(d, "out/s");
    "abstract name"                           YES    ACCES  ACCES  Box::new(bind_abstract_name);
    "socketpair"                              YES    YES    ACCES  Box::new(socket_pair);
    "rename to another directory"             YES    YES    YES    rename(d);
    "mount"                                   PERM   YES    YES    mount(d);
    "ptrace of a process from before"         PERM   YES    YES    trace();
    "io_uring_setup"                          NOSYS  NOSYS  NOSYS  Box::new(set_up_ring);
    "io_uring_enter of a ring from before"    NOSYS  NOSYS  NOSYS  enter_ring();
    "io_uring_register of a ring from before" NOSYS  NOSYS  NOSYS  register_ring();
    "pidfd_getfd"                             PERM   PERM   PERM   duplicate_by_pidfd();
    #[cfg(target_arch = "x86_64")]
    "int 0x80"                                SIGSYS SIGSYS SIGSYS Box::new(foreign::int_0x80);
    #[cfg(target_arch = "x86_64")]
    "a call of x32"                           SIGSYS SIGSYS SIGSYS Box::new(foreign::x32);
}

fn tcp(address: &'static str) -> Rest {
    Box::new(|| probe::bind_tcp(address))
}

fn unspecified(address: &'static str) -> Rest {
    Box::new(|| {
        let address = Address::ip(address).with_family(AF_UNSPEC);
        bind(&socket(AF_INET, STREAM, 0)?, &address)
    })
}

fn open(family: i32, kind: i32, protocol: i32) -> Rest {
    Box::new(move || socket(family, kind, protocol).map(drop))
}

fn ip(kind: i32, protocol: i32) -> Rest {
    Box::new(move || bind(&socket(AF_INET, kind, protocol)?, &Address::ip("127.0.0.1:8080")))
}

fn opened(kind: i32, protocol: i32) -> Rest {
    let socket = socket(AF_INET, kind, protocol);
    Box::new(|| bind(&socket?, &Address::ip("127.0.0.1:8081")))
}

fn unbound(family: i32, protocol: i32) -> Rest {
    Box::new(move || probe::listen_unbound(family, protocol).map(drop))
}

fn bound_before() -> Rest {
    let socket = socket(AF_INET, STREAM, 0).unwrap();
    bind(&socket, &Address::ip("127.0.0.1:0")).unwrap();
    Box::new(move || listen(&socket))
}

fn accept() -> Rest {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    Box::new(move || {
        let accepted = probe::accept(&listener.into()).map(drop);
        drop(client);
        accepted
    })
}

fn connect() -> Rest {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::ip(&listener.local_addr().unwrap().to_string());
    Box::new(move || {
        let connected = probe::connect(&socket(AF_INET, STREAM, 0)?, &address);
        drop(listener);
        connected
    })
}

fn send_unbound() -> Rest {
    Box::new(|| probe::send_to(&socket(AF_INET, DGRAM, 0)?, &Address::ip("127.0.0.1:9")))
}

/// Binds a vsock to any port of any context.
fn vsock() -> Rest {
    Box::new(|| {
        let any = [&[0, 0][..], &[0xff; 4], &[0xff; 4], &[0; 4]].concat();
        bind(&socket(AF_VSOCK, STREAM, 0)?, &Address::new(AF_VSOCK, &any))
    })
}

fn netlink(protocol: i32) -> Rest {
    open(AF_NETLINK, RAW, protocol)
}

fn netlink_bound() -> Rest {
    Box::new(|| {
        let address = Address::new(AF_NETLINK, &[0; 10]);
        bind(&socket(AF_NETLINK, RAW, NETLINK_ROUTE)?, &address)
    })
}

fn look_up_name() -> Outcome {
    ("localhost", 80).to_socket_addrs().map(drop).map_err(|_| Errno::IO)
}

fn list_interfaces() -> Outcome {
    let mut list = ptr::null_mut();
    // SAFETY: the call writes one pointer.
    probe::check(unsafe { libc::getifaddrs(&raw mut list) }.into())?;
    assert!(!list.is_null(), "there is a loopback interface");
    // SAFETY: this is the list of the call above.
    unsafe { libc::freeifaddrs(list) };
    Ok(())
}

fn path(directory: &Path, name: &str, kind: i32) -> Rest {
    let path = directory.join(name);
    Box::new(move || {
        bind(&socket(AF_UNIX, kind, 0)?, &Address::path(&path))?;
        std::fs::remove_file(path).unwrap();
        Ok(())
    })
}

fn c_string(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

fn node(directory: &Path, name: &str) -> Rest {
    let path = directory.join(name);
    Box::new(move || {
        let text = c_string(&path);
        // SAFETY: the path ends with a NUL and outlives the call.
        let made = unsafe { libc::mknod(text.as_ptr(), libc::S_IFSOCK | 0o600, 0) };
        probe::check(made.into())?;
        std::fs::remove_file(path).unwrap();
        Ok(())
    })
}

fn bind_abstract_name() -> Outcome {
    probe::bind_abstract("enforce")
}

fn socket_pair() -> Outcome {
    let mut pair = [0; 2];
    // SAFETY: the call writes two numbers.
    let made = unsafe { libc::socketpair(AF_UNIX, STREAM, 0, pair.as_mut_ptr()) };
    probe::check(made.into()).map(drop)
}

fn rename(directory: &Path) -> Rest {
    let (from, to) = (directory.join("in/file"), directory.join("out/file"));
    std::fs::write(&from, "").unwrap();
    Box::new(move || {
        std::fs::rename(from, to).map_err(|error| errno(error.raw_os_error().unwrap()))
    })
}

/// Mounts a directory on another one, in a mount namespace of this process.
fn mount(directory: &Path) -> Rest {
    let (from, to) = (c_string(&directory.join("in")), c_string(&directory.join("out")));
    // SAFETY: the call takes only a number.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    let unshared = probe::check(unshared.into()).and_then(|_| mount_at(c"none", c"/", true));
    Box::new(move || unshared.and_then(|()| mount_at(&from, &to, false)))
}

fn mount_at(from: &std::ffi::CStr, to: &std::ffi::CStr, is_private: bool) -> Outcome {
    let flags = if is_private { libc::MS_REC | libc::MS_PRIVATE } else { libc::MS_BIND };
    // SAFETY: the paths end with a NUL and outlive the call, which reads nothing else.
    let mounted =
        unsafe { libc::mount(from.as_ptr(), to.as_ptr(), ptr::null(), flags, ptr::null()) };
    probe::check(mounted.into()).map(drop)
}

/// Traces a child that was made before the restriction.
fn trace() -> Rest {
    // SAFETY: the process has one thread, and the child waits until it is killed.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the call takes only numbers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            // SAFETY: the call takes nothing.
            unsafe { libc::pause() };
        }
    }
    Box::new(move || {
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: the call takes only numbers.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, child, none, none) };
        let seized = probe::check(seized);
        // SAFETY: the call takes only numbers.
        unsafe { libc::kill(child, libc::SIGKILL) };
        seized.map(drop)
    })
}

fn set_up_ring() -> Outcome {
    let mut parameters = [0_u64; 15];
    let pointer = parameters.as_mut_ptr().expose_provenance();
    call(libc::SYS_io_uring_setup, [1, pointer, 0, 0]).map(drop)
}

fn enter_ring() -> Rest {
    let ring = Ring::new();
    Box::new(move || ring.ok_or(Errno::IO)?.submit(0))
}

fn register_ring() -> Rest {
    const REGISTER_PERSONALITY: usize = 9;
    let ring = Ring::new();
    Box::new(move || {
        let fd = ring.as_ref().ok_or(Errno::IO)?.number();
        call(libc::SYS_io_uring_register, [fd, REGISTER_PERSONALITY, 0, 0]).map(drop)
    })
}

fn duplicate_by_pidfd() -> Rest {
    let process = std::process::id() as usize;
    let pidfd = probe::own(probe::call(libc::SYS_pidfd_open, [process, 0, 0, 0]).unwrap());
    let (pidfd, socket) = (pidfd.unwrap(), socket(AF_UNIX, STREAM, 0).unwrap());
    Box::new(move || {
        let [pidfd, target] = [&pidfd, &socket].map(|fd| fd.as_raw_fd() as usize);
        call(libc::SYS_pidfd_getfd, [pidfd, target, 0, 0]).map(drop)
    })
}

/// Calls of other ABIs, which number them in another way.
#[cfg(target_arch = "x86_64")]
mod foreign {
    use std::arch::asm;

    use super::{Errno, Outcome, errno};

    /// Calls `getpid` as a 32-bit program does.
    pub(super) fn int_0x80() -> Outcome {
        const GETPID: i64 = 20;
        let answer: i64;
        // SAFETY: the call takes nothing. The kernel keeps the other registers, or clears them.
        unsafe {
            asm!(
                "int 0x80",
                inlateout("rax") GETPID => answer,
                lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
            );
        }
        if answer > 0 { Ok(()) } else { Err(errno(-answer as i32)) }
    }

    /// Calls `getpid` of x32. A kernel without x32 answers that there is no such call.
    pub(super) fn x32() -> Outcome {
        const X32: i64 = 0x4000_0000;
        match super::call(X32 | libc::SYS_getpid, [0; 4]) {
            Ok(_) | Err(Errno::NOSYS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

/// A restriction under which the attempts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restriction {
    Confined,
    Sealed(Seal),
}

impl Restriction {
    /// Restricts this process. `directory` has the directories of the attempts.
    pub(crate) fn apply(self, directory: &Path) {
        let mut capability = capability(RULES);
        capability.allow_beneath(directory.join("in").to_str().unwrap().as_bytes()).unwrap();
        let confinement =
            Confinement::new(&capability).tolerate(Gaps::EPHEMERAL_LISTEN | Gaps::IO_URING);
        match self {
            Self::Confined => confinement.apply().unwrap(),
            Self::Sealed(seal) => seal.apply_tolerating(Gaps::IO_URING).unwrap(),
        }
    }

    fn expected(self, attempt: &Attempt) -> Verdict {
        match self {
            Self::Confined => attempt.confined,
            Self::Sealed(Seal::Sockets) => attempt.sealed_sockets,
            Self::Sealed(_) => attempt.sealed,
        }
    }
}

/// Makes the directories of the attempts.
pub(crate) fn directories() -> tempfile::TempDir {
    let directory = probe::directory();
    for name in ["in", "in/sub", "out"] {
        std::fs::create_dir(directory.path().join(name)).unwrap();
    }
    directory
}

/// Makes every attempt under a restriction, each in a process of its own. One that this machine or
/// this user cannot make at all is skipped.
pub(crate) fn assert_table(restriction: Restriction) {
    let directory = directories();
    let mut wrong = Vec::new();
    for attempt in ATTEMPTS {
        let free = verdict(|| (attempt.prepare)(directory.path())());
        if free != Verdict::Allowed {
            if is_root() {
                skip(&format!("{}, because the answer is always {free:?}", attempt.name));
            }
            continue;
        }
        let expected = restriction.expected(attempt);
        let found = verdict(|| {
            let rest = (attempt.prepare)(directory.path());
            restriction.apply(directory.path());
            rest()
        });
        if found != expected {
            wrong.push(format!("{}: {found:?} instead of {expected:?}", attempt.name));
        }
    }
    assert!(wrong.is_empty(), "{restriction:?}: {wrong:#?}");
}

/// The first argument of a process that makes one attempt. The name and the directory follow.
pub(crate) const FLAG: &str = "--attempt";

/// Makes an attempt, and exits with its errno.
pub(crate) fn run_by_name(arguments: &[String]) -> ExitCode {
    let [name, directory] = arguments else { panic!("{arguments:?}") };
    let attempt = ATTEMPTS.iter().find(|attempt| attempt.name == name).expect("an attempt");
    match (attempt.prepare)(Path::new(directory))() {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => ExitCode::from(u8::try_from(errno.raw_os_error()).unwrap()),
    }
}

/// Executes this program again in the current process, to make an attempt.
fn execute(attempt: &Attempt, directory: &Path) -> Outcome {
    let arguments = ["enforce", FLAG, attempt.name, directory.to_str().unwrap()];
    let arguments = arguments.map(|text| CString::new(text).unwrap());
    let mut pointers = arguments.each_ref().map(|text| text.as_ptr()).to_vec();
    pointers.push(ptr::null());
    // SAFETY: the path and the arguments end with a NUL, and the list with a null pointer.
    unsafe { libc::execv(c"/proc/self/exe".as_ptr(), pointers.as_ptr()) };
    Err(probe::last_errno())
}

/// Makes attempts in programs that a restricted process executes.
pub(crate) fn assert_inherited(restriction: Restriction, names: &[&str]) {
    let directory = directories();
    for name in names {
        let attempt = ATTEMPTS.iter().find(|attempt| attempt.name == *name).expect(name);
        let free = verdict(|| execute(attempt, directory.path()));
        if free != Verdict::Allowed {
            skip(&format!("{name}, because the answer is always {free:?}"));
            continue;
        }
        let found = verdict(|| {
            restriction.apply(directory.path());
            execute(attempt, directory.path())
        });
        assert_eq!(found, restriction.expected(attempt), "{restriction:?}: {name}");
    }
}
