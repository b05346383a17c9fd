//! Does nothing. It shows how many inputs per second libFuzzer and AddressSanitizer allow at most.
#![no_main]

libfuzzer_sys::fuzz_target!(|_data: &[u8]| {});
