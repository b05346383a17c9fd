//! Every system call of taking and passing sockets fails in turn, with the errnos of its man page.

use netbind::error::Errno;
use netbind::inherit::InheritError;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::process::in_own_process;
use super::{
    assert_listens, at, identity, is_close_on_exec, open_at_3, open_close_on_exec_at_3, own,
    own_pid, pass, pidfd_id, take_from_bytes,
};
use crate::support::calls::Call;
use crate::support::machine::skip;
use crate::support::supervisor::{supervised, take_forced, watched};
use crate::support::thread::descriptors;

const FCNTL: &[i32] =
    &[libc::EBADF, libc::EINVAL, libc::EMFILE, libc::EPERM, libc::EACCES, libc::EINTR];
const DUP2: &[i32] = &[libc::EBADF, libc::EBUSY, libc::EINTR, libc::EMFILE, libc::ENOMEM];
const PIDFD_OPEN: &[i32] = &[
    libc::EINVAL,
    libc::EMFILE,
    libc::ENFILE,
    libc::ENODEV,
    libc::ENOMEM,
    libc::ESRCH,
    libc::EPERM,
];
const FSTATFS: &[i32] = &[
    libc::EBADF,
    libc::EFAULT,
    libc::EINTR,
    libc::EIO,
    libc::ENOMEM,
    libc::ENOSYS,
    libc::EOVERFLOW,
];
const FSTAT: &[i32] = &[libc::EACCES, libc::EBADF, libc::EFAULT, libc::ENOMEM, libc::EOVERFLOW];

fn system(errno: i32) -> InheritError {
    InheritError::System(Errno::from_raw_os_error(errno).unwrap())
}

/// Returns a function that fails the call with this number, counted from 1, among those whose text
/// contains `call`.
fn fail(call: &str, number: usize, errno: i32) -> impl FnMut(&Call) -> Option<i32> + Send {
    let mut made = 0;
    move |text| {
        let is_meant = text.to_string().contains(call);
        made += usize::from(is_meant);
        (is_meant && made == number).then_some(errno)
    }
}

/// Returns the open descriptors from 3 on, with the socket and close-on-exec of each.
fn table() -> Vec<(i32, u64, bool)> {
    let open = descriptors().into_iter().filter(|fd| *fd > 2);
    open.map(|fd| (fd, identity(at(fd)), is_close_on_exec(fd))).collect()
}

#[test]
fn sockets_that_cannot_be_duplicated_stay_and_no_duplicate_is_left() {
    for number in 1..=3 {
        for errno in FCNTL {
            let ((), _) = supervised(fail("F_DUPFD_CLOEXEC", number, *errno), || {
                open_close_on_exec_at_3(3);
                let before = table();
                let mut sockets = [(at(4), "a"), (at(5), "b"), (at(3), "c")];
                let error = watched(|| pass(&mut sockets).map(drop)).unwrap_err();
                assert_eq!(error, system(*errno), "{number}");
                assert_eq!(table(), before, "{number}");
                for fd in [3, 4, 5] {
                    assert_listens(own(fd));
                }
            });
            assert_eq!(take_forced(), 1);
        }
    }
}

/// The targets that could be replaced are, and the others stay.
#[test]
fn sockets_that_cannot_be_moved_leave_no_duplicate() {
    for number in 1..=3 {
        for errno in DUP2 {
            let ((), _) = supervised(fail("dup2(", number, *errno), || {
                open_close_on_exec_at_3(3);
                let before = table();
                let mut sockets = [(at(4), "a"), (at(5), "b"), (at(3), "c")];
                let error = watched(|| pass(&mut sockets).map(drop)).unwrap_err();
                assert_eq!(error, system(*errno), "{number}");
                let expected: Vec<_> = [(3, before[1].1), (4, before[2].1), (5, before[0].1)]
                    .into_iter()
                    .enumerate()
                    .map(
                        |(index, (fd, socket))| {
                            if index + 1 == number { before[index] } else { (fd, socket, false) }
                        },
                    )
                    .collect();
                assert_eq!(table(), expected, "{number}");
            });
            assert_eq!(take_forced(), 1);
        }
    }
}

/// Otherwise an older value in the environment would make the program take nothing.
#[test]
fn no_socket_is_passed_if_the_id_of_the_pidfd_cannot_be_found() {
    let errnos = [("pidfd_open(", PIDFD_OPEN), ("fstatfs(", FSTATFS), ("fstat(", FSTAT)];
    for (call, errnos) in errnos.into_iter().filter(|_| pidfd_id().is_some()) {
        for errno in errnos {
            let ((), _) = supervised(fail(call, 1, *errno), || {
                open_close_on_exec_at_3(1);
                let mut sockets = [(at(3), "a")];
                let before = table();
                let passed = watched(|| pass(&mut sockets)).map(Iterator::count);
                assert_eq!(passed, Err(system(*errno)), "{call}");
                assert_eq!(table(), before, "{call}");
            });
            assert_eq!(take_forced(), 1);
        }
    }
}

/// Kernels before 5.3 have no pidfds.
#[test]
fn sockets_are_passed_without_an_id_if_there_are_no_pidfds() {
    let ((), _) = supervised(fail("pidfd_open(", 1, libc::ENOSYS), || {
        open_close_on_exec_at_3(1);
        let mut sockets = [(at(3), "a")];
        let variables = watched(|| pass(&mut sockets)).unwrap();
        let names: Vec<_> = variables.map(|variable| variable.name()).collect();
        assert_eq!(names, ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]);
    });
    assert_eq!(take_forced(), 1);
}

/// With the limit of the process itself.
#[test]
fn a_process_without_free_descriptors_passes_nothing() {
    fn stage() {
        open_close_on_exec_at_3(3);
        let before = table();
        let all = getrlimit(Resource::Nofile);
        // The duplicates need 6, 7 and 8.
        for (limit, errno) in [(6, libc::EMFILE), (7, libc::EMFILE), (8, libc::EMFILE)] {
            setrlimit(Resource::Nofile, Rlimit { current: Some(limit), ..all }).unwrap();
            let mut sockets = [(at(4), "a"), (at(5), "b"), (at(3), "c")];
            assert_eq!(pass(&mut sockets).map(drop), Err(system(errno)), "{limit}");
            setrlimit(Resource::Nofile, all).unwrap();
            assert_eq!(table(), before, "{limit}");
        }
        setrlimit(Resource::Nofile, Rlimit { current: Some(9), ..all }).unwrap();
        let mut sockets = [(at(4), "a"), (at(5), "b"), (at(3), "c")];
        assert!(pass(&mut sockets).is_ok());
        setrlimit(Resource::Nofile, all).unwrap();
        let moved = [(3, before[1].1, false), (4, before[2].1, false), (5, before[0].1, false)];
        assert_eq!(table(), moved);
    }
    in_own_process(a_process_without_free_descriptors_passes_nothing, &[stage]);
}

#[test]
fn sockets_whose_process_cannot_be_verified_are_not_taken() {
    let Some(id) = pidfd_id() else {
        return skip("LISTEN_PIDFDID, because pidfds have no inode numbers of their own");
    };
    let entries = [own_pid(), format!("LISTEN_PIDFDID={id}"), "LISTEN_FDS=1".into()];
    let entries: Vec<_> = entries.iter().map(String::as_bytes).collect();
    for (call, errnos) in [("pidfd_open(", PIDFD_OPEN), ("fstatfs(", FSTATFS), ("fstat(", FSTAT)] {
        for errno in errnos {
            let ((), _) = supervised(fail(call, 1, *errno), || {
                open_at_3(1);
                let before = table();
                let error = watched(|| take_from_bytes(&entries)).map(drop).unwrap_err();
                assert_eq!(error, system(*errno), "{call}");
                assert_eq!(table(), before, "{call}");
            });
            assert_eq!(take_forced(), 1);
        }
    }
}

/// Takes one socket, while the first such call fails.
fn take_with_fault(call: &str, errno: i32, id: &str) {
    let entries = [own_pid(), format!("LISTEN_PIDFDID={id}"), "LISTEN_FDS=1".into()];
    let entries: Vec<_> = entries.iter().map(String::as_bytes).collect();
    supervised(fail(call, 1, errno), || {
        open_at_3(1);
        let mut inherited = watched(|| take_from_bytes(&entries)).unwrap();
        assert_listens(inherited.next().unwrap().fd);
    });
    assert_eq!(take_forced(), 1);
}

/// Kernels before 5.3 have none.
#[test]
fn sockets_are_taken_if_there_are_no_pidfds() {
    fn stage() {
        take_with_fault("pidfd_open(", libc::ENOSYS, "0");
    }
    in_own_process(sockets_are_taken_if_there_are_no_pidfds, &[stage]);
}

#[test]
fn sockets_are_taken_if_the_close_of_the_pidfd_fails() {
    fn stage() {
        if let Some(id) = pidfd_id() {
            take_with_fault("close(4", libc::EINTR, &id.to_string());
        }
    }
    in_own_process(sockets_are_taken_if_the_close_of_the_pidfd_fails, &[stage]);
}

#[test]
fn sockets_that_cannot_be_made_close_on_exec_are_not_closed() {
    fn stage() {
        let entries = [own_pid(), "LISTEN_FDS=3".into()];
        let entries: Vec<_> = entries.iter().map(String::as_bytes).collect();
        supervised(fail("F_SETFD", 2, libc::EPERM), || {
            open_at_3(3);
            let error = watched(|| take_from_bytes(&entries)).map(drop).unwrap_err();
            assert_eq!(error, system(libc::EPERM));
            assert_eq!(descriptors(), [0, 1, 2, 3, 4, 5], "nothing is taken and nothing is closed");
            // So they can be taken later.
            assert_eq!(take_from_bytes(&entries).unwrap().len(), 3);
        });
    }
    in_own_process(sockets_that_cannot_be_made_close_on_exec_are_not_closed, &[stage]);
}
