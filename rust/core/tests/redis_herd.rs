//! What hundreds of idle consumers cost the server: a new message wakes a few of them.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[path = "support/redis_message.rs"]
mod redis_message;
#[path = "support/redis_server.rs"]
#[expect(dead_code, reason = "each test file uses its part")]
mod redis_server;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use celeriac_core::broker::topology::QueueSpec;
use celeriac_core::broker::{self, Consumer, ConsumerConfig, Settlement, Verdict};
use celeriac_core::ledger::Ledger;
use celeriac_core::time::Deadline;
use crossbeam_channel::{Receiver, after, unbounded};
use redis_message::message;
use redis_server::Server;

const IDLE: usize = 300;
const ARMED: usize = 3;
const MESSAGES: u64 = 200;
/// A herd is one of each consumer, or more.
const MOST_SCRIPTS: u64 = 6;
/// After this time each idle consumer has looked once, whether there are messages or not.
const ALL_LOOK: Duration = Duration::from_secs(5);
/// What a message causes. Renewals, sweeps and looks for dead owners go by the clock.
const CAUSED: [&str; 3] = [
    include_str!("../src/broker/redis/reserve.lua"),
    include_str!("../src/broker/redis/settle.lua"),
    include_str!("../src/broker/redis/disarm.lua"),
];

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// Counts the scripts that the server runs, of those that a message causes.
struct Scripts {
    count: Arc<AtomicU64>,
    echoed: Receiver<()>,
}

impl Scripts {
    fn of(server: &Server) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.url().port())).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let count = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&count);
        let (tell, echoed) = unbounded();
        let calls = CAUSED.map(|code| format!("\"EVALSHA\" \"{}\"", redis::Script::new(code).get_hash()));
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                if calls.iter().any(|call| line.contains(call)) {
                    counted.fetch_add(1, Ordering::SeqCst);
                } else if line.contains("\"ECHO\"") && tell.send(()).is_err() {
                    return;
                }
            }
        });
        Self { count, echoed }
    }

    /// How many it has run.
    fn so_far(&self, raw: &mut redis::Connection) -> u64 {
        redis::cmd("ECHO").arg("so far").exec(raw).unwrap();
        self.echoed.recv_timeout(ALL_LOOK).unwrap();
        self.count.load(Ordering::SeqCst)
    }
}

fn waiting(raw: &mut redis::Connection) -> (usize, usize) {
    let count = |raw: &mut redis::Connection, key: &str| redis::cmd("ZCARD").arg(key).query(raw).unwrap();
    (count(raw, "unacked_armed.q"), count(raw, "unacked_idle.q"))
}

/// A consumer that takes and acknowledges one message after the other, and tells of each.
fn idle_consumer(server: &Server, number: usize) -> (Arc<dyn Consumer>, Receiver<()>) {
    let config = ConsumerConfig {
        node: format!("celery@{number}"),
        queues: vec![QueueSpec::named("q")],
        prefetch: 1,
        eta_room: 0,
    };
    let consumer = broker::open_consumer(&server.url(), config).unwrap();
    let (tell, heard) = unbounded();
    let runs = Arc::clone(&consumer);
    std::thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(move || {
            while let Ok(found) = runs.reserve(1, soon()) {
                for delivery in found {
                    let settlement = Settlement {
                        token: delivery.token,
                        verdict: Verdict::Ack,
                        put: None,
                    };
                    runs.settle(vec![settlement], soon()).unwrap();
                    tell.send(()).unwrap();
                }
            }
        })
        .unwrap();
    (consumer, heard)
}

fn wait_until_all_wait(raw: &mut redis::Connection) {
    let deadline = soon();
    while waiting(raw) != (ARMED, IDLE - ARMED) {
        assert!(!deadline.has_passed(), "(armed, idle): {:?}", waiting(raw));
        std::thread::yield_now();
    }
}

#[test]
fn a_message_causes_a_few_scripts_however_many_consumers_are_idle() {
    let server = Server::start();
    let mut raw = server.connect();
    let (consumers, heard): (Vec<_>, Vec<_>) = (0..IDLE).map(|number| idle_consumer(&server, number)).unzip();
    wait_until_all_wait(&mut raw);
    let scripts = Scripts::of(&server);
    let publisher = broker::open_publisher(&server.url()).unwrap();
    // They have begun, and will look, at about the same time: not where one count ends.
    after(ALL_LOOK / 2).recv().unwrap();
    let (before, all_have_looked) = (scripts.so_far(&mut raw), after(ALL_LOOK));
    all_have_looked.recv().unwrap();
    let without = scripts.so_far(&mut raw) - before;
    let (before, all_have_looked) = (scripts.so_far(&mut raw), after(ALL_LOOK));
    for number in 0..MESSAGES {
        let window = Ledger::new(1, usize::MAX);
        let receipt = window.enter("1".into(), 0, soon()).unwrap();
        publisher.send(message("q", &format!("t{number}"), 0), None, receipt, soon());
        let mut select = crossbeam_channel::Select::new();
        for heard in &heard {
            select.recv(heard);
        }
        let told = select.select_timeout(Duration::from_secs(20)).unwrap();
        let index = told.index();
        told.recv(&heard[index]).unwrap();
        wait_until_all_wait(&mut raw);
    }
    all_have_looked.recv().unwrap();
    let with = scripts.so_far(&mut raw) - before;
    for consumer in &consumers {
        consumer.interrupt();
    }
    assert!(without <= 330, "{without} scripts without a message");
    assert!(
        with - without <= MOST_SCRIPTS * MESSAGES,
        "{} scripts for {MESSAGES} messages",
        with - without
    );
}
