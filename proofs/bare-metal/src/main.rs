//! Runs the shared tables on the board: the parse table, the decisions, the ring and the socket addresses' bytes. A check
//! that fails panics, which ends the emulator with a failure.

#![no_std]
#![no_main]

#[path = "../../../tests/tables/mod.rs"]
mod tables;

use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use panic_semihosting as _;

use tables::{addresses, contexts, decisions, ring, sockaddrs};

/// Runs each check under its own name.
macro_rules! run {
    ($($room:ident::$check:ident,)*) => {
        [$((concat!(stringify!($room), "::", stringify!($check)), $room::$check as fn())),*]
    };
}

#[entry]
fn main() -> ! {
    let checks = run![
        addresses::what_is_an_address_prints_and_parses_back,
        addresses::what_is_none_says_why_and_where,
        addresses::a_path_has_107_bytes_at_most,
        contexts::a_deadline_has_expired_when_the_clock_has_reached_it,
        contexts::a_child_is_stopped_by_every_context_above_it,
        decisions::what_no_rule_allows_is_denied,
        decisions::dual_stack_needs_both_wildcards,
        decisions::a_full_table_is_an_error,
        decisions::each_decision_is_recorded,
        ring::the_newest_records_stay_and_the_rest_is_counted,
        ring::a_reader_finds_what_came_later,
        ring::its_memory_is_asked_for_once_and_given_back,
        sockaddrs::every_form_has_the_kernels_bytes_and_its_exact_size,
        sockaddrs::flow_label_and_scope_id_have_different_orders,
        sockaddrs::a_refusing_allocator_is_an_error,
    ];
    for (name, check) in checks {
        check();
        hprintln!("test {} ... ok", name);
    }
    #[cfg(feature = "broken")]
    assert_eq!(netbind::BindAddress::parse(":80").map(|address| address.port()), Ok(Some(81)));
    hprintln!("bare metal: {} checks passed on a Cortex-M3", checks.len());
    debug::exit(debug::EXIT_SUCCESS);
    loop {}
}
