//! How consuming ends: of one queue, or of all of them before the connection does.

use lapin::options::{BasicCancelOptions, BasicNackOptions};

use super::consumer::{AmqpConsumer, Stream};
use super::link::{Fault, Live};

impl AmqpConsumer {
    /// Ends all consuming before the channel does.
    ///
    /// A quorum queue answers after it has taken every ack of the channel in. Acks that it has not
    /// when the channel closes are lost, and what they were for is delivered again.
    pub(super) async fn stop_consuming(&self, live: &Live, streams: Vec<Stream>) {
        for stream in streams {
            let tag = stream.consumer.tag();
            let ended = live.channel.basic_cancel(tag, BasicCancelOptions::default());
            if let Err(error) = ended.await {
                tracing::debug!(%error, "a channel was gone before its consumers had ended");
                return;
            }
        }
        // All that is left. A quorum queue counts what is taken back from a channel that ends.
        let options = BasicNackOptions {
            multiple: true,
            requeue: true,
        };
        if let Err(error) = live.channel.basic_nack(0, options).await {
            tracing::debug!(%error, "a channel was gone before its messages were handed back");
        }
    }

    /// Ends the consuming of a queue; what had arrived and was not handed out goes back.
    pub(super) async fn leave(&self, live: &Live, stream: Stream) -> Result<(), Fault> {
        let tag = stream.consumer.tag();
        live.channel
            .basic_cancel(tag.clone(), BasicCancelOptions::default())
            .await?;
        for letter in live.take_rest(tag.as_str()) {
            let options = BasicNackOptions {
                multiple: false,
                requeue: true,
            };
            let tag = letter.envelope.delivery_tag;
            live.channel.basic_nack(tag, options).await?;
            self.custody.lock().settled(tag);
        }
        self.set_qos(live).await
    }
}
