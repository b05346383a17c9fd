//! Runs the shared test tables on the board: addresses, contexts, decisions, the ring and the bytes
//! of socket addresses. A check that fails panics, and the emulator exits with an error.

#![no_std]
#![no_main]

#[path = "../../../tests/tables/mod.rs"]
mod tables;

use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use panic_semihosting as _;

use tables::{addresses, contexts, decisions, ring, sockaddrs};

/// Returns each check with its name.
macro_rules! checks {
    ($($table:ident::$check:ident,)*) => {
        [$((concat!(stringify!($table), "::", stringify!($check)), $table::$check as fn())),*]
    };
}

#[entry]
fn main() -> ! {
    let checks = checks![
        addresses::every_address_prints_and_parses_back,
        addresses::a_malformed_address_has_an_error_an_offset_and_a_reason,
        addresses::a_path_or_name_has_at_most_107_bytes,
        contexts::a_deadline_stops_a_context_when_the_clock_reaches_it,
        contexts::a_parent_stops_its_child,
        decisions::an_address_without_a_rule_is_denied,
        decisions::dual_stack_needs_both_wildcards,
        decisions::the_17th_rule_is_refused,
        decisions::each_decision_is_recorded,
        ring::the_newest_records_are_kept_and_the_others_counted,
        ring::a_reader_returns_later_records,
        ring::a_ring_allocates_once_and_frees_its_memory,
        sockaddrs::every_form_has_the_bytes_that_the_kernel_expects,
        sockaddrs::a_flow_label_is_in_network_order_and_a_scope_id_is_not,
        sockaddrs::a_failed_allocation_is_out_of_memory,
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
