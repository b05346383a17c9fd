//! The longest runs: `cargo test --test it -- --ignored --nocapture existing::soak`.

use super::races::compete;
use super::takeover::take_over;

#[test]
#[ignore = "takes half a minute"]
fn processes_compete_for_a_path_in_a_thousand_rounds() {
    compete(500, false);
    compete(500, true);
}

#[test]
#[ignore = "takes seconds"]
fn servers_take_over_while_clients_make_many_connections() {
    take_over(20_000);
}
