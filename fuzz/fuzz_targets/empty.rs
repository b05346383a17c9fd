//! What libFuzzer and AddressSanitizer take for themselves: the pace that the other targets are measured against.
#![no_main]

libfuzzer_sys::fuzz_target!(|_data: &[u8]| {});
