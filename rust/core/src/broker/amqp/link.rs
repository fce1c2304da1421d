//! Connections to `RabbitMQ`: how they are opened, and what their errors mean.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::ConfirmSelectOptions;
use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::inbox::Inbox;
use super::letter::Letter;
use super::remedies::remedy;
use super::socket;
use crate::broker::bell::Bell;
use crate::broker::dial::{Address, Tls};
use crate::broker::rotation::Rotation;
use crate::broker::url::{BrokerUrl, Server};
use crate::error::{Error, Result};

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Seconds. A peer that is silent for two of them is gone. Our heartbeats need no Python, so
/// that they may be closer than Celery's 120 s.
const DEFAULT_HEARTBEAT_S: u64 = 5;
/// An answer to a question that the server answers at once. Far above what a busy one needs.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Publishes, each message confirmed.
    Confirms,
    /// Everything else.
    Plain,
}

/// One connection at a time to one server, opened when needed, replaced when lost: by one to the
/// next server of the URL, where this one does not answer.
pub(super) struct Link {
    ways: Vec<Way>,
    rotation: Arc<Rotation>,
    name: String,
    redacted: String,
    connect_timeout: Duration,
    role: Role,
    /// Rings for what arrives, where deliveries are taken off the socket.
    bell: Option<Arc<Bell>>,
    state: Mutex<State>,
    dialing: tokio::sync::Mutex<()>,
}

/// How one server is reached.
struct Way {
    address: Address,
    uri: AMQPUri,
    redacted: String,
}

#[derive(Default)]
struct State {
    current: Option<Live>,
    opened: u64,
}

/// An open channel, its connection and its number. A channel that the server closed comes back
/// with a new number over the same connection.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) serial: u64,
    /// Which of the URL's servers.
    server: usize,
    pub(super) connection: Arc<Connection>,
    /// The connection's deliveries, where they are taken off its socket.
    pub(super) inbox: Option<Arc<Inbox>>,
    pub(super) channel: Channel,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("url", &self.redacted)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl Live {
    /// What arrived for a consumer that has ended.
    pub(super) fn take_rest(&self, consumer_tag: &str) -> VecDeque<Letter> {
        let inbox = self.inbox.as_ref();
        inbox
            .map(|inbox| inbox.lock().take_rest(consumer_tag))
            .unwrap_or_default()
    }
}

impl Link {
    /// A connection to be; nothing is opened. `name` is what the server's operator sees.
    ///
    /// # Errors
    /// [`Error::BadUrl`] when the URL's options cannot be used.
    pub(super) fn new(url: &BrokerUrl, name: &str, role: Role) -> Result<Self> {
        Self::with_heartbeat(url, name, role, DEFAULT_HEARTBEAT_S)
    }

    /// The same with another heartbeat, where the URL says nothing about it.
    ///
    /// # Errors
    /// As [`Link::new`].
    pub(super) fn with_heartbeat(url: &BrokerUrl, name: &str, role: Role, default_s: u64) -> Result<Self> {
        let heartbeat_s = url.options.count("heartbeat")?.unwrap_or(default_s);
        let heartbeat = u16::try_from(heartbeat_s).map_err(|_| Error::BadUrl {
            detail: format!(
                "transport option \"heartbeat\" is a number of seconds, at most 65535, not {heartbeat_s}"
            ),
        })?;
        let connect_timeout = url.options.seconds("connect_timeout")?;
        let ways: Vec<Way> = url
            .servers()
            .map(|server| Way::to(server, url, heartbeat))
            .collect::<Result<_>>()?;
        Ok(Self {
            rotation: Rotation::of(&url.server(), ways.len()),
            ways,
            name: name.to_owned(),
            redacted: url.redacted(),
            connect_timeout: connect_timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            role,
            bell: None,
            state: Mutex::default(),
            dialing: tokio::sync::Mutex::default(),
        })
    }

    /// Takes deliveries off the socket, into [`Live::inbox`]; `bell` rings for them.
    pub(super) fn with_inbox(self, bell: &Arc<Bell>) -> Self {
        Self {
            bell: Some(Arc::clone(bell)),
            ..self
        }
    }

    /// The open channel, or a new one; over a new connection if need be.
    ///
    /// # Errors
    /// [`Error::Disconnected`] or [`Error::Refused`] with the server's words.
    pub(super) async fn live(&self) -> Result<Live> {
        if let Some(live) = self.usable() {
            return Ok(live);
        }
        let _one_opens = self.dialing.lock().await;
        if let Some(live) = self.usable() {
            return Ok(live);
        }
        let mut round = self.rotation.round();
        while let Some(server) = round.next() {
            let opened = timeout(self.connect_timeout, self.open(server)).await;
            match opened.unwrap_or_else(|_| Err(self.no_answer(server))) {
                Ok(live) => {
                    self.state.lock().current = Some(live.clone());
                    return Ok(live);
                }
                Err(error) => round.failed(server, error),
            }
        }
        Err(round.error(&self.redacted))
    }

    fn no_answer(&self, server: usize) -> Error {
        let way = &self.ways[server];
        way.disconnected(&way.address.silence(self.connect_timeout))
    }

    /// The open connection to a server, with or without a channel that can be used.
    fn connected(&self, server: usize) -> Option<(Arc<Connection>, Option<Arc<Inbox>>)> {
        let known = self.state.lock().current.clone();
        known
            .filter(|live| live.server == server && live.connection.status().connected())
            .map(|live| (live.connection, live.inbox))
    }

    /// The open channel with this number, as long as it stands.
    pub(super) fn current(&self, serial: u64) -> Option<Live> {
        self.usable().filter(|live| live.serial == serial)
    }

    /// Whether the channel with this number stands.
    pub(super) fn is_usable(&self, serial: u64) -> bool {
        self.current(serial).is_some()
    }

    /// The open channel, as long as it stands.
    pub(super) fn usable(&self) -> Option<Live> {
        let server = self.rotation.at();
        self.state.lock().current.clone().filter(|live| {
            live.server == server && live.connection.status().connected() && live.channel.status().connected()
        })
    }

    async fn open(&self, server: usize) -> Result<Live> {
        let (connection, inbox) = match self.connected(server) {
            Some(known) => known,
            None => self.dial(&self.ways[server]).await?,
        };
        let opened = open_channel(&connection, self.role).await;
        let channel = opened.map_err(|fault| self.error(&fault))?;
        let mut state = self.state.lock();
        state.opened += 1;
        Ok(Live {
            serial: state.opened,
            server,
            connection,
            inbox,
            channel,
        })
    }

    async fn dial(&self, way: &Way) -> Result<(Arc<Connection>, Option<Arc<Inbox>>)> {
        let properties = ConnectionProperties::default()
            .with_connection_name(self.name.as_str().into())
            .with_client_property("product".into(), "celeriac".into())
            .with_client_property("product_version".into(), env!("CARGO_PKG_VERSION").into());
        let opened = way.address.open(self.connect_timeout).await;
        let wire = opened.map_err(|cause| cause.about(&way.redacted))?;
        let inbox = self.bell.clone().map(|bell| Arc::new(Inbox::new(bell)));
        let greeted = socket::connect(way.uri.clone(), properties, wire, inbox.clone()).await;
        let connection = greeted.map_err(|fault| way.greeting_error(&fault))?;
        Ok((Arc::new(connection), inbox))
    }

    /// Says goodbye, in order, so that the server has carried out all that came before.
    pub(super) async fn close(&self) {
        let Some(live) = self.state.lock().current.take() else {
            return;
        };
        for done in [
            live.channel.close(200, "bye".into()).await,
            live.connection.close(200, "bye".into()).await,
        ] {
            if let Err(error) = done {
                tracing::debug!(url = %self.redacted, %error, "the connection was gone before it was closed");
            }
        }
    }

    pub(super) fn disconnected(&self, cause: &str) -> Error {
        Error::Disconnected {
            url: self.redacted.clone(),
            cause: cause.to_owned(),
        }
    }

    /// The server's refusal.
    pub(super) fn refused(&self, cause: &str, passing: bool) -> Error {
        Error::Refused {
            url: self.redacted.clone(),
            cause: cause.to_owned(),
            passing,
        }
    }

    /// Translates a failure: cause, and what to do about it.
    pub(super) fn error(&self, fault: &Fault) -> Error {
        let Some(AMQPErrorKind::Soft(error)) = fault.kind() else {
            return self.disconnected(&fault.0.to_string());
        };
        let words = fault.words();
        let remedy = remedy(error, &words);
        self.refused(&format!("{words}; {remedy}"), false)
    }
}

impl Way {
    fn to(server: &Server, url: &BrokerUrl, heartbeat: u16) -> Result<Self> {
        let tls = Tls::of(&url.options, server.is_secure)?;
        let port = url.port_of(server);
        let host = match (server.host.as_str(), &tls) {
            // Compat: kombu connects to the IPv4 address for this name (transport/pyamqp.py). A
            // certificate is for the name.
            ("localhost", None) => "127.0.0.1",
            (host, _) => host,
        };
        let given = |part: &Option<String>| part.clone().unwrap_or_else(|| "guest".to_owned());
        let uri = AMQPUri {
            // What is below is opened by us.
            scheme: AMQPScheme::AMQP,
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo {
                    username: given(&server.username),
                    password: given(&server.password),
                },
                host: host.to_owned(),
                port,
            },
            vhost: server.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(heartbeat),
                ..AMQPQueryString::default()
            },
        };
        Ok(Self {
            address: Address::Tcp(host.to_owned(), port, tls),
            uri,
            redacted: server.redacted.clone(),
        })
    }

    fn disconnected(&self, cause: &str) -> Error {
        Error::Disconnected {
            url: self.redacted.clone(),
            cause: cause.to_owned(),
        }
    }

    /// What a server says to a client that it does not let in, with what to do about it.
    fn greeting_error(&self, fault: &Fault) -> Error {
        let remedy = match fault.kind() {
            Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => {
                "check user name and password in the URL"
            }
            Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) => {
                "check the virtual host in the URL, and the user's permissions in it \
                 (rabbitmqctl add_vhost, set_permissions)"
            }
            _ => {
                let said = fault.0.to_string();
                let cause = self.address.hung_up(&said, "amqps://, or broker_use_ssl");
                return cause.about(&self.redacted);
            }
        };
        Error::Refused {
            url: self.redacted.clone(),
            cause: format!("{}; {remedy}", fault.words()),
            passing: false,
        }
    }
}

/// Opens a channel for a role.
pub(super) async fn open_channel(connection: &Connection, role: Role) -> Result<Channel, Fault> {
    let channel = connection.create_channel().await?;
    if role == Role::Confirms {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
    }
    Ok(channel)
}

/// A failure as lapin tells it.
#[derive(Clone, Debug)]
pub(super) struct Fault(lapin::Error);

impl From<lapin::Error> for Fault {
    fn from(error: lapin::Error) -> Self {
        Self(error)
    }
}

impl Fault {
    fn said(&self) -> Option<&AMQPError> {
        if let ErrorKind::ProtocolError(error) = self.0.kind() {
            return Some(error);
        }
        None
    }

    fn kind(&self) -> Option<&AMQPErrorKind> {
        self.said().map(AMQPError::kind)
    }

    /// The server's words.
    pub(super) fn words(&self) -> String {
        self.said()
            .map_or_else(|| self.0.to_string(), |error| error.get_message().to_string())
    }

    /// Whether the server refused something and closed the channel, not the connection.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.kind(), Some(AMQPErrorKind::Soft(_)))
    }

    /// Whether the server knows no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self.kind(), Some(AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND)))
    }
}
