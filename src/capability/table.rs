use crate::rule::{Form, Parts, Ports, Rule, Subject};

/// The maximum number of rules in a table.
const RULES: usize = 16;
/// The memory for the paths, names and networks of a table, in bytes.
const POOL: usize = 640;

/// A place in the pool.
#[derive(Clone, Copy)]
struct Span {
    start: u16,
    length: u8,
}

/// Rules in fixed capacity. Their bytes share one pool, so that a table is much smaller than as
/// many values of [`Rule`].
pub(super) struct Table {
    rules: [Parts<Span>; RULES],
    ports: PortRanges,
    length: usize,
    pool: [u8; POOL],
    used: u16,
}

impl Table {
    pub(super) const fn new() -> Self {
        let unused = entry(Form::AnyPath, Ports::NONE);
        let (rules, ports) = ([unused; RULES], PortRanges::new());
        Self { rules, ports, length: 0, pool: [0; POOL], used: 0 }
    }

    /// Returns the table of `NetBind::new`.
    pub(super) const fn with_defaults() -> Self {
        let mut table = Self::new();
        let [a, b, c, d, ..] = &mut table.rules;
        [*a, *b, *c, *d] = [
            entry(Form::Ports, Ports { first: 8080, last: 8080 }),
            entry(Form::Ports, Ports { first: 3000, last: 3000 }),
            entry(Form::Ports, Ports { first: 8000, last: 8000 }),
            entry(Form::AnyPath, Ports::NONE),
        ];
        table.ports.set_first_three([8080, 3000, 8000]);
        table.length = 4;
        table
    }

    /// Adds a rule, unless it is already there. Returns false if there is no room for it.
    pub(super) fn add(&mut self, rule: &Rule) -> bool {
        let parts = rule.parts();
        if self.iter().any(|known| known == parts) {
            return true;
        }
        let start = usize::from(self.used);
        let room = self.pool.get_mut(start..start + parts.bytes.len());
        let (Some(room), Some(place)) = (room, self.rules.get_mut(self.length)) else {
            return false;
        };
        let mut length = 0;
        for (to, from) in room.iter_mut().zip(parts.bytes) {
            *to = *from;
            length += 1;
        }
        *place = parts.with_bytes(Span { start: self.used, length });
        if parts.form == Form::Ports {
            self.ports.set(self.length, parts.ports);
        }
        self.length += 1;
        self.used += u16::from(length);
        true
    }

    /// Returns true if a rule allows the address.
    pub(super) fn allows(&self, subject: Subject<'_>) -> bool {
        match subject {
            Subject::Ip(_, port) => {
                self.ports.any_contains(port) || self.any_rule_allows(subject, port)
            }
            Subject::Path(_) | Subject::Abstract(_) => self.iter().any(|rule| rule.allows(subject)),
        }
    }

    fn any_rule_allows(&self, subject: Subject<'_>, port: u16) -> bool {
        // Most rules are about other ports, and their networks are not looked up.
        let mut about_port = self.rules().iter().filter(|rule| rule.ports.contains(port));
        about_port.any(|rule| self.with_bytes(rule).allows(subject))
    }

    /// Returns the rules in the order in which they were added.
    pub(super) fn iter(&self) -> impl Iterator<Item = Parts<&[u8]>> {
        self.rules().iter().map(|rule| self.with_bytes(rule))
    }

    fn rules(&self) -> &[Parts<Span>] {
        self.rules.get(..self.length).unwrap_or_default()
    }

    fn with_bytes(&self, rule: &Parts<Span>) -> Parts<&[u8]> {
        let (start, length) = (usize::from(rule.bytes.start), usize::from(rule.bytes.length));
        rule.with_bytes(self.pool.get(start..start + length).unwrap_or_default())
    }
}

/// Returns a rule without bytes.
const fn entry(form: Form, ports: Ports) -> Parts<Span> {
    Parts { form, ports, prefix: 0, bytes: Span { start: 0, length: 0 } }
}

/// A second copy of the ports of the `port` rules, in arrays, so that the compiler can compare
/// several at once: a decision with 16 of them takes 132 instructions instead of 347.
struct PortRanges {
    first: [u16; RULES],
    last: [u16; RULES],
}

impl PortRanges {
    const fn new() -> Self {
        Self { first: [Ports::NONE.first; RULES], last: [Ports::NONE.last; RULES] }
    }

    const fn set_first_three(&mut self, [a, b, c]: [u16; 3]) {
        let ([f0, f1, f2, ..], [l0, l1, l2, ..]) = (&mut self.first, &mut self.last);
        (*f0, *f1, *f2) = (a, b, c);
        (*l0, *l1, *l2) = (a, b, c);
    }

    fn set(&mut self, index: usize, ports: Ports) {
        if let (Some(first), Some(last)) = (self.first.get_mut(index), self.last.get_mut(index)) {
            (*first, *last) = (ports.first, ports.last);
        }
    }

    fn any_contains(&self, port: u16) -> bool {
        let mut any = false;
        for (first, last) in self.first.iter().zip(&self.last) {
            any |= *first <= port && port <= *last;
        }
        any
    }
}
