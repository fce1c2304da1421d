//! Threads that run what the main thread must not be stuck in.

use std::sync::mpsc::{Receiver, SendError, Sender, channel};

use celeriac_core::per_process::PerProcess;
use parking_lot::Mutex;

type Errand = Box<dyn FnOnce() + Send>;

/// How many idle threads are kept; a new one costs some 50 us (`benches/python`).
const MAX_IDLE: usize = 4;

/// The doors of the idle threads of this process.
static IDLE: PerProcess<Mutex<Vec<Sender<Errand>>>> = PerProcess::new();

/// Has an idle thread run an errand, or a new one if there is none.
pub(crate) fn run(errand: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let mut errand: Errand = Box::new(errand);
    let idle = IDLE.get_or_init(Mutex::default).lock().pop();
    if let Some(door) = idle {
        match door.send(errand) {
            Ok(()) => return Ok(()),
            Err(SendError(back)) => errand = back,
        }
    }
    let (door, errands) = channel();
    let thread = std::thread::Builder::new().name("celeriac-call".to_owned());
    thread.spawn(move || serve(errand, &door, &errands)).map(drop)
}

fn serve(mut errand: Errand, door: &Sender<Errand>, errands: &Receiver<Errand>) {
    loop {
        errand();
        let mut idle = IDLE.get_or_init(Mutex::default).lock();
        if idle.len() >= MAX_IDLE {
            return;
        }
        idle.push(door.clone());
        drop(idle);
        match errands.recv() {
            Ok(next) => errand = next,
            Err(_) => return,
        }
    }
}
