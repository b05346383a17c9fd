//! One listener, opened and closed on a fixed port. A listen with all checks has a capability, a
//! ring, a deadline, a cancellation flag and the vDSO clock. The peers are the bare calls, std and
//! socket2.

use std::hint::black_box;
use std::net::TcpListener;
use std::time::Duration;

use bumpalo::Bump;
use netbind::time::{Clock, CoarseClock};
use netbind::{AuditRing, CancelFlag, Context, ListenOptions, MonotonicClock, NetBind};

use crate::Rows;
use crate::support::pairs::{batch, compare};
use crate::support::peers;
use crate::support::report::Budget;

const PAIRS: usize = 1500;
const BATCH: u32 = 16;

pub(crate) fn measure(rows: &mut Rows) {
    measure_clocks(rows);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let address = address.as_str();

    let memory = Bump::new();
    let clock = MonotonicClock::new();
    let stop = CancelFlag::new();
    let context = Context::new(&clock).with_cancel(&stop).with_timeout(Duration::from_secs(3600));
    let ring = AuditRing::new_in(64, &memory).unwrap().with_clock(&clock);
    let mut capability = NetBind::new("bench").unwrap().with_sink(&ring);
    capability.allow_port(port).unwrap();

    let checked = || {
        let options = ListenOptions::new().context(&context).capability(&capability);
        drop(black_box(options.listen(black_box(address), &memory).unwrap()));
    };
    let coarse_clock = CoarseClock::from(clock);
    let coarse_context =
        Context::new(&coarse_clock).with_cancel(&stop).with_timeout(Duration::from_secs(3600));
    let coarse_ring = AuditRing::new_in(64, &memory).unwrap().with_clock(&coarse_clock);
    let mut coarse_capability = NetBind::new("bench").unwrap().with_sink(&coarse_ring);
    coarse_capability.allow_port(port).unwrap();
    let coarse = || {
        let options = ListenOptions::new().context(&coarse_context).capability(&coarse_capability);
        drop(black_box(options.listen(black_box(address), &memory).unwrap()));
    };
    let timeless_context = Context::new(&clock).with_cancel(&stop);
    let timeless_ring = AuditRing::new_in(64, &memory).unwrap();
    let mut timeless_capability = NetBind::new("bench").unwrap().with_sink(&timeless_ring);
    timeless_capability.allow_port(port).unwrap();
    let timeless = || {
        let options =
            ListenOptions::new().context(&timeless_context).capability(&timeless_capability);
        drop(black_box(options.listen(black_box(address), &memory).unwrap()));
    };
    let core = || drop(black_box(netbind::listen(black_box(address), &memory).unwrap()));
    let bare = || drop(black_box(peers::bare(black_box(port)).unwrap()));
    let of_std = || drop(black_box(peers::std_listener(black_box(address)).unwrap()));
    let of_socket2 = || drop(black_box(peers::socket2_listener(black_box(address)).unwrap()));

    let what = "listen with all checks, and close";
    rows.add(what, "the bare calls", Budget::Ratio(1.10), || {
        compare(PAIRS, batch(BATCH, checked), batch(BATCH, bare))
    });
    rows.add(what, "std", Budget::None, || {
        compare(PAIRS, batch(BATCH, checked), batch(BATCH, of_std))
    });
    rows.add(what, "socket2", Budget::None, || {
        compare(PAIRS, batch(BATCH, checked), batch(BATCH, of_socket2))
    });
    // The same seven readings, but of the time at the last timer tick.
    rows.add("the same with a coarse clock", "the bare calls", Budget::None, || {
        compare(PAIRS, batch(BATCH, coarse), batch(BATCH, bare))
    });
    // Without a deadline and without times in the records, the clock is not read.
    rows.add("the same without time", "the bare calls", Budget::None, || {
        compare(PAIRS, batch(BATCH, timeless), batch(BATCH, bare))
    });
    rows.add("plain listen and close", "the bare calls", Budget::None, || {
        compare(PAIRS, batch(BATCH, core), batch(BATCH, bare))
    });
    // The minimum for five checks of a deadline and two records with a time.
    let readings = || {
        for _ in 0..7 {
            black_box(black_box(&clock as &dyn Clock).now());
        }
        bare();
    };
    rows.add(
        "seven readings of the clock, and the bare calls",
        "the bare calls",
        Budget::None,
        || compare(PAIRS, batch(BATCH, readings), batch(BATCH, bare)),
    );
    // The error of the comparison itself.
    rows.add("the bare calls", "themselves", Budget::None, || {
        compare(PAIRS, batch(BATCH, bare), batch(BATCH, bare))
    });
}

/// Measures one reading of each clock.
fn measure_clocks(rows: &mut Rows) {
    let fine = MonotonicClock::new();
    let coarse = CoarseClock::from(fine);
    let clocks: [(&str, &dyn Clock); 2] =
        [("a reading of the clock", &fine), ("a reading of the coarse clock", &coarse)];
    for (what, clock) in clocks {
        rows.add(what, "`std::time::Instant`", Budget::None, || {
            let of_std = || {
                black_box(std::time::Instant::now());
            };
            let ours = || {
                black_box(black_box(clock).now());
            };
            compare(400, batch(2000, ours), batch(2000, of_std))
        });
    }
}

/// Returns a port that was free just now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
