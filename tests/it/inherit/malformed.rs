//! Variables that are missing, are about another process or are malformed: nothing is taken,
//! nothing is closed, and no flag is changed.
//!
//! Sockets can be taken once in a process. No test here takes any, so all run in this process.

use netbind::inherit::InheritError;
use netbind::inherit::InheritError::{InvalidVariable, NotOpen};

use super::{is_close_on_exec, open_at_3, own, own_pid, pidfd_id, take_from, take_from_bytes};
use crate::support::machine::skip;
use crate::support::thread::{descriptors, isolated};

/// Asserts the result of two open descriptors and these entries: an error, or no sockets.
fn assert_takes_nothing(entries: &[&str], error: Option<InheritError>) {
    let entries: Vec<_> = entries.iter().map(|entry| entry.as_bytes()).collect();
    assert_bytes_take_nothing(&entries, error);
}

fn assert_bytes_take_nothing(entries: &[&[u8]], error: Option<InheritError>) {
    let case = entries.join(b" ".as_slice()).escape_ascii().to_string();
    isolated(|| {
        open_at_3(2);
        match (take_from_bytes(entries), error) {
            (Ok(mut none), None) => {
                assert_eq!((none.len(), none.next().is_none()), (0, true), "{case}");
            }
            (Err(found), Some(expected)) => assert_eq!(found, expected, "{case}"),
            (found, expected) => panic!("{case}: {found:?}, not {expected:?}"),
        }
        assert_eq!(descriptors(), [0, 1, 2, 3, 4], "{case}: one was closed");
        assert!(!is_close_on_exec(3) && !is_close_on_exec(4), "{case}: a flag was changed");
    });
}

#[test]
fn missing_variables_are_no_sockets() {
    let pid = own_pid();
    for entries in [
        [].as_slice(),
        &["LISTEN_FDS=2"],
        &[&pid],
        &[&pid, "LISTEN_FDNAMES=a:b"],
        &["LISTEN_FDS=2", "LISTEN_FDNAMES=a:b"],
        &["LISTEN_FDS=x", "LISTEN_FDNAMES=a"],
        // These are other variables, or none.
        &[&pid, "LISTEN_FD=2", "LISTEN_FDSS=2", "listen_fds=2", "XLISTEN_FDS=2", " LISTEN_FDS=2"],
        &[&pid, "LISTEN_FDS", "", "=", "=2"],
        &["LISTEN_PID", "LISTEN_FDS=2"],
    ] {
        assert_takes_nothing(entries, None);
    }
    assert_bytes_take_nothing(&[pid.as_bytes(), b"LISTEN_FDS\xff=2", b"\xff=2"], None);
}

#[test]
fn sockets_of_another_process_are_not_taken() {
    let own = std::process::id();
    for pid in [0, 1, own + 1, own - 1, 2_147_483_647] {
        let pid = format!("LISTEN_PID={pid}");
        assert_takes_nothing(&[&pid, "LISTEN_FDS=2"], None);
        // The other variables are about the other process too.
        assert_takes_nothing(&[&pid, "LISTEN_FDS=x", "LISTEN_FDNAMES=\u{fc}"], None);
        assert_takes_nothing(&[&pid, "LISTEN_FDS=99", "LISTEN_PIDFDID=x"], None);
    }
}

#[test]
fn a_malformed_process_id_is_an_error() {
    let own = std::process::id();
    for value in [
        String::new(),
        "x".into(),
        format!("-{own}"),
        format!("+{own}"),
        format!(" {own}"),
        format!("{own} "),
        format!("{own}\n"),
        format!("{own}x"),
        "2147483648".into(),
        "4294967297".into(),
        format!("{own:0>11}"),
    ] {
        let pid = format!("LISTEN_PID={value}");
        assert_takes_nothing(&[&pid, "LISTEN_FDS=2"], Some(InvalidVariable("LISTEN_PID")));
    }
}

#[test]
fn sockets_of_a_process_that_had_the_same_id_are_not_taken() {
    let pid = own_pid();
    let Some(id) = pidfd_id() else {
        return skip("LISTEN_PIDFDID, because pidfds have no inode numbers of their own");
    };
    for other in [0, 1, id + 1, id - 1, id + (1 << 32), u64::MAX] {
        let other = format!("LISTEN_PIDFDID={other}");
        assert_takes_nothing(&[&pid, "LISTEN_FDS=2", &other], None);
        assert_takes_nothing(&[&pid, "LISTEN_FDS=x", &other], None);
    }
    // The right one is followed by the other checks.
    let right = format!("LISTEN_PIDFDID={id}");
    assert_takes_nothing(&[&pid, "LISTEN_FDS=x", &right], Some(InvalidVariable("LISTEN_FDS")));
}

#[test]
fn a_malformed_pidfd_id_is_an_error() {
    let pid = own_pid();
    let error = Some(InvalidVariable("LISTEN_PIDFDID"));
    for value in ["", "x", "-1", " 1", "1 ", "0x1", "1x", "18446744073709551616"] {
        let id = format!("LISTEN_PIDFDID={value}");
        assert_takes_nothing(&[&pid, "LISTEN_FDS=2", &id], error);
    }
    let entries: [&[u8]; 3] = [pid.as_bytes(), b"LISTEN_FDS=2", b"LISTEN_PIDFDID=\xff"];
    assert_bytes_take_nothing(&entries, error);
}

/// As in the other numbers.
#[test]
fn a_pidfd_id_with_a_plus_sign_is_an_error() {
    let error = Some(InvalidVariable("LISTEN_PIDFDID"));
    assert_takes_nothing(&[&own_pid(), "LISTEN_FDS=2", "LISTEN_PIDFDID=+1"], error);
}

#[test]
fn a_malformed_number_of_sockets_is_an_error() {
    let pid = own_pid();
    for value in [
        "",
        "x",
        "-1",
        "-0",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1x",
        "0x1",
        "1.0",
        "2147483645",
        "2147483647",
        "2147483648",
        "4294967297",
        "99999999999",
        "18446744073709551617",
        "00000000001",
    ] {
        let fds = format!("LISTEN_FDS={value}");
        assert_takes_nothing(&[&pid, &fds], Some(InvalidVariable("LISTEN_FDS")));
    }
    let entries: [&[u8]; 2] = [pid.as_bytes(), b"LISTEN_FDS=\xff"];
    assert_bytes_take_nothing(&entries, Some(InvalidVariable("LISTEN_FDS")));
}

/// A number that no process can have needs no loop over all of them.
#[test]
fn a_closed_descriptor_among_the_sockets_is_an_error() {
    let pid = own_pid();
    for count in ["3", "4", "0000000003", "2147483644"] {
        let fds = format!("LISTEN_FDS={count}");
        assert_takes_nothing(&[&pid, &fds], Some(NotOpen(5)));
    }
    isolated(|| {
        open_at_3(3);
        drop(own(4));
        assert_eq!(take_from(&[&pid, "LISTEN_FDS=3"]).unwrap_err(), NotOpen(4));
        assert_eq!(descriptors(), [0, 1, 2, 3, 5]);
        assert!(!is_close_on_exec(3) && !is_close_on_exec(5));
    });
}

#[test]
fn another_number_of_names_than_sockets_is_an_error() {
    let pid = own_pid();
    let too_few = [(2, ""), (2, "a"), (1, "")];
    let too_many =
        [(2, "a:b:c"), (2, "a::b"), (2, ":::"), (1, "a:b"), (1, ":"), (0, "a"), (0, ":")];
    for (count, names) in too_few.into_iter().chain(too_many) {
        let (fds, names) = (format!("LISTEN_FDS={count}"), format!("LISTEN_FDNAMES={names}"));
        assert_takes_nothing(&[&pid, &fds, &names], Some(InvalidVariable("LISTEN_FDNAMES")));
    }
}

#[test]
fn names_that_are_not_text_are_an_error() {
    let pid = own_pid();
    for names in [b"\xff:b".as_slice(), b"a:\xc3", b"a:b\xff", b"\xed\xa0\x80:b"] {
        let names = [b"LISTEN_FDNAMES=", names].concat();
        let entries: [&[u8]; 3] = [pid.as_bytes(), b"LISTEN_FDS=2", &names];
        assert_bytes_take_nothing(&entries, Some(InvalidVariable("LISTEN_FDNAMES")));
    }
}

#[test]
fn no_sockets_can_be_taken_many_times() {
    let pid = own_pid();
    for _ in 0..3 {
        assert_takes_nothing(&[&pid, "LISTEN_FDS=0"], None);
        assert_takes_nothing(&[&pid, "LISTEN_FDS=0", "LISTEN_FDNAMES="], None);
        assert_takes_nothing(&[&pid, "LISTEN_FDS=0000000000"], None);
    }
}

/// As for `getenv`.
#[test]
fn the_first_of_two_entries_counts() {
    let pid = own_pid();
    assert_takes_nothing(&["LISTEN_PID=1", &pid, "LISTEN_FDS=2"], None);
    assert_takes_nothing(&[&pid, "LISTEN_FDS=0", "LISTEN_FDS=2", "LISTEN_PID=1"], None);
    let error = Some(InvalidVariable("LISTEN_FDNAMES"));
    let (first, second) = ("LISTEN_FDNAMES=a", "LISTEN_FDNAMES=a:b");
    assert_takes_nothing(&[&pid, "LISTEN_FDS=2", first, second], error);
    // An empty value is a value.
    let error = Some(InvalidVariable("LISTEN_FDS"));
    assert_takes_nothing(&[&pid, "LISTEN_FDS=", "LISTEN_FDS=2"], error);
}

#[test]
fn an_error_names_the_variable_or_the_descriptor() {
    for (error, message) in [
        (InvalidVariable("LISTEN_FDS"), "the variable LISTEN_FDS is invalid"),
        (NotOpen(5), "LISTEN_FDS counts descriptor 5, which is not open"),
        (InheritError::AlreadyTaken, "the inherited sockets were taken before"),
    ] {
        assert_eq!(error.to_string(), message);
    }
    let error = InheritError::System(netbind::error::Errno::MFILE);
    assert!(error.to_string().ends_with("too many open files in the process (EMFILE)"), "{error}");
}
