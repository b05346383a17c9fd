//! Exact figures: instructions in user space, and bytes. `cargo bench --bench instructions`.
//!
//! The program runs itself under callgrind, a tool of valgrind, which counts the instructions of
//! each subject from its call to its return. Kernel code is not counted. Each subject runs twice,
//! and the second run counts, so that the dynamic linker is not included. The figures are
//! reproducible with the same compiler.
//!
//! The clock returns a constant, because valgrind hides the vDSO. The benchmark `time` includes the
//! readings of the real clock.

#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
#[path = "../../tests/tables/memory.rs"]
mod arena;
#[cfg(target_os = "linux")]
mod callgrind;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod subjects;

#[cfg(target_os = "linux")]
fn main() {
    if std::env::args().any(|argument| argument == callgrind::CHILD) {
        subjects::run();
        return;
    }
    let mut rows = match callgrind::count() {
        Ok(counts) => subjects::rows(&counts),
        Err(error) => {
            eprintln!("the instructions were not counted: {error}");
            Vec::new()
        }
    };
    rows.extend(memory::rows());
    support::report::finish("instructions", &rows);
}

#[cfg(not(target_os = "linux"))]
fn main() {}
