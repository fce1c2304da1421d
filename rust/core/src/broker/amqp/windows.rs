//! How much the server may push: the prefetch, and more while deliveries wait for their eta.
//!
//! What a consumer may hold unacked is fixed when it begins to consume. So what waits for its eta
//! is made up for by further consumers of the same queue, which end when they are not needed.

use lapin::options::{BasicConsumeOptions, BasicQosOptions};

use super::consumer::{AmqpConsumer, Stream};
use super::headers::short;
use super::link::{Fault, Live};

/// A further consumer takes at least this part of what is held, so that they stay few.
const GROWTH: usize = 4;

impl AmqpConsumer {
    /// For each consumer that follows on the channel; RabbitMQ 4 knows no other way.
    pub(super) async fn set_qos(&self, live: &Live) -> Result<(), Fault> {
        let options = BasicQosOptions { global: false };
        Ok(live.channel.basic_qos(self.prefetch, options).await?)
    }

    /// Sees to it that the server may push `room` messages of each queue beside what is held.
    ///
    /// Without etas the prefetch is what is held and the room, so that nothing is to be done.
    pub(super) async fn fit_windows(&self, live: &Live, room: usize) -> Result<(), Fault> {
        let queues: Vec<String> = {
            let turn = self.turn.lock();
            turn.queues.iter().map(|queue| queue.name.clone()).collect()
        };
        for queue in queues {
            let held = self.custody.lock().len_of(&queue);
            let needed = held + room.min(usize::from(self.prefetch));
            let open = self.open_window(&queue);
            if open > 0 && open < needed {
                self.widen(live, &queue, (needed - open).max(held / GROWTH))
                    .await?;
            } else if let Some(stream) = self.take_superfluous(&queue, needed) {
                self.leave(live, stream).await?;
            }
        }
        Ok(())
    }

    fn open_window(&self, queue: &str) -> usize {
        let turn = self.turn.lock();
        let streams = turn.streams.iter().filter(|stream| stream.queue == queue);
        streams.map(|stream| usize::from(stream.window)).sum()
    }

    async fn widen(&self, live: &Live, queue: &str, by: usize) -> Result<(), Fault> {
        let Ok(name) = short("the name of a queue", queue) else {
            return Ok(());
        };
        // Nobody else sets the window of the consumer that follows.
        let _alone = self.arriving.lock().await;
        let window = u16::try_from(by)
            .unwrap_or(u16::MAX)
            .max(self.prefetch / 2)
            .max(1);
        live.channel
            .basic_qos(window, BasicQosOptions { global: false })
            .await?;
        let begun = live.channel.basic_consume(
            name,
            "".into(),
            BasicConsumeOptions::default(),
            self.patience.arguments(queue),
        );
        let consumer = begun.await?;
        self.turn.lock().streams.push(Stream {
            queue: queue.to_owned(),
            consumer_tag: consumer.tag(),
            consumer,
            window,
            has_ended: false,
        });
        self.set_qos(live).await
    }

    /// The newest of the further consumers, when the others are enough.
    fn take_superfluous(&self, queue: &str, needed: usize) -> Option<Stream> {
        let open = self.open_window(queue);
        let mut turn = self.turn.lock();
        let newest = turn.streams.iter().rposition(|stream| stream.queue == queue)?;
        let is_first = turn.streams.iter().position(|stream| stream.queue == queue) == Some(newest);
        let window = usize::from(turn.streams[newest].window);
        (!is_first && open - window >= needed).then(|| turn.streams.remove(newest))
    }
}
