//! A thread that acts as another process while the supervisor holds a call.

use std::sync::mpsc::{Sender, channel};

use crate::support::thread::spawn;

type Task = Box<dyn FnOnce() + Send>;

/// A thread with the descriptors and the working directory of the thread that made it. The
/// supervisor has its own, so it cannot keep a socket for the test.
pub(super) struct Elsewhere(Sender<Task>);

impl Elsewhere {
    /// Runs `body` in that thread, and returns its value.
    pub(super) fn run<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, receiver) = channel();
        self.0.send(Box::new(move || sender.send(body()).unwrap())).unwrap();
        receiver.recv().expect("the other thread has panicked")
    }
}

/// Calls `body` with a thread that ends after it.
pub(super) fn with_elsewhere<T>(body: impl FnOnce(&Elsewhere) -> T) -> T {
    std::thread::scope(|scope| {
        let (sender, tasks) = channel::<Task>();
        spawn(scope, move || tasks.into_iter().for_each(|task| task()));
        body(&Elsewhere(sender))
    })
}
