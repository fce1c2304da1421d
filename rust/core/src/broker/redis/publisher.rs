//! Sends messages to Redis. The work is done by one task, see [`super::sender`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use redis::RedisResult;

use super::direct::{self, Wire};
use super::hub::{Hub, prefix_of};
use super::inlet::Inlet;
use super::link::{Link, OnPush, wait_for};
use super::names::Names;
use super::parcel::Parcel;
use super::script;
use super::sender::{self, Shared};
use crate::broker::spare::Spares;
use crate::broker::topology::QueueSpec;
use crate::broker::url::{BrokerUrl, Scheme};
use crate::broker::{Aside, History, Publisher, Underway, reconnect};
use crate::error::{Error, Result};
use crate::ledger::Receipt;
use crate::runtime;
use crate::time::Deadline;
use crate::wire::envelope;
use crate::wire::letter::Letter;
use crate::wire::message::Target;

/// The publisher of one URL.
#[derive(Debug)]
pub(super) struct RedisPublisher {
    url: BrokerUrl,
    names: Arc<Names>,
    /// Built anew in a fork's child, which has none of the parent's threads.
    office: Mutex<Option<Arc<Office>>>,
    is_closed: AtomicBool,
}

/// What one process has of a publisher.
#[derive(Debug)]
struct Office {
    generation: u32,
    shared: Arc<Shared>,
    inlet: Arc<Inlet>,
    /// For senders that wait.
    spares: Arc<Spares<Wire>>,
    task: tokio::task::JoinHandle<()>,
}

impl RedisPublisher {
    pub(super) fn open(url: &BrokerUrl) -> Result<Self> {
        let names = Arc::new(Names::of(url)?);
        // Looks at the options that only the connection reads, so that a bad one shows here.
        Link::new(url, None, false)?;
        Ok(Self {
            url: url.clone(),
            names,
            office: Mutex::new(None),
            is_closed: AtomicBool::new(false),
        })
    }

    fn office(&self) -> Result<Arc<Office>> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(Error::Closed { what: "publisher" });
        }
        let generation = runtime::generation();
        let mut office = self.office.lock();
        if let Some(open) = office.as_ref() {
            if open.generation == generation {
                return Ok(Arc::clone(open));
            }
            // The parent's: its sockets are the parent's, and dropping it would need its threads.
            std::mem::forget(Arc::clone(open));
        }
        let built = Arc::new(self.build(generation)?);
        *office = Some(Arc::clone(&built));
        Ok(built)
    }

    fn build(&self, generation: u32) -> Result<Office> {
        let hub: Arc<Mutex<Option<Arc<Hub>>>> = Arc::default();
        let ears = Arc::clone(&hub);
        let on_push: OnPush = Arc::new(move |_, push| {
            let hub = ears.lock().clone();
            if let Some(hub) = hub {
                hub.hear(push);
            }
        });
        let shared = Arc::new(Shared {
            link: Arc::new(Link::new(&self.url, Some(on_push), false)?),
            names: Arc::clone(&self.names),
            hub,
            declared: Mutex::default(),
        });
        let inlet = Arc::<Inlet>::default();
        let task = runtime::handle()?.spawn(sender::run(Arc::clone(&shared), Arc::clone(&inlet)));
        Ok(Office {
            generation,
            shared,
            inlet,
            spares: Arc::default(),
            task,
        })
    }

    /// Sends a pipeline and reads its answers.
    fn ask<T: redis::FromRedisValue>(
        &self,
        what: &'static str,
        pipe: &redis::Pipeline,
        deadline: Deadline,
    ) -> Result<T> {
        let office = self.office()?;
        wait_for(what, deadline, async {
            let link = &office.shared.link;
            let mut live = link.live().await?;
            let answer: RedisResult<T> = pipe.query_async(&mut live.connection).await;
            answer.map_err(|error| link.failed(live.serial, &error))
        })
    }
}

impl Publisher for RedisPublisher {
    fn post(&self, letter: Letter, subscribe_to: Option<&str>, receipt: Receipt, deadline: Deadline) {
        match self.office() {
            Ok(office) => office
                .inlet
                .push(Parcel::new(letter, subscribe_to, receipt, deadline)),
            Err(error) => receipt.fail(error),
        }
    }

    fn try_post(
        &self,
        letter: Letter,
        receipt: Receipt,
        deadline: Deadline,
    ) -> Result<(), (Letter, Receipt)> {
        match self.office() {
            Ok(office) => office
                .inlet
                .try_push(Parcel::new(letter, None, receipt, deadline))
                .map_err(|parcel| (Letter::Sealed(parcel.letter), parcel.receipt)),
            Err(error) => {
                receipt.fail(error);
                Ok(())
            }
        }
    }

    fn send_here(
        &self,
        letter: Letter,
        receipt: Receipt,
        deadline: Deadline,
    ) -> Result<Box<dyn Underway>, (Letter, Receipt)> {
        let Ok(office) = self.office() else {
            return Err((letter, receipt));
        };
        let parcel = Parcel::new(letter, None, receipt, deadline);
        let target = &parcel.letter.target;
        let list = target
            .exchange
            .is_empty()
            .then(|| self.names.list(&target.routing_key, parcel.letter.priority));
        let sent = match list {
            Some(list) => direct::send(&office.spares, &office.shared, &office.inlet, &list, parcel),
            None => Err(parcel),
        };
        match sent {
            Ok(sending) => Ok(Box::new(sending)),
            Err(parcel) => Err((Letter::Sealed(parcel.letter), parcel.receipt)),
        }
    }

    fn carries_envelopes(&self) -> bool {
        true
    }

    fn declare(&self, queue: &QueueSpec, deadline: Deadline) -> Result<()> {
        queue.check_emulated()?;
        let office = self.office()?;
        let shared = &office.shared;
        shared.declared.lock().learn(queue);
        wait_for("declaring a queue", deadline, async {
            let mut live = shared.link.live().await?;
            if shared.declared.lock().is_done(queue, live.serial) {
                return Ok(());
            }
            sender::declare(&mut live, shared, std::slice::from_ref(queue)).await
        })
    }

    fn purge(&self, queue: &str, deadline: Deadline) -> Result<u64> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for list in self.names.lists(queue) {
            pipe.llen(&list).del(&list).ignore();
        }
        let sizes: Vec<u64> = self.ask("purging a queue", &pipe, deadline)?;
        Ok(sizes.iter().sum())
    }

    fn depth(&self, queue: &str, deadline: Deadline) -> Result<u64> {
        let mut pipe = redis::pipe();
        for list in self.names.lists(queue) {
            pipe.llen(&list);
        }
        let sizes: Vec<u64> = self.ask("counting a queue", &pipe, deadline)?;
        Ok(sizes.iter().sum())
    }

    fn list_aside(&self, queue: &str, max: usize, deadline: Deadline) -> Result<Vec<Aside>> {
        let mut pipe = redis::pipe();
        pipe.cmd("XRANGE")
            .arg(self.names.aside(queue))
            .arg(&["-", "+", "COUNT"])
            .arg(max);
        let (entries,): (Vec<Entry>,) = self.ask("listing what was set aside", &pipe, deadline)?;
        Ok(entries.into_iter().map(aside).collect())
    }

    fn restore_aside(&self, queue: &str, tags: &[String], deadline: Deadline) -> Result<u64> {
        let stream = self.names.aside(queue);
        let mut restored = 0;
        for tag in tags.iter().filter(|tag| is_entry_id(tag)) {
            let mut pipe = redis::pipe();
            pipe.cmd("XRANGE").arg(&stream).arg(tag).arg(tag);
            let (entries,): (Vec<Entry>,) = self.ask("reading what was set aside", &pipe, deadline)?;
            let Some((_, fields)) = entries.into_iter().next() else {
                continue;
            };
            let priority = envelope::decode(field(&fields, b"message"))
                .ok()
                .and_then(|read| read.message.properties.priority);
            let office = self.office()?;
            restored += wait_for("putting back what was set aside", deadline, async {
                let link = &office.shared.link;
                let mut live = link.live().await?;
                let list = self.names.list(queue, priority);
                let moved: RedisResult<u64> = script::RESTORE_ASIDE
                    .key(&stream)
                    .key(list)
                    .arg(tag)
                    .invoke_async(&mut live.connection)
                    .await;
                moved.map_err(|error| link.failed(live.serial, &error))
            })?;
        }
        Ok(restored)
    }

    fn drop_aside(&self, queue: &str, tags: &[String], deadline: Deadline) -> Result<u64> {
        let tags: Vec<&String> = tags.iter().filter(|tag| is_entry_id(tag)).collect();
        if tags.is_empty() {
            return Ok(0);
        }
        let mut pipe = redis::pipe();
        pipe.cmd("XDEL").arg(self.names.aside(queue)).arg(tags);
        let (dropped,): (u64,) = self.ask("deleting what was set aside", &pipe, deadline)?;
        Ok(dropped)
    }

    fn carries_results_of(&self, result_url: &str) -> bool {
        let Ok(url) = BrokerUrl::parse(result_url, Vec::new()) else {
            return false;
        };
        if url.scheme() != Scheme::Redis || prefix_of(&url).is_err() {
            return false;
        }
        if url.server() != self.url.server() {
            return false;
        }
        let (Ok(hub), Ok(office)) = (Hub::open(&url), self.office()) else {
            return false;
        };
        *office.shared.hub.lock() = Some(hub);
        true
    }

    fn close(&self, deadline: Deadline) {
        self.is_closed.store(true, Ordering::SeqCst);
        let Some(office) = self.office.lock().take() else {
            return;
        };
        if office.generation != runtime::generation() {
            std::mem::forget(office);
            return;
        }
        // The task ends when it has sent what is queued, or is told to when the time is over.
        office.inlet.close();
        reconnect::end(&office.task, deadline);
    }
}

/// An entry of a stream: its id, and fields and values in turn.
type Entry = (String, Vec<Vec<u8>>);

fn is_entry_id(tag: &str) -> bool {
    tag.split_once('-')
        .is_some_and(|(ms, number)| ms.parse::<u64>().is_ok() && number.parse::<u64>().is_ok())
}

fn field<'a>(fields: &'a [Vec<u8>], name: &[u8]) -> &'a [u8] {
    fields
        .chunks_exact(2)
        .find(|pair| pair[0] == name)
        .map_or(&[], |pair| &pair[1])
}

fn aside((tag, fields): Entry) -> Aside {
    let (message, target) = match envelope::decode(field(&fields, b"message")) {
        Ok(read) => (Ok(read.message), read.target),
        Err(error) => (Err(error), Target::default()),
    };
    let text = |name| String::from_utf8_lossy(field(&fields, name)).into_owned();
    let at_unix_ms = tag.split_once('-').and_then(|(ms, _)| ms.parse().ok());
    Aside {
        reason: text(b"reason"),
        history: History {
            at_unix_ms: at_unix_ms.unwrap_or_default(),
            worker: text(b"worker"),
            losses: text(b"losses").parse().unwrap_or_default(),
        },
        tag,
        message,
        target,
    }
}
