//! Real sockets from arbitrary plans: addresses that are free, taken or impossible, options that fit or do not, contexts
//! that stop at any check, capabilities that allow or deny, memory that is refused. Whatever comes of it, nothing may leak:
//! no descriptor, no memory, no socket file, and nobody else's file may go.

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
use super::memory::Counted;
use super::plan::Plan;

/// A listener, and whether the file at its path is still the one that it made.
struct Open<'m> {
    listener: Listener<&'m Counted>,
    path: Option<PathBuf>,
    shares_port: bool,
}

/// What there has to be outside of the crate.
struct World<'m> {
    memory: &'m Counted,
    directory: &'m Path,
    files: BTreeSet<PathBuf>,
    open: Vec<Open<'m>>,
    descriptors: usize,
}

/// Any bytes as a plan of openings and closings.
pub fn open(plan: &[u8]) {
    let directory = tempfile::Builder::new().prefix("netbind-").tempdir().expect("a directory");
    let memory = Counted::default();
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
        // Where the bytes end, the plan does; and no plan gets the kernel's last descriptor.
        while !u.is_empty() && world.open.len() < 64 && world.step(u).is_ok() {
            world.check();
        }
        while let Some(open) = world.open.pop() {
            world.close(open, How::Drop);
            world.check();
        }
    }
    assert_eq!(descriptors(), before, "descriptors leaked");
    assert_eq!((memory.blocks(), memory.bytes()), (0, 0), "memory leaked");
}

/// The open descriptors of this thread of execution, whose table may be its own.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/thread-self/fd").expect("there is /proc").count()
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

    /// What is there is what the model says.
    fn check(&self) {
        assert_eq!(descriptors(), self.descriptors + self.open.len(), "descriptors");
        assert_eq!(self.memory.blocks(), self.open.len(), "blocks of memory");
        let entries = fs::read_dir(self.directory).unwrap().map(|entry| entry.unwrap().path());
        assert_eq!(entries.collect::<BTreeSet<_>>(), self.files, "files");
    }

    fn put_file(&mut self, name: &str) {
        let path = self.directory.join(name);
        fs::write(&path, "not a socket").unwrap();
        self.files.insert(path);
    }

    /// Closes, in one of the ways; the file goes along if it is the listener's own.
    fn close(&mut self, open: Open<'m>, how: How) {
        match how {
            How::Drop => drop(open.listener),
            How::Close => open.listener.close().expect("a close of what was ours"),
            How::GiveAway => {
                drop(open.listener.into_fd());
                return;
            }
        }
        if let Some(path) = open.path {
            self.files.remove(&path);
        }
    }

    /// Somebody else removes a listener's path, and may put a file or a socket of his own there.
    fn replace_path(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let mut with_path = self.open.iter_mut().filter(|open| open.path.is_some());
        let Some(open) = with_path.next() else { return Ok(()) };
        let path = open.path.take().expect("there is one");
        fs::remove_file(&path).unwrap();
        match u.int_in_range(0..=2_u8)? {
            0 => drop(self.files.remove(&path)),
            1 => fs::write(&path, "somebody else's").unwrap(),
            // The name stays when std's listener is dropped.
            _ => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
        }
        Ok(())
    }

    /// A client comes, is accepted, and both ends are closed again.
    fn connect(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let open = &self.open[u.choose_index(self.open.len())?];
        let local = open.listener.local_address().expect("it is bound");
        if let Some(ip) = local.to_socket_addr() {
            // The kernel may give the client to a twin.
            if !open.shares_port {
                let client = std::net::TcpStream::connect(ip).expect("it listens");
                // No TIME_WAIT: plans by the thousand would eat the ports up.
                set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
                let (_connection, peer) = open.listener.accept().expect("a client waits");
                assert_eq!(
                    peer.and_then(|peer| peer.port()),
                    client.local_addr().ok().map(|local| local.port())
                );
            }
        } else if let Some(path) = &open.path
            && let Ok(client) = std::os::unix::net::UnixStream::connect(path)
        {
            let (_connection, peer) = open.listener.accept_nonblocking().expect("a client waits");
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
            // No such interface, and none at all.
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
                taken.listener.local_address().expect("it is bound").to_bytes().to_vec()
            }
            // What is no address; what is one could be anywhere on this machine.
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
