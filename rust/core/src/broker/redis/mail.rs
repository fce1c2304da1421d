//! Mailboxes on Redis, as kombu has them: orders by PUBLISH, answers by lists.

use std::sync::Arc;
use std::time::Duration;

use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::link::{Link, Live, OnPush, is_goodbye};
use super::names::Names;
use super::routing;
use crate::broker::mail::{Begun, Correspondent, Mail, MailboxSpec, Tray};
use crate::broker::topology::ExchangeType;
use crate::broker::url::BrokerUrl;
use crate::error::{Error, Result};
use crate::time::{Clock, SystemClock};
use crate::wire::envelope;
use crate::wire::message::Target;

/// How often a subscription's connection is asked whether it lives: one that died without a word
/// is noticed by nothing else.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Longest wait of one BRPOP, in seconds; far below the connection's own patience.
const BRPOP_S: u32 = 1;
/// Answers that nobody fetches are removed after so many milliseconds.
const ANSWERS_LAST_MS: u64 = 60_000;

/// This process's side.
#[derive(Debug)]
pub(super) struct RedisCorrespondent {
    spec: MailboxSpec,
    names: Names,
    tray: Arc<Tray>,
    /// Sends, and hears subscriptions.
    link: Link,
    /// Waits in BRPOP, which blocks a connection.
    waiting: Link,
    lost: Arc<Notify>,
    clock: Arc<dyn Clock>,
}

impl RedisCorrespondent {
    pub(super) fn new(url: &BrokerUrl, spec: MailboxSpec, tray: Arc<Tray>) -> Result<Self> {
        let lost = Arc::new(Notify::new());
        let (heard_at, told) = (Arc::clone(&tray), Arc::clone(&lost));
        let on_push: OnPush = Arc::new(move |_, push| hear(&heard_at, &told, push));
        Ok(Self {
            names: Names::of(url)?,
            link: Link::new(url, Some(on_push), false)?,
            waiting: Link::new(url, None, false)?,
            spec,
            tray,
            lost,
            clock: SystemClock::shared(),
        })
    }

    fn channel(&self, target: &Target) -> String {
        self.names.fanout_channel(&target.exchange, &target.routing_key)
    }

    /// `SUBSCRIBE` or its opposite, with what is listened to; a key stands for many channels.
    fn subscription(&self, opposite: &str) -> redis::Cmd {
        let queue = &self.spec.queue;
        let (pattern, channel) = if queue.routing_key.is_empty() {
            ("", self.names.fanout_channel(&queue.exchange, ""))
        } else {
            (
                "P",
                self.names.fanout_pattern(&queue.exchange, &queue.routing_key),
            )
        };
        let mut command = redis::cmd(&format!("{pattern}{opposite}SUBSCRIBE"));
        command.arg(channel);
        command
    }

    async fn hear_fanout(&self, begun: &Begun) -> Result<()> {
        let mut live = self.link.live().await?;
        self.ask(&mut live, &self.subscription("")).await?;
        begun.now();
        loop {
            // What is true of an older connection changes nothing here.
            let _is_quiet = timeout(LOOK_AGAIN, self.lost.notified()).await.is_err();
            if self.link.current().is_none_or(|now| now.serial != live.serial) {
                return Err(self.link.refused("the connection was lost", true));
            }
            self.ask(&mut live, &redis::cmd("PING")).await?;
        }
    }

    async fn ask(&self, live: &mut Live, command: &redis::Cmd) -> Result<()> {
        let asked: Result<(), RedisError> = command.query_async(&mut live.connection).await;
        asked.map_err(|error| self.link.failed(live.serial, &error))
    }

    async fn collect(&self, begun: &Begun) -> Result<()> {
        let mut live = self.waiting.live().await?;
        let failed = |serial, error: &RedisError| self.waiting.failed(serial, error);
        let mut pipe = redis::pipe();
        pipe.atomic();
        routing::declare(&mut pipe, &self.names, &self.spec.queue, self.clock.unix_ms());
        let declared: Result<(), RedisError> = pipe.query_async(&mut live.connection).await;
        declared.map_err(|error| failed(live.serial, &error))?;
        begun.now();
        let list = self.names.list(&self.spec.queue.name, None);
        let mut brpop = redis::cmd("BRPOP");
        brpop.arg(&list).arg(BRPOP_S);
        loop {
            let answer: Result<Option<(String, Vec<u8>)>, RedisError> =
                brpop.query_async(&mut live.connection).await;
            if let Some((_, raw)) = answer.map_err(|error| failed(live.serial, &error))? {
                take_in(&self.tray, &raw);
            }
        }
    }

    async fn deliver(&self, mail: &Mail) -> Result<()> {
        let mut live = self.link.live().await?;
        let target = &mail.outgoing.target;
        let raw = envelope::encode(&mail.outgoing);
        if mail.exchange_type == ExchangeType::Fanout {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(self.channel(target)).arg(raw);
            return self.ask(&mut live, &publish).await;
        }
        let table = routing::table(&mut live.connection, &self.names, &target.exchange).await;
        let table = table.map_err(|error| self.link.failed(live.serial, &error))?;
        let mut pipe = redis::pipe();
        for queue in routing::queues(target, &table) {
            let list = self.names.list(&queue, None);
            pipe.cmd("LPUSH").arg(&list).arg(&raw[..]).ignore();
            pipe.cmd("PEXPIRE").arg(&list).arg(ANSWERS_LAST_MS).ignore();
        }
        let sent: Result<(), RedisError> = pipe.query_async(&mut live.connection).await;
        sent.map_err(|error| self.link.failed(live.serial, &error))
    }
}

impl Correspondent for RedisCorrespondent {
    async fn listen(&self, begun: &Begun) -> Error {
        let ended = if self.spec.queue.exchange_type == ExchangeType::Fanout {
            self.hear_fanout(begun).await
        } else {
            self.collect(begun).await
        };
        match ended {
            Err(error) => error,
            Ok(()) => Error::Closed { what: "mailbox" },
        }
    }

    async fn send(&self, mail: &Mail) -> Result<()> {
        let sent = self.deliver(mail).await;
        if sent.is_err() {
            // The subscription may be on the same dead connection.
            self.lost.notify_one();
        }
        sent
    }

    async fn announce(&self, mails: &[Mail]) -> Result<()> {
        let mut live = self.link.live().await?;
        let mut pipe = redis::pipe();
        for mail in mails {
            let publish = pipe.cmd("PUBLISH").arg(self.channel(&mail.outgoing.target));
            publish.arg(envelope::encode(&mail.outgoing)).ignore();
        }
        let sent: Result<(), RedisError> = pipe.query_async(&mut live.connection).await;
        sent.map_err(|error| self.link.failed(live.serial, &error))
    }

    async fn leave(&self) {
        let queue = &self.spec.queue;
        if queue.exchange_type == ExchangeType::Fanout {
            if let Some(mut live) = self.link.current() {
                let unsubscribe = self.subscription("UN");
                if let Err(error) = self.ask(&mut live, &unsubscribe).await {
                    tracing::debug!(%error, "the subscription ends with its connection");
                }
                self.link.drop_connection(live.serial);
            }
            return;
        }
        let Ok(mut live) = self.link.live().await else {
            return;
        };
        let mut pipe = redis::pipe();
        let member = self.names.binding_member(&queue.routing_key, "", &queue.name);
        pipe.srem(self.names.binding(&queue.exchange), member).ignore();
        pipe.del(self.names.list(&queue.name, None)).ignore();
        let left: Result<(), RedisError> = pipe.query_async(&mut live.connection).await;
        if let Err(error) = left {
            tracing::debug!(%error, "a mailbox stays on the server until it expires");
        }
    }
}

fn hear(tray: &Tray, lost: &Notify, push: &PushInfo) {
    if is_goodbye(push) {
        lost.notify_one();
    } else if matches!(push.kind, PushKind::Message | PushKind::PMessage)
        && let [.., Value::BulkString(_), Value::BulkString(raw)] = &push.data[..]
    {
        take_in(tray, raw);
    }
}

fn take_in(tray: &Tray, raw: &[u8]) {
    match envelope::decode(raw) {
        Ok(read) => tray.put(read.message),
        Err(error) => tracing::warn!(%error, "a control message is dropped"),
    }
}
