//! Supervision of unmodified programs.
#![allow(unsafe_code)]

mod decision;
mod end;
mod identity;
mod kinds;
mod malformed;
mod names;
mod ports;
mod records;

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use libc::{AF_UNIX, SOCK_STREAM};
use netbind::alloc::Global;
use netbind::enforce::{Answered, Outcome as Came, SocketCall, Supervisor};
use netbind::sockaddr::SockAddr;
use netbind::{BindAddress, NetBind};

use super::harness::{Case, End, cases};
use super::probe::{self, Address, Outcome, check, connect, last_errno, socket};
use super::supervised::{Pair, supervised};

pub(crate) const CASES: &[Case] = cases! {
    decision::the_decision_is_that_of_the_library;
    decision::the_defaults_of_a_capability_hold;
    decision::a_dual_stack_wildcard_needs_both_wildcards;
    end::the_last_process_ends_the_supervision;
    end::a_child_that_does_not_enter_ends_the_supervision;
    end::the_descriptor_tells_when_a_step_does_not_wait;
    end::supervision_cannot_be_nested;
    end::a_second_thread_is_a_gap;
    end::an_io_uring_is_a_gap;
    end::without_a_supervisor_nothing_is_bound_and_accept_goes_on;
    end::programs_stay_supervised;
    end::a_killed_child_ends_the_supervision;
    end::the_supervisor_is_not_dumpable;
    identity::the_file_belongs_to_the_user_of_the_child.for_root();
    identity::the_privileges_of_the_supervisor_are_not_used.for_root();
    identity::supplementary_groups_give_access.for_root();
    identity::too_many_groups_are_refused.for_root();
    identity::capabilities_of_the_child_count.for_root();
    identity::in_another_root_only_any_path_allows_paths.for_root();
    identity::a_mount_namespace_is_another_root.for_root();
    identity::a_thread_has_its_own_working_directory;
    identity::a_thread_has_its_own_descriptors;
    identity::a_thread_outlives_the_first_one;
    identity::the_supervisor_stays_who_it_is;
    kinds::a_listen_without_a_bind_is_a_bind_to_port_0;
    kinds::a_dual_stack_listen_without_a_bind_needs_both_wildcards;
    kinds::a_socket_with_a_chosen_port_listens_again;
    kinds::the_newest_256_chosen_ports_are_known;
    kinds::an_unspecified_family_is_judged_as_ipv4;
    kinds::any_number_of_chosen_ports_listens;
    kinds::a_bind_to_a_port_is_judged_again_at_listen;
    kinds::udp_is_refused_unless_it_is_asked_for;
    kinds::udp_is_judged_by_the_rules;
    kinds::other_sockets_cannot_be_made;
    kinds::other_sockets_from_before_cannot_be_bound;
    kinds::raw_sockets_from_before_cannot_be_bound.for_root();
    kinds::route_netlink_gets_a_port_id;
    kinds::names_are_looked_up;
    kinds::any_unix_name_needs_any_abstract;
    kinds::any_unix_name_is_one_that_is_not_taken;
    kinds::every_type_of_unix_socket_is_judged;
    kinds::other_calls_are_not_affected;
    malformed::malformed_calls_fail_as_without_a_supervisor;
    malformed::a_pipe_is_no_socket;
    malformed::a_datagram_socket_cannot_listen;
    malformed::udp_and_netlink_sockets_cannot_listen;
    names::names_without_a_form_are_refused;
    names::a_padded_path_is_that_path;
    names::a_relative_path_is_in_the_directory_of_the_child;
    names::dots_do_not_escape_from_a_directory;
    names::what_is_there_already_is_in_use;
    names::missing_directories_are_the_errors_of_the_kernel;
    names::the_file_is_made_as_without_a_supervisor;
    names::a_directory_that_the_child_may_not_write_is_refused;
    ports::a_user_without_the_privilege_binds_no_low_port.for_root();
    ports::lent_ports_can_be_bound.for_root();
    ports::lent_ports_are_those_of_the_rules.for_root();
    ports::root_needs_no_lending.for_root();
    ports::the_privilege_of_one_process_is_of_no_use_to_another.for_root();
    ports::a_user_namespace_gives_no_ports.for_root();
    ports::lending_gives_no_other_privilege.for_root();
    records::a_bind_is_checked_and_recorded;
    records::a_refusal_is_recorded;
    records::the_chosen_port_is_recorded;
    records::a_bind_that_fails_leaves_its_check;
    records::every_ancestor_gets_the_records;
    records::the_answers_say_what_happened;
    records::a_sink_never_runs_with_the_identity_of_the_program;
};

/// Makes the kernel's form of an address that `BindAddress` has a form for.
fn address(text: &str) -> Address {
    let sockaddr = SockAddr::new_in(&parse(text), Global).unwrap();
    let (family, rest) = sockaddr.as_bytes().split_first_chunk().unwrap();
    Address::new(u16::from_ne_bytes(*family).into(), rest)
}

fn parse(text: &str) -> BindAddress {
    BindAddress::parse(text).unwrap()
}

/// Returns the text of a path in a directory, as an address.
fn unix(directory: &Path, name: &str) -> String {
    format!("unix:{}", directory.join(name).display())
}

/// Binds. Unlike `probe::bind`, it returns `EADDRINUSE` too.
fn bind(socket: &OwnedFd, address: &Address) -> Outcome {
    // SAFETY: the address has this length and outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr(), address.len()) };
    check(bound.into()).map(drop)
}

fn listen(socket: &OwnedFd, backlog: i32) -> Outcome {
    // SAFETY: the call takes only numbers.
    check(unsafe { libc::listen(socket.as_raw_fd(), backlog) }.into()).map(drop)
}

/// Opens and binds a socket of this type.
fn bound(kind: i32, address: &Address) -> Outcome<OwnedFd> {
    let socket = socket(address.family(), kind, 0)?;
    bind(&socket, address)?;
    Ok(socket)
}

/// Opens and binds a stream socket.
fn bind_new(text: &str) -> Outcome {
    bound(SOCK_STREAM, &address(text)).map(drop)
}

/// Opens, binds, listens and serves one client.
fn serve(text: &str) -> Outcome {
    let socket = bound(SOCK_STREAM, &address(text))?;
    listen(&socket, 1)?;
    assert_serves(&socket);
    Ok(())
}

/// Opens and binds a Unix stream socket to the bytes after the family.
fn bind_unix(rest: &[u8]) -> Outcome<OwnedFd> {
    bound(SOCK_STREAM, &Address::new(AF_UNIX, rest))
}

/// Returns the bytes of the address that the socket has.
fn name(socket: &OwnedFd) -> Vec<u8> {
    let (mut bytes, mut length) = (vec![0; 128], 128);
    let pointer = bytes.as_mut_ptr().cast();
    // SAFETY: the buffer has this length, and both outlive the call.
    let got = unsafe { libc::getsockname(socket.as_raw_fd(), pointer, &raw mut length) };
    assert_eq!(got, 0, "getsockname: {:?}", last_errno());
    bytes.truncate(length as usize);
    bytes
}

/// Asserts that a client can connect to a listener, and is accepted.
#[track_caller]
fn assert_serves(listener: &OwnedFd) {
    let name = name(listener);
    let (family, rest) = name.split_first_chunk().unwrap();
    let address = Address::new(u16::from_ne_bytes(*family).into(), rest);
    let client = socket(address.family(), SOCK_STREAM, 0).unwrap();
    connect(&client, &address).expect("a connection");
    let server = probe::accept(listener).expect("a client");
    // The side that closes first keeps its port for a while.
    drop(client);
    drop(server);
}

/// Runs the assertions of `body` in a supervised child. Returns the answers.
#[track_caller]
fn supervise(capability: &NetBind<'_>, body: impl FnOnce()) -> Vec<Answered> {
    let (end, answers) = supervised(capability, || {
        body();
        0
    });
    assert_eq!(end, End::Exited(0), "the supervised child: {answers:?}");
    answers
}

/// Does the same as [`supervise`] with another supervisor.
#[track_caller]
fn supervise_with<'c>(
    capability: &'c NetBind<'c>,
    configure: impl FnOnce(Supervisor<'c>) -> Supervisor<'c>,
    body: impl FnOnce(),
) -> Vec<Answered> {
    let (end, answers) = start_with(capability, configure, body).finish();
    assert_eq!(end, End::Exited(0), "the supervised child: {answers:?}");
    answers
}

/// Starts a supervised child, which runs the assertions of `body`.
fn start<'c>(capability: &'c NetBind<'c>, body: impl FnOnce()) -> Pair<'c> {
    start_with(capability, |supervisor| supervisor, body)
}

fn start_with<'c>(
    capability: &'c NetBind<'c>,
    configure: impl FnOnce(Supervisor<'c>) -> Supervisor<'c>,
    body: impl FnOnce(),
) -> Pair<'c> {
    Pair::start(capability, configure, || {
        body();
        0
    })
}

/// Returns what came of the calls.
fn outcomes(answers: &[Answered]) -> Vec<(SocketCall, Came)> {
    answers.iter().map(|answered| (answered.call, answered.outcome)).collect()
}

/// Wakes the process that waits at the other end.
fn wake(mut pipe: &PipeWriter) {
    pipe.write_all(b"x").unwrap();
}

/// Waits for [`wake`].
fn sleep(mut pipe: &PipeReader) {
    pipe.read_exact(&mut [0]).unwrap();
}
