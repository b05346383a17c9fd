//! Errors and gaps as text.

use std::error::Error;

use netbind::enforce::{EnforceError, Gaps};
use netbind::error::Errno;

use super::harness::{Case, case};

pub(crate) const CASES: &[Case] = &[case!(errors_read_well), case!(gaps_print_their_names)];

fn errors_read_well() {
    let unsupported =
        |found| EnforceError::Unsupported { needs: "Landlock ABI 4 (Linux 6.7)", found };
    for (error, text) in [
        (
            EnforceError::Gaps(Gaps::UDP | Gaps::THREADS),
            "the kernel cannot enforce everything; gaps: UDP THREADS",
        ),
        (unsupported(0), "Landlock ABI 4 (Linux 6.7) is required, and this system lacks it"),
        (
            unsupported(3),
            "Landlock ABI 4 (Linux 6.7) is required, and this system has Landlock ABI 3",
        ),
        (EnforceError::OtherThread(12), "thread 12 has other seccomp filters"),
        (
            EnforceError::System { call: "openat", errno: Errno::NOENT },
            "openat failed: no such file or directory (ENOENT)",
        ),
    ] {
        assert_eq!(error.to_string(), text);
        let copy: Box<dyn Error + Send + Sync> = Box::new(error);
        assert_eq!(copy.to_string(), text);
        assert!(copy.source().is_none());
    }
}

fn gaps_print_their_names() {
    let gaps = Gaps::EPHEMERAL_LISTEN | Gaps::DEPTH;
    assert_eq!(format!("{gaps:?}"), "Gaps(EPHEMERAL_LISTEN | DEPTH)");
    let names: Vec<_> = Gaps::all().iter_names().map(|(name, _)| name).collect();
    let expected = [
        "EPHEMERAL_LISTEN",
        "HOSTS",
        "PATHS",
        "ABSTRACT_NAMES",
        "UDP",
        "THREADS",
        "IO_URING",
        "DEPTH",
    ];
    assert_eq!(names, expected);
}
