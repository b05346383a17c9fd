//! The bytes that bind gets: the same as C's structures, and the same that the kernel gives back.
#![allow(unsafe_code)]
#[test] fn x(){}
