//! A ring of `io_uring` by raw system calls:
//! [io_uring(7)](https://man7.org/linux/man-pages/man7/io_uring.7.html).
#![allow(unsafe_code)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use netbind::error::Errno;

use super::harness::{await_condition, skip};
use super::probe::{Address, Outcome, call, check, own};

const SETUP_SQPOLL: u32 = 1 << 1;
const LINK: u8 = 1 << 2;

/// Operations, of Linux 5.1, 5.19 and 6.11.
const POLL_ADD: u8 = 6;
const SOCKET: u8 = 45;
const BIND: u8 = 56;
const LISTEN: u8 = 57;

/// `struct io_sqring_offsets` and `struct io_cqring_offsets`: head, tail, mask, and four to five
/// others.
type Offsets = [u32; 10];

/// `struct io_uring_params`
#[repr(C)]
#[derive(Default)]
struct Parameters {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    others: [u32; 5],
    sq: Offsets,
    cq: Offsets,
}

/// `struct io_uring_sqe`
#[repr(C)]
#[derive(Clone, Default)]
pub(crate) struct Request {
    operation: u8,
    flags: u8,
    priority: u16,
    fd: i32,
    offset: u64,
    address: u64,
    length: u32,
    operation_flags: u32,
    user_data: u64,
    others: [u64; 3],
}

impl Request {
    pub(crate) fn socket(family: i32, kind: i32) -> Self {
        Self { operation: SOCKET, fd: family, offset: kind as u64, ..Self::default() }
    }

    pub(crate) fn bind(socket: &OwnedFd, address: &Address) -> Self {
        let (fd, offset) = (socket.as_raw_fd(), address.len().into());
        let address = address.as_ptr().expose_provenance() as u64;
        Self { operation: BIND, fd, offset, address, ..Self::default() }
    }

    pub(crate) fn listen(socket: &OwnedFd) -> Self {
        Self { operation: LISTEN, fd: socket.as_raw_fd(), length: 1, ..Self::default() }
    }

    /// Waits until the descriptor can be read.
    pub(crate) fn poll(fd: &OwnedFd) -> Self {
        let operation_flags = libc::POLLIN as u32;
        Self { operation: POLL_ADD, fd: fd.as_raw_fd(), operation_flags, ..Self::default() }
    }

    /// Starts the next request after this one.
    pub(crate) fn and_then(mut self) -> Self {
        self.flags |= LINK;
        self
    }
}

/// A ring with eight requests.
pub(crate) struct Ring {
    /// `None` after [`close`](Self::close).
    fd: Option<OwnedFd>,
    memory: *mut u8,
    requests: *mut Request,
    sq: Offsets,
    cq: Offsets,
    completed: u32,
}

const ENTRIES: u32 = 8;
const SIZE: usize = 4096;

impl Ring {
    /// Makes a ring whose requests are submitted by `io_uring_enter`.
    pub(crate) fn new() -> Option<Self> {
        Self::with_flags(0)
    }

    /// Makes a ring with a thread of the kernel that stays awake.
    pub(crate) fn polled() -> Option<Self> {
        Self::with_flags(SETUP_SQPOLL)
    }

    fn with_flags(flags: u32) -> Option<Self> {
        let made = Self::open(flags);
        if let Err(errno) = &made {
            skip(&format!("io_uring, because the kernel refuses it: {errno}"));
        }
        made.ok()
    }

    fn open(flags: u32) -> Outcome<Self> {
        /// Milliseconds until the thread sleeps.
        const IDLE: u32 = 60_000;
        let mut parameters = Parameters { flags, sq_thread_idle: IDLE, ..Parameters::default() };
        let arguments = [ENTRIES as usize, (&raw mut parameters).expose_provenance(), 0, 0];
        let fd = own(call(libc::SYS_io_uring_setup, arguments)?)?;
        let map = |size, offset| {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
            // SAFETY: the kernel chooses an address that is not in use.
            unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, fd.as_raw_fd(), offset) }
        };
        let (memory, requests) = (map(SIZE, 0), map(SIZE, 0x1000_0000));
        assert!(memory != libc::MAP_FAILED && requests != libc::MAP_FAILED, "mmap");
        let Parameters { sq, cq, .. } = parameters;
        Ok(Self {
            fd: Some(fd),
            memory: memory.cast(),
            requests: requests.cast(),
            sq,
            cq,
            completed: 0,
        })
    }

    /// Returns a word of the memory that is shared with the kernel.
    fn word(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the kernel's offset is in the map and aligned, and the map lives as long as this.
        unsafe { AtomicU32::from_ptr(self.memory.wrapping_add(offset as usize).cast()) }
    }

    /// Puts requests into the ring. The thread of the kernel makes them, if there is one.
    pub(crate) fn push(&self, requests: &[Request]) {
        let tail = self.word(self.sq[1]);
        for request in requests {
            let index = tail.load(Ordering::Relaxed);
            assert!(index < ENTRIES, "each place is used once");
            // SAFETY: there are this many places, and the kernel does not read this one yet.
            unsafe { self.requests.wrapping_add(index as usize).write(request.clone()) };
            self.word(self.sq[6] + 4 * index).store(index, Ordering::Relaxed);
            tail.store(index + 1, Ordering::Release);
        }
    }

    pub(crate) fn number(&self) -> usize {
        self.fd.as_ref().expect("an open descriptor").as_raw_fd() as usize
    }

    /// Closes the descriptor. The ring lives as long as its memory.
    pub(crate) fn close(&mut self) {
        self.fd = None;
    }

    /// Calls `io_uring_enter`.
    pub(crate) fn submit(&self, count: usize) -> Outcome {
        call(libc::SYS_io_uring_enter, [self.number(), count, 0, 0]).map(drop)
    }

    /// Wakes the thread of the kernel. From its first request on it stays awake.
    pub(crate) fn wake(&self) -> Outcome {
        const SQ_WAKEUP: usize = 1 << 1;
        call(libc::SYS_io_uring_enter, [self.number(), 0, 0, SQ_WAKEUP]).map(drop)
    }

    /// Waits for the next completion.
    pub(crate) fn complete(&mut self) -> Outcome {
        await_condition("a completion", || {
            self.word(self.cq[1]).load(Ordering::Acquire) != self.completed
        });
        // `struct io_uring_cqe`: eight bytes of the user, the result, flags.
        let index = self.completed & self.word(self.cq[2]).load(Ordering::Relaxed);
        self.completed += 1;
        let result = self.word(self.cq[5] + 16 * index + 8).load(Ordering::Relaxed) as i32;
        match Errno::from_raw_os_error(-result) {
            Some(errno) => Err(errno),
            None => Ok(()),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for memory in [self.memory, self.requests.cast()] {
            // SAFETY: this is the whole map, and nothing refers to it any more.
            check(unsafe { libc::munmap(memory.cast(), SIZE) }.into()).expect("munmap");
        }
    }
}
