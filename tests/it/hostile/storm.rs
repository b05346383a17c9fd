//! Signals that interrupt `accept`. Each interruption is an error, and every client is served once.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use netbind::error::{Errno, Step};
use netbind::{BindAddress, Listener, SocketError, listen};

use super::{connect, system_error};
use crate::support::machine::{can_open, directory};
use crate::support::memory::Arena;
use crate::support::thread::{descriptors, isolated_network};

const CLIENTS: u8 = 16;
/// The number of interrupted calls before each client.
const INTERRUPTIONS: u64 = 10;

extern "C" fn do_nothing(_signal: libc::c_int) {}

/// Installs the handler without `SA_RESTART`, so that the signal interrupts the call.
fn install() {
    // SAFETY: a structure of numbers can be zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = do_nothing as *const () as usize;
    // SAFETY: the handler does nothing, and only this module uses the signal.
    let installed =
        unsafe { libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut()) };
    assert_eq!(installed, 0);
}

/// The progress of the thread that accepts.
#[derive(Default)]
struct Progress {
    interrupted: AtomicU32,
    failed: AtomicBool,
}

/// Accepts all clients, and returns their numbers in the order of arrival.
fn serve(listener: &Listener<&Arena>, progress: &Progress) -> Result<Vec<u8>, SocketError> {
    let mut served = Vec::new();
    while served.len() < usize::from(CLIENTS) {
        match listener.accept() {
            Ok((connection, _)) => {
                let mut number = [0];
                File::from(connection).read_exact(&mut number).unwrap();
                served.extend(number);
            }
            Err(error)
                if error.is_interrupted() && error == system_error(Step::Accept, Errno::INTR) =>
            {
                progress.interrupted.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                progress.failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
    }
    Ok(served)
}

/// Sends signals to `thread`, and connects a client each time that enough of them have interrupted
/// a call. Returns the number of signals.
fn storm(thread: libc::pthread_t, address: &BindAddress, progress: &Progress) -> u64 {
    let mut signals = 0;
    for number in 0..CLIENTS {
        let enough = INTERRUPTIONS * (u64::from(number) + 1);
        while u64::from(progress.interrupted.load(Ordering::Relaxed)) < enough
            && !progress.failed.load(Ordering::Relaxed)
        {
            // SAFETY: the thread waits for all clients, and its scope for this thread.
            unsafe { libc::pthread_kill(thread, libc::SIGUSR2) };
            signals += 1;
            std::thread::yield_now();
        }
        connect(address).write_all(&[number]).unwrap();
    }
    signals
}

#[test]
fn signals_that_interrupt_accept_lose_no_client() {
    install();
    for address in ["127.0.0.1:0", "[::1]:0", "unix:run.sock", "unix:@netbind-storm"] {
        isolated_network(|_| {
            if !can_open(address) {
                return;
            }
            let directory = directory();
            std::env::set_current_dir(directory.path()).unwrap();
            let (arena, progress) = (Arena::new(), Progress::default());
            let before = descriptors();
            let listener = listen(address, &arena).unwrap();
            let local = listener.local_address().unwrap();
            // SAFETY: the call has no argument and cannot fail.
            let this = unsafe { libc::pthread_self() };
            let (served, signals) = std::thread::scope(|scope| {
                let storm = scope.spawn(|| storm(this, &local, &progress));
                (serve(&listener, &progress), storm.join().unwrap())
            });
            assert_eq!(served, Ok((0..CLIENTS).collect()), "{address}");
            listener.close().unwrap();
            assert_eq!((descriptors(), arena.bytes_in_use()), (before, 0), "{address}");
            let interrupted = progress.interrupted.into_inner();
            println!(
                "{address}: {signals} signals, {interrupted} interrupted calls, {CLIENTS} clients"
            );
        });
    }
}
