//! Names the platform conditions, so that the source states each of them once.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");

    // The crate makes `accept4`, `getsockname` and the look-up of the clock itself. On every other
    // processor, and under Miri, they go through rustix.
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    let known_processor =
        is("CARGO_CFG_TARGET_ARCH", "x86_64") || is("CARGO_CFG_TARGET_ARCH", "aarch64");
    let own_syscalls = is("CARGO_CFG_TARGET_OS", "linux")
        && known_processor
        && is("CARGO_CFG_TARGET_POINTER_WIDTH", "64")
        && is("CARGO_CFG_TARGET_ENDIAN", "little")
        && var("CARGO_CFG_MIRI").is_err();
    alias("own_syscalls", own_syscalls);

    // The audit ring needs compare-and-swap of a pointer-sized integer.
    let atomics = var("CARGO_CFG_TARGET_HAS_ATOMIC").unwrap_or_default();
    alias("audit_ring", atomics.split(',').any(|width| width == "ptr"));
}

fn alias(name: &str, holds: bool) {
    println!("cargo:rustc-check-cfg=cfg({name})");
    if holds {
        println!("cargo:rustc-cfg={name}");
    }
}
