//! Socket addresses as the kernel wants them, byte for byte, built by hand and owned at their exact size.
//!
//! The layouts are Linux's: the family comes first in the processor's own order, ports and IP addresses are in network
//! order, the flow label is in network order, and the scope id is in the processor's own.

#[cfg(target_os = "linux")]
use core::ffi::CStr;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use core::ptr::NonNull;

use allocator_api2::alloc::{Allocator, Layout};

use crate::address::BindAddress;
use crate::error::SocketError;

/// `AF_UNIX`
const UNIX: u16 = 1;
/// `AF_INET`
const INET: u16 = 2;
/// `AF_INET6`
const INET6: u16 = 10;

/// The bytes of `struct sockaddr_in`: [ip(7)](https://man7.org/linux/man-pages/man7/ip.7.html).
///
/// ```
/// let bytes = netbind::sockaddr_in(&"127.0.0.1:9000".parse().unwrap());
/// assert_eq!(bytes[2..8], [0x23, 0x28, 127, 0, 0, 1]);
/// ```
#[must_use]
#[inline]
pub fn sockaddr_in(address: &SocketAddrV4) -> [u8; 16] {
    let [f0, f1] = INET.to_ne_bytes();
    let [p0, p1] = address.port().to_be_bytes();
    let [a, b, c, d] = address.ip().octets();
    [f0, f1, p0, p1, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// The bytes of `struct sockaddr_in6`: [ipv6(7)](https://man7.org/linux/man-pages/man7/ipv6.7.html).
///
/// The flow label is taken as a number and stored in network order, the scope id in the processor's own order.
///
/// ```
/// use core::net::{Ipv6Addr, SocketAddrV6};
///
/// let bytes = netbind::sockaddr_in6(&SocketAddrV6::new(Ipv6Addr::LOCALHOST, 443, 0xabcde, 2));
/// assert_eq!(bytes[2..8], [0x01, 0xbb, 0x00, 0x0a, 0xbc, 0xde]);
/// assert_eq!(bytes[24..], 2_u32.to_ne_bytes());
/// ```
#[must_use]
#[inline]
#[allow(clippy::many_single_char_names)] // the sixteen bytes of the address
pub fn sockaddr_in6(address: &SocketAddrV6) -> [u8; 28] {
    let [f0, f1] = INET6.to_ne_bytes();
    let [p0, p1] = address.port().to_be_bytes();
    let [l0, l1, l2, l3] = address.flowinfo().to_be_bytes();
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.ip().octets();
    let [s0, s1, s2, s3] = address.scope_id().to_ne_bytes();
    [f0, f1, p0, p1, l0, l1, l2, l3, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, s0, s1, s2, s3]
}

/// The address in a socket address that the kernel wrote; `None` where it is of no form that [`BindAddress`] has: unnamed,
/// of another family, or a path of 108 bytes.
pub(crate) fn decode(bytes: &[u8]) -> Option<BindAddress> {
    let (family, rest) = bytes.split_first_chunk()?;
    match u16::from_ne_bytes(*family) {
        INET => {
            let [p0, p1, ip @ ..] = *rest.first_chunk::<6>()?;
            Some(BindAddress::Ipv4 { ip: Ipv4Addr::from(ip), port: u16::from_be_bytes([p0, p1]) })
        }
        INET6 => {
            // The four behind the port are the flow label.
            let [p0, p1, _, _, _, _, ip @ .., s0, s1, s2, s3] = *rest.first_chunk::<26>()?;
            let (port, scope_id) = (u16::from_be_bytes([p0, p1]), u32::from_ne_bytes([s0, s1, s2, s3]));
            Some(BindAddress::Ipv6 { ip: Ipv6Addr::from(ip), port, scope_id })
        }
        UNIX => decode_unix(rest),
        _ => None,
    }
}

/// Apart, so that its room for a path is not on the stack of those who have an IP address.
#[inline(never)]
fn decode_unix(rest: &[u8]) -> Option<BindAddress> {
    let (is_abstract, name) = match rest {
        [0, name @ ..] => (true, name),
        [b'@', ..] => return None,
        path => (false, path.split(|byte| *byte == 0).next()?),
    };
    BindAddress::unix(is_abstract, name, 0).ok()
}

/// Which file a path named: the numbers of its device and inode.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

/// A socket address in the caller's memory.
///
/// It has its exact size: 16 bytes for IPv4, 28 for IPv6, 2 + path + 1 for a Unix path (the NUL included), 2 + 1 + name for
/// an abstract name (a NUL before it, none behind it). For a path the allocation holds 16 bytes more: the device and inode
/// numbers by which the file is known again before it is removed.
///
/// ```
/// use netbind::{BindAddress, SockAddr};
///
/// let memory = bumpalo::Bump::new();
/// let address = BindAddress::parse("unix:@janus")?;
/// let sockaddr = SockAddr::new_in(&address, &memory)?;
/// assert_eq!(sockaddr.as_bytes()[2..], *b"\0janus");
/// assert_eq!(sockaddr.to_bind_address(), Some(address));
/// # Ok::<(), netbind::SocketError>(())
/// ```
pub struct SockAddr<A: Allocator> {
    bytes: Bytes,
    allocator: A,
}

/// The allocation: two fields, and so it is handed on in two registers.
#[derive(Clone, Copy)]
struct Bytes {
    memory: NonNull<u8>,
    /// The length of the socket address, 2 + 107 + 1 at most, and 256 times the room behind it: 0, or [`FILE_ID`] for a path.
    extent: u32,
}

/// The room for a [`FileId`].
const FILE_ID: u32 = 16;

impl Bytes {
    #[inline]
    fn length(self) -> u32 {
        self.extent & 255
    }

    #[inline]
    fn behind(self) -> u32 {
        self.extent >> 8
    }

    #[inline]
    fn size(self) -> usize {
        self.length() as usize + self.behind() as usize
    }
}

// SAFETY: the bytes are owned, as a Box would own them; the allocator goes along.
#[allow(unsafe_code)]
unsafe impl<A: Allocator + Send> Send for SockAddr<A> {}

// SAFETY: a shared reference reaches the bytes for reading alone, and the allocator not at all.
#[allow(unsafe_code)]
unsafe impl<A: Allocator> Sync for SockAddr<A> {}

impl<A: Allocator> SockAddr<A> {
    /// The socket address of `address`, in memory of `allocator`.
    ///
    /// # Errors
    ///
    /// [`SocketError::OutOfMemory`] when the allocator refuses.
    ///
    /// ```
    /// use netbind::{BindAddress, SockAddr};
    ///
    /// let memory = bumpalo::Bump::new();
    /// let sockaddr = SockAddr::new_in(&BindAddress::parse("unix:/run/x")?, &memory)?;
    /// assert_eq!(sockaddr.as_bytes().len(), 2 + "/run/x".len() + 1);
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[inline]
    pub fn new_in(address: &BindAddress, allocator: A) -> Result<Self, SocketError> {
        let bytes = match address {
            BindAddress::Ipv4 { ip, port } => copy_in(&sockaddr_in(&SocketAddrV4::new(*ip, *port)), 0, &allocator),
            BindAddress::Ipv6 { ip, port, scope_id } => {
                copy_in(&sockaddr_in6(&SocketAddrV6::new(*ip, *port, 0, *scope_id)), 0, &allocator)
            }
            // In a function of their own: four cases here would be a jump through a table.
            _ => unix_in(address, &allocator),
        };
        match bytes {
            Some(bytes) => Ok(Self { bytes, allocator }),
            None => Err(SocketError::OutOfMemory),
        }
    }

    /// The bytes, exactly as they are passed to [bind(2)](https://man7.org/linux/man-pages/man2/bind.2.html). They begin
    /// wherever the allocator has room: a `sockaddr_in` is to be read out of them unaligned.
    ///
    /// ```
    /// # use netbind::{BindAddress, SockAddr};
    /// # let memory = bumpalo::Bump::new();
    /// let sockaddr = SockAddr::new_in(&BindAddress::parse("127.0.0.1:9000")?, &memory)?;
    /// assert_eq!(sockaddr.as_bytes(), netbind::sockaddr_in(&"127.0.0.1:9000".parse().unwrap()));
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: `new_in` has written this many bytes there, and only `drop` frees them.
        #[allow(unsafe_code)]
        unsafe {
            core::slice::from_raw_parts(self.bytes.memory.as_ptr(), self.bytes.length() as usize)
        }
    }

    /// The address that these bytes are of: always the one that they were made of. (`None` is for bytes that no
    /// [`BindAddress`] makes, of which there are none here.)
    ///
    /// ```
    /// # use netbind::{BindAddress, SockAddr};
    /// # let memory = bumpalo::Bump::new();
    /// let address = BindAddress::parse("[fe80::1%2]:443")?;
    /// assert_eq!(SockAddr::new_in(&address, &memory)?.to_bind_address(), Some(address));
    /// # Ok::<(), netbind::SocketError>(())
    /// ```
    #[must_use]
    pub fn to_bind_address(&self) -> Option<BindAddress> {
        decode(self.as_bytes())
    }

    /// The path of a Unix path's address.
    #[cfg(target_os = "linux")]
    pub(crate) fn path(&self) -> Option<&CStr> {
        if self.bytes.behind() == 0 {
            return None;
        }
        let path = self.as_bytes().get(2..)?;
        // SAFETY: `new_in` has put a path there, in which `UnixPath` allows no NUL byte, and the one NUL that ends it.
        #[allow(unsafe_code)]
        Some(unsafe { CStr::from_bytes_with_nul_unchecked(path) })
    }

    /// The port of an IP address; `None` for a Unix socket.
    #[cfg(target_os = "linux")]
    #[inline]
    pub(crate) fn port(&self) -> Option<u16> {
        let (family, rest) = self.as_bytes().split_first_chunk()?;
        let (port, _) = rest.split_first_chunk()?;
        matches!(u16::from_ne_bytes(*family), INET | INET6).then_some(u16::from_be_bytes(*port))
    }

    /// Puts the port that the kernel chose in the place of 0.
    #[cfg(target_os = "linux")]
    pub(crate) fn set_port(&mut self, port: u16) {
        if self.port().is_some()
            && let [_, _, p0, p1, ..] = self.memory_mut()
        {
            [*p0, *p1] = port.to_be_bytes();
        }
    }

    /// Which file a path was bound to: `None` before [`set_file`](Self::set_file), and for every other address.
    #[cfg(target_os = "linux")]
    pub(crate) fn file(&self) -> Option<FileId> {
        let ([device, inode], _) = self.memory().get(self.bytes.length() as usize..)?.as_chunks() else { return None };
        let file = FileId { device: u64::from_ne_bytes(*device), inode: u64::from_ne_bytes(*inode) };
        (file.inode != 0).then_some(file)
    }

    /// Remembers, or with `None` forgets, which file a path is bound to. No file has the inode number 0.
    #[cfg(target_os = "linux")]
    pub(crate) fn set_file(&mut self, file: Option<FileId>) {
        let FileId { device, inode } = file.unwrap_or(FileId { device: 0, inode: 0 });
        let at = self.bytes.length() as usize;
        if let Some(([d, i], _)) = self.memory_mut().get_mut(at..).map(<[u8]>::as_chunks_mut) {
            *d = device.to_ne_bytes();
            *i = inode.to_ne_bytes();
        }
    }

    /// The whole allocation.
    #[cfg(target_os = "linux")]
    #[inline]
    fn memory(&self) -> &[u8] {
        // SAFETY: `new_in` has written this many bytes there, and only `drop` frees them.
        #[allow(unsafe_code)]
        unsafe {
            core::slice::from_raw_parts(self.bytes.memory.as_ptr(), self.bytes.size())
        }
    }

    #[cfg(target_os = "linux")]
    fn memory_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `memory`, and the bytes are this value's alone.
        #[allow(unsafe_code)]
        unsafe {
            core::slice::from_raw_parts_mut(self.bytes.memory.as_ptr(), self.bytes.size())
        }
    }
}

/// `sun_path`: `before` NULs, the name, `after` NULs.
#[inline(never)]
fn unix_in<A: Allocator>(address: &BindAddress, allocator: &A) -> Option<Bytes> {
    let (before, name, after, behind) = match address {
        BindAddress::Path(path) => (0, path.as_bytes(), 1, FILE_ID),
        BindAddress::Abstract(name) => (1, name.as_bytes(), 0, 0),
        // `new_in` asks for neither.
        BindAddress::Ipv4 { .. } | BindAddress::Ipv6 { .. } => return None,
    };
    let mut bytes = [0; 2 + 108];
    let [f0, f1, path @ ..] = &mut bytes;
    [*f0, *f1] = UNIX.to_ne_bytes();
    for (to, from) in path.iter_mut().skip(before).zip(name) {
        *to = *from;
    }
    let length = 2 + before + name.len() + after;
    copy_in(bytes.get(..length).unwrap_or_default(), behind, allocator)
}

/// Moves the bytes to memory of `allocator`, with `behind` more that are 0.
#[inline]
#[allow(clippy::cast_possible_truncation)] // 2 + 107 + 1 at most
fn copy_in<A: Allocator>(from: &[u8], behind: u32, allocator: &A) -> Option<Bytes> {
    let size = from.len() + behind as usize;
    let memory = allocator.allocate(layout(size)?).ok()?.cast::<u8>();
    // SAFETY: the allocation has at least this many bytes, and it is ours alone.
    #[allow(unsafe_code)]
    unsafe {
        memory.copy_from_nonoverlapping(NonNull::from(from).cast(), from.len());
    };
    // SAFETY: the allocation has `behind` bytes more than `from` has.
    #[allow(unsafe_code)]
    let end = unsafe { memory.add(from.len()) };
    // SAFETY: as above.
    #[allow(unsafe_code)]
    unsafe {
        end.write_bytes(0, behind as usize);
    };
    Some(Bytes { memory, extent: from.len() as u32 | behind << 8 })
}

/// Bytes, not the kernel's structures: it copies them, from wherever they are.
fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size, 1).ok()
}

impl<A: Allocator> Drop for SockAddr<A> {
    fn drop(&mut self) {
        if let Some(layout) = layout(self.bytes.size()) {
            // SAFETY: `new_in` allocated this memory here with this very layout.
            #[allow(unsafe_code)]
            unsafe {
                self.allocator.deallocate(self.bytes.memory, layout);
            }
        }
    }
}

// SAFETY: `f` gets a pointer to the bytes of `as_bytes` and their number, and they live as long as `self` is borrowed. They
// are a whole socket address of their family, by construction.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
unsafe impl<A: Allocator> rustix::net::addr::SocketAddrArg for SockAddr<A> {
    unsafe fn with_sockaddr<R>(
        &self,
        f: impl FnOnce(*const rustix::net::addr::SocketAddrOpaque, rustix::net::addr::SocketAddrLen) -> R,
    ) -> R {
        f(self.bytes.memory.as_ptr().cast(), self.bytes.length())
    }
}
