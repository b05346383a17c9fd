//! How the tests run the tool, and the program that it starts: this test binary again.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::{env, fs, process};

use netbind::alloc::Global;
use netbind::error::Errno;
use netbind::{Listener, SocketError, inherit};

/// The variable that says what the helper does.
const TASK: &str = "NETBIND_TEST_HELPER";

/// The statuses of the helper.
pub const LISTENS: i32 = 0;
pub const DENIED: i32 = 10;
pub const UNSUPPORTED: i32 = 11;
pub const FAILED: i32 = 12;

pub fn netbind() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netbind"));
    command.stdin(Stdio::null());
    command
}

/// Runs the tool to its end.
pub fn run<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Finished {
    finish(netbind().args(words))
}

pub fn finish(command: &mut Command) -> Finished {
    Finished::from(command.output().expect("the tool starts"))
}

pub struct Finished {
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            status: output.status,
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Finished {
    #[track_caller]
    pub fn expect(&self, status: i32) -> &Self {
        assert_eq!(self.status.code(), Some(status), "{}{}", self.output, self.errors);
        self
    }

    /// Checks the one line of standard error, or the last one.
    #[track_caller]
    pub fn says(&self, message: &str) -> &Self {
        let last = self.errors.lines().last().unwrap_or_default();
        assert!(last.starts_with("netbind: ") && last.contains(message), "{}", self.errors);
        self
    }
}

/// Sets the task of the helper, and returns the words that start it.
pub fn helper(command: &mut Command, task: &str, arguments: &[&[u8]]) -> Vec<OsString> {
    use std::os::unix::ffi::OsStringExt;
    let mut value = task.as_bytes().to_vec();
    for argument in arguments {
        value.push(0x1f);
        value.extend_from_slice(argument);
    }
    command.env(TASK, OsString::from_vec(value));
    let program = env::current_exe().expect("a test binary").into_os_string();
    let rest = ["--exact", "support::helper_of_the_tests", "--nocapture", "--test-threads=1"];
    [program].into_iter().chain(rest.map(OsString::from)).collect()
}

/// Starts `netbind COMMAND OPTIONS -- HELPER`.
pub fn with_helper(words: &[&str], task: &str, arguments: &[&[u8]]) -> Command {
    let mut command = netbind();
    let program = helper(&mut command, task, arguments);
    command.args(words).arg("--").args(program);
    command
}

/// Is the helper if it was started as one.
#[test]
fn helper_of_the_tests() {
    use std::os::unix::ffi::OsStringExt;
    let Some(task) = env::var_os(TASK) else { return };
    let task = task.into_vec();
    let words: Vec<&[u8]> = task.split(|byte| *byte == 0x1f).collect();
    let status = match words[0] {
        b"bind" => bind(&words[1..]),
        b"activated" => activated(words[1]),
        b"udp" => udp(words[1]),
        other => panic!("unknown task {}", other.escape_ascii()),
    };
    process::exit(status);
}

/// Listens at all addresses, without a check of its own.
fn bind(addresses: &[&[u8]]) -> i32 {
    let mut listeners: Vec<Listener<Global>> = Vec::new();
    for address in addresses {
        match netbind::listen(address, Global) {
            Ok(listener) => listeners.push(listener),
            Err(SocketError::System { errno: Errno::ACCESS, .. }) => return DENIED,
            Err(error) if error.is_not_supported() => return UNSUPPORTED,
            Err(_) => return FAILED,
        }
    }
    LISTENS
}

fn udp(address: &[u8]) -> i32 {
    match std::net::UdpSocket::bind(std::str::from_utf8(address).expect("an address")) {
        Ok(_) => LISTENS,
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => DENIED,
        Err(_) => FAILED,
    }
}

/// Takes the sockets that were passed. Writes their names and addresses to the Unix socket
/// `report`, and then answers one client of each.
fn activated(report: &[u8]) -> i32 {
    // SAFETY: nothing else has used these descriptors: the sockets were passed by the tool.
    #[allow(unsafe_code)]
    let inherited = unsafe { inherit::take() }.expect("sockets");
    let options = netbind::ListenOptions::new();
    let mut report =
        UnixStream::connect(Path::new(std::str::from_utf8(report).unwrap())).expect("the test");
    let mut listeners = Vec::new();
    for socket in inherited {
        let name = socket.name.to_owned();
        let listener = options.adopt(socket.fd, Global).expect("a listening socket");
        writeln!(report, "{name} {}", listener.local_address().unwrap()).unwrap();
        listeners.push((name, listener));
    }
    writeln!(report, "ready").unwrap();
    for (name, listener) in listeners {
        let (client, _) = listener.accept().expect("a client");
        fs::File::from(client).write_all(name.as_bytes()).unwrap();
    }
    LISTENS
}

/// A temporary directory with a short name, so that Unix paths fit.
pub struct Directory(tempfile::TempDir);

impl Directory {
    pub fn new() -> Self {
        Self(tempfile::Builder::new().prefix("nb").tempdir_in("/tmp").expect("a directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).into_os_string().into_string().expect("UTF-8")
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).expect("a file");
        self.text(name)
    }

    /// Returns the names of all entries.
    pub fn entries(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("the directory");
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Lets every user enter and write.
    pub fn open_to_all(&self) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    }
}

/// A tool that runs, whose output is read line by line.
pub struct Running {
    pub child: Child,
    pub lines: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the tool starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    /// Waits for the next line of the program.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim_end().into()
    }

    pub fn signal(&self, signal: i32) {
        kill(self.child.id(), signal);
    }

    /// Waits for the end.
    pub fn finish(mut self) -> Finished {
        // A program that reads must not see an end before its signal.
        let _open = self.child.stdin.take();
        let mut output = Vec::new();
        self.lines.read_to_end(&mut output).expect("the output");
        let mut finished = Finished::from(self.child.wait_with_output().expect("an end"));
        finished.output = String::from_utf8_lossy(&output).into_owned();
        finished
    }
}

pub fn kill(process: u32, signal: i32) {
    // SAFETY: the call takes numbers only.
    #[allow(unsafe_code)]
    let sent = unsafe { libc::kill(process.cast_signed(), signal) };
    assert_eq!(sent, 0);
}

/// Returns true for root, and prints that the test is skipped otherwise.
pub fn is_root(test: &str) -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    });
    if !is_root {
        println!("{test}: skipped, because it needs root");
    }
    is_root
}
