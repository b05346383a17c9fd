//! Sockets that are taken. That is possible once in a process, so each test runs in its own, and
//! some execute a program there, as a service manager does.

use std::ffi::{CString, OsString};
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use allocator_api2::alloc::Global;
use netbind::error::{Errno, Step};
use netbind::inherit::{InheritError, Inherited, Variables};
use netbind::{ListenOptions, SocketError, listen};

use super::{
    assert_listens, at, identity, is_close_on_exec, open_at_3, own_pid, pass, pidfd_id, take_from,
};
use crate::support::machine::{directory, skip};
use crate::support::process::{command, complete_stage, run, stage};
use crate::support::thread::{descriptors, isolated};

/// Runs the first stage of a test in a process of its own, in an isolated thread. That stage can
/// execute the next one.
pub(super) fn in_own_process<T: Copy + Send + Sync>(test: T, stages: &[fn()]) {
    match stage() {
        // No other test's sockets are open in the process, because the thread is isolated.
        None => isolated(|| run(command(test, 1)).unwrap()),
        Some(1) => {
            isolated(stages[0]);
            complete_stage();
        }
        // The descriptors are those of the process.
        Some(stage) => {
            stages[stage as usize - 1]();
            complete_stage();
        }
    }
}

/// Returns the number, the name and close-on-exec of each socket.
fn list(inherited: Inherited<'_>) -> Vec<(RawFd, String, bool)> {
    let mut list = Vec::new();
    for socket in inherited {
        let fd = socket.fd.as_raw_fd();
        list.push((fd, socket.name.into(), is_close_on_exec(fd)));
        assert_listens(socket.fd);
    }
    list
}

#[test]
fn the_sockets_are_taken_with_their_names_in_the_order_of_their_descriptors() {
    fn stage() {
        let pid = own_pid();
        open_at_3(4);
        let identities = [3, 4, 5, 6].map(|fd| identity(at(fd)));
        let before = descriptors();
        let entries =
            ["PATH=/", &pid, "LISTEN_FDS=3", "LISTEN_FDNAMES=web:\u{fc}b er:web", "LISTEN_FDS=4"];
        let mut inherited = take_from(&entries).unwrap();
        assert_eq!(descriptors(), before, "nothing was opened or closed");
        assert_eq!([3, 4, 5, 6].map(is_close_on_exec), [true, true, true, false]);
        assert_eq!((inherited.len(), inherited.size_hint()), (3, (3, Some(3))));
        for (fd, name) in [(3, "web"), (4, "\u{fc}b er"), (5, "web")] {
            let socket = inherited.next().unwrap();
            assert_eq!((socket.fd.as_raw_fd(), socket.name), (fd, name));
            assert_eq!(identity(&socket.fd), identities[usize::try_from(fd - 3).unwrap()]);
            assert_listens(socket.fd);
        }
        assert_eq!(inherited.len(), 0);
        assert!(inherited.next().is_none() && inherited.next().is_none());
        drop(inherited);
        assert_eq!(descriptors(), [0, 1, 2, 6], "only those that were counted are closed");
    }
    in_own_process(
        the_sockets_are_taken_with_their_names_in_the_order_of_their_descriptors,
        &[stage],
    );
}

#[test]
fn sockets_without_names_are_unknown() {
    fn stage() {
        let pid = own_pid();
        open_at_3(2);
        let list = list(take_from(&[&pid, "LISTEN_FDS=2"]).unwrap());
        assert_eq!(list, [(3, "unknown".into(), true), (4, "unknown".into(), true)]);
    }
    in_own_process(sockets_without_names_are_unknown, &[stage]);
}

#[test]
fn names_can_be_empty() {
    fn stage() {
        let pid = own_pid();
        open_at_3(3);
        let list = list(take_from(&[&pid, "LISTEN_FDS=3", "LISTEN_FDNAMES=:a:"]).unwrap());
        let names: Vec<_> = list.into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(names, ["", "a", ""]);
    }
    in_own_process(names_can_be_empty, &[stage]);
}

#[test]
fn sockets_for_the_right_pidfd_are_taken() {
    fn stage() {
        let Some(id) = pidfd_id() else {
            return skip("LISTEN_PIDFDID, because pidfds have no inode numbers of their own");
        };
        let (pid, id) = (own_pid(), format!("LISTEN_PIDFDID={id}"));
        open_at_3(1);
        let list = list(take_from(&[&pid, &id, "LISTEN_FDS=1"]).unwrap());
        assert_eq!(list, [(3, "unknown".into(), true)]);
    }
    in_own_process(sockets_for_the_right_pidfd_are_taken, &[stage]);
}

#[test]
fn sockets_can_be_taken_once_and_a_second_attempt_closes_nothing() {
    fn stage() {
        let pid = own_pid();
        open_at_3(2);
        // These attempts take nothing, so they do not count.
        assert!(take_from(&[&pid, "LISTEN_FDS=x"]).is_err());
        assert!(take_from(&[&pid, "LISTEN_FDS=3"]).is_err());
        assert_eq!(take_from(&[&pid, "LISTEN_FDS=0"]).unwrap().len(), 0);
        assert_eq!(take_from(&["LISTEN_PID=1", "LISTEN_FDS=2"]).unwrap().len(), 0);

        let mut inherited = take_from(&[&pid, "LISTEN_FDS=2"]).unwrap();
        let open = descriptors();
        for entries in [[&pid, "LISTEN_FDS=2"], [&pid, "LISTEN_FDS=1"], [&pid, "LISTEN_FDS=9"]] {
            assert_eq!(take_from(&entries).unwrap_err(), InheritError::AlreadyTaken);
            assert_eq!(descriptors(), open);
        }
        assert_listens(inherited.next().unwrap().fd);
        assert_eq!(take_from(&[&pid, "LISTEN_FDS=2"]).unwrap_err(), InheritError::AlreadyTaken);
        assert_listens(inherited.next().unwrap().fd);
        // Neither can other sockets that have the numbers now.
        open_at_3(2);
        let open = descriptors();
        drop(inherited);
        assert_eq!(take_from(&[&pid, "LISTEN_FDS=2"]).unwrap_err(), InheritError::AlreadyTaken);
        assert_eq!(descriptors(), open);
        assert!(!is_close_on_exec(3));
        // It goes on telling that there is nothing for this process.
        assert_eq!(take_from(&["LISTEN_PID=1", "LISTEN_FDS=2"]).unwrap().len(), 0);
    }
    in_own_process(sockets_can_be_taken_once_and_a_second_attempt_closes_nothing, &[stage]);
}

#[test]
fn sockets_that_are_not_wanted_are_closed_and_the_others_stay() {
    fn stage() {
        let pid = own_pid();
        open_at_3(5);
        let mut inherited = take_from(&[&pid, "LISTEN_FDS=4"]).unwrap();
        let wanted = inherited.next().unwrap().fd;
        let also_wanted = inherited.nth(1).unwrap().fd;
        assert_eq!(descriptors(), [0, 1, 2, 3, 5, 6, 7], "the one that was skipped");
        drop(inherited);
        assert_eq!(descriptors(), [0, 1, 2, 3, 5, 7]);
        assert_listens(wanted);
        assert_listens(also_wanted);
        assert!(!is_close_on_exec(7));
    }
    in_own_process(sockets_that_are_not_wanted_are_closed_and_the_others_stay, &[stage]);
}

#[test]
fn descriptors_that_are_no_listeners_are_taken_but_not_adopted() {
    fn stage() {
        let directory = directory();
        let pid = own_pid();
        let file = std::fs::File::create(directory.path().join("file")).unwrap();
        let (reader, _writer) = std::io::pipe().unwrap();
        let mut sockets = [(file.as_fd(), "file"), (reader.as_fd(), "pipe")].map(|(fd, name)| {
            // Above the targets, where their owners are not replaced.
            let above = rustix::io::fcntl_dupfd_cloexec(fd, 40).unwrap();
            (above, name)
        });
        drop((file, reader));
        let [(first, _), (second, _)] = &mut sockets;
        pass(&mut [(first.as_fd(), "file"), (second.as_fd(), "pipe")]).unwrap();
        let entries = [&*pid, "LISTEN_FDS=2", "LISTEN_FDNAMES=file:pipe"];
        for socket in take_from(&entries).unwrap() {
            let (number, arena) = (socket.fd.as_raw_fd(), crate::support::memory::Arena::new());
            let error = ListenOptions::new().adopt(socket.fd, &arena).unwrap_err();
            let expected = SocketError::System { step: Step::Adopt, errno: Errno::NOTSOCK };
            assert_eq!(error.error(), expected, "{}", socket.name);
            assert_eq!(error.into_fd().as_raw_fd(), number);
        }
    }
    in_own_process(descriptors_that_are_no_listeners_are_taken_but_not_adopted, &[stage]);
}

/// Takes the sockets from the environment of this process.
fn take() -> Result<Inherited<'static>, InheritError> {
    #[cfg(feature = "std")]
    // SAFETY: nothing else in this process owns the descriptors, which are not those of the harness.
    return unsafe { netbind::inherit::take() };
    #[cfg(not(feature = "std"))]
    {
        /// Keeps the entries, whose names are borrowed. A leak would be an error of the sanitizer.
        static KEPT: std::sync::Mutex<Vec<&[Vec<u8>]>> = std::sync::Mutex::new(Vec::new());
        let entries: Vec<_> = std::env::vars_os()
            .map(|(name, value)| [name.as_bytes(), value.as_bytes()].join(b"=".as_slice()))
            .collect();
        let entries: &'static [Vec<u8>] = entries.leak();
        KEPT.lock().unwrap().push(entries);
        super::take_from_bytes(&entries.iter().map(std::vec::Vec::as_slice).collect::<Vec<_>>())
    }
}

/// Returns the variables of this process, in any order.
fn environment() -> std::collections::BTreeMap<OsString, OsString> {
    std::env::vars_os().collect()
}

/// The addresses that a test passes on. The path is in the working directory.
fn addresses() -> [String; 3] {
    let id = std::process::id();
    ["127.0.0.1:0".into(), "unix:run.sock".into(), format!("unix:@netbind-inherit-{id}")]
}

/// In the program that was executed: takes, adopts, and accepts from clients of its own.
fn serve() {
    assert_eq!(descriptors(), [0, 1, 2, 3, 4, 5], "the descriptors that were passed");
    let before = environment();
    let mut names = Vec::new();
    for socket in take().unwrap() {
        names.push(socket.name);
        let options = ListenOptions::new().nonblocking(true);
        let listener = options.adopt(socket.fd, Global).unwrap();
        assert!(is_close_on_exec(listener.as_raw_fd()));
        let mut client = crate::adopt::client_of(&listener.local_address().unwrap());
        let clock = netbind::MonotonicClock::new();
        let context =
            netbind::Context::new(&clock).with_timeout(std::time::Duration::from_secs(60));
        let (connection, _) = listener.accept_with_context(&context).unwrap();
        crate::listen::talk(&mut client, connection);
    }
    assert_eq!(names, ["web", "path", "a name"]);
    assert_eq!(descriptors(), [0, 1, 2], "all were closed");
    assert_eq!(environment(), before);
    assert_eq!(take().unwrap_err(), InheritError::AlreadyTaken);
}

/// The example in the documentation of `pass`: the process executes another program.
#[test]
fn an_executed_program_takes_adopts_and_accepts() {
    fn start() {
        let directory = directory();
        std::env::set_current_dir(directory.path()).unwrap();
        let listeners = addresses().map(|address| listen(address, Global).unwrap());
        let [tcp, path, name] = &listeners;
        let mut sockets = [(tcp.as_fd(), "web"), (path.as_fd(), "path"), (name.as_fd(), "a name")];
        // The descriptors 3, 4 and 5 are exactly these, in another order or not.
        sockets.iter().zip(3..).for_each(|((fd, _), at)| assert_eq!(fd.as_raw_fd(), at));
        let variables = pass(&mut sockets).unwrap();
        let error = command(an_executed_program_takes_adopts_and_accepts, 2)
            .envs(variables.map(|variable| (variable.name(), variable.value().to_string())))
            .exec();
        panic!("{error}");
    }
    fn program() {
        serve();
        // The first stage did not live to remove it.
        std::fs::remove_dir_all(std::env::current_dir().unwrap()).unwrap();
    }
    in_own_process(an_executed_program_takes_adopts_and_accepts, &[start, program]);
}

/// The variables are inherited by the children of the program, for which they are not meant.
#[test]
fn a_child_of_the_executed_program_takes_nothing() {
    fn start() {
        let tcp = listen("127.0.0.1:0", Global).unwrap();
        let mut sockets = [(tcp.as_fd(), "web")];
        let variables = pass(&mut sockets).unwrap();
        let error = command(a_child_of_the_executed_program_takes_nothing, 2)
            .envs(variables.map(|variable| (variable.name(), variable.value().to_string())))
            .exec();
        panic!("{error}");
    }
    fn parent() {
        run(command(a_child_of_the_executed_program_takes_nothing, 3)).unwrap();
        assert_eq!(list(take().unwrap()), [(3, "web".into(), true)]);
    }
    fn child() {
        // It even has the descriptor, which is not its own.
        assert_eq!(descriptors(), [0, 1, 2, 3]);
        assert_eq!(take().unwrap().len(), 0);
        assert_eq!(descriptors(), [0, 1, 2, 3]);
    }
    in_own_process(a_child_of_the_executed_program_takes_nothing, &[start, parent, child]);
}

/// A program and its environment, with room for the variables of `pass`, so that a child allocates
/// nothing. The lists point to the strings.
struct Program {
    _strings: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    variables: [String; 4],
}

// SAFETY: the value owns the strings that it points to.
unsafe impl Send for Program {}

// SAFETY: a shared reference to it does nothing.
unsafe impl Sync for Program {}

impl Program {
    /// Returns the program of a command, with its environment, but without the variables of `pass`.
    fn new(command: &Command) -> Self {
        let arguments = std::iter::once(command.get_program()).chain(command.get_args());
        let arguments: Vec<_> = arguments.map(|text| text.as_bytes().to_vec()).collect();
        let count = arguments.len();
        let mut variables = environment();
        let changed = command.get_envs().map(|(name, value)| (name.into(), value.unwrap().into()));
        variables.extend(changed);
        variables.retain(|name, _| !name.as_bytes().starts_with(b"LISTEN_"));
        let variables = variables
            .into_iter()
            .map(|(name, value)| [name.as_bytes(), value.as_bytes()].join(&b'='));
        let strings: Vec<_> = arguments
            .into_iter()
            .chain(variables)
            .map(|text| CString::new(text).unwrap())
            .collect();
        let pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        let mut argv = pointers[..count].to_vec();
        argv.push(std::ptr::null());
        let mut envp = Vec::with_capacity(pointers.len() + 4);
        envp.extend(&pointers[count..]);
        let variables = std::array::from_fn(|_| String::with_capacity(64));
        Self { _strings: strings, argv, envp, variables }
    }

    /// Executes the program with these variables. Returns only if that fails.
    fn execute(&mut self, variables: Variables<'_>) -> std::io::Error {
        for (text, variable) in self.variables.iter_mut().zip(variables) {
            let _ = write!(text, "{variable}\0");
            self.envp.push(text.as_ptr().cast());
        }
        self.envp.push(std::ptr::null());
        // SAFETY: the strings end with a NUL, the lists with a null pointer, and all outlive it.
        unsafe { libc::execve(self.argv[0], self.argv.as_ptr(), self.envp.as_ptr()) };
        std::io::Error::last_os_error()
    }
}

/// Starts the second stage in a child: `pass` is called between `fork` and `exec`, so the variables
/// are about the child.
fn fork_and_exec<T: Copy>(test: T) {
    let directory = directory();
    std::env::set_current_dir(directory.path()).unwrap();
    let listeners = addresses().map(|address| listen(address, Global).unwrap());
    let fds = [0, 1, 2].map(|index| listeners[index].as_raw_fd());
    let mut command = command(test, 2);
    let mut program = Program::new(&command);
    let in_child = move || {
        let [tcp, path, name] = fds.map(at);
        let mut sockets = [(tcp, "web"), (path, "path"), (name, "a name")];
        match pass(&mut sockets) {
            Ok(variables) => Err(program.execute(variables)),
            Err(_) => Err(std::io::ErrorKind::Other.into()),
        }
    };
    // SAFETY: the function makes system calls and does not allocate.
    unsafe { command.pre_exec(in_child) };
    run(command).unwrap();
    // The parent still has its own.
    for listener in listeners {
        assert!(is_close_on_exec(listener.as_raw_fd()));
        listener.close().unwrap();
    }
}

#[test]
fn a_program_that_is_executed_in_a_child_takes_adopts_and_accepts() {
    fn start() {
        fork_and_exec(a_program_that_is_executed_in_a_child_takes_adopts_and_accepts);
    }
    in_own_process(a_program_that_is_executed_in_a_child_takes_adopts_and_accepts, &[start, serve]);
}

/// The environment of the parent can have an id of its own, from a service manager.
#[test]
fn the_pidfd_id_of_an_executed_program_is_its_own() {
    fn start() {
        // SAFETY: the other thread of this process, the harness, only waits.
        unsafe { std::env::set_var("LISTEN_PIDFDID", pidfd_id().unwrap_or(1).to_string()) };
        fork_and_exec(the_pidfd_id_of_an_executed_program_is_its_own);
    }
    fn program() {
        let id = std::env::var("LISTEN_PIDFDID").ok();
        assert_eq!(id, pidfd_id().map(|id| id.to_string()));
        serve();
    }
    in_own_process(the_pidfd_id_of_an_executed_program_is_its_own, &[start, program]);
}
