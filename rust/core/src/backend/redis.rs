//! Results on Redis: `celery-task-meta-<id>` keys, and a channel of the same name.
//!
//! Source: celery 5.7 `backends/redis.py` and `backends/base.py` (`KeyValueStoreBackend`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use redis::{AsyncCommands, RedisResult};

use super::chords::ChordStore;
use super::waiters::WaiterHandle;
use super::{Put, ResultStore, Subscription};
use crate::broker::redis::hub::{Hub, prefix_of};
use crate::broker::redis::link::{Link, wait_for};
use crate::broker::redis::{lifetime, script};
use crate::broker::url::BrokerUrl;
use crate::error::Result;
use crate::runtime;
use crate::time::Deadline;
use crate::wake::Wake;

/// A subscription that hears nothing reads the key this often: publishing is no guarantee.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Between two looks at a result that is not subscribed to.
const POLL: Duration = Duration::from_millis(100);

pub(super) fn store(url: &BrokerUrl) -> Result<Arc<dyn ResultStore>> {
    // Looks at the options, so that a bad one shows here.
    prefix_of(url)?;
    Link::new(url, None, false)?;
    Ok(Arc::new(RedisStore {
        url: url.clone(),
        hub: Mutex::new(None),
    }))
}

/// The store of one URL. All threads share its connection.
#[derive(Debug)]
pub(super) struct RedisStore {
    url: BrokerUrl,
    /// With the generation of forks it belongs to: a child opens its own.
    hub: Mutex<Option<(u32, Arc<Hub>)>>,
}

impl RedisStore {
    fn hub(&self) -> Result<Arc<Hub>> {
        let generation = runtime::generation();
        let mut known = self.hub.lock();
        if let Some((of, hub)) = known.as_ref() {
            if *of == generation {
                return Ok(Arc::clone(hub));
            }
            // The parent's: dropping it would close the parent's sockets politely.
            std::mem::forget(Arc::clone(hub));
        }
        let hub = Hub::open(&self.url)?;
        *known = Some((generation, Arc::clone(&hub)));
        Ok(hub)
    }

    pub(super) fn ask<T, W>(&self, what: &'static str, deadline: Deadline, work: W) -> Result<T>
    where
        W: AsyncFnOnce(&Hub, &mut redis::aio::MultiplexedConnection) -> RedisResult<T>,
    {
        let hub = self.hub()?;
        wait_for(what, deadline, async {
            let mut live = hub.link.live().await?;
            let answer = work(&hub, &mut live.connection).await;
            answer.map_err(|error| hub.link.failed(live.serial, &error))
        })
    }

    fn get_key(&self, key: &str, deadline: Deadline) -> Result<Option<Bytes>> {
        let found: Option<Vec<u8>> = self.ask("reading a result", deadline, async |_, connection| {
            connection.get(key).await
        })?;
        Ok(found.map(Bytes::from))
    }

    fn delete_key(&self, key: &str, deadline: Deadline) -> Result<()> {
        self.ask("forgetting a result", deadline, async |_, connection| {
            connection.del(key).await
        })
    }
}

impl ResultStore for RedisStore {
    fn put(&self, puts: Vec<Put>, deadline: Deadline) -> Result<()> {
        if puts.is_empty() {
            return Ok(());
        }
        self.ask("storing a result", deadline, async |hub, connection| {
            let mut call = script::PUT.prepare_invoke();
            for put in &puts {
                call.arg(hub.channel(&put.task_id))
                    .arg(lifetime(put))
                    .arg(&put.document[..]);
            }
            call.invoke_async(connection).await
        })
    }

    fn get(&self, task_id: &str, deadline: Deadline) -> Result<Option<Bytes>> {
        let key = self.hub()?.channel(task_id);
        self.get_key(&key, deadline)
    }

    fn get_many(&self, task_ids: &[String], deadline: Deadline) -> Result<Vec<Option<Bytes>>> {
        if task_ids.is_empty() {
            return Ok(Vec::new());
        }
        let found: Vec<Option<Vec<u8>>> =
            self.ask("reading results", deadline, async |hub, connection| {
                let keys: Vec<String> = task_ids.iter().map(|id| hub.channel(id)).collect();
                redis::cmd("MGET").arg(keys).query_async(connection).await
            })?;
        Ok(found
            .into_iter()
            .map(|document| document.map(Bytes::from))
            .collect())
    }

    fn forget(&self, task_id: &str, deadline: Deadline) -> Result<()> {
        let key = self.hub()?.channel(task_id);
        self.delete_key(&key, deadline)
    }

    fn subscribe(
        &self,
        task_id: &str,
        already_sent: bool,
        deadline: Deadline,
    ) -> Result<Box<dyn Subscription>> {
        let hub = self.hub()?;
        let channel = hub.channel(task_id);
        let waiter = hub.enter(&channel, already_sent);
        let must_ask = !already_sent || waiter.is_none();
        if must_ask && let Some(waiter) = &waiter {
            let current = wait_for("subscribing to a result", deadline, hub.subscribe(&channel))?;
            if let Some(current) = current {
                waiter.start_with(current);
            }
        }
        Ok(Box::new(RedisSubscription {
            hub,
            channel,
            waiter,
            last: Mutex::new(None),
        }))
    }

    fn put_raw(&self, key: &str, value: Bytes, expires_s: Option<u64>, deadline: Deadline) -> Result<()> {
        self.ask("storing a value", deadline, async |hub, connection| {
            let key = hub.key(key);
            match expires_s {
                None | Some(0) => connection.set(key, &value[..]).await,
                Some(seconds) => connection.set_ex(key, &value[..], seconds).await,
            }
        })
    }

    fn get_raw(&self, key: &str, deadline: Deadline) -> Result<Option<Bytes>> {
        let key = self.hub()?.key(key);
        self.get_key(&key, deadline)
    }

    fn forget_raw(&self, key: &str, deadline: Deadline) -> Result<()> {
        let key = self.hub()?.key(key);
        self.delete_key(&key, deadline)
    }

    fn chords(&self) -> Option<&dyn ChordStore> {
        Some(self)
    }

    fn cleanup(&self, _deadline: Deadline) -> Result<u64> {
        // Redis expires keys by itself.
        Ok(0)
    }
}

/// Who waits for one result.
#[derive(Debug)]
struct RedisSubscription {
    hub: Arc<Hub>,
    channel: String,
    /// `None`: there are too many subscriptions, so this one polls.
    waiter: Option<WaiterHandle>,
    /// The last document handed out, so that a look at the key does not repeat it.
    last: Mutex<Option<Bytes>>,
}

impl RedisSubscription {
    fn noted(&self, document: Bytes) -> Bytes {
        *self.last.lock() = Some(document.clone());
        document
    }

    /// The stored document, if it is another one than the last.
    fn look(&self, deadline: Deadline) -> Result<Option<Bytes>> {
        let link = &self.hub.link;
        let found: Option<Vec<u8>> = wait_for("reading a result", deadline, async {
            let mut live = link.live().await?;
            let found: RedisResult<Option<Vec<u8>>> = live.connection.get(&self.channel).await;
            found.map_err(|error| link.failed(live.serial, &error))
        })?;
        let found = found.map(Bytes::from);
        Ok(found.filter(|document| self.last.lock().as_ref() != Some(document)))
    }
}

impl Subscription for RedisSubscription {
    fn watch(&self, wake: Wake) -> bool {
        self.waiter.as_ref().is_some_and(|waiter| waiter.watch(wake))
    }

    fn take(&self) -> Option<Bytes> {
        let document = self.waiter.as_ref()?.take()?;
        Some(self.noted(document))
    }

    fn next(&self, deadline: Deadline) -> Result<Option<Bytes>> {
        loop {
            let heard = match &self.waiter {
                Some(waiter) => waiter.next(sooner(deadline, LOOK_AGAIN)),
                None => self.look(deadline),
            };
            match heard {
                Ok(Some(document)) => return Ok(Some(self.noted(document))),
                Ok(None) if deadline.has_passed() => return Ok(None),
                Err(error) if deadline.has_passed() => return Err(error),
                Ok(None) | Err(_) => {}
            }
            if self.waiter.is_none() {
                runtime::handle()?.block_on(tokio::time::sleep(POLL.min(deadline.left())));
            } else if let Ok(Some(missed)) = self.look(sooner(deadline, LOOK_AGAIN)) {
                return Ok(Some(self.noted(missed)));
            }
        }
    }
}

fn sooner(deadline: Deadline, wait: Duration) -> Deadline {
    deadline.min(Deadline::after(wait))
}
