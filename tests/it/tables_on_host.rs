//! Runs on the host the checks that the bare-metal program runs too.

use crate::tables::{addresses, contexts, decisions, ring, sockaddrs};

/// Makes a test of each check, with the same name.
macro_rules! checks {
    ($($table:ident::$check:ident,)*) => {
        $(
            #[test]
            fn $check() {
                $table::$check();
            }
        )*
    };
}

checks! {
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
}
