//! Layers: a capability and its ancestors intersect, and Landlock has 16 of them.

use netbind::enforce::{Confinement, EnforceError, Gaps};
use netbind::error::Errno;
use netbind::{BindAddress, NetBind};

use super::confine::confine;
use super::harness::{Case, case};
use super::probe::{
    Outcome, assert_unrestricted, bind_abstract, bind_path, bind_tcp, capability, directory, grant,
    has_no_new_privs,
};

pub(crate) const CASES: &[Case] = &[
    case!(a_child_binds_only_what_all_its_ancestors_allow),
    case!(paths_of_a_child_and_its_parent_intersect),
    case!(a_layer_about_ports_and_one_about_paths_combine),
    case!(sixteen_layers_are_all_in_force),
    case!(the_seventeenth_ancestor_is_a_gap),
    case!(a_tolerated_depth_leaves_out_the_farthest_ancestor),
    case!(layers_in_use_count),
    case!(an_ancestor_that_allows_everything_uses_no_layer),
    case!(a_capability_that_allows_everything_can_be_applied_many_times),
    case!(without_a_free_layer_a_tolerated_depth_is_not_a_success),
];

const REFUSED: Outcome = Err(Errno::ACCESS);
const OTHERS: [&str; 2] = ["any-path", "any-abstract"];

fn bind_port(port: u16) -> Outcome {
    bind_tcp(&format!("127.0.0.1:{port}"))
}

fn a_child_binds_only_what_all_its_ancestors_allow() {
    let mut parent = capability(&OTHERS);
    grant(&mut parent, &["port 8002", "port 8003"]);
    let mut child = parent.child("child").unwrap();
    grant(&mut child, &["port 8001", "port 8002", "any-path", "any-abstract"]);
    Confinement::new(&child).tolerate(Gaps::EPHEMERAL_LISTEN).apply().unwrap();
    assert_eq!([8001, 8002, 8003, 8004].map(bind_port), [REFUSED, Ok(()), REFUSED, REFUSED]);
}

fn paths_of_a_child_and_its_parent_intersect() {
    let directory = directory();
    for name in ["a/b", "c"] {
        std::fs::create_dir_all(directory.path().join(name)).unwrap();
    }
    let beneath = |name: &str| format!("beneath {}", directory.path().join(name).display());
    let parent = capability(&["port 0", "any-abstract", &beneath("a")]);
    let mut child = parent.child("child").unwrap();
    grant(&mut child, &["port 0", "any-abstract", &beneath("a/b"), &beneath("c")]);
    Confinement::new(&child).apply().unwrap();
    let bound = ["a/s", "a/b/s", "c/s"].map(|name| bind_path(directory.path().join(name)));
    assert_eq!(bound, [REFUSED, Ok(()), REFUSED]);
}

fn a_layer_about_ports_and_one_about_paths_combine() {
    let (directory, other) = (directory(), directory());
    let beneath = format!("beneath {}", directory.path().display());
    let parent = capability(&["port 0-65535", "any-abstract", &beneath]);
    let mut child = parent.child("child").unwrap();
    grant(&mut child, &["port 8080", "any-path", "any-abstract"]);
    Confinement::new(&child).tolerate(Gaps::EPHEMERAL_LISTEN).apply().unwrap();
    assert_eq!([8080, 8081].map(bind_port), [Ok(()), REFUSED]);
    assert_eq!(bind_path(directory.path().join("s")), Ok(()));
    assert_eq!(bind_path(other.path().join("s")), REFUSED);
}

/// Runs `body` with the last of `depth` capabilities, each the child of the one before. All allow
/// the ports 8000 to 8099 except 8000 plus their own number, counted from 0.
fn with_chain(depth: u16, body: &dyn Fn(&NetBind<'_>)) {
    fn descend(number: u16, depth: u16, parent: &NetBind<'_>, body: &dyn Fn(&NetBind<'_>)) {
        if number == depth {
            return body(parent);
        }
        let mut child = parent.child("child").unwrap();
        grant_all_but(&mut child, 8000 + number);
        descend(number + 1, depth, &child, body);
    }
    let mut first = NetBind::empty("first").unwrap();
    grant_all_but(&mut first, 8000);
    descend(1, depth, &first, body);
}

fn grant_all_but(capability: &mut NetBind<'_>, port: u16) {
    grant(capability, &OTHERS);
    if port > 8000 {
        capability.allow_ports(8000..=port - 1).unwrap();
    }
    capability.allow_ports(port + 1..=8099).unwrap();
}

fn sixteen_layers_are_all_in_force() {
    with_chain(16, &|capability| {
        let confinement = Confinement::new(capability).tolerate(Gaps::EPHEMERAL_LISTEN);
        assert_eq!(confinement.gaps(), Ok(Gaps::EPHEMERAL_LISTEN));
        confinement.apply().unwrap();
        for port in 8000..8016 {
            assert_eq!(bind_port(port), REFUSED, "{port}");
        }
        assert_eq!(bind_port(8016), Ok(()));
    });
}

fn the_seventeenth_ancestor_is_a_gap() {
    let before = has_no_new_privs();
    for depth in [17, 18, 40] {
        with_chain(depth, &|capability| {
            let gaps = Gaps::EPHEMERAL_LISTEN | Gaps::DEPTH;
            assert_eq!(Confinement::new(capability).gaps(), Ok(gaps));
            let applied = Confinement::new(capability).tolerate(Gaps::EPHEMERAL_LISTEN).apply();
            assert_eq!(applied, Err(EnforceError::Gaps(Gaps::DEPTH)));
        });
    }
    assert_unrestricted("after the refusals", before);
}

fn a_tolerated_depth_leaves_out_the_farthest_ancestor() {
    with_chain(18, &|capability| {
        let gaps = Gaps::EPHEMERAL_LISTEN | Gaps::DEPTH;
        Confinement::new(capability).tolerate(gaps).apply().unwrap();
        for port in 8000..8018 {
            let address = BindAddress::parse(format!("127.0.0.1:{port}")).unwrap();
            assert!(capability.check(&address).is_err());
            let is_open = port < 8002;
            assert_eq!(bind_port(port), if is_open { Ok(()) } else { REFUSED }, "{port}");
        }
    });
}

fn layers_in_use_count() {
    let rules = ["port 8080", "any-path", "any-abstract"];
    for _ in 0..15 {
        confine(&rules, Gaps::EPHEMERAL_LISTEN);
    }
    with_chain(2, &|capability| {
        let gaps = Gaps::EPHEMERAL_LISTEN | Gaps::DEPTH;
        assert_eq!(Confinement::new(capability).gaps(), Ok(gaps));
    });
    confine(&rules, Gaps::EPHEMERAL_LISTEN);
    let capability = capability(&rules);
    let applied = Confinement::new(&capability).tolerate(Gaps::EPHEMERAL_LISTEN).apply();
    let needs = "a free layer of Landlock";
    assert_eq!(applied, Err(EnforceError::Unsupported { needs, found: 0 }), "the 17th layer");
    assert_eq!(bind_port(8080), Ok(()));
    assert_eq!(bind_port(8081), REFUSED);
}

fn an_ancestor_that_allows_everything_uses_no_layer() {
    descend_from_everything(20, &capability(&["port 0-65535", "any-path", "any-abstract"]));
}

/// Makes this number of children that allow everything, one of another, and confines to a child of
/// the last one.
fn descend_from_everything(depth: u16, parent: &NetBind<'_>) {
    let mut child = parent.child("child").unwrap();
    if depth > 0 {
        grant(&mut child, &["port 0-65535", "any-path", "any-abstract"]);
        return descend_from_everything(depth - 1, &child);
    }
    grant(&mut child, &["port 8080", "any-path", "any-abstract"]);
    Confinement::new(&child).tolerate(Gaps::EPHEMERAL_LISTEN).apply().unwrap();
    assert_eq!(bind_port(8080), Ok(()));
    assert_eq!(bind_port(8081), REFUSED);
}

fn a_capability_that_allows_everything_can_be_applied_many_times() {
    for _ in 0..20 {
        confine(&["port 0-65535", "any-path", "any-abstract"], Gaps::empty());
    }
    assert_eq!(bind_port(8080), Ok(()));
    assert_eq!(bind_path(directory().path().join("s")), Ok(()));
    assert_eq!(bind_abstract("enforce-many"), Ok(()));
}

fn without_a_free_layer_a_tolerated_depth_is_not_a_success() {
    let rules = ["port 8080", "port 8081", "any-path", "any-abstract"];
    for _ in 0..16 {
        confine(&rules, Gaps::EPHEMERAL_LISTEN);
    }
    let narrow = capability(&["port 8080", "any-path", "any-abstract"]);
    let applied = Confinement::new(&narrow).tolerate(Gaps::all()).apply();
    let is_enforced = bind_port(8081) == REFUSED;
    assert!(applied.is_err() || is_enforced, "it is applied, and port 8081 is open");
}
