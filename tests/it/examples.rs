//! The examples `restart` and `activated`, as other programs see them. `cargo test` builds them
//! before it runs the tests; `cargo test --test it` does not.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, c_char};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::ptr::null;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use netbind::inherit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::machine::{directory, skip};
use crate::support::thread::{isolated_network, join, spawn};

/// The time after which a test fails instead of waiting.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns the path of an example, or `None` if it was not built.
fn example(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples").join(name);
    if !path.exists() {
        skip(&format!("all, because {} is not built", path.display()));
        return None;
    }
    Some(path)
}

/// Calls `attempt` until it succeeds.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) => assert!(start.elapsed() < LIMIT, "{error}"),
        }
        sleep(Duration::from_millis(5));
    }
}

/// A TCP address and a Unix path on which nothing listens yet.
struct Addresses {
    tcp: SocketAddr,
    path: PathBuf,
    _directory: TempDir,
}

impl Addresses {
    fn new() -> Self {
        let unused = TcpListener::bind("127.0.0.1:0").unwrap();
        let directory = directory();
        let path = directory.path().join("s");
        Self { tcp: unused.local_addr().unwrap(), path, _directory: directory }
    }

    fn connect_tcp(&self) -> io::Result<TcpStream> {
        let client = TcpStream::connect(self.tcp)?;
        client.set_read_timeout(Some(LIMIT))?;
        Ok(client)
    }

    fn connect_unix(&self) -> io::Result<UnixStream> {
        let client = UnixStream::connect(&self.path)?;
        client.set_read_timeout(Some(LIMIT))?;
        Ok(client)
    }
}

/// Sends some input, and returns everything that the server sends before it ends the connection.
fn answer(mut client: impl Read + Write) -> io::Result<String> {
    let mut answer = String::new();
    client.write_all(b"ping\n")?;
    client.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A running example. It is killed when the test ends early.
struct Server(Child);

impl Server {
    fn start(command: &mut Command) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map(Self)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits for the end of the program. Returns its exit status and what it printed.
    fn wait(mut self) -> Output {
        let start = Instant::now();
        while self.0.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < LIMIT, "the program does not end");
            sleep(Duration::from_millis(1));
        }
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let Some(mut output) = self.0.stdout.take() {
            output.read_to_end(&mut stdout).unwrap();
        }
        self.0.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: self.0.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example `restart`, and the lines that it prints.
struct Restart {
    server: Server,
    lines: BufReader<ChildStdout>,
}

impl Restart {
    fn start(program: &Path, addresses: &Addresses) -> Self {
        let mut command = Command::new(program);
        command.arg(addresses.tcp.to_string()).arg(&addresses.path);
        // The sockets of another process, which was activated and started this one.
        command.envs([("LISTEN_PID", "1"), ("LISTEN_PIDFDID", "1"), ("LISTEN_FDS", "2")]);
        let mut server = Server::start(&mut command).unwrap();
        let lines = BufReader::new(server.0.stdout.take().unwrap());
        let mut restart = Self { server, lines };
        restart.expect_generation(0);
        restart
    }

    fn expect_generation(&mut self, generation: u32) {
        if self.lines.buffer().is_empty() {
            let mut polled = [PollFd::new(self.lines.get_ref(), PollFlags::IN)];
            let limit = Timespec::try_from(LIMIT).unwrap();
            assert_eq!(poll(&mut polled, Some(&limit)), Ok(1), "the program prints no line");
        }
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert_eq!(line, format!("generation {generation} is ready\n"));
    }

    /// Ends the program, which must remove its path.
    fn end(self, addresses: &Addresses) {
        self.server.signal(Signal::TERM);
        let output = self.server.wait();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        assert!(!addresses.path.exists(), "the path is left");
    }
}

/// Opens connections while `goes_on`, several at a time, so that some of them wait in the queue
/// during a restart. Returns how many each generation of the server answered.
fn load<C: Read + Write>(
    connect: impl Fn() -> io::Result<C>,
    goes_on: impl Fn() -> bool,
    answered: &AtomicUsize,
) -> BTreeMap<u32, usize> {
    const AT_ONCE: usize = 5;
    let mut counts = BTreeMap::new();
    while goes_on() {
        for client in [(); AT_ONCE].map(|()| connect().expect("no client is refused")) {
            let answer = answer(client).expect("no client is reset");
            let number = answer.strip_prefix("generation ").and_then(|n| n.strip_suffix('\n'));
            let generation = number.and_then(|n| n.parse().ok()).expect(&answer);
            assert!(counts.keys().all(|earlier| *earlier <= generation), "{counts:?}, {answer}");
            *counts.entry(generation).or_insert(0) += 1;
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    counts
}

#[test]
fn restart_refuses_and_resets_none_of_20000_clients() {
    const CONNECTIONS: usize = 20_000;
    const RESTARTS: u32 = 20;
    isolated_network(|_| {
        let Some(program) = example("restart") else { return };
        let addresses = Addresses::new();
        let mut server = Restart::start(&program, &addresses);
        let (start, answered, restarted) =
            (Instant::now(), AtomicUsize::new(0), AtomicBool::new(false));
        let goes_on = || {
            let is_done = answered.load(Ordering::Relaxed) >= CONNECTIONS;
            !(is_done && restarted.load(Ordering::Relaxed)) && start.elapsed() < LIMIT
        };
        let counts = std::thread::scope(|scope| {
            let tcp = || load(|| addresses.connect_tcp(), goes_on, &answered);
            let unix = || load(|| addresses.connect_unix(), goes_on, &answered);
            let clients =
                [spawn(scope, tcp), spawn(scope, unix), spawn(scope, tcp), spawn(scope, unix)];
            for generation in 0..=RESTARTS {
                if generation > 0 {
                    server.server.signal(Signal::HUP);
                    server.expect_generation(generation);
                }
                let due = answered.load(Ordering::Relaxed) + CONNECTIONS / (RESTARTS as usize + 1);
                while answered.load(Ordering::Relaxed) < due && start.elapsed() < LIMIT {
                    sleep(Duration::from_micros(100));
                }
            }
            restarted.store(true, Ordering::Relaxed);
            let mut counts = BTreeMap::new();
            for (generation, count) in clients.into_iter().flat_map(join) {
                *counts.entry(generation).or_insert(0) += count;
            }
            counts
        });
        let elapsed = start.elapsed().as_millis();
        server.end(&addresses);
        assert!(counts.keys().copied().eq(0..=RESTARTS), "{counts:?}");
        let connections: usize = counts.values().sum();
        assert!(connections >= CONNECTIONS, "only {connections} in {elapsed} ms");
        let least = counts.values().min().unwrap();
        println!(
            "clients answered during {RESTARTS} restarts: {connections} in {elapsed} ms, at least \
             {least} by each generation"
        );
    });
}

/// The signals come at any moment of the exec.
#[test]
fn restart_loses_no_signal_and_is_not_killed_by_one() {
    isolated_network(|_| {
        let Some(program) = example("restart") else { return };
        let addresses = Addresses::new();
        let server = Restart::start(&program, &addresses);
        for step in 0..100 {
            server.server.signal(Signal::HUP);
            sleep(Duration::from_micros(step * 40));
        }
        for answer in [
            addresses.connect_tcp().and_then(answer).unwrap(),
            addresses.connect_unix().and_then(answer).unwrap(),
        ] {
            assert!(answer.starts_with("generation "), "{answer}");
        }
        server.server.signal(Signal::HUP);
        server.end(&addresses);
    });
}

#[test]
fn restart_executes_the_file_that_has_its_name_now() {
    isolated_network(|_| {
        let Some(program) = example("restart") else { return };
        let addresses = Addresses::new();
        let copies = directory();
        let (copy, upgrade) = (copies.path().join("restart"), copies.path().join("upgrade"));
        fs::copy(&program, &copy).unwrap();
        fs::copy(&program, &upgrade).unwrap();
        let mut server = Restart::start(&copy, &addresses);

        fs::rename(&upgrade, &copy).unwrap();
        server.server.signal(Signal::HUP);
        server.expect_generation(1);
        assert_eq!(answer(addresses.connect_unix().unwrap()).unwrap(), "generation 1\n");

        fs::remove_file(&copy).unwrap();
        server.server.signal(Signal::HUP);
        let output = server.server.wait();
        assert_eq!(output.status.code(), Some(126), "{output:?}");
        let message = format!("restart: {}: No such file", copy.display());
        assert!(text(&output.stderr).starts_with(&message), "{output:?}");
    });
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Starts `activated` with these arguments, and gives it a socket `local` and a socket `web`.
/// Returns `None` if this machine cannot do that.
type Start = fn(&Path, &Addresses, &[String]) -> Option<Server>;

/// Starts `activated` with `systemd-socket-activate`, which opens the sockets and executes the
/// program when a client comes.
fn start_by_systemd(program: &Path, addresses: &Addresses, arguments: &[String]) -> Option<Server> {
    let mut command = Command::new("systemd-socket-activate");
    command.arg("--fdname=local:web").arg("-l").arg(&addresses.path);
    command.arg("-l").arg(addresses.tcp.to_string()).arg(program).args(arguments);
    match Server::start(&mut command) {
        Ok(server) => Some(server),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
            skip("all, because there is no systemd-socket-activate (Debian package systemd)");
            None
        }
    }
}

/// Starts `activated` with `fork`, `inherit::pass` and `execve`.
fn start_by_fork(program: &Path, addresses: &Addresses, arguments: &[String]) -> Server {
    let tcp = OwnedFd::from(TcpListener::bind(addresses.tcp).unwrap());
    let unix = OwnedFd::from(UnixListener::bind(&addresses.path).unwrap());
    let words = [program.as_os_str()].into_iter().chain(arguments.iter().map(OsStr::new));
    let words: Vec<_> = words.map(|word| CString::new(word.as_bytes()).unwrap()).collect();
    // After the fork of a process with threads, the closure must not allocate.
    let execute = move || {
        let mut argv = [null::<c_char>(); 16];
        argv.iter_mut().zip(&words).for_each(|(pointer, word)| *pointer = word.as_ptr());
        // In the order that makes `pass` exchange the two, if they are descriptors 3 and 4.
        let mut sockets = [(unix.as_fd(), "local"), (tcp.as_fd(), "web")];
        // SAFETY: the child executes the program or exits.
        let variables = unsafe { inherit::pass(&mut sockets) };
        let variables = variables.map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        let (mut texts, mut envp) = ([[0_u8; 64]; 4], [null::<c_char>(); 5]);
        for ((text, pointer), variable) in texts.iter_mut().zip(&mut envp).zip(variables) {
            write!(&mut text[..63], "{variable}")?;
            *pointer = text.as_ptr().cast();
        }
        // SAFETY: both arrays end with a null pointer, and their texts end with a zero byte.
        unsafe { libc::execve(argv[0], argv.as_ptr(), envp.as_ptr()) };
        Err(io::Error::last_os_error())
    };
    let mut command = Command::new(program);
    // SAFETY: the closure makes only calls that are async-signal-safe.
    unsafe { command.pre_exec(execute) };
    Server::start(&mut command).unwrap()
}

fn allow(rules: &[String]) -> Vec<String> {
    rules.iter().flat_map(|rule| ["--allow".to_owned(), rule.clone()]).collect()
}

fn activated_serves_allowed_sockets(start: Start) {
    isolated_network(|_| {
        let Some(program) = example("activated") else { return };
        let addresses = Addresses::new();
        let rules = [
            format!("host 127.0.0.0/8 port {}", addresses.tcp.port()),
            format!("beneath {}", addresses.path.parent().unwrap().display()),
        ];
        let Some(server) = start(&program, &addresses, &allow(&rules)) else { return };
        let (tcp, path) = (addresses.tcp, addresses.path.display());
        for _ in 0..3 {
            let client = retry(|| addresses.connect_tcp());
            assert_eq!(answer(client).unwrap(), format!("web {tcp}\n"));
            let client = retry(|| addresses.connect_unix());
            assert_eq!(answer(client).unwrap(), format!("local unix:{path}\n"));
        }
        server.signal(Signal::TERM);
        let output = server.wait();
        let port = tcp.port().to_string();
        let mut expected = Vec::new();
        for (address, port) in [(format!("unix:{path}"), "none"), (tcp.to_string(), &port)] {
            for operation in ["check_bind_address", "adopt_socket"] {
                expected.push(format!(
                    "capability=activated operation={operation} address={address} port={port} \
                     result=allowed"
                ));
            }
        }
        // `systemd-socket-activate` prints lines too.
        let printed = text(&output.stderr).lines();
        let records: Vec<_> = printed.filter(|line| line.starts_with("capability=")).collect();
        assert_eq!(records, expected);
    });
}

fn activated_refuses_other_sockets(start: Start) {
    isolated_network(|_| {
        let Some(program) = example("activated") else { return };
        let addresses = Addresses::new();
        let rules = ["any-path".to_owned(), format!("host ::1 port {}", addresses.tcp.port())];
        let Some(mut server) = start(&program, &addresses, &allow(&rules)) else { return };
        // The first client waits in the queue, which the refusal closes, or comes too late.
        let start = Instant::now();
        while server.0.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < LIMIT, "the program goes on");
            let answer = addresses.connect_tcp().and_then(answer).unwrap_or_default();
            assert_eq!(answer, "", "a client was served");
            sleep(Duration::from_millis(1));
        }
        let output = server.wait();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let stderr = text(&output.stderr);
        let record = format!("address={} port={}", addresses.tcp, addresses.tcp.port());
        assert!(stderr.contains(&format!("{record} result=denied\n")), "{stderr}");
        assert!(!stderr.contains(&format!("adopt_socket {record}")), "{stderr}");
        assert!(stderr.ends_with("activated: socket web: denied by the capability\n"), "{stderr}");
    });
}

#[test]
fn activated_serves_allowed_sockets_of_systemd() {
    activated_serves_allowed_sockets(start_by_systemd);
}

#[test]
fn activated_serves_allowed_sockets_of_any_parent() {
    activated_serves_allowed_sockets(|program, addresses, words| {
        Some(start_by_fork(program, addresses, words))
    });
}

#[test]
fn activated_refuses_other_sockets_of_systemd() {
    activated_refuses_other_sockets(start_by_systemd);
}

#[test]
fn activated_refuses_other_sockets_of_any_parent() {
    activated_refuses_other_sockets(|program, addresses, words| {
        Some(start_by_fork(program, addresses, words))
    });
}

#[test]
fn activated_refuses_to_start_without_sockets_or_with_wrong_arguments() {
    isolated_network(|_| {
        let Some(program) = example("activated") else { return };
        let server = Server::start(&mut Command::new(&program)).unwrap();
        let output = server.wait();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            text(&output.stderr).starts_with("activated: no sockets were passed"),
            "{output:?}"
        );

        for (words, message) in [
            (["--deny", "port 1"], "activated: usage: activated --allow RULE ...\n"),
            (["--allow", "port x"], "activated: port x: not a rule"),
        ] {
            let (addresses, words) = (Addresses::new(), words.map(str::to_owned));
            let output = start_by_fork(&program, &addresses, &words).wait();
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(text(&output.stderr).starts_with(message), "{output:?}");
        }
    });
}
