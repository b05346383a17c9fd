//! Several processes replace the same socket, and pause between the calls, so that their steps
//! interleave in many ways. Without the lock, three of them can lose a live listener.

use std::sync::Barrier;
use std::time::Duration;

use netbind::{Existing, SocketError};

use super::{IN_USE, assert_serves, assert_unlocked, in_directory, leave_stale, names, with};
use crate::support::calls::Call;
use crate::support::memory::Arena;
use crate::support::supervisor::{supervised, watched};
use crate::support::thread::{join, spawn};

const CONTENDERS: usize = 6;
const ROUNDS: u64 = 20;

/// Returns a function that pauses before each call of the replacement, for a time that depends on
/// the seed.
fn pauses(mut seed: u64) -> impl FnMut(&Call) -> Option<i32> {
    move |call| {
        let text = call.to_string();
        if ["renameat2(", "fstatat(", "unlinkat("].iter().any(|start| text.starts_with(start)) {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(Duration::from_micros((seed >> 40) % 400));
        }
        None
    }
}

/// Opens `s` and returns when all others have too. A listener must then still have the path, and
/// leaves it.
fn contend(seed: u64, all_opened: &Barrier) -> Result<(), SocketError> {
    let body = || {
        let arena = Arena::new();
        let opened = watched(|| with(Existing::ReplaceStale).listen("unix:s", &arena));
        all_opened.wait();
        opened.map(|mut listener| {
            assert_serves(&listener, "s");
            listener.keep_path();
        })
    };
    supervised(pauses(seed), body).0
}

#[test]
fn interleaved_contenders_never_lose_a_live_listener() {
    in_directory(|_| {
        leave_stale("s");
        for round in 0..ROUNDS {
            let all_opened = &Barrier::new(CONTENDERS);
            let opened: Vec<_> = std::thread::scope(|scope| {
                let seeds = (1..=CONTENDERS as u64).map(|number| round << 8 | number);
                let contenders: Vec<_> = seeds
                    .map(|seed| {
                        spawn(scope, move || contend(seed.wrapping_mul(0x9e37_79b9), all_opened))
                    })
                    .collect();
                contenders.into_iter().map(join).collect()
            });
            let winners = opened.iter().filter(|opened| opened.is_ok()).count();
            let others = opened.iter().filter(|opened| **opened == Err(IN_USE)).count();
            assert_eq!((winners, others), (1, CONTENDERS - 1), "round {round}: {opened:?}");
            assert_eq!(names("."), ["s"], "round {round}");
            assert_unlocked("after a round");
        }
    });
}
