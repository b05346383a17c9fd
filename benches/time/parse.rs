//! Address text to a value: `core::net` for the IP forms, a bounded copy for a path.
//!
//! The value stays where it was made and only its address is shown around: moving it would copy 100 bytes that were written
//! a moment ago, which costs more or less than the parser as the stack happens to lie.

use std::hint::black_box;
use std::net::{SocketAddrV4, SocketAddrV6};

use netbind::BindAddress;

use crate::Rows;
use crate::support::pairs::{Compared, batch, compare};
use crate::support::report::Reach;
use crate::support::{FORMS, paths, peers, reach_of_form};

const PAIRS: usize = 400;
const BATCH: u32 = 2000;

pub(crate) fn measure(rows: &mut Rows) {
    for (form, of_core) in FORMS {
        let reach = Reach::Ratio(reach_of_form(form));
        let what = format!("parse `{form}`");
        if form.starts_with('[') {
            rows.add(what, "`SocketAddrV6`", reach, || {
                against(form, || text::<SocketAddrV6>(of_core))
            });
        } else {
            let peer = if form == of_core {
                "`SocketAddrV4`".into()
            } else {
                format!("`SocketAddrV4`, `{of_core}`")
            };
            rows.add(what, &peer, reach, || against(form, || text::<SocketAddrV4>(of_core)));
        }
    }
    for (name, path) in paths() {
        let copy = || {
            black_box(&peers::bounded_copy(black_box(&path)));
        };
        rows.add(format!("parse Unix path {name}"), "a bounded copy", Reach::Ratio(1.5), || {
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

fn text<T: std::str::FromStr>(text: &str) {
    black_box(&black_box(text).parse::<T>());
}
