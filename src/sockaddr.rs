//! Socket addresses in the kernel's layout, built byte by byte and owned in the caller's memory.
//!
//! The family is in the processor's byte order, ports, IP addresses and the flow label are in
//! network order, and the scope id is in the processor's order. These are the layouts of Linux.

use core::ffi::CStr;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use core::ptr::NonNull;

use allocator_api2::alloc::{Allocator, Layout};

use crate::address::{AbstractName, BindAddress, Family, UnixPath};
use crate::error::SocketError;

pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;

/// The size of `struct sockaddr_un`, the largest socket address here.
pub(crate) const MAX_LENGTH: usize = 2 + 108;

/// Returns the bytes of `struct sockaddr_in`:
/// [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html).
///
/// ```
/// let bytes = netbind::sockaddr::sockaddr_in(&"127.0.0.1:9000".parse().unwrap());
/// assert_eq!(bytes[2..8], [0x23, 0x28, 127, 0, 0, 1]);
/// ```
#[must_use]
pub fn sockaddr_in(address: &SocketAddrV4) -> [u8; 16] {
    let [f0, f1] = AF_INET.to_ne_bytes();
    let [p0, p1] = address.port().to_be_bytes();
    let [a, b, c, d] = address.ip().octets();
    [f0, f1, p0, p1, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Returns the bytes of `struct sockaddr_in6`:
/// [ipv6(7)](https://man7.org/linux/man-pages/man7/ipv6.7.html).
///
/// The flow label is stored in network order, the scope id in the processor's order.
///
/// ```
/// use core::net::{Ipv6Addr, SocketAddrV6};
///
/// let address = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0xabcde, 2);
/// let bytes = netbind::sockaddr::sockaddr_in6(&address);
/// assert_eq!(bytes[2..8], [0x01, 0xbb, 0x00, 0x0a, 0xbc, 0xde]);
/// assert_eq!(bytes[24..], 2_u32.to_ne_bytes());
/// ```
#[must_use]
#[allow(clippy::many_single_char_names)] // the sixteen bytes of the address
pub fn sockaddr_in6(address: &SocketAddrV6) -> [u8; 28] {
    let [f0, f1] = AF_INET6.to_ne_bytes();
    let [p0, p1] = address.port().to_be_bytes();
    let [l0, l1, l2, l3] = address.flowinfo().to_be_bytes();
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.ip().octets();
    let [s0, s1, s2, s3] = address.scope_id().to_ne_bytes();
    [f0, f1, p0, p1, l0, l1, l2, l3, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, s0, s1, s2, s3]
}

/// Writes the socket address of `address` to the start of `to`, and returns its length.
///
/// `to` must have room for it: [`MAX_LENGTH`] bytes are always enough. A part that does not fit is
/// left out.
pub(crate) fn encode(address: &BindAddress, to: &mut [u8]) -> usize {
    let family = AF_UNIX.to_ne_bytes();
    match address {
        BindAddress::Ipv4 { ip, port } => {
            concat(to, [&sockaddr_in(&SocketAddrV4::new(*ip, *port)), &[], &[]])
        }
        BindAddress::Ipv6 { ip, port, scope_id } => {
            let address = SocketAddrV6::new(*ip, *port, 0, *scope_id);
            concat(to, [&sockaddr_in6(&address), &[], &[]])
        }
        BindAddress::Path(path) => concat(to, [&family, path.as_bytes(), &[0]]),
        BindAddress::Abstract(name) => concat(to, [&family, &[0], name.as_bytes()]),
    }
}

fn concat(to: &mut [u8], parts: [&[u8]; 3]) -> usize {
    let mut length = 0;
    for part in parts {
        if let Some(room) = to.get_mut(length..length + part.len()) {
            room.copy_from_slice(part);
            length += part.len();
        }
    }
    length
}

/// Returns the address in a socket address of the kernel.
///
/// It returns `None` for an unnamed socket, for another family, and for a name that [`BindAddress`]
/// has no form for, such as a path of 108 bytes.
pub(crate) fn decode(bytes: &[u8]) -> Option<BindAddress> {
    let (family, rest) = bytes.split_first_chunk()?;
    match u16::from_ne_bytes(*family) {
        AF_INET => {
            let [p0, p1, ip @ ..] = *rest.first_chunk::<6>()?;
            let port = u16::from_be_bytes([p0, p1]);
            Some(BindAddress::Ipv4 { ip: Ipv4Addr::from(ip), port })
        }
        AF_INET6 => {
            // The four bytes after the port are the flow label.
            let [p0, p1, _, _, _, _, ip @ .., s0, s1, s2, s3] = *rest.first_chunk::<26>()?;
            let port = u16::from_be_bytes([p0, p1]);
            let scope_id = u32::from_ne_bytes([s0, s1, s2, s3]);
            Some(BindAddress::Ipv6 { ip: Ipv6Addr::from(ip), port, scope_id })
        }
        AF_UNIX => decode_unix(rest),
        _ => None,
    }
}

#[inline(never)] // so that calls for IP addresses do not reserve stack for a path
fn decode_unix(sun_path: &[u8]) -> Option<BindAddress> {
    match sun_path {
        [0, name @ ..] => AbstractName::new(name).ok().map(BindAddress::Abstract),
        path => {
            let path = path.split(|byte| *byte == 0).next()?;
            UnixPath::new(path).ok().map(BindAddress::Path)
        }
    }
}

/// A socket address in the caller's memory.
///
/// The allocation has the exact size: 16 bytes for IPv4, 28 for IPv6, 2 + length + 1 for a Unix
/// path (with a NUL at the end), 2 + 1 + length for an abstract name (with a NUL before it).
///
/// ```
/// use netbind::BindAddress;
/// use netbind::sockaddr::SockAddr;
///
/// let memory = bumpalo::Bump::new();
/// let address = BindAddress::parse("unix:@janus")?;
/// let sockaddr = SockAddr::new_in(&address, &memory)?;
/// assert_eq!(sockaddr.as_bytes()[2..], *b"\0janus");
/// assert_eq!(sockaddr.to_bind_address(), Some(address));
/// # Ok::<(), netbind::SocketError>(())
/// ```
pub struct SockAddr<A: Allocator> {
    memory: NonNull<u8>,
    length: u8,
    allocator: A,
}

// SAFETY: the value owns its bytes, as a `Box` does, and the allocator is `Send`.
#[allow(unsafe_code)]
unsafe impl<A: Allocator + Send> Send for SockAddr<A> {}

// SAFETY: a shared reference only reads the bytes, and does not reach the allocator.
#[allow(unsafe_code)]
unsafe impl<A: Allocator> Sync for SockAddr<A> {}

impl<A: Allocator> SockAddr<A> {
    /// Makes the socket address of `address`, in memory from `allocator`.
    ///
    /// # Errors
    ///
    /// [`SocketError::OutOfMemory`] if the allocator returns an error.
    pub fn new_in(address: &BindAddress, allocator: A) -> Result<Self, SocketError> {
        let mut bytes = [0; MAX_LENGTH];
        let length = encode(address, &mut bytes);
        Self::copy_in(bytes.get(..length).unwrap_or_default(), allocator)
    }

    /// Copies at most [`MAX_LENGTH`] bytes to memory of `allocator`.
    fn copy_in(bytes: &[u8], allocator: A) -> Result<Self, SocketError> {
        let length = u8::try_from(bytes.len()).map_err(|_| SocketError::OutOfMemory)?;
        let memory = layout(length).and_then(|layout| allocator.allocate(layout).ok());
        let memory = memory.ok_or(SocketError::OutOfMemory)?.cast::<u8>();
        // SAFETY: the allocation has at least as many bytes as `bytes`, and does not overlap them.
        #[allow(unsafe_code)]
        unsafe {
            memory.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        };
        Ok(Self { memory, length, allocator })
    }

    /// Returns the bytes, exactly as [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html)
    /// gets them. They are not aligned.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `copy_in` wrote this many bytes there, and only `drop` frees them.
        #[allow(unsafe_code)]
        unsafe {
            core::slice::from_raw_parts(self.memory.as_ptr(), self.length.into())
        }
    }

    pub(crate) fn family(&self) -> Family {
        match self.as_bytes().split_first_chunk() {
            Some((family, _)) if *family == AF_INET.to_ne_bytes() => Family::Ipv4,
            Some((family, _)) if *family == AF_INET6.to_ne_bytes() => Family::Ipv6,
            _ => Family::Unix,
        }
    }

    /// Returns the Unix path, or `None` for another kind of address.
    pub(crate) fn path(&self) -> Option<&CStr> {
        let [_, _, path @ .., 0] = self.as_bytes() else { return None };
        if self.family() != Family::Unix || path.starts_with(&[0]) {
            return None;
        }
        let path = self.as_bytes().get(2..)?;
        // SAFETY: the pattern above has found the NUL at the end, and a `UnixPath` contains none.
        #[allow(unsafe_code)]
        Some(unsafe { CStr::from_bytes_with_nul_unchecked(path) })
    }

    /// Returns the address from which the bytes were made. It is never `None`.
    #[must_use]
    pub fn to_bind_address(&self) -> Option<BindAddress> {
        decode(self.as_bytes())
    }
}

/// The layout of a socket address of `length` bytes.
fn layout(length: u8) -> Option<Layout> {
    Layout::from_size_align(length.into(), 1).ok()
}

impl<A: Allocator> Drop for SockAddr<A> {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.length) {
            // SAFETY: `copy_in` allocated this memory from this allocator with the same layout.
            #[allow(unsafe_code)]
            unsafe {
                self.allocator.deallocate(self.memory, layout);
            }
        }
    }
}
