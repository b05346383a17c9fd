//! One listener opened and closed on a port that is given: the sovereign path with all that it can carry (capability,
//! ring, deadline, cancellation flag, the vDSO clock for both), against the calls alone, std and socket2.

use std::hint::black_box;
use std::net::TcpListener;
use std::time::Duration;

use bumpalo::Bump;
use netbind::time::{Clock, CoarseClock};
use netbind::{AuditRing, CancelFlag, Context, ListenOptions, MonotonicClock, NetBind};

use crate::Rows;
use crate::support::pairs::{batch, compare};
use crate::support::peers;
use crate::support::report::Reach;

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

    let sovereign = || {
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

    let what = "sovereign listen and close";
    rows.add(what, "the bare calls", Reach::Ratio(1.03), || {
        compare(PAIRS, batch(BATCH, sovereign), batch(BATCH, bare))
    });
    rows.add(what, "std", Reach::Nothing, || {
        compare(PAIRS, batch(BATCH, sovereign), batch(BATCH, of_std))
    });
    rows.add(what, "socket2", Reach::Nothing, || {
        compare(PAIRS, batch(BATCH, sovereign), batch(BATCH, of_socket2))
    });
    // The same seven readings, of the time at the last tick.
    rows.add("the same with a coarse clock", "the bare calls", Reach::Nothing, || {
        compare(PAIRS, batch(BATCH, coarse), batch(BATCH, bare))
    });
    // No deadline and no times in the records: the difference is seven readings of the clock.
    rows.add("the same without time", "the bare calls", Reach::Nothing, || {
        compare(PAIRS, batch(BATCH, timeless), batch(BATCH, bare))
    });
    rows.add("core listen and close", "the bare calls", Reach::Nothing, || {
        compare(PAIRS, batch(BATCH, core), batch(BATCH, bare))
    });
    // The floor of all that reads this clock before each of the five steps and for each of the two records.
    let readings = || {
        for _ in 0..7 {
            black_box(black_box(&clock as &dyn Clock).now());
        }
        bare();
    };
    rows.add(
        "seven readings of the clock, and the bare calls",
        "the bare calls",
        Reach::Nothing,
        || compare(PAIRS, batch(BATCH, readings), batch(BATCH, bare)),
    );
    // What the comparison itself can tell apart.
    rows.add("the bare calls", "themselves", Reach::Nothing, || {
        compare(PAIRS, batch(BATCH, bare), batch(BATCH, bare))
    });
}

/// What one of the seven readings costs.
fn measure_clocks(rows: &mut Rows) {
    let fine = MonotonicClock::new();
    let coarse = CoarseClock::from(fine);
    let clocks: [(&str, &dyn Clock); 2] =
        [("a reading of the clock", &fine), ("a reading of the coarse clock", &coarse)];
    for (what, clock) in clocks {
        rows.add(what, "`std::time::Instant`", Reach::Nothing, || {
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

/// One that nobody has, and that nobody who asks for any port is given in the meantime, most likely.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
