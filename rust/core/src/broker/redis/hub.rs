//! Subscriptions to results: shared by a result store and the publishers on its server.
//!
//! A publisher subscribes on its own connection, in the same round trip as the message
//! (`Publisher::send`); the store subscribes on its own for everything else, and takes over what a
//! publisher's connection loses. Both hand what arrives to one registry of waiters.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{Notify, RwLock};

use super::link::{Backoff, Link, OnPush, is_goodbye};
use crate::backend::waiters::{Change, WaiterHandle, Waiters};
use crate::broker::url::BrokerUrl;
use crate::error::Result;
use crate::runtime;
use crate::wire::redis_keys;

/// Most results that one process subscribes to; who waits for more of them polls.
pub(crate) const MAX_OPEN: usize = 10_000;
/// Channels in one pipeline of (un)subscriptions.
const BATCH: usize = 256;
/// How long a channel that nobody waits for any more is kept, so that many are left at once: a round
/// trip for each would take as long as the publish that has subscribed to it.
const GATHER: Duration = Duration::from_millis(20);
/// How often the minding task looks whether it is still needed.
const LOOK_UP: Duration = Duration::from_secs(5);

/// Who is subscribed to what on one server and database.
pub(crate) struct Hub {
    /// The store's own connection.
    pub(crate) link: Arc<Link>,
    prefix: String,
    waiters: Waiters,
    desk: Arc<Desk>,
    /// Subscribers read, the task that unsubscribes writes: a channel is not dropped between its
    /// new waiter's entry and its SUBSCRIBE.
    gate: RwLock<()>,
}

/// What the registry and the connections tell the task that minds the subscriptions.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Channels that publishers carry: the link and the number of its connection.
    carried: HashMap<Arc<str>, Carrier>,
    /// Channels nobody waits for any more, and who carries them (`None`: the store).
    unwanted: Vec<(Arc<str>, Option<Carrier>)>,
    /// A connection that carried subscriptions broke: what was sent meanwhile must be fetched.
    is_broken: bool,
}

/// A publisher's connection.
type Carrier = (Weak<Link>, u64);

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

/// The hubs of this process by generation of forks, server and database.
static HUBS: Mutex<Vec<(HubKey, Weak<Hub>)>> = Mutex::new(Vec::new());

#[derive(Clone, PartialEq, Eq)]
struct HubKey {
    generation: u32,
    server: String,
    db: i64,
    prefix: String,
}

impl HubKey {
    fn of(url: &BrokerUrl) -> Result<Self> {
        Ok(Self {
            generation: runtime::generation(),
            server: url.server(),
            db: url.db(),
            prefix: prefix_of(url)?,
        })
    }
}

/// What stands in front of a result's key.
pub(crate) fn prefix_of(url: &BrokerUrl) -> Result<String> {
    let prefix = url.options.text("global_keyprefix")?.unwrap_or_default();
    Ok(redis_keys::result_prefix(&prefix))
}

impl Hub {
    /// The hub of a result store, shared with other stores on the same URL.
    ///
    /// # Errors
    /// [`Error::BadUrl`] for options that cannot be used.
    pub(crate) fn open(url: &BrokerUrl) -> Result<Arc<Self>> {
        let key = HubKey::of(url)?;
        let mut hubs = HUBS.lock();
        hubs.retain(|(_, hub)| hub.strong_count() > 0);
        if let Some(hub) = hubs
            .iter()
            .find(|(known, _)| *known == key)
            .and_then(|(_, hub)| hub.upgrade())
        {
            return Ok(hub);
        }
        let hub = Self::build(url, key.prefix.clone())?;
        hubs.push((key, Arc::downgrade(&hub)));
        drop(hubs);
        runtime::handle()?.spawn(mind(Arc::downgrade(&hub)));
        Ok(hub)
    }

    fn build(url: &BrokerUrl, prefix: String) -> Result<Arc<Self>> {
        let desk = Arc::new(Desk::default());
        let told = Arc::clone(&desk);
        let waiters = Waiters::with_listener(Box::new(move |change, channel| {
            if change == Change::Last {
                told.is_unwanted(channel);
            }
        }));
        let (ears, heard_at) = (waiters.clone(), Arc::clone(&desk));
        let on_push: OnPush = Arc::new(move |_, push| hear(&ears, &heard_at, push));
        Ok(Arc::new(Self {
            link: Arc::new(Link::new(url, Some(on_push), false)?),
            prefix,
            waiters,
            desk,
            gate: RwLock::default(),
        }))
    }

    /// Takes what a publisher's connection says.
    pub(crate) fn hear(&self, push: &PushInfo) {
        hear(&self.waiters, &self.desk, push);
    }

    /// The key, and channel, of a task's result.
    pub(crate) fn channel(&self, task_id: &str) -> String {
        redis_keys::task_meta(&self.prefix, task_id)
    }

    /// A key of the store's name space.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Enters a waiter; `None` beyond [`MAX_OPEN`]: such a one polls.
    pub(crate) fn enter(&self, channel: &str, already_sent: bool) -> Option<WaiterHandle> {
        if self.waiters.len() >= MAX_OPEN && !self.waiters.contains(channel) {
            return None;
        }
        Some(if already_sent {
            self.waiters.subscribe_sent(channel)
        } else {
            self.waiters.subscribe(channel)
        })
    }

    /// Whether a publisher should subscribe to this channel: somebody waits for it.
    pub(crate) fn is_wanted(&self, channel: &str) -> bool {
        self.waiters.contains(channel)
    }

    /// A publisher sends the SUBSCRIBE for this channel.
    pub(crate) fn carry(&self, channel: &str, link: &Arc<Link>, serial: u64) {
        let carrier = (Arc::downgrade(link), serial);
        self.desk.state.lock().carried.insert(Arc::from(channel), carrier);
    }

    /// Subscribes on the store's connection and reads the current document, in one round trip.
    pub(crate) async fn subscribe(&self, channel: &str) -> Result<Option<Bytes>> {
        let _subscribing = self.gate.read().await;
        let mut live = self.link.live().await?;
        let mut pipe = redis::pipe();
        pipe.cmd("SUBSCRIBE").arg(channel).ignore();
        pipe.get(channel);
        let (document,): (Option<Vec<u8>>,) = pipe
            .query_async(&mut live.connection)
            .await
            .map_err(|error| self.link.failed(live.serial, &error))?;
        Ok(document.map(Bytes::from))
    }

    /// Subscribes anew to everything that is waited for, and hands out the current documents.
    async fn look_again(&self) -> Result<()> {
        let _subscribing = self.gate.read().await;
        for channels in self.waiters.ids().chunks(BATCH) {
            let mut live = self.link.live().await?;
            let mut pipe = redis::pipe();
            for channel in channels {
                pipe.cmd("SUBSCRIBE").arg(&**channel).ignore();
                pipe.get(&**channel);
            }
            let documents: Vec<Option<Vec<u8>>> = pipe
                .query_async(&mut live.connection)
                .await
                .map_err(|error| self.link.failed(live.serial, &error))?;
            let mut state = self.desk.state.lock();
            for channel in channels {
                state.carried.remove(channel);
            }
            drop(state);
            for (channel, document) in channels.iter().zip(documents) {
                if let Some(document) = document {
                    self.waiters.deliver(channel, &Bytes::from(document));
                }
            }
        }
        self.waiters.found();
        Ok(())
    }

    /// Ends the subscriptions that nobody waits for any more.
    async fn unsubscribe(&self) {
        let unwanted = std::mem::take(&mut self.desk.state.lock().unwanted);
        if unwanted.is_empty() {
            return;
        }
        let _unsubscribing = self.gate.write().await;
        let mut by_link: Vec<(Arc<Link>, u64, Vec<Arc<str>>)> = Vec::new();
        for (channel, carrier) in unwanted {
            if self.waiters.contains(&channel) {
                continue;
            }
            let Some((link, serial)) = self.carrier(carrier) else {
                continue;
            };
            match by_link
                .iter_mut()
                .find(|(known, number, _)| Arc::ptr_eq(known, &link) && *number == serial)
            {
                Some((_, _, channels)) => channels.push(channel),
                None => by_link.push((link, serial, vec![channel])),
            }
        }
        for (link, serial, channels) in by_link {
            unsubscribe_on(&link, serial, &channels).await;
        }
    }

    /// The link that carries a channel and the number of its connection; `None` when it is gone.
    fn carrier(&self, carrier: Option<Carrier>) -> Option<(Arc<Link>, u64)> {
        match carrier {
            Some((link, serial)) => Some((link.upgrade()?, serial)),
            None => Some((Arc::clone(&self.link), self.link.current()?.serial)),
        }
    }
}

impl Desk {
    fn is_unwanted(&self, channel: &str) {
        let mut state = self.state.lock();
        let carrier = state.carried.remove(channel);
        state.unwanted.push((Arc::from(channel), carrier));
        drop(state);
        self.changed.notify_one();
    }

    fn is_broken(&self) {
        self.state.lock().is_broken = true;
        self.changed.notify_one();
    }
}

fn hear(waiters: &Waiters, desk: &Desk, push: &PushInfo) {
    if is_goodbye(push) {
        desk.is_broken();
        return;
    }
    if push.kind != PushKind::Message {
        return;
    }
    if let [Value::BulkString(channel), Value::BulkString(document)] = &push.data[..]
        && let Ok(channel) = std::str::from_utf8(channel)
    {
        waiters.deliver(channel, &Bytes::copy_from_slice(document));
    }
}

async fn unsubscribe_on(link: &Link, serial: u64, channels: &[Arc<str>]) {
    let Some(mut live) = link.current().filter(|live| live.serial == serial) else {
        return;
    };
    for channels in channels.chunks(BATCH) {
        let mut pipe = redis::pipe();
        for channel in channels {
            pipe.cmd("UNSUBSCRIBE").arg(&**channel).ignore();
        }
        // A failure ends the connection, and with it the subscriptions.
        if let Err(error) = pipe.query_async::<()>(&mut live.connection).await {
            tracing::debug!(error = %link.failed(serial, &error), "unsubscribing failed");
            return;
        }
    }
}

/// Minds the subscriptions of a hub until nobody holds it.
async fn mind(hub: Weak<Hub>) {
    let mut backoff = Backoff::default();
    loop {
        let Some(desk) = hub.upgrade().map(|hub| Arc::clone(&hub.desk)) else {
            return;
        };
        // The wait is bounded, so that the task notices when the hub is gone.
        let pause = if backoff.wait().is_zero() {
            LOOK_UP
        } else {
            backoff.wait()
        };
        let waited = tokio::time::timeout(pause, desk.changed.notified()).await;
        let gathers = waited.is_ok() && !desk.state.lock().is_broken;
        drop(desk);
        if gathers {
            tokio::time::sleep(GATHER).await;
        }
        let Some(hub) = hub.upgrade() else {
            return;
        };
        hub.unsubscribe().await;
        if !std::mem::take(&mut hub.desk.state.lock().is_broken) || hub.waiters.is_empty() {
            continue;
        }
        match hub.look_again().await {
            Ok(()) => backoff.succeeded(),
            Err(error) => {
                hub.desk.state.lock().is_broken = true;
                hub.waiters.lost(&error);
                backoff.failed();
            }
        }
    }
}
