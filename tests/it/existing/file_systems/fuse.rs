//! A small file system in user space: one directory, which has the number 1, and whose files have
//! no content. Like many others, it does not know `renameat2`.
//!
//! The numbers and structures are those of
//! [linux/fuse.h](https://github.com/torvalds/linux/blob/master/include/uapi/linux/fuse.h).

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use super::mount;

/// The files by their number, which counts from 2. A removed file has an empty name.
#[derive(Default)]
struct Files(Vec<(String, u32)>);

/// The fields of a request that this file system uses.
struct Request<'r> {
    operation: u32,
    id: u64,
    node: u64,
    body: &'r [u8],
}

type Reply = Result<Vec<u8>, i32>;

impl<'r> Request<'r> {
    fn new(bytes: &'r [u8]) -> Self {
        let (header, body) = bytes.split_at(40);
        Self { operation: word(header, 4), id: long(header, 8), node: long(header, 16), body }
    }

    /// Returns the text at this offset, which ends with a NUL.
    fn text(&self, offset: usize) -> String {
        let bytes = self.body[offset..].split(|byte| *byte == 0).next().unwrap();
        String::from_utf8(bytes.into()).unwrap()
    }
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn long(bytes: &[u8], offset: usize) -> u64 {
    u64::from_ne_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn longs(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

impl Files {
    fn attributes(&self, node: u64) -> Vec<u8> {
        let mode = match usize::try_from(node).unwrap().checked_sub(2) {
            None => libc::S_IFDIR | 0o777,
            Some(index) => self.0[index].1,
        };
        // The number, five sizes and times, three parts of times, the mode, the number of links,
        // the owner, the device, the size of a block, and padding.
        [longs(&[node, 0, 0, 0, 0, 0]), words(&[0, 0, 0, mode, 1, 0, 0, 0, 4096, 0])].concat()
    }

    /// The number, a generation, and the time for which the kernel may keep both: none.
    fn entry(&self, node: u64) -> Vec<u8> {
        [longs(&[node, 0, 0, 0, 0]), self.attributes(node)].concat()
    }

    fn find(&self, name: &str) -> Result<usize, i32> {
        self.0.iter().position(|file| file.0 == name).ok_or(libc::ENOENT)
    }

    fn make(&mut self, name: String, mode: u32) -> Vec<u8> {
        self.0.push((name, mode));
        self.entry(self.0.len() as u64 + 1)
    }

    /// Returns the names after this number of them.
    fn list(&self, offset: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let names = self.0.iter().enumerate().skip(offset).filter(|(_, file)| !file.0.is_empty());
        for (index, (name, mode)) in names {
            bytes.extend(longs(&[index as u64 + 2, index as u64 + 1]));
            bytes.extend(words(&[name.len() as u32, mode >> 12]));
            bytes.extend(name.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        bytes
    }

    fn answer(&mut self, request: &Request<'_>) -> Reply {
        match request.operation {
            // LOOKUP, GETATTR, SETATTR
            1 => self.find(&request.text(0)).map(|index| self.entry(index as u64 + 2)),
            3 | 4 => Ok([longs(&[0, 0]), self.attributes(request.node)].concat()),
            // MKNOD, CREATE
            8 => Ok(self.make(request.text(16), word(request.body, 0))),
            35 => {
                let made = self.make(request.text(16), word(request.body, 4) | libc::S_IFREG);
                Ok([made, longs(&[0, 0])].concat())
            }
            // UNLINK
            10 => {
                let index = self.find(&request.text(0))?;
                self.0[index].0.clear();
                Ok(vec![])
            }
            // INIT: version 7.22 is the last one without RENAME2.
            26 => Ok(words(&[7, 22, 65_536, 0, 0, 65_536])),
            // OPEN, OPENDIR
            14 | 27 => Ok(longs(&[0, 0])),
            // READDIR
            28 => Ok(self.list(usize::try_from(long(request.body, 8)).unwrap())),
            // RELEASE, RELEASEDIR
            18 | 29 => Ok(vec![]),
            _ => Err(libc::ENOSYS),
        }
    }
}

/// Answers requests until the file system is unmounted.
fn answer_all(mut device: &File) {
    let (mut files, mut bytes) = (Files::default(), vec![0; 1 << 17]);
    while let Ok(length) = device.read(&mut bytes) {
        let request = Request::new(&bytes[..length]);
        // FORGET and BATCH_FORGET have no answer.
        if matches!(request.operation, 2 | 42) {
            continue;
        }
        let (body, error) = match files.answer(&request) {
            Ok(body) => (body, 0),
            Err(errno) => (vec![], -errno),
        };
        let header = words(&[16 + body.len() as u32, error.cast_unsigned()]);
        let reply = [header, longs(&[request.id]), body].concat();
        // It fails if the request was interrupted meanwhile.
        let _ = device.write(&reply);
    }
}

/// Unmounts, also after a panic, so that the thread with the file system ends.
struct Mounted<'p>(&'p Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let path = CString::new(self.0.to_str().unwrap()).unwrap();
        // SAFETY: the path ends with a NUL and outlives the call.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Mounts the file system on this directory for `body`.
pub(super) fn serve(directory: &Path, body: impl FnOnce()) -> io::Result<()> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    let fd = device.as_raw_fd();
    mount(c"fuse", directory, 0, &format!("fd={fd},rootmode=40000,user_id=0,group_id=0"))?;
    std::thread::scope(|scope| {
        scope.spawn(|| answer_all(&device));
        let _mounted = Mounted(directory);
        body();
    });
    Ok(())
}
