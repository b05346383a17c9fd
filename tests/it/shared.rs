//! The checks that a bare board runs too, here on the host.

use crate::tables::{addresses, contexts, decisions, ring, sockaddrs};

/// A test for each check, by its own name.
macro_rules! checks {
    ($($room:ident::$check:ident,)*) => {
        $(
            #[test]
            fn $check() {
                $room::$check();
            }
        )*
    };
}

checks! {
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
}
