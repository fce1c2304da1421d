//! The keys of one broker URL: kombu's names with the user's prefix, separator and steps, and ours.

use std::time::Duration;

use crate::broker::url::BrokerUrl;
use crate::error::Result;
use crate::wire::redis_keys;

/// Names and periods that all sides of one broker must share.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// Put in front of every key, verbatim.
    pub(crate) prefix: String,
    sep: String,
    /// In front of a fanout exchange's channel.
    fanout_prefix: String,
    /// Whether a routing key is part of that channel.
    has_fanout_patterns: bool,
    /// Priority steps, ascending, each once.
    pub(crate) steps: Vec<u8>,
    /// Hash: delivery tag → `[envelope, exchange, routing_key]`.
    pub(crate) unacked: String,
    /// Sorted set: delivery tag → seconds of its delivery.
    pub(crate) unacked_index: String,
    /// Lock of Celery's sweep.
    pub(crate) unacked_mutex: String,
    /// Sorted set: owner → milliseconds at which its leases end.
    pub(crate) owners: String,
    /// Set: the owners whose channel has a subscriber as long as their process lives.
    pub(crate) subscribed: String,
    /// The owner that looks at those channels for all.
    pub(crate) looker: String,
    /// In front of an owner's id in the name of its channel.
    pub(crate) alive_prefix: String,
    /// Hash: delivery tag → how often who held the message died.
    pub(crate) losses: String,
    /// How long Celery waits for an ack.
    pub(crate) visibility_timeout: Duration,
    /// How long our own leases last without renewal.
    pub(crate) lease_timeout: Duration,
    /// Between two sweeps.
    pub(crate) sweep_interval: Duration,
    /// How long the sweep's lock lasts.
    pub(crate) mutex_expire: Duration,
    /// Most messages one sweep takes.
    pub(crate) sweep_limit: u64,
}

const DEFAULT_VISIBILITY_TIMEOUT: Duration = Duration::from_secs(3600);
const DEFAULT_LEASE_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_RESTORE_INTERVAL: Duration = Duration::from_secs(10);
const DEFAULT_RESTORE_THROTTLE: u64 = 10;
const DEFAULT_MUTEX_EXPIRE: Duration = Duration::from_secs(300);
const DEFAULT_SWEEP_LIMIT: u64 = 1_000;

impl Names {
    /// Reads the transport options.
    ///
    /// # Errors
    /// [`crate::Error::BadUrl`] for a value of the wrong kind.
    pub(crate) fn of(url: &BrokerUrl) -> Result<Self> {
        let options = &url.options;
        let prefix = options.text("global_keyprefix")?.unwrap_or_default();
        let key = |option: &str, default: &str| -> Result<String> {
            let name = options.text(option)?;
            Ok(format!("{prefix}{}", name.as_deref().unwrap_or(default)))
        };
        let mut steps = options
            .steps("priority_steps")?
            .unwrap_or_else(|| redis_keys::DEFAULT_PRIORITY_STEPS.to_vec());
        steps.sort_unstable();
        steps.dedup();
        let unacked = key("unacked_key", redis_keys::UNACKED)?;
        let throttle = options
            .count("unacked_restore_throttle")?
            .unwrap_or(DEFAULT_RESTORE_THROTTLE);
        let interval = options
            .seconds("unacked_restore_interval")?
            .unwrap_or(DEFAULT_RESTORE_INTERVAL);
        Ok(Self {
            sep: options
                .text("sep")?
                .unwrap_or_else(|| redis_keys::DEFAULT_SEP.to_owned()),
            fanout_prefix: fanout_prefix(url)?,
            has_fanout_patterns: options.flag("fanout_patterns")?.unwrap_or(true),
            steps,
            owners: format!("{unacked}_owners"),
            subscribed: format!("{unacked}_subscribed"),
            looker: format!("{unacked}_looker"),
            // Channels are the server's, keys are the database's.
            alive_prefix: format!("{prefix}/{}.celeriac.alive.", url.db()),
            losses: format!("{unacked}_losses"),
            unacked,
            unacked_index: key("unacked_index_key", redis_keys::UNACKED_INDEX)?,
            unacked_mutex: key("unacked_mutex_key", redis_keys::UNACKED_MUTEX)?,
            visibility_timeout: options
                .seconds("visibility_timeout")?
                .unwrap_or(DEFAULT_VISIBILITY_TIMEOUT),
            lease_timeout: options.seconds("lease_timeout")?.unwrap_or(DEFAULT_LEASE_TIMEOUT),
            sweep_interval: interval.saturating_mul(u32::try_from(throttle.max(1)).unwrap_or(u32::MAX)),
            mutex_expire: options
                .seconds("unacked_mutex_expire")?
                .unwrap_or(DEFAULT_MUTEX_EXPIRE),
            sweep_limit: options
                .count("unacked_restore_limit")?
                .unwrap_or(DEFAULT_SWEEP_LIMIT),
            prefix,
        })
    }

    /// The list of a queue and priority.
    pub(crate) fn list(&self, queue: &str, priority: Option<u8>) -> String {
        let step = redis_keys::priority_step(i64::from(priority.unwrap_or(0)), &self.steps);
        redis_keys::queue(&self.prefix, queue, step, &self.sep)
    }

    /// All lists of a queue, the step that is served first in front.
    pub(crate) fn lists(&self, queue: &str) -> impl Iterator<Item = String> {
        self.steps
            .iter()
            .map(move |step| redis_keys::queue(&self.prefix, queue, *step, &self.sep))
    }

    /// The set of an exchange's bindings.
    pub(crate) fn binding(&self, exchange: &str) -> String {
        redis_keys::binding(&self.prefix, exchange)
    }

    /// The set of the bindings that do not expire.
    pub(crate) fn binding_permanent(&self, exchange: &str) -> String {
        redis_keys::binding_permanent(&self.prefix, exchange)
    }

    /// The sorted set of deadlines of expiring binding tables.
    pub(crate) fn binding_deadlines(&self) -> String {
        format!("{}{}", self.prefix, redis_keys::BINDING_DEADLINES)
    }

    /// A member of a binding set.
    pub(crate) fn binding_member(&self, routing_key: &str, pattern: &str, queue: &str) -> String {
        redis_keys::binding_member(routing_key, pattern, queue, &self.sep)
    }

    /// Reads a member of a binding set: routing key, pattern and queue.
    pub(crate) fn read_binding<'a>(&self, member: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
        let mut parts = member.split(self.sep.as_str());
        Some((parts.next()?, parts.next()?, parts.next()?))
    }

    /// The channel of what is sent to a fanout exchange.
    pub(crate) fn fanout_channel(&self, exchange: &str, routing_key: &str) -> String {
        let key = if self.has_fanout_patterns { routing_key } else { "" };
        redis_keys::fanout_channel(&self.prefix, &self.fanout_prefix, exchange, key)
    }

    /// The pattern of the channels that a binding to a fanout exchange listens to.
    ///
    /// Compat: kombu's `#` in the key is any text; a `*` is that by itself.
    pub(crate) fn fanout_pattern(&self, exchange: &str, routing_key: &str) -> String {
        let base = redis_keys::fanout_channel(&self.prefix, &self.fanout_prefix, exchange, "");
        let mut pattern = String::with_capacity(base.len() + routing_key.len() + 1);
        for character in base.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        if self.has_fanout_patterns && !routing_key.is_empty() {
            pattern.push('/');
            pattern.push_str(&routing_key.replace('#', "*"));
        }
        pattern
    }

    /// The set of delivery tags that an owner holds.
    pub(crate) fn owner(&self, id: &str) -> String {
        format!("{}{id}", self.owner_prefix())
    }

    /// What stands in front of an owner's id.
    pub(crate) fn owner_prefix(&self) -> String {
        format!("{}_owner.", self.unacked)
    }

    /// The sorted set of what waits for its eta in a queue: name → milliseconds of the server's
    /// time at which it is due.
    pub(crate) fn delayed(&self, queue: &str) -> String {
        format!("{}{queue}", self.delayed_prefix())
    }

    /// What stands in front of a queue in the name of its sorted set.
    pub(crate) fn delayed_prefix(&self) -> String {
        format!("{}_delayed.", self.unacked)
    }

    /// The sorted set of the owners that a new message of a queue wakes: owner → microseconds until
    /// which it counts.
    pub(crate) fn armed(&self, queue: &str) -> String {
        format!("{}_armed.{queue}", self.unacked)
    }

    /// The same of the idle owners that it does not wake, in milliseconds.
    pub(crate) fn idle(&self, queue: &str) -> String {
        format!("{}_idle.{queue}", self.unacked)
    }

    /// What stands in front of an owner's id in the key whose change wakes it.
    pub(crate) fn wake_prefix(&self) -> String {
        format!("{}_wake.", self.unacked)
    }

    /// The stream of what was set aside from a queue.
    pub(crate) fn aside(&self, queue: &str) -> String {
        format!("{}celeriac.aside.{queue}", self.prefix)
    }
}

/// kombu puts the database's number in front of a channel's name: channels are the server's.
fn fanout_prefix(url: &BrokerUrl) -> Result<String> {
    let db = url.db().to_string();
    let prefix = match url.options.flag("fanout_prefix") {
        Ok(Some(false)) => String::new(),
        Ok(_) => "/{db}.".to_owned(),
        Err(_) => url.options.text("fanout_prefix")?.unwrap_or_default(),
    };
    Ok(prefix.replace("{db}", &db))
}

/// What follows the envelope in the record of an unacked message that was taken from `queue`.
///
/// The exchange is the default one: kombu restores through the exchange, and a topic exchange would
/// bring the message back to every queue that is bound to it.
pub(crate) fn record_suffix(queue: &str) -> String {
    format!(", \"\", {}]", serde_json::Value::from(queue))
}

/// What stands in front of the name of a message that waits for its eta in the record.
pub(crate) const DELAYED: &str = "celeriac.delayed.";

/// A fresh name for a message of `queue` that waits for its eta. Not its tag: what Celery has
/// restored has that again, and must not be found as delayed.
pub(crate) fn delayed_name(queue: &str) -> String {
    format!("{DELAYED}{}.{queue}", uuid::Uuid::new_v4().simple())
}
