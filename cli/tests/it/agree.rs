//! `check`, `open`, `run` and the library decide alike.

use netbind::{BindAddress, NetBind, Rights, Rule};

use crate::support::{DENIED, Directory, LISTENS, UNSUPPORTED, finish, run, with_helper};

#[test]
fn all_commands_decide_as_the_library_does() {
    let directory = Directory::new();
    let root = directory.text("");
    let root = root.trim_end_matches('/');
    let rules = [
        "port 0".into(),
        "port 20000-29999".into(),
        "host 127.0.0.1 port 0-65535".into(),
        "host 127.0.0.0/8 port 23456".into(),
        "host 0.0.0.0/0 port 23456".into(),
        "host ::/0 port 0-65535".into(),
        "host ::1 port 23456".into(),
        format!("path {root}/a"),
        format!("beneath {root}"),
        "any-path".into(),
        "abstract netbind-cli-agree".into(),
        "abstract-prefix netbind-".into(),
        "any-abstract".into(),
    ];
    let addresses = [
        ":0".into(),
        ":23456".into(),
        "127.0.0.1:0".into(),
        "127.0.0.1:23456".into(),
        "127.0.0.2:23456".into(),
        "[::]:23456".into(),
        "[::1]:0".into(),
        "[::1]:23456".into(),
        format!("{root}/a"),
        format!("{root}/b"),
        format!("{root}/../{}/c", root.trim_start_matches("/tmp/")),
        "unix:@netbind-cli-agree".into(),
        "unix:@other-cli-agree".into(),
    ];
    for text in &rules {
        let table = [text.parse::<Rule>().unwrap()];
        let mut capability = NetBind::empty("test").unwrap().with_rules(&table);
        capability.grant(Rights::all());
        for address in &addresses {
            let parsed: BindAddress = address.parse().unwrap();
            let allowed = capability.check(&parsed).is_ok();
            let is_same = |decision: bool, command: &str| {
                assert_eq!(decision, allowed, "{command}: {address} under {text}");
            };
            let checked = run(["check", "--allow", text, address]);
            is_same(checked.status.success(), "check");
            let opened = run(["open", "--allow", text, address, "--", "true"]);
            is_same(!opened.errors.contains("denied;"), "open");
            let mut supervised =
                with_helper(&["run", "--allow", text], "bind", &[address.as_bytes()]);
            match finish(&mut supervised).status.code() {
                Some(DENIED) => is_same(false, "run"),
                Some(UNSUPPORTED) => {}
                status => is_same(true, &format!("run, {status:?}")),
            }
            // `open` leaves the path for its program.
            let _ = std::fs::remove_file(address);
        }
    }
}

#[test]
fn nothing_is_allowed_without_a_rule() {
    run(["check", ":0", "/x", "unix:@x"]).expect(1);
    run(["open", ":0", "--", "true"]).expect(125).says("0.0.0.0:0: denied");
    finish(&mut with_helper(&["run"], "bind", &[b"127.0.0.1:0"])).expect(DENIED);
    finish(&mut with_helper(&["run", "--allow", "port 0"], "bind", &[b"127.0.0.1:0"]))
        .expect(LISTENS);
}
