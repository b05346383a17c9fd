//! The assertions of the fuzz targets, from where the main crate's tests have them.

#[path = "../../tests/corpora/targets/mod.rs"]
pub mod targets;
