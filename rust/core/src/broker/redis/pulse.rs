//! How others see that this consumer's process lives: it subscribes to a channel of its own. The server
//! drops that when the process ends, and keeps it while the process is only stopped.
//!
//! The connection carries nothing else. A server cuts off who subscribes and lets some megabytes wait,
//! as answers with large messages do; and one that is given up for a late answer would end it, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use redis::PushKind;
use tokio::sync::Notify;

use super::link::{Link, OnPush, is_goodbye};
use crate::broker::url::BrokerUrl;
use crate::error::{Error, Result};

/// The subscription of one consumer.
#[derive(Debug)]
pub(super) struct Pulse {
    link: Link,
    channel: String,
    stirred: Arc<Notify>,
    has_company: Arc<AtomicBool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The connection that has subscribed.
    serial: Option<u64>,
    is_over: bool,
    is_refusal_told: bool,
}

impl Pulse {
    pub(super) fn new(url: &BrokerUrl, channel: String) -> Result<Self> {
        let (stirred, has_company) = (Arc::new(Notify::new()), Arc::<AtomicBool>::default());
        let (told, came) = (Arc::clone(&stirred), Arc::clone(&has_company));
        let on_push: OnPush = Arc::new(move |_, push| {
            // Whatever is said on the channel.
            if push.kind == PushKind::Message {
                came.store(true, Ordering::SeqCst);
                told.notify_one();
            } else if is_goodbye(push) {
                told.notify_one();
            }
        });
        Ok(Self {
            link: Link::new(url, Some(on_push), false)?,
            channel,
            stirred,
            has_company,
            state: Mutex::default(),
        })
    }

    /// Subscribes where that is not done, or the connection does not answer; whether it has succeeded.
    pub(super) async fn beat(&self) -> bool {
        if self.is_over() {
            return false;
        }
        match self.subscribe().await {
            Ok(()) => return true,
            Err(error @ Error::Refused { .. }) => self.tell_refusal(&error),
            Err(error) => tracing::debug!(%error, "not subscribed"),
        }
        false
    }

    async fn subscribe(&self) -> Result<()> {
        let mut live = self.link.proved().await?;
        if self.is_subscribed() {
            return Ok(());
        }
        let done = redis::cmd("SUBSCRIBE")
            .arg(&self.channel)
            .query_async::<redis::Value>(&mut live.connection)
            .await;
        done.map_err(|error| self.link.failed(live.serial, &error))?;
        self.state.lock().serial = Some(live.serial);
        Ok(())
    }

    fn tell_refusal(&self, error: &Error) {
        if !std::mem::replace(&mut self.state.lock().is_refusal_told, true) {
            tracing::warn!(
                %error,
                "no SUBSCRIBE: should this worker be killed, others wait for the end of its leases"
            );
        }
    }

    /// Whether the connection that has subscribed is still open, as far as anybody knows.
    pub(super) fn is_subscribed(&self) -> bool {
        let serial = self.state.lock().serial;
        serial.is_some() && serial == self.link.current_serial()
    }

    /// Begins anew with the next beat: the server does not know of the subscription.
    pub(super) fn restart(&self) {
        if let Some(live) = self.link.current() {
            self.link.drop_connection(live.serial);
        }
        self.stirred.notify_one();
    }

    /// Told when the connection is lost, and when somebody else has come.
    pub(super) fn stirred(&self) -> Arc<Notify> {
        Arc::clone(&self.stirred)
    }

    /// Whether another consumer has come where this one was alone; asked once.
    pub(super) fn take_company(&self) -> bool {
        self.has_company.swap(false, Ordering::SeqCst)
    }

    /// Ends it for good.
    pub(super) fn end(&self) {
        self.state.lock().is_over = true;
        self.restart();
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.lock().is_over
    }
}
