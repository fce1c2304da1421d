//! A consumer of lapin alone, with acknowledgements: what `make versus` measures a worker against.
//!
//! `bare_lapin URL QUEUE COUNT PREFETCH` prints how many of COUNT messages it took in a second, from
//! the first one on. Half of the prefetch is acknowledged at once. Without arguments it does nothing,
//! so that `cargo bench` passes by it.
#![expect(clippy::unwrap_used, reason = "a broken assumption ends the bench")]
#![expect(clippy::print_stdout, reason = "its only output")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::time::Instant;

use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

fn main() {
    let given: Vec<String> = std::env::args()
        .skip(1)
        .filter(|one| !one.starts_with("--"))
        .collect();
    let [url, queue, count, prefetch] = given.as_slice() else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let per_s = runtime.block_on(drain(
        url,
        queue,
        count.parse().unwrap(),
        prefetch.parse().unwrap(),
    ));
    println!("{{\"per_s\": {per_s:.1}}}");
}

async fn drain(url: &str, queue: &str, count: u32, prefetch: u16) -> f64 {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .basic_qos(prefetch, BasicQosOptions::default())
        .await
        .unwrap();
    let mut deliveries = channel
        .basic_consume(
            queue.to_owned().into(),
            "bare".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let at_once = u32::from(prefetch / 2).max(1);
    let mut started = None;
    for number in 1..=count {
        let delivery = deliveries.next().await.unwrap().unwrap();
        started.get_or_insert_with(Instant::now);
        if number % at_once == 0 || number == count {
            delivery.ack(BasicAckOptions { multiple: true }).await.unwrap();
        }
    }
    f64::from(count) / started.unwrap().elapsed().as_secs_f64()
}
