//! The corpora of the fuzz targets as tests, so that every input is tried without a fuzzer.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use crate::{targets, unshare_descriptors};

fn replay(target: &str, run: fn(&[u8])) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !fuzz.exists() {
        println!("{target}: the published package does not contain the corpora");
        return;
    }
    let mut inputs = 0;
    for entry in fs::read_dir(fuzz.join("corpus").join(target)).expect("the target has a corpus") {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&input))) {
            eprintln!("corpus file {}", path.display());
            resume_unwind(panic);
        }
        inputs += 1;
    }
    assert!(inputs > 0, "the corpus of {target} is empty");
    println!("{target}: {inputs} inputs of the corpus");
}

#[test]
fn parse_agrees_with_the_oracle_on_its_corpus() {
    replay("parse", |text| {
        targets::parse(text);
        targets::sockaddr(text);
    });
}

#[test]
fn sockaddr_converts_back_on_its_corpus() {
    replay("sockaddr", targets::sockaddr);
}

#[test]
fn capability_agrees_with_its_model_on_its_corpus() {
    replay("capability", targets::capability);
}

#[test]
fn ring_agrees_with_its_model_on_its_corpus() {
    replay("ring", targets::ring);
}

#[test]
fn open_leaks_nothing_on_its_corpus() {
    unshare_descriptors();
    replay("open", targets::open);
}
