//! Hostile programs under a supervisor. None of them may open what the rules do not allow.
#![allow(unsafe_code)]

mod faults;
mod paths;
mod processes;
mod races;
mod sockets;
mod tracer;

use std::os::fd::{AsRawFd, OwnedFd};

use libc::SOCK_STREAM;

use super::harness::{Case, End, cases};
use super::probe::{Address, Outcome, capability, check, socket};
use super::supervised::supervised;

pub(crate) const CASES: &[Case] = cases! {
    races::an_address_that_changes_meanwhile_is_bound_as_it_was_judged;
    races::a_descriptor_that_changes_meanwhile_opens_nothing_else;
    races::a_listener_that_turns_dual_stack_meanwhile_does_not_listen;
    races::a_socket_that_is_disconnected_meanwhile_listens_nowhere_else;
    races::a_socket_that_is_disconnected_meanwhile_does_not_turn_dual_stack;
    races::memory_that_is_unmapped_meanwhile_is_efault;
    sockets::every_form_of_an_address_is_judged;
    sockets::the_upper_halves_of_arguments_hide_nothing;
    sockets::kinds_that_are_not_judged_cannot_be_made;
    sockets::an_mptcp_socket_from_before_opens_nothing;
    sockets::a_socket_in_repair_is_judged;
    sockets::a_fast_open_makes_no_listener;
    sockets::a_socket_that_another_process_bound_does_not_listen;
    sockets::a_chosen_port_is_no_leave_for_another_one;
    sockets::a_ring_cannot_be_made_or_brought_along;
    #[cfg(target_arch = "x86_64")]
    sockets::calls_of_another_abi_end_the_process;
    paths::a_name_that_is_not_what_it_seems_is_refused;
    paths::a_link_leads_out_of_an_allowed_directory;
    paths::a_path_that_changes_meanwhile_is_bound_as_it_was_judged;
    paths::a_relative_path_is_that_of_the_thread;
    paths::an_allowed_path_in_another_root_is_refused;
    paths::a_root_that_changes_meanwhile_gains_nothing.for_root();
    paths::the_name_of_a_program_is_no_identity;
    processes::a_thread_with_descriptors_of_its_own_is_judged_by_them;
    processes::a_thread_goes_on_after_its_leader;
    processes::a_storm_of_signals_fails_no_bind;
    processes::a_process_that_is_killed_leaves_at_most_the_answered_file;
    processes::without_its_supervisor_a_program_binds_nothing;
    processes::a_thousand_processes_are_judged_one_by_one;
    processes::a_program_cannot_take_the_supervisor_over;
    processes::a_supervisor_that_is_stopped_only_delays_binds;
    processes::a_supervisor_without_free_descriptors_opens_nothing;
    processes::a_supervisor_without_a_free_descriptor_does_not_report_an_end;
    processes::supervision_does_not_nest;
    processes::a_filter_of_the_program_changes_nothing;
    processes::an_executed_program_is_judged;
    processes::a_daemon_is_judged;
    processes::binds_while_threads_come_and_go_are_judged;
    processes::a_program_that_is_not_executed_can_take_the_notifications;
    processes::a_confinement_of_the_program_does_not_hold_for_binds_and_a_seal_does;
    faults::every_call_of_a_new_supervisor_that_fails_is_an_error;
    faults::every_call_of_a_first_step_that_fails_opens_nothing;
    faults::every_call_of_a_step_that_fails_opens_nothing;
    faults::a_child_that_is_killed_at_any_call_of_a_step_leaves_nothing;
    faults::every_call_of_entering_that_fails_is_an_error;
    faults::a_call_that_a_tracer_changes_is_judged;
};

/// Runs the assertions of `body` in a supervised child.
#[track_caller]
fn succeeds_under(rules: &[&str], body: impl FnOnce()) {
    let (end, _) = supervised(&capability(rules), || {
        body();
        0
    });
    assert_eq!(end, End::Exited(0), "{rules:?}");
}

fn tcp(family: i32) -> OwnedFd {
    socket(family, SOCK_STREAM, 0).unwrap()
}

/// Calls `bind` with any memory.
fn bind_bytes(socket: &OwnedFd, address: *const u8, length: u32) -> Outcome {
    // SAFETY: the kernel answers EFAULT if it may not read the memory.
    check(unsafe { libc::bind(socket.as_raw_fd(), address.cast(), length) }.into()).map(drop)
}

/// Calls `bind`. A port that is in use is an error.
fn bind_to(socket: &OwnedFd, address: &Address) -> Outcome {
    bind_bytes(socket, address.as_ptr().cast(), address.len())
}
