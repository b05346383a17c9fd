//! The tests of `netbind::enforce`. A confinement and a seal cannot be undone, so every case runs
//! in a process of its own, once as root and once as an ordinary user.
//!
//! The binary has its own `main`, because the harness of libtest has threads, which are a gap. Its
//! arguments are those of libtest: parts of names, `--exact`, `--skip NAME`, `--list`. Cases that
//! fail because of a known fault of the crate print why only with `--nocapture`.

#[cfg(raw_syscalls)]
mod suite;

#[cfg(raw_syscalls)]
fn main() -> std::process::ExitCode {
    suite::main()
}

/// On other processors nothing can be enforced, and the error says so.
#[cfg(all(target_os = "linux", not(raw_syscalls)))]
fn main() {
    use netbind::NetBind;
    use netbind::enforce::{Confinement, EnforceError, Gaps, Seal};

    let capability = NetBind::new("web").expect("a valid id");
    let confined = Confinement::new(&capability).tolerate(Gaps::all()).apply();
    let sealed = Seal::Listening.apply_tolerating(Gaps::all());
    for result in [confined, sealed] {
        let is_right = matches!(result, Err(EnforceError::Unsupported { found: 0, .. }));
        assert!(is_right, "{result:?}");
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}
