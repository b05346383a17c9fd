//! Unix paths under a confinement, and the limits of directories.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use libc::{AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};
use netbind::enforce::{Confinement, EnforceError, Gaps};
use netbind::error::Errno;
use netbind::{NetBind, Rights};

use super::harness::{Case, alone, case};
use super::probe::{
    Address, Outcome, assert_unrestricted, bind, bind_path, capability, directory,
    has_no_new_privs, socket,
};

pub(crate) const CASES: &[Case] = &[
    case!(beneath_allows_its_directory_and_no_other),
    case!(a_path_rule_allows_its_directory_and_no_other),
    case!(any_path_allows_every_directory),
    case!(every_kind_of_unix_socket_is_judged),
    case!(a_link_in_the_directory_leads_where_it_points),
    case!(a_socket_cannot_be_moved_out_of_the_directory),
    case!(files_and_directories_can_be_moved),
    case!(a_directory_of_the_capability_can_be_moved_with_its_rights),
    case!(a_rule_follows_a_link_to_its_directory_once),
    case!(a_directory_that_does_not_exist_is_an_error),
    case!(a_rule_about_the_longest_path_is_enforced),
];

/// Makes a capability whose only gap is the ephemeral listen, and this rule.
fn with_rule(word: &str, path: &Path) -> NetBind<'static> {
    capability(&["port 0", "any-abstract", &format!("{word} {}", path.display())])
}

fn confine(word: &str, path: &Path) {
    Confinement::new(&with_rule(word, path)).tolerate(Gaps::PATHS).apply().unwrap();
}

/// Runs `body` in a process of its own, with a directory that has the directories `in/sub` and
/// `out`.
#[track_caller]
fn in_directories(what: &str, body: impl FnOnce(&Path)) {
    alone(what, || {
        let directory = directory();
        fs::create_dir_all(directory.path().join("in/sub")).unwrap();
        fs::create_dir(directory.path().join("out")).unwrap();
        body(directory.path());
    });
}

const REFUSED: Outcome = Err(Errno::ACCESS);

fn beneath_allows_its_directory_and_no_other() {
    in_directories("beneath", |d| {
        confine("beneath", &d.join("in"));
        for (name, expected) in [
            ("in/s", Ok(())),
            ("in/sub/s", Ok(())),
            ("in/sub/../s", Ok(())),
            ("s", REFUSED),
            ("out/s", REFUSED),
            ("in/../out/s", REFUSED),
            ("inside", REFUSED),
        ] {
            assert_eq!(bind_path(d.join(name)), expected, "{name}");
        }
        fs::create_dir(d.join("in/new")).unwrap();
        assert_eq!(bind_path(d.join("in/new/s")), Ok(()), "a new directory");
        std::env::set_current_dir(d.join("in")).unwrap();
        assert_eq!(bind_path("s"), Ok(()), "relative");
        assert_eq!(bind_path("../out/s"), REFUSED, "relative");
    });
    in_directories("descriptors from before", |d| {
        let out = File::open(d.join("out")).unwrap();
        std::env::set_current_dir(d.join("out")).unwrap();
        confine("beneath", &d.join("in"));
        assert_eq!(bind_path("s"), REFUSED, "a working directory from before");
        let link = format!("/proc/self/fd/{}/s", out.as_raw_fd());
        assert_eq!(bind_path(link), REFUSED, "a directory from before");
    });
    in_directories("beneath /", |d| {
        let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
        confine("beneath", Path::new("/"));
        assert_eq!(bind_path(d.join("out/s")), Ok(()));
        assert_eq!(bind_path(elsewhere.path().join("s")), Ok(()));
    });
}

fn a_path_rule_allows_its_directory_and_no_other() {
    in_directories("path", |d| {
        confine("path", &d.join("in/app.sock"));
        for name in ["in/app.sock", "in/other.sock", "in/sub/s"] {
            assert_eq!(bind_path(d.join(name)), Ok(()), "{name}");
        }
        assert_eq!(bind_path(d.join("out/app.sock")), REFUSED);
        assert_eq!(bind_path(d.join("app.sock")), REFUSED);
    });
    in_directories("path in /", |d| {
        let elsewhere = tempfile::tempdir_in("/var/tmp").unwrap();
        confine("path", Path::new("/app.sock"));
        assert_eq!(bind_path(d.join("out/s")), Ok(()));
        assert_eq!(bind_path(elsewhere.path().join("s")), Ok(()));
    });
}

fn any_path_allows_every_directory() {
    in_directories("any-path", |d| {
        let rules = ["port 0", "any-path", "any-abstract", "path /does/not/exist/s"];
        Confinement::new(&capability(&rules)).tolerate(Gaps::PATHS).apply().unwrap();
        assert_eq!(bind_path(d.join("in/s")), Ok(()));
        assert_eq!(bind_path(d.join("out/s")), Ok(()));
    });
}

fn every_kind_of_unix_socket_is_judged() {
    in_directories("kinds", |d| {
        confine("beneath", &d.join("in"));
        for kind in [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET] {
            let bind_in = |name: &str| {
                bind(&socket(AF_UNIX, kind, 0).unwrap(), &Address::path(&d.join(name)))
            };
            assert_eq!(bind_in(&format!("in/{kind}")), Ok(()));
            assert_eq!(bind_in(&format!("out/{kind}")), REFUSED);
        }
    });
}

fn a_link_in_the_directory_leads_where_it_points() {
    in_directories("links", |d| {
        symlink(d.join("out"), d.join("in/link")).unwrap();
        symlink(d.join("in"), d.join("out/link")).unwrap();
        confine("beneath", &d.join("in"));
        assert_eq!(bind_path(d.join("in/link/s")), REFUSED);
        assert_eq!(bind_path(d.join("out/link/s")), Ok(()));
    });
}

fn a_socket_cannot_be_moved_out_of_the_directory() {
    in_directories("moves", |d| {
        confine("beneath", &d.join("in"));
        let (from, to) = (d.join("in/s"), d.join("out/s"));
        bind(&socket(AF_UNIX, SOCK_STREAM, 0).unwrap(), &Address::path(&from)).unwrap();
        let errno = |done: std::io::Result<()>| done.unwrap_err().raw_os_error().unwrap();
        assert_eq!(errno(fs::rename(&from, &to)), libc::EACCES);
        assert_eq!(errno(fs::hard_link(&from, &to)), libc::EACCES);
        fs::rename(&from, d.join("in/sub/s")).unwrap();
    });
}

fn files_and_directories_can_be_moved() {
    in_directories("moves", |d| {
        for name in ["in/file", "out/file"] {
            fs::write(d.join(name), "").unwrap();
        }
        fs::create_dir(d.join("out/directory")).unwrap();
        confine("beneath", &d.join("in"));
        fs::rename(d.join("in/file"), d.join("out/from_in")).unwrap();
        fs::rename(d.join("out/file"), d.join("in/from_out")).unwrap();
        fs::hard_link(d.join("in/from_out"), d.join("out/linked")).unwrap();
        fs::rename(d.join("in/sub"), d.join("out/sub")).unwrap();
        assert_eq!(bind_path(d.join("out/sub/s")), REFUSED, "it has left the directory");
        // A directory would gain the right to have sockets, which Landlock refuses.
        let moved = fs::rename(d.join("out/directory"), d.join("in/directory"));
        assert_eq!(moved.unwrap_err().raw_os_error(), Some(libc::EXDEV));
    });
}

/// Landlock's rule belongs to the directory, not to its name.
fn a_directory_of_the_capability_can_be_moved_with_its_rights() {
    in_directories("moves", |d| {
        confine("beneath", &d.join("in"));
        fs::rename(d.join("in"), d.join("out/moved")).unwrap();
        assert_eq!(bind_path(d.join("out/moved/s")), Ok(()));
        fs::create_dir(d.join("in")).unwrap();
        assert_eq!(bind_path(d.join("in/s")), REFUSED, "a new directory of this name");
    });
}

fn a_rule_follows_a_link_to_its_directory_once() {
    in_directories("a link", |d| {
        symlink(d.join("in"), d.join("link")).unwrap();
        confine("beneath", &d.join("link"));
        assert_eq!(bind_path(d.join("link/s")), Ok(()));
        fs::remove_file(d.join("link")).unwrap();
        symlink(d.join("out"), d.join("link")).unwrap();
        assert_eq!(bind_path(d.join("link/s")), REFUSED);
    });
}

fn a_directory_that_does_not_exist_is_an_error() {
    in_directories("errors", |d| {
        let before = has_no_new_privs();
        fs::write(d.join("file"), "").unwrap();
        for (word, name, errno) in [
            ("beneath", "none", Errno::NOENT),
            ("beneath", "none/none", Errno::NOENT),
            ("beneath", "file", Errno::NOTDIR),
            ("path", "none/s", Errno::NOENT),
            ("path", "file/s", Errno::NOTDIR),
        ] {
            let capability = with_rule(word, &d.join(name));
            let confinement = Confinement::new(&capability).tolerate(Gaps::all());
            let error = EnforceError::System { call: "openat", errno };
            assert_eq!(confinement.gaps(), Err(error), "{word} {name}");
            assert_eq!(confinement.apply(), Err(error), "{word} {name}");
        }
        assert_unrestricted("after errors", before);
        let mut without_right = with_rule("beneath", &d.join("none"));
        without_right.revoke(Rights::NET_BIND);
        let gaps = Confinement::new(&without_right).gaps();
        assert_eq!(gaps, Ok(Gaps::EPHEMERAL_LISTEN), "a rule that is not in force");
    });
}

fn a_rule_about_the_longest_path_is_enforced() {
    in_directories("long", |d| {
        let missing = 107 - d.join("in/").as_os_str().len();
        let long = d.join("in").join("x".repeat(missing));
        fs::create_dir(&long).unwrap();
        confine("beneath", &long);
        std::env::set_current_dir(&long).unwrap();
        assert_eq!(bind_path("s"), Ok(()));
        std::env::set_current_dir(d).unwrap();
        assert_eq!(bind_path("in/s"), REFUSED);
    });
}
