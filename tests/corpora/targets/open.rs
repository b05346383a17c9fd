//! Real sockets, opened and closed by arbitrary plans.
//!
//! Addresses are free, taken or impossible, options apply or not, contexts stop at any check,
//! capabilities allow or deny, and allocations fail. No descriptor, memory or socket file may leak,
//! and no foreign file may be removed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use netbind::{BindAddress, Listener};
use rustix::net::sockopt::set_socket_linger;

use super::draw::pick;
use super::memory::Arena;
use super::plan::Plan;

struct Open<'m> {
    listener: Listener<&'m Arena>,
    /// The path of the socket file, until the file is replaced.
    path: Option<PathBuf>,
    shares_port: bool,
}

/// The expected state outside of the crate.
struct World<'m> {
    memory: &'m Arena,
    directory: &'m Path,
    files: BTreeSet<PathBuf>,
    open: Vec<Open<'m>>,
    descriptors: usize,
}

/// Interprets any bytes as a sequence of openings and closings.
pub fn open(plan: &[u8]) {
    let directory = tempfile::Builder::new().prefix("netbind-").tempdir().expect("a directory");
    let memory = Arena::new();
    let before = descriptors();
    {
        let mut world = World {
            memory: &memory,
            directory: directory.path(),
            files: BTreeSet::new(),
            open: Vec::new(),
            descriptors: before,
        };
        world.put_file("file");
        let u = &mut Unstructured::new(plan);
        // A step fails if the input has ended. The limit leaves descriptors for other processes.
        while !u.is_empty() && world.open.len() < 64 && world.step(u).is_ok() {
            world.check();
        }
        while let Some(open) = world.open.pop() {
            world.close(open, How::Drop);
            world.check();
        }
    }
    assert_eq!(descriptors(), before, "descriptors leaked");
    assert_eq!((memory.blocks_in_use(), memory.bytes_in_use()), (0, 0), "memory leaked");
}

/// Returns the number of open descriptors of this thread, which can have a table of its own.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/thread-self/fd").expect("/proc is mounted").count()
}

#[derive(Clone, Copy)]
enum How {
    Drop,
    Close,
    GiveAway,
}

impl<'m> World<'m> {
    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let how = match u.int_in_range(0..=7_u8)? {
            0 => How::Drop,
            1 => How::Close,
            2 => How::GiveAway,
            3 => return self.replace_path(u),
            4 => return self.connect(u),
            _ => return self.attempt(u),
        };
        if !self.open.is_empty() {
            let which = u.choose_index(self.open.len())?;
            let open = self.open.swap_remove(which);
            self.close(open, how);
        }
        Ok(())
    }

    /// Compares the descriptors, the memory and the files with the expected ones.
    fn check(&self) {
        assert_eq!(descriptors(), self.descriptors + self.open.len(), "descriptors");
        assert_eq!(self.memory.blocks_in_use(), self.open.len(), "blocks of memory");
        let entries = fs::read_dir(self.directory).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(entries.collect::<BTreeSet<_>>(), self.files, "files");
    }

    fn put_file(&mut self, name: &str) {
        let path = self.directory.join(name);
        fs::write(&path, "not a socket").unwrap();
        self.files.insert(path);
    }

    /// Closes a listener. The file must disappear unless the descriptor was given away.
    fn close(&mut self, open: Open<'m>, how: How) {
        match how {
            How::Drop => drop(open.listener),
            How::Close => open.listener.close().expect("close"),
            How::GiveAway => {
                drop(open.listener.into_fd());
                return;
            }
        }
        if let Some(path) = open.path {
            self.files.remove(&path);
        }
    }

    /// Removes the path of a listener, and may put a foreign file or socket there.
    fn replace_path(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let mut with_path = self.open.iter_mut().filter(|open| open.path.is_some());
        let Some(open) = with_path.next() else { return Ok(()) };
        let path = open.path.take().expect("a path");
        fs::remove_file(&path).unwrap();
        match u.int_in_range(0..=2_u8)? {
            0 => drop(self.files.remove(&path)),
            1 => fs::write(&path, "a foreign file").unwrap(),
            // std's listener does not remove its path.
            _ => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
        }
        Ok(())
    }

    /// Connects a client, accepts it, and closes both ends.
    fn connect(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let open = &self.open[u.choose_index(self.open.len())?];
        let local = open.listener.local_address().expect("a bound socket");
        if let Some(ip) = local.to_socket_addr() {
            // With SO_REUSEPORT, another listener can get the client.
            if !open.shares_port {
                let client = std::net::TcpStream::connect(ip).expect("a listening socket");
                // A reset instead of TIME_WAIT, so that many plans do not use up the ports.
                set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
                let (_connection, peer) = open.listener.accept().expect("a waiting client");
                assert_eq!(
                    peer.and_then(|peer| peer.port()),
                    client.local_addr().ok().map(|local| local.port())
                );
            }
        } else if let Some(path) = &open.path
            && let Ok(client) = std::os::unix::net::UnixStream::connect(path)
        {
            let (_connection, peer) = open.listener.accept_nonblocking().expect("a waiting client");
            assert_eq!(peer, None, "{client:?} has no name");
        }
        Ok(())
    }

    fn address(&self, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let path = |name: &str| self.directory.join(name).into_os_string().into_encoded_bytes();
        Ok(match u.int_in_range(0..=10_u8)? {
            0 => b"127.0.0.1:0".to_vec(),
            1 => b"[::1]:0".to_vec(),
            2 => b"[::ffff:127.0.0.1]:0".to_vec(),
            // An interface that does not exist, and a missing scope id.
            3 => b"[fe80::1%4294967295]:0".to_vec(),
            4 => b"[fe80::1]:0".to_vec(),
            5 => path(pick(u, &["a", "b", "c"])?),
            6 => {
                [b"unix:".to_vec(), path(pick(u, &["a", "file", "missing/a", "file/a"])?)].concat()
            }
            7 => format!("unix:@netbind-fuzz-{}-{}", std::process::id(), pick(u, &["a", "b"])?)
                .into_bytes(),
            8 if !self.open.is_empty() => {
                let taken = &self.open[u.choose_index(self.open.len())?];
                taken.listener.local_address().expect("a bound socket").to_bytes().to_vec()
            }
            // A malformed address. A valid one could belong to another program.
            _ => {
                let length = u.int_in_range(0..=12)?;
                let bytes = u.bytes(length)?.to_vec();
                if BindAddress::parse(&bytes).is_ok() { b"localhost:80".to_vec() } else { bytes }
            }
        })
    }

    fn attempt(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let address = self.address(u)?;
        let plan = Plan::draw(u)?;
        self.memory.refuse(plan.no_memory);
        let opened = plan.open(&address, self.memory);
        self.memory.refuse(false);
        if let Ok(listener) = opened {
            let path = match BindAddress::parse(&address) {
                Ok(BindAddress::Path(path)) => {
                    Some(PathBuf::from(OsStr::from_bytes(path.as_bytes())))
                }
                _ => None,
            };
            self.files.extend(path.clone());
            self.open.push(Open { listener, path, shares_port: plan.reuse_port });
        }
        Ok(())
    }
}
