#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netbind_fuzz::targets::capability(data));
