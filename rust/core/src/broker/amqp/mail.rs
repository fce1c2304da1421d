//! Mailboxes on `RabbitMQ`: queues that end with who reads them.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::FutureExt;
use futures_util::stream::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use parking_lot::Mutex;

use super::link::{Fault, Link, Role, open_channel};
use super::properties;
use super::topology::{Declaration, kind_of};
use crate::broker::mail::{Begun, Correspondent, Mail, MailboxSpec, Tray};
use crate::broker::url::BrokerUrl;
use crate::error::{Error, Remedy, Result};

/// Seconds. Nobody's tasks depend on this connection, so that one that falls silent may be noticed later: an
/// idle worker wakes for little else than heartbeats. Celery's are 120 s apart.
const HEARTBEAT_S: u64 = 20;

/// This process's side.
#[derive(Debug)]
pub(super) struct AmqpCorrespondent {
    spec: MailboxSpec,
    link: Link,
    tray: Arc<Tray>,
    /// For events; a refusal there must not end the listening.
    announcing: Mutex<Option<Announcing>>,
    /// The last event, unless it is known to have left: what comes next waits for it.
    last: tokio::sync::Mutex<Option<Leaving>>,
}

/// An event on its way to the socket.
struct Leaving {
    mail: Mail,
    flight: Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>,
}

impl std::fmt::Debug for Leaving {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaving")
            .field("mail", &self.mail)
            .finish_non_exhaustive()
    }
}

/// A channel without confirms, and the exchange that was declared over it.
#[derive(Clone, Debug)]
struct Announcing {
    channel: Channel,
    exchange: String,
}

impl AmqpCorrespondent {
    pub(super) fn new(url: &BrokerUrl, spec: MailboxSpec, tray: Arc<Tray>) -> Result<Self> {
        let name = format!("{} (control)", spec.queue.name);
        Ok(Self {
            link: Link::with_heartbeat(url, &name, Role::Plain, HEARTBEAT_S)?,
            spec,
            tray,
            announcing: Mutex::default(),
            last: tokio::sync::Mutex::default(),
        })
    }

    async fn consume(&self, begun: &Begun) -> Result<()> {
        let declaration = Declaration::of_mailbox(&self.spec)?;
        let live = self.link.live().await?;
        let started = async {
            declaration.make(&live.channel).await?;
            let options = BasicConsumeOptions {
                no_ack: true,
                ..BasicConsumeOptions::default()
            };
            let name = declaration.queue.clone();
            let consumer = live
                .channel
                .basic_consume(name, "".into(), options, FieldTable::default());
            Ok::<_, Fault>(consumer.await?)
        };
        let mut consumer = started.await.map_err(|fault| self.link.error(&fault))?;
        begun.now();
        while let Some(letter) = consumer.next().await {
            let letter = letter.map_err(|error| self.link.error(&error.into()))?;
            let (body, tag) = (Bytes::from(letter.data), letter.delivery_tag);
            self.tray
                .put(properties::from_amqp(&letter.properties, body, tag));
        }
        Err(self.link.refused("the server ended the consuming", true))
    }
}

impl AmqpCorrespondent {
    async fn channel_to(&self, mail: &Mail) -> Result<Channel, Error> {
        let exchange = &mail.outgoing.target.exchange;
        let known = self.announcing.lock().clone();
        if let Some(known) = known
            && known.exchange == *exchange
            && known.channel.status().connected()
        {
            return Ok(known.channel);
        }
        let live = self.link.live().await?;
        let opened = async {
            let channel = open_channel(&live.connection, Role::Plain).await?;
            declare_exchange(&channel, mail).await?;
            Ok::<_, Fault>(channel)
        };
        let channel = opened.await.map_err(|fault| self.link.error(&fault))?;
        *self.announcing.lock() = Some(Announcing {
            channel: channel.clone(),
            exchange: exchange.clone(),
        });
        Ok(channel)
    }
}

impl AmqpCorrespondent {
    /// Publishes an event. That it has left is looked at before the next one does: to hear of it at once
    /// would wake the I/O thread of an idle worker for each of its heartbeats.
    async fn announce_one(&self, mail: &Mail) -> Result<()> {
        self.last_has_left().await?;
        let mut last = self.last.lock().await;
        let mut flight = self.publish_later(mail.clone()).await?;
        if let Some(done) = (&mut flight).now_or_never() {
            return done.map_err(|fault| self.link.error(&fault));
        }
        let mail = mail.clone();
        *last = Some(Leaving { mail, flight });
        Ok(())
    }

    /// Waits until the last event has left; publishes it once more where it has not.
    async fn last_has_left(&self) -> Result<()> {
        let mut last = self.last.lock().await;
        let Some(leaving) = &mut *last else {
            return Ok(());
        };
        if let Err(fault) = (&mut leaving.flight).await {
            // Until it has: a failed one is not forgotten because the next try fails as well.
            leaving.flight = std::future::ready(Err(fault)).boxed();
            match self.publish_now(&leaving.mail).await {
                Err(error) if error.remedy() != Remedy::GiveUp => return Err(error),
                Err(error) => tracing::warn!(%error, "an event is dropped"),
                Ok(()) => {}
            }
        }
        *last = None;
        Ok(())
    }

    async fn publish_now(&self, mail: &Mail) -> Result<()> {
        let flight = self.publish_later(mail.clone()).await?;
        flight.await.map_err(|fault| self.link.error(&fault))
    }

    async fn publish_later(
        &self,
        mail: Mail,
    ) -> Result<Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>> {
        let properties = properties::to_amqp(&mail.outgoing.message)?;
        let channel = self.channel_to(&mail).await?;
        Ok(async move { publish(&channel, &mail, properties).await }.boxed())
    }
}

impl Correspondent for AmqpCorrespondent {
    async fn listen(&self, begun: &Begun) -> Error {
        match self.consume(begun).await {
            Err(error) => error,
            Ok(()) => Error::Closed { what: "mailbox" },
        }
    }

    async fn send(&self, mail: &Mail) -> Result<()> {
        let message = &mail.outgoing.message;
        let properties = properties::to_amqp(message)?;
        let live = self.link.live().await?;
        // Over a channel of its own: a refusal closes it, and ours carries letters.
        let sent = async {
            let channel = open_channel(&live.connection, Role::Confirms).await?;
            declare_exchange(&channel, mail).await?;
            publish(&channel, mail, properties).await?;
            channel.close(200, "done".into()).await?;
            Ok::<_, Fault>(())
        };
        sent.await.map_err(|fault| self.link.error(&fault))
    }

    async fn announce(&self, mails: &[Mail]) -> Result<()> {
        for mail in mails {
            self.announce_one(mail).await?;
        }
        Ok(())
    }

    async fn leave(&self) {
        if let Err(error) = self.last_has_left().await {
            tracing::debug!(%error, "the last event did not leave");
        }
        self.link.close().await;
    }
}

async fn declare_exchange(channel: &Channel, mail: &Mail) -> Result<(), Fault> {
    let exchange = mail.outgoing.target.exchange.as_str();
    if exchange.is_empty() {
        return Ok(());
    }
    channel
        .exchange_declare(
            exchange.into(),
            kind_of(&mail.exchange_type),
            ExchangeDeclareOptions {
                durable: mail.is_durable,
                ..ExchangeDeclareOptions::default()
            },
            FieldTable::default(),
        )
        .await?;
    Ok(())
}

async fn publish(channel: &Channel, mail: &Mail, properties: BasicProperties) -> Result<(), Fault> {
    let target = &mail.outgoing.target;
    channel
        .basic_publish(
            target.exchange.as_str().into(),
            target.routing_key.as_str().into(),
            BasicPublishOptions::default(),
            &mail.outgoing.message.body,
            properties,
        )
        .await?
        .await?;
    Ok(())
}
