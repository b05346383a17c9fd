//! Names the platform conditions, so that the source states each of them once.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");

    // On x86-64 and aarch64 the crate makes `accept4`, `getsockname` and the look-up of the clock
    // itself. Elsewhere, and under Miri, rustix does.
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    let known_processor =
        is("CARGO_CFG_TARGET_ARCH", "x86_64") || is("CARGO_CFG_TARGET_ARCH", "aarch64");
    let raw_syscalls = is("CARGO_CFG_TARGET_OS", "linux")
        && known_processor
        && is("CARGO_CFG_TARGET_POINTER_WIDTH", "64")
        && is("CARGO_CFG_TARGET_ENDIAN", "little")
        && var("CARGO_CFG_MIRI").is_err();
    alias("raw_syscalls", raw_syscalls);

    // The audit ring needs compare-and-swap of a pointer-sized integer. Its counts have 64 bits if
    // there are such atomics, and 32 otherwise.
    let atomics = var("CARGO_CFG_TARGET_HAS_ATOMIC").unwrap_or_default();
    let has_atomic = |width| atomics.split(',').any(|known| known == width);
    alias("audit_ring", has_atomic("ptr"));
    alias("counts_of_64_bits", has_atomic("64"));
}

fn alias(name: &str, holds: bool) {
    println!("cargo:rustc-check-cfg=cfg({name})");
    if holds {
        println!("cargo:rustc-cfg={name}");
    }
}
