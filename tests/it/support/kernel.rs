//! Direct calls to the kernel, to check the crate's answers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Converts the return value of a C function, which is -1 if errno is set.
pub(crate) fn check_return(value: libc::c_long) -> io::Result<libc::c_long> {
    if value == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Returns the value of a socket option that is an `int`.
pub(crate) fn socket_option(socket: impl AsFd, level: i32, name: i32) -> i32 {
    let mut value = 0;
    let mut length = size_of::<i32>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the value has this length, and both outlive the call.
    let done =
        unsafe { libc::getsockopt(fd, level, name, (&raw mut value).cast(), &raw mut length) };
    check_return(done.into()).expect("getsockopt");
    value
}

/// Returns the backlog that the kernel uses for this listening socket.
pub(crate) fn backlog_in_force(socket: impl AsFd) -> u32 {
    // `struct tcp_info` starts with eight bytes; then come words, and the sixth (`tcpi_sacked`) is
    // the backlog.
    let mut info = [0_u32; 26];
    let mut length = size_of_val(&info) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the words have this length, and both outlive the call.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    check_return(done.into()).expect("getsockopt");
    info[7]
}

/// Returns the bytes of `getsockname`.
pub(crate) fn bound_bytes(socket: impl AsFd) -> Vec<u8> {
    let mut bytes = [0_u8; 128];
    let mut length = size_of_val(&bytes) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the bytes have this length, and both outlive the call.
    let done = unsafe { libc::getsockname(fd, (&raw mut bytes).cast(), &raw mut length) };
    check_return(done.into()).expect("getsockname");
    bytes[..length as usize].to_vec()
}

/// Calls `fcntl` with a command that takes no argument.
pub(crate) fn fcntl(fd: impl AsFd, command: i32) -> i32 {
    // SAFETY: these commands take no pointer.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command) }
}

pub(crate) fn is_close_on_exec(fd: impl AsFd) -> bool {
    fcntl(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0
}

pub(crate) fn is_nonblocking(fd: impl AsFd) -> bool {
    fcntl(fd, libc::F_GETFL) & libc::O_NONBLOCK != 0
}

/// Returns a number in `/proc/sys`.
pub(crate) fn sysctl(name: &str) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/sys/{name}")).expect(name);
    text.trim().parse().expect(name)
}

/// Brings up the loopback interface of this thread's network.
pub(crate) fn bring_up_loopback() -> io::Result<()> {
    // SAFETY: a structure of numbers and characters can be zero.
    let mut flags: libc::ifreq = unsafe { std::mem::zeroed() };
    flags.ifr_name[..2].copy_from_slice(&b"lo".map(|byte| libc::c_char::from_ne_bytes([byte])));
    flags.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    let ipv4 = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: this request reads this structure, which outlives the call.
    let done = unsafe { libc::ioctl(ipv4.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const flags) };
    check_return(done.into())?;
    Ok(())
}

/// Gives the loopback interface, whose number is 1, the address `fe80::1`.
pub(crate) fn add_link_local_address() -> io::Result<()> {
    let octets = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
    let address = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr { s6_addr: octets },
        ifr6_prefixlen: 64,
        ifr6_ifindex: 1,
    };
    let ipv6 = std::net::UdpSocket::bind("[::]:0")?;
    // SAFETY: this request reads this structure, which outlives the call.
    let done = unsafe { libc::ioctl(ipv6.as_raw_fd(), libc::SIOCSIFADDR, &raw const address) };
    check_return(done.into())?;
    // The kernel makes the address usable some time later, and has no event for it.
    while std::net::UdpSocket::bind("[fe80::1%1]:0").is_err() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Ok(())
}
