//! The assertions of the fuzz targets. The files belong to the tests of the main crate.

#[path = "../../tests/corpora/targets/mod.rs"]
pub mod targets;
