//! Many processes want the same path at the same time.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use netbind::{Existing, Listener, SocketError};
use rustix::process::{Pid, Signal, kill_process};

use super::process::Child;
use super::{IN_USE, connect, in_directory, inode, names, with};
use crate::support::memory::Arena;

const CONTENDERS: usize = 16;

/// What the parent asks of a contender. The answer is a byte, and the errno of an error.
const OPEN: u8 = b'o';
const SERVE: u8 = b's';
const LEAVE: u8 = b'l';

const WON: [u8; 2] = [b'w', 0];
const LOST: [u8; 2] = [b'u', 0];
const DONE: [u8; 2] = [b'd', 0];

/// A process that opens the path `s` when it is asked to.
struct Contender {
    child: Child,
    channel: UnixStream,
}

impl Contender {
    fn new() -> Self {
        let (channel, other) = UnixStream::pair().unwrap();
        let child = Child::new(|| contend(&other));
        Self { child, channel }
    }

    fn ask(&mut self, command: u8) {
        self.channel.write_all(&[command]).unwrap();
    }

    /// Returns the answer, or `None` if the process was killed before it answered.
    fn answer(&mut self) -> Option<[u8; 2]> {
        let mut answer = [0; 2];
        self.channel.read_exact(&mut answer).ok().map(|()| answer)
    }

    fn call(&mut self, command: u8) -> [u8; 2] {
        self.ask(command);
        self.answer().expect("the contender has ended")
    }
}

/// In the child: does what the parent asks for.
fn contend(mut channel: &UnixStream) {
    let (arena, mut listener, mut command) = (Arena::new(), None, [0]);
    while channel.read_exact(&mut command).is_ok() {
        let answer = match command[0] {
            OPEN => match with(Existing::ReplaceStale).listen("unix:s", &arena) {
                Ok(opened) => {
                    listener = Some(opened);
                    WON
                }
                Err(IN_USE) => LOST,
                Err(SocketError::System { errno, .. }) => {
                    [b'e', errno.raw_os_error().try_into().unwrap()]
                }
                Err(error) => panic!("{error}"),
            },
            SERVE => serve_one(listener.as_ref().unwrap()),
            _ => {
                let mut listener: Listener<&Arena> = listener.take().unwrap();
                listener.keep_path();
                listener.close().unwrap();
                assert_eq!(arena.bytes_in_use(), 0);
                DONE
            }
        };
        channel.write_all(&answer).unwrap();
    }
}

/// Answers one client. The other connections are probes, and have ended.
fn serve_one(listener: &Listener<&Arena>) -> [u8; 2] {
    while let Ok((connection, _)) = listener.accept() {
        let (mut connection, mut word) = (fs::File::from(connection), [0]);
        if connection.read(&mut word).unwrap() == 1 {
            connection.write_all(&std::process::id().to_ne_bytes()).unwrap();
            return DONE;
        }
    }
    LOST
}

/// Asserts that a client of the path reaches this process.
fn assert_reached(contender: &mut Contender, case: &str) {
    let mut client = UnixStream::connect("s").unwrap();
    client.write_all(b"?").unwrap();
    assert_eq!(contender.call(SERVE), DONE, "{case}: the client is elsewhere");
    let mut id = [0; 4];
    client.read_exact(&mut id).unwrap();
    assert_eq!(id, contender.child.id().as_raw_nonzero().get().to_ne_bytes(), "{case}");
}

/// A small generator of numbers, so that a run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// How the winner of a round ends, before the next round.
#[derive(Clone, Copy, Debug)]
enum End {
    Leaves,
    IsKilled,
}

/// The state of a competition in the working directory.
struct Competition {
    contenders: Vec<Contender>,
    killed: Vec<Pid>,
    /// The number of temporary names that killed processes have left.
    left: usize,
    random: Random,
}

impl Competition {
    fn new() -> Self {
        let contenders = (0..CONTENDERS).map(|_| Contender::new()).collect();
        Self { contenders, killed: Vec::new(), left: 0, random: Random(0x9e37_79b9_7f4a_7c15) }
    }

    /// Kills a contender, and starts another.
    fn replace(&mut self, index: usize) {
        let former = std::mem::replace(&mut self.contenders[index], Contender::new());
        self.killed.push(former.child.id());
        former.child.kill();
    }

    /// Asks every contender to open the path. Kills this number of them meanwhile. Returns the
    /// indices of those that won and live.
    fn race(&mut self, kills: usize, case: &str) -> Vec<usize> {
        let start = self.random.below(CONTENDERS);
        for index in 0..CONTENDERS {
            self.contenders[(start + index) % CONTENDERS].ask(OPEN);
        }
        let mut running: Vec<_> = (0..CONTENDERS).collect();
        let mut killed = Vec::new();
        for _ in 0..kills {
            for _ in 0..self.random.below(20_000) {
                std::hint::spin_loop();
            }
            let index = running.swap_remove(self.random.below(running.len()));
            kill_process(self.contenders[index].child.id(), Signal::KILL).unwrap();
            killed.push(index);
        }
        for index in killed {
            self.replace(index);
        }
        let answered = |index: &usize| {
            let answer = self.contenders[*index].answer().expect("the contender has ended");
            assert!(answer == WON || answer == LOST, "{case}: {answer:?}");
            answer == WON
        };
        running.into_iter().filter(answered).collect()
    }

    /// Asserts that the only temporary names are those of killed processes, and removes them.
    fn check_names(&mut self, case: &str) {
        for name in names(".").iter().filter(|name| *name != "s") {
            let process = name.strip_prefix(".netbind-").and_then(|digits| digits.get(..6));
            let process = i32::from_str_radix(process.expect(name), 16).unwrap();
            let is_of_killed = self.killed.iter().any(|id| id.as_raw_nonzero().get() == process);
            assert!(is_of_killed, "{case}: {name} was left");
            assert!(connect(Path::new(name)).is_err(), "{case}: {name} listens");
            fs::remove_file(name).unwrap();
            self.left += 1;
        }
    }

    /// Asserts that no contender takes the path from the winner.
    fn assert_stays(&mut self, winner: usize, case: &str) {
        let before = inode("s");
        let others: Vec<_> = (0..CONTENDERS).filter(|index| *index != winner).collect();
        for &index in &others {
            self.contenders[index].ask(OPEN);
        }
        for &index in &others {
            assert_eq!(self.contenders[index].answer(), Some(LOST), "{case}");
        }
        assert_eq!(inode("s"), before, "{case}: a live listener was replaced");
        assert_reached(&mut self.contenders[winner], case);
    }

    /// Ends the winner, whose socket must stay.
    fn end(&mut self, winner: usize, end: End) {
        let before = inode("s");
        match end {
            End::Leaves => assert_eq!(self.contenders[winner].call(LEAVE), DONE),
            End::IsKilled => self.replace(winner),
        }
        assert_eq!(inode("s"), before);
        assert_eq!(connect(Path::new("s")).err(), Some(rustix::io::Errno::CONNREFUSED));
    }
}

/// Lets 16 processes compete for a path, round after round. In each round, the socket of the last
/// winner is stale. With `kills`, some processes are killed at any moment.
pub(super) fn compete(rounds: usize, kills: bool) {
    in_directory(|_| {
        let mut competition = Competition::new();
        let mut without_winner = 0;
        for round in 0..rounds {
            let number = if kills { competition.random.below(4) } else { 0 };
            let case = format!("round {round}, {number} killed");
            let winners = competition.race(number, &case);
            assert!(names(".").iter().any(|name| name == "s") || number > 0, "{case}: no path");
            match winners[..] {
                [winner] => {
                    assert_reached(&mut competition.contenders[winner], &case);
                    if round % 8 == 3 {
                        competition.assert_stays(winner, &case);
                    }
                    competition.check_names(&case);
                    let end = if round % 4 == 0 { End::IsKilled } else { End::Leaves };
                    competition.end(winner, end);
                }
                // The winner was killed, and all others had already lost.
                [] if number > 0 => {
                    without_winner += 1;
                    competition.check_names(&case);
                }
                _ => panic!("{case}: {} winners", winners.len()),
            }
        }
        let (killed, left) = (competition.killed.len(), competition.left);
        println!("{rounds} rounds, {without_winner} without a winner");
        println!("{killed} processes killed, which left {left} temporary names");
    });
}

#[test]
fn of_many_processes_exactly_one_replaces_a_stale_socket() {
    compete(50, false);
}

/// A process that was killed has not unlocked the directory itself.
#[test]
fn processes_that_are_killed_meanwhile_do_not_stop_the_others() {
    compete(15, true);
}
