//! What comes over the socket between a worker and its children: any bytes, at both ends.
#![no_main]

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use celeriac_core::links::{ChildChannel, ChildEvent, Next, Pump, Report, Sink};
use celeriac_core::time::Deadline;
use libfuzzer_sys::fuzz_target;

const MAX_FRAME_BYTES: usize = 1 << 16;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Recorder(mpsc::SyncSender<ChildEvent>);

impl Sink for Recorder {
    fn reports(&self, reports: Vec<ChildEvent>) {
        for report in reports {
            self.0.send(report).ok();
        }
    }

    fn wake(&self) {}

    fn broke(&self, thread: &'static str) {
        panic!("{thread} broke");
    }
}

fuzz_target!(|data: &[u8]| {
    // What a socket takes at once.
    let data = &data[..data.len().min(16 << 10)];
    as_child(data);
    as_worker(data);
});

fn as_child(data: &[u8]) {
    let (mut worker, child) = UnixStream::pair().expect("a pair");
    let channel = ChildChannel::new(child, MAX_FRAME_BYTES).expect("a thread");
    worker.write_all(data).expect("room in the socket");
    worker.shutdown(Shutdown::Write).expect("it is open");
    loop {
        match channel.next(Deadline::after(PATIENCE)) {
            Next::Job(_) => {}
            Next::Nothing => panic!("the end of the stream was not seen"),
            Next::End => return,
        }
    }
}

fn as_worker(data: &[u8]) {
    static PUMP: OnceLock<(Pump, std::sync::Mutex<mpsc::Receiver<ChildEvent>>)> = OnceLock::new();
    let (pump, reports) = PUMP.get_or_init(|| {
        let (sender, receiver) = mpsc::sync_channel(1 << 16);
        let pump = Pump::new(Arc::new(Recorder(sender)), MAX_FRAME_BYTES).expect("a pump");
        pump.start().expect("a thread");
        (pump, std::sync::Mutex::new(receiver))
    });
    let (worker, mut child) = UnixStream::pair().expect("a pair");
    let _link = pump.link(1, worker).expect("a link");
    child.write_all(data).expect("room in the socket");
    drop(child);
    let reports = reports.lock().expect("one at a time");
    while !matches!(
        reports.recv_timeout(PATIENCE).expect("the end is reported").report,
        Report::Gone { .. }
    ) {}
}
