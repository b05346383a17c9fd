//! The names of Unix sockets, and the files that are made of them.
#![allow(unsafe_code)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use netbind::enforce::Outcome as Came;
use netbind::error::Errno;

use super::super::harness::{become_nobody, in_child, is_root};
use super::super::probe::{Outcome, capability, directory};
use super::{assert_serves, bind_new, bind_unix, listen, name, outcomes, supervise, unix};

const REFUSED: Outcome = Err(Errno::ACCESS);

/// Returns the bytes of a path of this length in a directory.
fn path_of(length: usize, directory: &Path) -> Vec<u8> {
    let mut path = [directory.as_os_str().as_bytes(), b"/"].concat();
    path.resize(length, b'x');
    path
}

/// The kernel takes them, and `BindAddress` has no form for them.
pub(super) fn names_without_a_form_are_refused() {
    let directory = directory();
    let longest = path_of(108, directory.path());
    let everything = capability(&["any-path", "any-abstract"]);
    let names: [&[u8]; 5] = [&longest, b"\0", b"\0a\0b", b"\0app\0", &[0; 108]];
    let answers = supervise(&everything, || {
        for bytes in names {
            assert_eq!(bind_unix(bytes).map(drop), REFUSED, "{bytes:?}");
        }
        assert_eq!(bind_unix(&path_of(107, directory.path())).map(drop), Ok(()));
    });
    assert_eq!(answers.len(), names.len() + 1);
    for answered in &answers[..names.len()] {
        assert_eq!(answered.address, None);
        assert_eq!(answered.outcome, Came::Denied);
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    for bytes in names {
        assert_eq!(bind_unix(bytes).map(drop), Ok(()), "without a supervisor: {bytes:?}");
    }
}

pub(super) fn a_padded_path_is_that_path() {
    let directory = directory();
    let path = directory.path().join("s");
    let bytes = path.as_os_str().as_bytes();
    let rule = format!("path {}", path.display());
    for padding in [0, 1, 2, 108 - bytes.len()] {
        let padded = [bytes, &vec![0; padding]].concat();
        let free = name(&bind_unix(&padded).unwrap());
        fs::remove_file(&path).unwrap();
        supervise(&capability(&[&rule]), || {
            let socket = bind_unix(&padded).unwrap();
            assert_eq!(name(&socket), free, "{padding} bytes of padding");
            listen(&socket, 1).unwrap();
            assert_serves(&socket);
            assert!(path.symlink_metadata().unwrap().file_type().is_socket());
        });
        fs::remove_file(&path).unwrap();
    }
    let garbage = [bytes, b"\0garbage"].concat();
    supervise(&capability(&[&rule]), || drop(bind_unix(&garbage).expect("only the path counts")));
}

pub(super) fn a_relative_path_is_in_the_directory_of_the_child() {
    let directory = directory();
    let d = directory.path();
    fs::create_dir_all(d.join("in/sub")).unwrap();
    let beneath = format!("beneath {}", d.display());
    for (rule, expected) in [(&*beneath, REFUSED), ("beneath /", REFUSED), ("any-path", Ok(()))] {
        supervise(&capability(&[rule]), || {
            for (current, name, made) in [
                ("", "s", "s"),
                ("", "in/t", "in/t"),
                ("", "in/./../u", "u"),
                ("in/sub", "v", "in/sub/v"),
                ("in/sub", "../w", "in/w"),
            ] {
                std::env::set_current_dir(d.join(current)).unwrap();
                assert_eq!(bind_new(&format!("unix:{name}")), expected, "{rule}: {name}");
                assert_eq!(d.join(made).exists(), expected.is_ok(), "{rule}: {made}");
            }
        });
    }
}

pub(super) fn dots_do_not_escape_from_a_directory() {
    let directory = directory();
    let d = directory.path();
    fs::create_dir_all(d.join("in/sub")).unwrap();
    let beneath = format!("beneath {}/in", d.display());
    let escapes = ["in/../x", "in/./x", "in//x", "in/sub/../x", "in/sub/../../x", "in"];
    supervise(&capability(&[&beneath]), || {
        for name in escapes {
            assert_eq!(bind_new(&unix(d, name)), REFUSED, "{name}");
        }
    });
    assert!(!d.join("x").exists() && !d.join("in/x").exists());
    supervise(&capability(&["any-path"]), || {
        assert_eq!(bind_new(&unix(d, "in/../x")), Ok(()));
    });
    assert!(d.join("x").exists());
}

/// Binds these names in a directory, with and without a supervisor, and expects this errno.
fn assert_errnos(directory: &Path, names: &[(&str, Errno)]) {
    let check = || {
        for (name, errno) in names {
            assert_eq!(bind_new(&unix(directory, name)), Err(*errno), "{name}");
        }
    };
    check();
    let answers = supervise(&capability(&["any-path"]), check);
    for (answered, (name, errno)) in answers.iter().zip(names) {
        assert_eq!(answered.outcome, Came::Failed(*errno), "{name}");
    }
}

pub(super) fn what_is_there_already_is_in_use() {
    const IN_USE: Errno = Errno::ADDRINUSE;
    let directory = directory();
    let d = directory.path();
    fs::write(d.join("file"), "text").unwrap();
    fs::create_dir(d.join("directory")).unwrap();
    symlink("nowhere", d.join("link")).unwrap();
    bind_new(&unix(d, "socket")).unwrap();
    let names = ["file", "directory", "link", "socket", "directory/."];
    assert_errnos(d, &names.map(|name| (name, IN_USE)));
    assert_eq!(fs::read(d.join("file")).unwrap(), b"text");
    assert!(!d.join("nowhere").exists() && d.join("socket").exists());
}

pub(super) fn missing_directories_are_the_errors_of_the_kernel() {
    let directory = directory();
    let d = directory.path();
    fs::write(d.join("file"), "").unwrap();
    symlink("loop", d.join("loop")).unwrap();
    symlink("nowhere", d.join("link")).unwrap();
    assert_errnos(
        d,
        &[
            ("missing/s", Errno::NOENT),
            ("link/s", Errno::NOENT),
            ("s/", Errno::NOENT),
            ("file/s", Errno::NOTDIR),
            ("loop/s", Errno::LOOP),
        ],
    );
}

fn set_umask(mask: u32) {
    // SAFETY: the call takes only a number.
    unsafe { libc::umask(mask) };
}

pub(super) fn the_file_is_made_as_without_a_supervisor() {
    let directory = directory();
    let d = directory.path();
    for mask in [0, 0o002, 0o022, 0o077, 0o777] {
        let bind_in = |name: String| {
            set_umask(mask);
            bind_new(&unix(d, &name)).unwrap();
        };
        let (free, supervised) = (format!("free-{mask}"), format!("supervised-{mask}"));
        in_child(|| {
            bind_in(free.clone());
            0
        });
        supervise(&capability(&["any-path"]), || bind_in(supervised.clone()));
        let [free, supervised] = [free, supervised].map(|name| {
            let file = d.join(name).symlink_metadata().unwrap();
            (format!("{:o}", file.mode()), file.uid(), file.gid(), file.nlink())
        });
        assert_eq!(supervised, free, "umask {mask:o}");
    }
    let modes: std::collections::HashSet<_> =
        fs::read_dir(d).unwrap().map(|entry| entry.unwrap().metadata().unwrap().mode()).collect();
    assert_eq!(modes.len(), 5, "the umask matters");
}

/// The ordinary user, or the child that root makes one.
pub(super) fn a_directory_that_the_child_may_not_write_is_refused() {
    let directory = directory();
    let d = directory.path();
    fs::create_dir(d.join("closed")).unwrap();
    for (parent, closed) in [(0o755, 0o555), (0o755, 0o666), (0o700, 0o777)] {
        // Root's child is another user, whom the mode of the parent keeps out.
        if parent == 0o700 && !is_root() {
            continue;
        }
        fs::set_permissions(d.join("closed"), fs::Permissions::from_mode(closed)).unwrap();
        fs::set_permissions(d, fs::Permissions::from_mode(parent)).unwrap();
        let answers = supervise(&capability(&["any-path"]), || {
            if is_root() {
                become_nobody().unwrap();
            }
            assert_eq!(bind_new(&unix(d, "closed/s")), REFUSED, "{parent:o} {closed:o}");
        });
        let came = outcomes(&answers).into_iter().map(|(_, outcome)| outcome);
        assert_eq!(came.collect::<Vec<_>>(), [Came::Failed(Errno::ACCESS)]);
        fs::set_permissions(d.join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!d.join("closed/s").exists());
    }
}
