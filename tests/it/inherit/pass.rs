//! Descriptors that are put at 3 and up for a program that this process is about to execute. Here,
//! an isolated thread looks at them.

use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use netbind::inherit::InheritError;
use rustix::io::{DupFlags, dup3, fcntl_dupfd_cloexec};

use super::{
    assert_listens, at, identity, is_close_on_exec, open_close_on_exec_at_3, own, pass, pidfd_id,
};
use crate::support::thread::{descriptors, isolated};

/// Moves a descriptor to a number that is not open.
fn move_to(from: RawFd, to: RawFd) {
    dup3(at(from), &mut ManuallyDrop::new(own(to)), DupFlags::CLOEXEC).unwrap();
    drop(own(from));
}

/// Returns the open descriptors from `start` on, with the socket and close-on-exec of each.
fn table(start: RawFd) -> Vec<(RawFd, u64, bool)> {
    let open = descriptors().into_iter().filter(|fd| *fd >= start);
    open.map(|fd| (fd, identity(at(fd)), is_close_on_exec(fd))).collect()
}

/// Opens sockets at 3 and up, moves some of them, and passes these sources in this order.
fn assert_passes(count: RawFd, moves: &[(RawFd, RawFd)], sources: &[RawFd]) {
    isolated(|| {
        open_close_on_exec_at_3(count);
        for (from, to) in moves {
            move_to(*from, *to);
        }
        let end = 3 + RawFd::try_from(sources.len()).unwrap();
        let above = table(end);
        let expected: Vec<_> =
            (3..end).zip(sources).map(|(fd, source)| (fd, identity(at(*source)), false)).collect();

        let mut sockets: Vec<_> = sources.iter().map(|fd| (at(*fd), "name")).collect();
        let variables = pass(&mut sockets).unwrap().map(|variable| variable.to_string());
        let expected_variables = [
            Some(format!("LISTEN_PID={}", std::process::id())),
            pidfd_id().map(|id| format!("LISTEN_PIDFDID={id}")),
            Some(format!("LISTEN_FDS={}", sources.len())),
            Some(format!("LISTEN_FDNAMES={}", vec!["name"; sources.len()].join(":"))),
        ];
        assert!(variables.eq(expected_variables.into_iter().flatten()));
        // The targets are the sources. Nothing else is open, was closed or changed.
        assert_eq!(table(3), [expected, above].concat(), "{sources:?}");
        (3..end).for_each(|fd| assert_listens(own(fd)));
    });
}

#[test]
fn each_socket_is_put_at_its_number_from_any_other() {
    let stay: &[(RawFd, RawFd)] = &[];
    assert_passes(0, stay, &[]);
    assert_passes(1, stay, &[3]);
    assert_passes(2, stay, &[3, 4]);
    assert_passes(2, stay, &[4, 3]);
    assert_passes(2, stay, &[4]);
    assert_passes(3, stay, &[4, 5, 3]);
    assert_passes(3, stay, &[5, 3, 4]);
    assert_passes(3, stay, &[5, 4, 3]);
    assert_passes(3, stay, &[5, 3]);
    assert_passes(4, stay, &[6, 5, 4, 3]);
    // Far above, next to the targets, and with holes among the targets.
    assert_passes(2, &[(4, 50), (3, 51)], &[50, 51]);
    assert_passes(2, &[(4, 50), (3, 51)], &[51, 50]);
    assert_passes(2, &[(4, 5)], &[5, 3]);
    assert_passes(3, &[(3, 6)], &[4, 6, 5]);
    assert_passes(3, &[(4, 60)], &[60, 3, 5]);
}

#[test]
fn a_socket_can_be_passed_twice() {
    assert_passes(1, &[], &[3, 3]);
    assert_passes(2, &[], &[4, 4]);
    assert_passes(2, &[], &[3, 4, 3, 4]);
    assert_passes(2, &[], &[4, 3, 3]);
    assert_passes(1, &[(3, 40)], &[40, 40, 40]);
}

#[test]
fn a_descriptor_below_3_can_be_passed_and_stays_open() {
    isolated(|| {
        let before = identity(at(1));
        pass(&mut [(at(1), "output")]).unwrap();
        assert_eq!((identity(at(3)), identity(at(1))), (before, before));
        assert_eq!(descriptors(), [0, 1, 2, 3]);
        drop(own(3));
    });
}

#[test]
fn the_variables_have_names_and_values() {
    const NAMES: [&str; 2] = ["web server", "~!\"#$%&'()*+,-./09;<=>?@AZ[\\]^_`az{|}"];
    isolated(|| {
        open_close_on_exec_at_3(2);
        let mut sockets = [(at(3), NAMES[0]), (at(4), NAMES[1])];
        let variables = pass(&mut sockets).unwrap();
        let expected: Vec<_> = [
            Some(("LISTEN_PID", std::process::id().to_string())),
            pidfd_id().map(|id| ("LISTEN_PIDFDID", id.to_string())),
            Some(("LISTEN_FDS", "2".into())),
            Some(("LISTEN_FDNAMES", NAMES.join(":"))),
        ]
        .into_iter()
        .flatten()
        .collect();
        assert_eq!(variables.clone().count(), expected.len());
        for (variable, (name, value)) in variables.zip(expected) {
            assert_eq!((variable.name(), variable.value().to_string()), (name, value.clone()));
            assert_eq!(variable.to_string(), format!("{name}={value}"));
            assert_eq!(format!("{variable:?}"), format!("{name}={value}"));
        }
    });
}

#[test]
fn a_name_that_does_not_fit_into_the_variable_is_refused_and_nothing_is_moved() {
    const NAMES: [&str; 10] =
        ["", ":", "a:b", ":a", "a:", "a\n", "\0", "\x1f", "\x7f", "n\u{e4}me"];
    isolated(|| {
        open_close_on_exec_at_3(2);
        let before = table(3);
        for name in NAMES {
            for names in [[name, "good"], ["good", name]] {
                let mut sockets = [(at(4), names[0]), (at(3), names[1])];
                let error = pass(&mut sockets).map(drop).unwrap_err();
                assert_eq!(error, InheritError::InvalidVariable("LISTEN_FDNAMES"), "{name:?}");
                assert_eq!(sockets.map(|(fd, _)| fd.as_raw_fd()), [4, 3], "{name:?}");
            }
        }
        assert_eq!(table(3), before);
    });
}

#[test]
fn a_source_above_the_targets_still_belongs_to_the_caller() {
    isolated(|| {
        let low: OwnedFd = TcpListener::bind("127.0.0.1:0").unwrap().into();
        let high = fcntl_dupfd_cloexec(&low, 20).unwrap();
        drop(low);
        let before = identity(&high);
        pass(&mut [(high.as_fd(), "x")]).unwrap();
        assert_eq!(identity(at(3)), before);
        drop(high);
        assert_eq!(descriptors(), [0, 1, 2, 3]);
        assert_listens(own(3));
    });
}
