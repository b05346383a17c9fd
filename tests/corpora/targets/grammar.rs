//! The grammar of an address a second time, for the fuzzer's pace: one look into a table for each byte of a text.
//!
//! The rules below are written as what may follow what, from the end of an address to its start. All ways through them at
//! once are the rows of the table (the subset construction), so reading a text along the rows tells in one pass how much of
//! it some address begins with. Nothing here is shared with the parser, and the oracle is asked whether it is true.

use std::collections::HashMap;
use std::sync::LazyLock;

use netbind::SocketError;

/// The first and the last byte that may stand in a place, more than once where they are not neighbours.
type Bytes = [(u8, u8)];

const DIGIT: &Bytes = &[(b'0', b'9')];
const HEXADECIMAL: &Bytes = &[(b'0', b'9'), (b'a', b'f'), (b'A', b'F')];
const ANY: &Bytes = &[(1, 255)];
const ANY_BUT_AT: &Bytes = &[(1, b'@' - 1), (b'@' + 1, 255)];

/// What a text is, or how much of it some address begins with and the error that it deserves.
pub type Reading = Result<(), (SocketError, usize)>;

/// Reads a text along the table.
pub fn read(text: &[u8]) -> Reading {
    static TABLE: LazyLock<Table> = LazyLock::new(Table::new);
    let table = &*TABLE;
    let mut row = &table.rows[START];
    for (offset, byte) in text.iter().enumerate() {
        let next = row.next[usize::from(*byte)];
        if next == NOTHING {
            return Err((row.error, offset));
        }
        row = &table.rows[usize::from(next)];
    }
    if row.is_whole { Ok(()) } else { Err((row.error, text.len())) }
}

/// The row of nothing read so far, and the entry of a byte that cannot follow.
const START: usize = 0;
const NOTHING: u16 = u16::MAX;

struct Table {
    rows: Vec<Row>,
}

/// Where a text can be in the grammar after the same bytes.
struct Row {
    next: [u16; 256],
    is_whole: bool,
    error: SocketError,
}

impl Table {
    fn new() -> Self {
        let mut rules = Rules::default();
        let start = rules.address();
        let mut known = HashMap::from([(start.clone(), 0)]);
        let mut found = vec![start];
        let mut rows = Vec::new();
        while let Some(places) = found.get(rows.len()).cloned() {
            let next = std::array::from_fn(|byte| {
                let then = rules.after(&places, u8::try_from(byte).unwrap());
                if then.is_empty() {
                    return NOTHING;
                }
                *known.entry(then).or_insert_with_key(|then| {
                    found.push(then.clone());
                    u16::try_from(found.len() - 1).unwrap()
                })
            });
            let in_port = places.iter().any(|place| rules.places[*place].in_port);
            let error =
                if in_port { SocketError::InvalidPort } else { SocketError::InvalidAddress };
            rows.push(Row {
                next,
                is_whole: places.iter().any(|place| rules.places[*place].is_whole),
                error,
            });
        }
        Self { rows }
    }
}

/// Places in the grammar where a text can be: all of them at once, in order.
type Places = Vec<usize>;

#[derive(Default)]
struct Rules {
    places: Vec<Place>,
    /// The places made now are behind a host and its `:`.
    in_port: bool,
}

/// What may follow here.
struct Place {
    byte: Vec<(u8, u8)>,
    then: Places,
    is_whole: bool,
    in_port: bool,
}

/// All that is in one of them.
fn either(choices: &[&Places]) -> Places {
    let mut all = choices.iter().flat_map(|places| places.iter().copied()).collect::<Vec<_>>();
    all.sort_unstable();
    all.dedup();
    all
}

impl Rules {
    fn after(&self, places: &Places, byte: u8) -> Places {
        let place = places.iter().map(|place| &self.places[*place]);
        let fits = place.filter(|place| {
            place.byte.iter().any(|(first, last)| (*first..=*last).contains(&byte))
        });
        either(&fits.map(|place| &place.then).collect::<Vec<_>>())
    }

    fn place(&mut self, byte: &Bytes, then: &Places, is_whole: bool) -> Places {
        self.places.push(Place {
            byte: byte.to_vec(),
            then: then.clone(),
            is_whole,
            in_port: self.in_port,
        });
        vec![self.places.len() - 1]
    }

    fn end(&mut self) -> Places {
        self.place(&[], &Vec::new(), true)
    }

    fn one(&mut self, byte: &Bytes, then: &Places) -> Places {
        self.place(byte, then, false)
    }

    /// Exactly this text.
    fn text(&mut self, text: &str, then: &Places) -> Places {
        text.bytes().rev().fold(then.clone(), |then, byte| self.one(&[(byte, byte)], &then))
    }

    /// Exactly `count` of these bytes.
    fn times(&mut self, count: usize, byte: &Bytes, then: &Places) -> Places {
        (0..count).fold(then.clone(), |then, _| self.one(byte, &then))
    }

    /// None of these bytes, up to `most`.
    fn up_to(&mut self, most: usize, byte: &Bytes, then: &Places) -> Places {
        (0..most).fold(then.clone(), |shorter, _| {
            let longer = self.one(byte, &shorter);
            either(&[&longer, then])
        })
    }

    /// A number of as many digits as `most` has or fewer, and not above it.
    fn number(&mut self, most: &str, then: &Places) -> Places {
        let shorter = self.up_to(most.len() - 2, DIGIT, then);
        let mut all = vec![self.one(DIGIT, &shorter), self.text(most, then)];
        for (at, digit) in most.bytes().enumerate().filter(|(_, digit)| *digit > b'0') {
            // The same up to this digit, a lower one here, and then any.
            let any = self.times(most.len() - at - 1, DIGIT, then);
            let lower = self.one(&[(b'0', digit - 1)], &any);
            all.push(self.text(&most[..at], &lower));
        }
        either(&all.iter().collect::<Vec<_>>())
    }

    /// `0` to `255` without a leading zero.
    fn octet(&mut self, then: &Places) -> Places {
        const ABOVE_249: &Bytes = &[(b'0', b'5')];
        const ABOVE_199: &Bytes = &[(b'0', b'4')];
        const NO_ZERO: &Bytes = &[(b'1', b'9')];
        let one = self.one(DIGIT, then);
        let two = self.one(NO_ZERO, &one);
        let digits = self.times(2, DIGIT, then);
        let to_199 = self.text("1", &digits);
        let to_249 = self.one(ABOVE_199, &one);
        let to_249 = self.text("2", &to_249);
        let to_255 = self.one(ABOVE_249, then);
        let to_255 = self.text("25", &to_255);
        either(&[&one, &two, &to_199, &to_249, &to_255])
    }

    fn ipv4(&mut self, then: &Places) -> Places {
        let last = self.octet(then);
        (0..3).fold(last, |then, _| {
            let then = self.text(".", &then);
            self.octet(&then)
        })
    }

    /// One group, and what follows it.
    fn group(&mut self, then: &Places) -> Places {
        let more = self.up_to(3, HEXADECIMAL, then);
        self.one(HEXADECIMAL, &more)
    }

    /// Eight groups, or `::` and up to seven; the last two may be an IPv4 address, but for those before `::`.
    fn ipv6(&mut self, then: &Places) -> Places {
        let ipv4 = self.ipv4(then);
        // What may follow `::`, and what may follow a `:` behind it, with so many groups read.
        let mut behind_gap = vec![then.clone(); 8];
        let mut group_behind_gap = vec![Vec::new(); 8];
        for read in (0..7).rev() {
            let colon = self.text(":", &group_behind_gap[read + 1]);
            let group = self.group(&either(&[then, &colon]));
            group_behind_gap[read] = if read + 2 <= 7 { either(&[&group, &ipv4]) } else { group };
            behind_gap[read] = either(&[then, &group_behind_gap[read]]);
        }
        let mut groups = self.group(then);
        for read in (0..7).rev() {
            let colon = self.text(":", &groups);
            let gap = self.text("::", &behind_gap[read + 1]);
            let group = self.group(&either(&[&colon, &gap]));
            groups = if read == 6 { either(&[&group, &ipv4]) } else { group };
        }
        let gap = self.text("::", &behind_gap[0]);
        either(&[&groups, &gap])
    }

    /// All forms, as the README has them.
    fn address(&mut self) -> Places {
        self.in_port = true;
        let end = self.end();
        let port = self.number("65535", &end);
        self.in_port = false;
        let port = self.text(":", &port);
        let ipv4 = self.ipv4(&port);
        let closed = self.text("]", &port);
        let scope = self.number("4294967295", &closed);
        let scope = self.text("%", &scope);
        let ipv6 = self.ipv6(&either(&[&closed, &scope]));
        let ipv6 = self.text("[", &ipv6);

        let end = self.end();
        let rest = self.up_to(106, ANY, &end);
        let bare = self.text("/", &rest);
        let path = self.one(ANY_BUT_AT, &rest);
        let path = self.text("unix:", &path);
        let name = self.one(ANY, &rest);
        let name = self.text("unix:@", &name);
        either(&[&port, &ipv4, &ipv6, &bare, &path, &name])
    }
}
