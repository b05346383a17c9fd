//! System calls of a supervised process, compared with those of another process of this program.
//! Needs `--features enforce`.
//!
//! Both processes wait at a pipe for their turn, and measure the call alone.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use netbind::enforce::{Supervised, Supervisor};
use netbind::{NetBind, Rights, Rule};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, ipproto, listen, socket};

use crate::Rows;
use crate::support::is_measured;
use crate::support::pairs::{compare, nanoseconds};
use crate::support::report::Budget;

const PAIRS: usize = 200;
const BATCH: u32 = 32;

/// A system call, and what is needed for it.
#[derive(Clone, Copy)]
enum Call {
    Bind,
    Listen,
    BindPath,
    Other,
}

pub(crate) fn measure(rows: &mut Rows) {
    let peer = "not supervised";
    for (what, call) in [
        ("a supervised `bind`", Call::Bind),
        ("a supervised `listen`", Call::Listen),
        ("a supervised `bind` of a Unix path", Call::BindPath),
        ("`getppid` of a supervised process", Call::Other),
    ] {
        rows.add(what, peer, Budget::None, || {
            let supervisor = Process::start(call, true);
            let plain = Process::start(call, false);
            compare(PAIRS, || supervisor.measure(), || plain.measure())
        });
    }
}

/// A process that measures a call when it is asked to.
struct Process {
    pipe: UnixStream,
    child: libc::pid_t,
    broker: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    fn start(call: Call, is_supervised: bool) -> Self {
        let (pipe, childs) = UnixStream::pair().unwrap();
        if !is_supervised {
            return Self { child: fork(call, childs, None), pipe, broker: None };
        }
        let (tell, told) = std::sync::mpsc::channel();
        let broker = std::thread::spawn(move || {
            let mut capability = NetBind::empty("bench").unwrap();
            capability.grant(Rights::all()).allow_port(0).unwrap();
            capability.allow(Rule::any_path()).unwrap();
            let (mut supervisor, supervised) = Supervisor::new(&capability).unwrap();
            tell.send(fork(call, childs, Some(supervised))).unwrap();
            while supervisor.step().unwrap().is_some() {}
        });
        Self { child: told.recv().unwrap(), pipe, broker: Some(broker) }
    }

    /// Returns the nanoseconds of one call.
    fn measure(&self) -> f64 {
        let mut figure = [0; 8];
        (&self.pipe).write_all(b"!").unwrap();
        (&self.pipe).read_exact(&mut figure).unwrap();
        f64::from_ne_bytes(figure)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SAFETY: the call takes only numbers.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(self.child, libc::SIGKILL)
        };
        // SAFETY: the status is not read.
        #[allow(unsafe_code)]
        unsafe {
            libc::waitpid(self.child, std::ptr::null_mut(), 0)
        };
        if let Some(broker) = self.broker.take() {
            broker.join().unwrap();
        }
    }
}

fn fork(call: Call, mut pipe: UnixStream, supervised: Option<Supervised>) -> libc::pid_t {
    // SAFETY: the child uses nothing that another thread can have locked, except the allocator,
    // which glibc unlocks.
    #[allow(unsafe_code)]
    let child = unsafe { libc::fork() };
    if child != 0 {
        return child;
    }
    if let Some(supervised) = supervised {
        supervised.enter().unwrap();
    }
    let path = std::env::temp_dir().join(format!("netbind-bench-{}", std::process::id()));
    let mut turn = [0];
    while pipe.read_exact(&mut turn).is_ok() {
        let batch = if is_measured() { BATCH } else { 1 };
        let time: f64 = (0..batch).map(|_| one(call, &path)).sum();
        pipe.write_all(&(time / f64::from(batch)).to_ne_bytes()).unwrap();
    }
    // SAFETY: the call does not return.
    #[allow(unsafe_code)]
    unsafe {
        libc::_exit(0)
    }
}

/// Returns the nanoseconds of one call.
fn one(call: Call, path: &std::path::Path) -> f64 {
    let tcp = || socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP)).unwrap();
    let address = std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0);
    match call {
        Call::Bind => {
            let socket = tcp();
            let start = Instant::now();
            bind(&socket, &address).unwrap();
            nanoseconds(start)
        }
        Call::Listen => {
            let socket = tcp();
            bind(&socket, &address).unwrap();
            let start = Instant::now();
            listen(&socket, 16).unwrap();
            nanoseconds(start)
        }
        Call::BindPath => {
            let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
            let address = SocketAddrUnix::new(path).unwrap();
            let start = Instant::now();
            bind(&socket, &address).unwrap();
            let time = nanoseconds(start);
            std::fs::remove_file(path).unwrap();
            time
        }
        Call::Other => {
            let start = Instant::now();
            for _ in 0..100 {
                // SAFETY: the call takes nothing.
                #[allow(unsafe_code)]
                unsafe {
                    libc::syscall(libc::SYS_getppid)
                };
            }
            nanoseconds(start) / 100.0
        }
    }
}
