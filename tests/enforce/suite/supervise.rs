//! Supervision of unmodified programs.

use netbind::enforce::Outcome;
use netbind::{NetBind, Rights};

use super::harness::{Case, End, case};
use super::supervised::supervised;

pub(crate) const CASES: &[Case] = &[case!(a_bind_is_allowed_or_refused_by_the_rules)];

fn a_bind_is_allowed_or_refused_by_the_rules() {
    let mut capability = NetBind::empty("web").unwrap();
    capability.grant(Rights::all()).allow_port(8000).unwrap();
    let (end, answers) = supervised(&capability, || {
        assert!(std::net::TcpListener::bind("127.0.0.1:8000").is_ok());
        let refused = std::net::TcpListener::bind("127.0.0.1:8001").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
        0
    });
    assert_eq!(end, End::Exited(0));
    let outcomes: Vec<_> = answers.iter().map(|answered| answered.outcome).collect();
    assert_eq!(outcomes, [Outcome::Made, Outcome::Made, Outcome::Denied]);
}
