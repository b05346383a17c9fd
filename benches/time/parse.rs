//! Parsing. The peer of an IP form is `core::net`, the peer of a path is a bounded copy.
//!
//! The value is not moved: `black_box` gets a reference. A move would copy 100 bytes that were just
//! written, whose time depends on the layout of the stack.

use std::hint::black_box;
use std::net::{SocketAddrV4, SocketAddrV6};

use netbind::BindAddress;

use crate::Rows;
use crate::support::pairs::{Compared, batch, compare};
use crate::support::report::Budget;
use crate::support::{FORMS, paths, peer_of_form, peers};

const PAIRS: usize = 400;
const BATCH: u32 = 2000;

pub(crate) fn measure(rows: &mut Rows) {
    for (form, of_core) in FORMS {
        let what = format!("parse `{form}`");
        let peer = peer_of_form(form, of_core);
        rows.add(what, &peer, Budget::Ratio(0.5), || {
            if form.starts_with('[') {
                against(form, || parse_core::<SocketAddrV6>(of_core))
            } else {
                against(form, || parse_core::<SocketAddrV4>(of_core))
            }
        });
    }
    for (name, path) in paths() {
        let copy = || {
            black_box(&peers::bounded_copy(black_box(&path)));
        };
        rows.add(format!("parse Unix path {name}"), "a bounded copy", Budget::None, || {
            against(&path, copy)
        });
    }
}

fn against(form: &str, peer: impl FnMut()) -> Compared {
    let ours = || {
        black_box(&BindAddress::parse(black_box(form)));
    };
    compare(PAIRS, batch(BATCH, ours), batch(BATCH, peer))
}

fn parse_core<T: std::str::FromStr>(text: &str) {
    black_box(&black_box(text).parse::<T>());
}
