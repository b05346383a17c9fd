//! Filters of system calls: [seccomp(2)](https://man7.org/linux/man-pages/man2/seccomp.2.html).

use rustix::fd::OwnedFd;

use super::bpf::{Answer, Field, Program, Statement};
use super::error::EnforceError;
use super::sys::{self, call, number, system};
use crate::error::Errno;
use crate::linux::own_raw;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(not(target_arch = "x86_64"))]
const ARCHITECTURE: u32 = 0xc000_00b7; // aarch64

/// Calls of the x32 ABI have this bit.
const X32: u32 = 0x4000_0000;

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const NETLINK_ROUTE: u32 = 0;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const SOCK_TYPE: u32 = 0xf;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;

/// Returns the rules with which every filter begins. Calls of another ABI end the process, because
/// their numbers mean something else. `io_uring`, which could make calls that no filter sees, does
/// not exist, and sockets of other processes cannot be copied.
pub(super) fn common_rules() -> Program {
    let mut program = Program::default();
    program.load(Field::Architecture).unless_equal(ARCHITECTURE, Answer::Kill);
    // A tracer skips a call by this number.
    program.load(Field::Number).if_equal(u32::MAX, Answer::Allow).if_at_least(X32, Answer::Kill);
    for io_uring in [sys::IO_URING_SETUP, sys::IO_URING_ENTER, sys::IO_URING_REGISTER] {
        program.if_equal(io_uring, Answer::Refuse(Errno::NOSYS));
    }
    program.if_equal(sys::PIDFD_GETFD, Answer::Refuse(Errno::PERM));
    program
}

/// Returns the answers to `socket` of a confined process. Allowed are Unix sockets, TCP, UDP if the
/// caller says so, and the netlink protocol that name look-ups need.
pub(super) fn sockets(udp: bool) -> Program {
    let refused = Answer::Refuse(Errno::ACCESS);
    let unsupported = Answer::Refuse(Errno::PROTONOSUPPORT);

    let mut stream = Program::default();
    stream.load(Field::Argument(2));
    stream.if_equal(0, Answer::Allow).if_equal(IPPROTO_TCP, Answer::Allow).answer(unsupported);

    let mut datagram = Program::default();
    datagram.load(Field::Argument(2));
    if udp {
        datagram.if_equal(0, Answer::Allow).if_equal(IPPROTO_UDP, Answer::Allow);
    }
    datagram.answer(refused);

    let mut ip = Program::default();
    ip.load(Field::Argument(1)).mask(SOCK_TYPE);
    ip.block(SOCK_STREAM, &stream).block(SOCK_DGRAM, &datagram).answer(refused);

    let mut netlink = Program::default();
    netlink.load(Field::Argument(2)).if_equal(NETLINK_ROUTE, Answer::Allow).answer(unsupported);

    let mut sockets = Program::default();
    sockets.load(Field::Argument(0)).if_equal(AF_UNIX, Answer::Allow);
    sockets.block(AF_INET, &ip).block(AF_INET6, &ip).block(AF_NETLINK, &netlink);
    sockets.answer(Answer::Refuse(Errno::AFNOSUPPORT));
    sockets
}

/// Returns an error unless the kernel has filters.
pub(super) fn check_support() -> Result<(), EnforceError> {
    const SECCOMP_RET_KILL_PROCESS: u32 = 0x8000_0000;
    require_action(SECCOMP_RET_KILL_PROCESS).map_err(|_| UNSUPPORTED)
}

/// Returns an error unless the kernel knows this answer of a filter:
/// `seccomp(SECCOMP_GET_ACTION_AVAIL)`.
pub(super) fn require_action(action: u32) -> Result<(), Errno> {
    const SECCOMP_GET_ACTION_AVAIL: usize = 2;
    let arguments = [SECCOMP_GET_ACTION_AVAIL, 0, &raw const action as usize, 0, 0];
    // SAFETY: the call reads four bytes of `action`, which outlives it.
    #[allow(unsafe_code)]
    let available = unsafe { call(number::SECCOMP, arguments) };
    available.map(drop)
}

const UNSUPPORTED: EnforceError = EnforceError::Unsupported {
    needs: "seccomp with SECCOMP_RET_KILL_PROCESS (Linux 4.14)",
    found: 0,
};

/// `struct sock_fprog`
#[repr(C)]
struct Filter {
    length: u16,
    statements: *const Statement,
}

/// Sets the filter for all threads of the process: `seccomp(SECCOMP_SET_MODE_FILTER, TSYNC)`.
pub(super) fn install(program: &Program) -> Result<(), EnforceError> {
    const TSYNC: usize = 1;
    match set_filter(program, TSYNC)? {
        0 => Ok(()),
        thread => Err(EnforceError::OtherThread(thread.cast_unsigned())),
    }
}

/// Sets the filter for this thread, and returns the descriptor of its notifications. After a call
/// has been received, only a deadly signal interrupts it (Linux 5.19).
pub(super) fn install_with_notifications(program: &Program) -> Result<OwnedFd, EnforceError> {
    const NEW_LISTENER: usize = 8;
    const WAIT_KILLABLE_RECV: usize = 32;
    let descriptor = set_filter(program, NEW_LISTENER | WAIT_KILLABLE_RECV)?;
    // SAFETY: the kernel has just made this descriptor, which is close-on-exec.
    #[allow(unsafe_code)]
    Ok(unsafe { own_raw(descriptor) })
}

fn set_filter(program: &Program, flags: usize) -> Result<i32, EnforceError> {
    const SECCOMP_SET_MODE_FILTER: usize = 1;
    let too_long = EnforceError::System { call: "seccomp", errno: Errno::INVAL };
    let statements = program.finish().ok_or(too_long)?;
    let length = u16::try_from(statements.len()).map_err(|_| too_long)?;
    let filter = Filter { length, statements: statements.as_ptr() };
    let filter = &raw const filter as usize;
    let arguments = [SECCOMP_SET_MODE_FILTER, flags, filter, 0, 0];
    // SAFETY: the filter and its statements outlive the call, which copies them.
    #[allow(unsafe_code)]
    let installed = unsafe { call(number::SECCOMP, arguments) };
    installed.map_err(system("seccomp"))
}
