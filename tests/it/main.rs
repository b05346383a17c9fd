//! The integration suite: one binary, so that it links once. Each module is one promise of the crate, tried on the real
//! kernel; what they share is in `support`.

mod support;

mod parse;

#[cfg(target_os = "linux")]
mod sockaddr;
