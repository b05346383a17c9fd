use heapless::Vec;

use super::bpf::{Answer, Field};
use super::error::EnforceError;
use super::gaps::Gaps;
use super::landlock::{Ruleset, require_abi};
use super::sys::{number, set_no_new_privs, system};
use super::{seccomp, tasks, trial};
use crate::address::BindAddress;
use crate::capability::{NetBind, Rights};
use crate::linux::TerminatedPath;
use crate::rule::{Form, Parts, Ports, Rule};

/// The number of layers that Landlock has.
const LAYERS: usize = 16;

/// A capability that is to be enforced on the own process.
///
/// Landlock allows TCP binds of the ports, and Unix sockets in the directories, that the capability
/// allows; one layer for the capability and one for each of its ancestors. A seccomp filter refuses
/// sockets of other kinds: MPTCP and SCTP (`EPROTONOSUPPORT`), UDP, raw and others (`EACCES`),
/// families other than Unix, IPv4, IPv6 and route netlink (`EAFNOSUPPORT`), and `io_uring`
/// (`ENOSYS`). Programs for another ABI of the processor are killed. Both hold for all programs
/// that the process executes, and cannot be undone.
///
/// Landlock and seccomp cannot express every capability. [`Gaps`] has a name for each restriction
/// that is missing. In particular, a TCP socket that listens without a bind gets a port of the
/// kernel's choice ([`Gaps::EPHEMERAL_LISTEN`]).
///
/// It does not stop:
///
/// - a socket that is bound or listens already, and a UDP or MPTCP socket that was opened before,
///   whether inherited or received over a Unix socket;
/// - `connect` and `sendto`, which give a socket a port;
/// - links and mounts that lead out of a directory of the capability.
///
/// A confined process can no longer use UDP sockets (unless [`Gaps::UDP`] is tolerated), `io_uring`
/// and `pidfd_getfd`, nor `mount` if the capability restricts Unix paths. It cannot trace older
/// processes.
///
/// ```no_run
/// use netbind::enforce::{Confinement, Gaps};
/// use netbind::{NetBind, Rights};
///
/// let mut capability = NetBind::empty("web")?;
/// capability.grant(Rights::all());
/// capability.allow_port(80)?.allow_beneath(b"/run/web")?.allow("any-abstract".parse()?)?;
///
/// let confinement = Confinement::new(&capability).tolerate(Gaps::EPHEMERAL_LISTEN | Gaps::UDP);
/// confinement.apply()?; // now also for code that does not know this crate
/// assert!(std::net::TcpListener::bind("127.0.0.1:81").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Confinement<'c> {
    capability: &'c NetBind<'c>,
    tolerated: Gaps,
}

/// The parts of a confinement, which is not in force yet.
struct Prepared {
    gaps: Gaps,
    /// The rulesets that fit: those of the capability and its nearest ancestors.
    rulesets: Vec<Ruleset, LAYERS>,
}

impl<'c> Confinement<'c> {
    /// Prepares to enforce this capability. No gap is tolerated.
    #[must_use]
    pub const fn new(capability: &'c NetBind<'c>) -> Self {
        Self { capability, tolerated: Gaps::empty() }
    }

    /// Tolerates these gaps, in addition to earlier ones.
    #[must_use]
    pub const fn tolerate(mut self, gaps: Gaps) -> Self {
        self.tolerated = self.tolerated.union(gaps);
        self
    }

    /// Returns what cannot be enforced for this capability on this kernel now, tolerated or not.
    ///
    /// It restricts nothing. [`Gaps::UDP`] is returned only if it is tolerated, because otherwise
    /// UDP sockets are refused.
    ///
    /// # Errors
    ///
    /// Those of [`apply`](Self::apply), except gaps.
    pub fn gaps(&self) -> Result<Gaps, EnforceError> {
        Ok(self.prepare()?.gaps)
    }

    /// Confines the process: for each layer `landlock_create_ruleset`, `openat` of its directories
    /// and `landlock_add_rule`; a trial of the layers in a child process; and then
    /// `prctl(PR_SET_NO_NEW_PRIVS)`, `seccomp`, and `landlock_restrict_self` for each layer.
    ///
    /// # Errors
    ///
    /// - [`EnforceError::Gaps`] with the gaps that are not tolerated.
    /// - [`EnforceError::Unsupported`] without Landlock ABI 4 (Linux 6.7), a free layer of
    ///   Landlock, or seccomp.
    /// - [`EnforceError::System`], such as `openat` with `ENOENT` for a directory that does not
    ///   exist.
    /// - [`EnforceError::OtherThread`] if a thread has seccomp filters of its own.
    ///
    /// If `seccomp` or a call before it fails, nothing is restricted, but `no_new_privs` may be
    /// set. If `landlock_restrict_self` fails, the process is restricted in part, and should end.
    pub fn apply(self) -> Result<(), EnforceError> {
        let Prepared { gaps, rulesets } = self.prepare()?;
        let open = gaps.difference(self.tolerated);
        if !open.is_empty() {
            return Err(EnforceError::Gaps(open));
        }
        let mut program = seccomp::common_rules();
        let udp = self.tolerated.contains(Gaps::UDP);
        program.load(Field::Number).block(number::SOCKET, &seccomp::sockets(udp));
        program.answer(Answer::Allow);
        set_no_new_privs()?;
        // The filter comes first, because it can still fail. The trial has shown that the layers
        // fit.
        seccomp::install(&program)?;
        for ruleset in &rulesets {
            ruleset.restrict_self().map_err(system("landlock_restrict_self"))?;
        }
        Ok(())
    }

    fn prepare(&self) -> Result<Prepared, EnforceError> {
        require_abi()?;
        seccomp::check_support()?;
        let mut gaps = self.gaps_of_rules() | gaps_of_threads();
        gaps |= self.tolerated & Gaps::UDP;
        let mut rulesets = Vec::new();
        for capability in self.capability.with_ancestors() {
            let Some(ruleset) = ruleset(capability)? else { continue };
            if rulesets.push(ruleset).is_err() {
                gaps |= Gaps::DEPTH;
                break;
            }
        }
        let fitting = trial::count_layers(&rulesets)?;
        if fitting == 0 && !rulesets.is_empty() {
            let needs = "a free layer of Landlock";
            return Err(EnforceError::Unsupported { needs, found: 0 });
        }
        if fitting < rulesets.len() {
            gaps |= Gaps::DEPTH;
            rulesets.truncate(fitting);
        }
        Ok(Prepared { gaps, rulesets })
    }

    /// Returns what Landlock cannot express of the rules, of the capability and its ancestors.
    fn gaps_of_rules(&self) -> Gaps {
        let mut gaps = Gaps::empty();
        let ephemeral = ["0.0.0.0:0", "[::]:0"].map(BindAddress::parse);
        if !ephemeral.iter().flatten().all(|address| self.capability.allows(address, false)) {
            gaps |= Gaps::EPHEMERAL_LISTEN;
        }
        for capability in self.capability.with_ancestors() {
            let rights = capability.rights();
            let mut has_any_abstract = false;
            for rule in capability.rules() {
                let is_exact = !rights.contains(Rights::NET_BIND) || is_covered(&rule, capability);
                match rule.parts().form {
                    Form::Host if !is_exact => gaps |= Gaps::HOSTS,
                    Form::Path if !is_exact => gaps |= Gaps::PATHS,
                    Form::AnyAbstract => has_any_abstract = true,
                    _ => {}
                }
            }
            if !(has_any_abstract && rights.contains(Rights::NET_BIND_ABSTRACT)) {
                gaps |= Gaps::ABSTRACT_NAMES;
            }
        }
        gaps
    }
}

/// Returns true if another rule allows what Landlock allows for this `host` or `path` rule.
fn is_covered(rule: &Rule, capability: &NetBind<'_>) -> bool {
    let Parts { form, ports, bytes, .. } = rule.parts();
    let directory = directory_of(bytes);
    capability.rules().any(|other| {
        let other = other.parts();
        match other.form {
            Form::Ports => {
                form == Form::Host
                    && other.ports.first <= ports.first
                    && ports.last <= other.ports.last
            }
            Form::AnyPath => form == Form::Path,
            Form::Beneath => form == Form::Path && is_within(directory, other.bytes),
            _ => false,
        }
    })
}

fn gaps_of_threads() -> Gaps {
    let threads = if tasks::has_other_threads() { Gaps::THREADS } else { Gaps::empty() };
    threads | tasks::io_uring_gap()
}

/// Makes the ruleset of one capability, without its ancestors. It is `None` if every port and path
/// is allowed.
fn ruleset(capability: &NetBind<'_>) -> Result<Option<Ruleset>, EnforceError> {
    let has_right = capability.rights().contains(Rights::NET_BIND);
    let every_port = Ports { first: 0, last: u16::MAX };
    let rules = || capability.rules().filter(|_| has_right);
    let any_port = rules().any(|rule| rule.parts().ports == every_port);
    let any_path = rules().any(|rule| rule.parts().form == Form::AnyPath);
    if any_port && any_path {
        return Ok(None);
    }
    let ruleset = Ruleset::new(!any_port, !any_path)?;
    for rule in rules() {
        let Parts { form, ports, bytes, .. } = rule.parts();
        match form {
            Form::Ports | Form::Host if !any_port => {
                (ports.first..=ports.last).try_for_each(|port| ruleset.allow_port(port))?;
            }
            Form::Path if !any_path => {
                let directory = TerminatedPath::new(directory_of(bytes));
                ruleset.allow_sockets_beneath(directory.as_c_str())?;
            }
            Form::Beneath if !any_path => {
                ruleset.allow_sockets_beneath(TerminatedPath::new(bytes).as_c_str())?;
            }
            _ => {}
        }
    }
    Ok(Some(ruleset))
}

/// Returns the directory of an absolute path.
fn directory_of(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    path.get(..end).filter(|directory| !directory.is_empty()).unwrap_or(b"/")
}

/// Returns true if an absolute path is this directory, or below it.
fn is_within(path: &[u8], directory: &[u8]) -> bool {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    let below = path.strip_prefix(directory);
    below.is_some_and(|below| below.is_empty() || below.starts_with(b"/"))
}
