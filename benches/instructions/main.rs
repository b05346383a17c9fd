//! Exact figures: instructions in user space, and bytes. `cargo bench --bench instructions`.
//!
//! The program runs itself under valgrind's callgrind (`apt install valgrind`), which counts what each subject executes,
//! its own frame included; the kernel's side is not seen. Each subject runs twice and the second run counts, so that no
//! loading of libraries is in it. The figures repeat exactly with the same compiler.
//!
//! The clock is a constant one: valgrind hides the vDSO, so a reading of the real clock cannot be counted here. It is in the
//! figures of the benchmark `time`.

#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

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
            eprintln!("instructions are not counted: {error}");
            Vec::new()
        }
    };
    rows.extend(memory::rows());
    support::report::finish("instructions", &rows);
}

#[cfg(not(target_os = "linux"))]
fn main() {}
