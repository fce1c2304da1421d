//! Asks sentinels which server is the master.
//!
//! Source: redis-py `sentinel.py` (`discover_master`, `check_master_state`), kombu
//! `transport/redis.py` (`SentinelChannel`).

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo};
use tokio::time::timeout;

use crate::broker::dial::{Address, Tls};
use crate::broker::url::BrokerUrl;
use crate::error::Result;

/// A sentinel answers from memory. Another is asked after this time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
const CREDENTIALS: &str = "a sentinel's user name and password are given as sentinel_kwargs";

/// Some sentinels, and the name they know the server by.
#[derive(Clone)]
pub(super) struct Sentinels {
    addresses: Vec<(String, Address)>,
    settings: RedisConnectionInfo,
    master: String,
    min_others: u64,
    answers_within: Duration,
    /// For the server, not for the sentinels, which have options of their own.
    tls: Option<Tls>,
}

impl Sentinels {
    /// Those of a `sentinel://` URL.
    ///
    /// # Errors
    /// [`Error::BadUrl`](crate::Error::BadUrl) when options cannot be used.
    pub(super) fn of(url: &BrokerUrl, tls: Option<Tls>) -> Result<Self> {
        // Compat: the URL's password is the server's; the sentinels' is one of their own options.
        let own = url.options.nested("sentinel_kwargs")?;
        let own_tls = Tls::of(&own, false)?;
        let mut settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        if let Some(username) = own.text("username")? {
            settings = settings.set_username(username);
        }
        if let Some(password) = own.text("password")? {
            settings = settings.set_password(password);
        }
        let addresses = url
            .servers()
            .map(|server| {
                let port = url.port_of(server);
                let address = Address::Tcp(server.host.clone(), port, own_tls.clone());
                (format!("sentinel {}:{port}", server.host), address)
            })
            .collect();
        Ok(Self {
            addresses,
            settings,
            master: url.options.text("master_name")?.unwrap_or_default(),
            min_others: url.options.count("min_other_sentinels")?.unwrap_or(0),
            answers_within: own.seconds("socket_timeout")?.unwrap_or(ANSWERS_WITHIN),
            tls,
        })
    }

    /// The master as the first sentinel with a good answer knows it.
    ///
    /// # Errors
    /// What each of them said.
    pub(super) async fn master(&self) -> Result<Address, String> {
        let mut said = Vec::new();
        for (name, address) in &self.addresses {
            let asked = timeout(self.answers_within, self.ask(address)).await;
            match asked.unwrap_or_else(|_| Err("no answer".to_owned())) {
                Ok(master) => return Ok(master),
                Err(cause) => said.push(format!("{name}: {cause}")),
            }
        }
        Err(said.join("; "))
    }

    async fn ask(&self, sentinel: &Address) -> Result<Address, String> {
        let opened = sentinel.open(self.answers_within).await;
        let wire = opened.map_err(|cause| cause.to_string())?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.answers_within));
        let (mut connection, driver) = MultiplexedConnection::new_with_config(&self.settings, wire, config)
            .await
            .map_err(|error| {
                format!("{error}; a sentinel's user name and password are given as sentinel_kwargs")
            })?;
        let answering = tokio::spawn(driver);
        let known: redis::RedisResult<HashMap<String, String>> = redis::cmd("SENTINEL")
            .arg("MASTER")
            .arg(&self.master)
            .query_async(&mut connection)
            .await;
        drop(connection);
        answering.abort();
        let known = known.map_err(|error| match error.code() {
            Some("NOAUTH" | "NOPERM") => format!("{error}; {CREDENTIALS}"),
            _ => format!("{error} (master_name {:?})", self.master),
        })?;
        self.good_master(&known)
    }

    fn good_master(&self, known: &HashMap<String, String>) -> Result<Address, String> {
        let flags = known.get("flags").map_or("", String::as_str);
        if flags
            .split(',')
            .any(|flag| matches!(flag, "s_down" | "o_down" | "disconnected"))
            || !flags.split(',').any(|flag| flag == "master")
        {
            return Err(format!("the master {:?} is {flags}", self.master));
        }
        let number = |name: &str| known.get(name).and_then(|digits| digits.parse::<u64>().ok());
        let others = number("num-other-sentinels").unwrap_or(0);
        if others < self.min_others {
            return Err(format!(
                "it knows {others} other sentinels, fewer than min_other_sentinels"
            ));
        }
        let port = number("port").and_then(|port| u16::try_from(port).ok());
        match (known.get("ip"), port) {
            (Some(host), Some(port)) => Ok(Address::Tcp(host.clone(), port, self.tls.clone())),
            _ => Err("it gave no address".to_owned()),
        }
    }
}
