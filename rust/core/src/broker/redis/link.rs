//! Connections to Redis: how they are opened, what their errors mean, when to try again.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisConnectionInfo, RedisError, ServerErrorKind,
};
use tokio::time::timeout;

pub(crate) use crate::broker::reconnect::{Backoff, wait_for};
use crate::broker::url::BrokerUrl;
use crate::error::{Error, Result};

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Ends the wait on a connection that died without a word. Far above what a busy server needs.
const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pipelines that wait for the socket. Ours are bounded before they come here.
const PIPELINES_BUFFERED: usize = 1_024;

/// What a connection says without being asked, with the connection's number.
pub(crate) type OnPush = Arc<dyn Fn(u64, &PushInfo) + Send + Sync>;

/// One connection at a time to one server, opened when needed, replaced when lost.
pub(crate) struct Link {
    client: redis::Client,
    redacted: String,
    connect_timeout: Duration,
    response_timeout: Duration,
    on_push: Option<OnPush>,
    /// Whether keys read over this connection ring when they change.
    tracks: bool,
    state: Mutex<State>,
    dialing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    current: Option<Live>,
    dialed: u64,
}

/// An open connection and its number.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) serial: u64,
    pub(crate) connection: MultiplexedConnection,
    /// Whether the server announces changes of the keys we read.
    pub(crate) has_tracking: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("url", &self.redacted)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// A connection to be; nothing is opened.
    ///
    /// # Errors
    /// [`Error::BadUrl`] when the URL's options cannot be used.
    pub(crate) fn new(url: &BrokerUrl, on_push: Option<OnPush>, tracks: bool) -> Result<Self> {
        let bad = |error: RedisError| Error::BadUrl {
            detail: format!("{}: {error}", url.redacted()),
        };
        let addr = if url.path().is_empty() {
            ConnectionAddr::Tcp(url.host().to_owned(), url.port())
        } else {
            ConnectionAddr::Unix(url.path().into())
        };
        let mut settings = RedisConnectionInfo::default()
            .set_db(url.db())
            .set_protocol(ProtocolVersion::RESP3)
            .set_skip_set_lib_name();
        if let Some(username) = url.username() {
            settings = settings.set_username(username);
        }
        if let Some(password) = url.password() {
            settings = settings.set_password(password);
        }
        let info = addr
            .into_connection_info()
            .map_err(bad)?
            .set_redis_settings(settings);
        Ok(Self {
            client: redis::Client::open(info).map_err(bad)?,
            redacted: url.redacted(),
            connect_timeout: url
                .options
                .seconds("socket_connect_timeout")?
                .unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            response_timeout: url
                .options
                .seconds("socket_timeout")?
                .unwrap_or(DEFAULT_RESPONSE_TIMEOUT),
            on_push,
            tracks,
            state: Mutex::default(),
            dialing: tokio::sync::Mutex::default(),
        })
    }

    /// The open connection, if there is one.
    pub(crate) fn current(&self) -> Option<Live> {
        self.state.lock().current.clone()
    }

    /// The open connection, or a new one.
    ///
    /// # Errors
    /// [`Error::Disconnected`] or [`Error::Refused`] with the server's words.
    pub(crate) async fn live(&self) -> Result<Live> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let _one_dials = self.dialing.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let serial = {
            let mut state = self.state.lock();
            state.dialed += 1;
            state.dialed
        };
        let live = timeout(self.connect_timeout.saturating_mul(2), self.dial(serial))
            .await
            .map_err(|_| self.disconnected("no answer to the greeting"))??;
        self.state.lock().current = Some(live.clone());
        Ok(live)
    }

    async fn dial(&self, serial: u64) -> Result<Live> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_pipeline_buffer_size(PIPELINES_BUFFERED);
        if let Some(on_push) = self.on_push.clone() {
            config = config.set_push_sender(move |push: PushInfo| {
                on_push(serial, &push);
                Ok::<(), std::convert::Infallible>(())
            });
        }
        let mut connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(|error| self.error(&error))?;
        let has_tracking = self.tracks && self.track(&mut connection).await?;
        Ok(Live {
            serial,
            connection,
            has_tracking,
        })
    }

    async fn track(&self, connection: &mut MultiplexedConnection) -> Result<bool> {
        let tracking = redis::cmd("CLIENT")
            .arg(&["TRACKING", "ON", "NOLOOP"])
            .query_async::<()>(connection)
            .await;
        match tracking {
            Ok(()) => Ok(true),
            Err(error) if is_lost(&error) => Err(self.error(&error)),
            Err(error) => {
                tracing::warn!(url = %self.redacted, %error, "no CLIENT TRACKING: looking for messages by polling");
                Ok(false)
            }
        }
    }

    /// Takes note that a connection is of no use any more.
    pub(crate) fn drop_connection(&self, serial: u64) {
        let mut state = self.state.lock();
        if state.current.as_ref().is_some_and(|live| live.serial == serial) {
            state.current = None;
        }
    }

    /// Translates a failure; drops the connection when it is the connection that failed.
    pub(crate) fn failed(&self, serial: u64, error: &RedisError) -> Error {
        if is_lost(error) {
            self.drop_connection(serial);
        }
        self.error(error)
    }

    fn disconnected(&self, cause: &str) -> Error {
        Error::Disconnected {
            url: self.redacted.clone(),
            cause: cause.to_owned(),
        }
    }

    fn error(&self, error: &RedisError) -> Error {
        if is_lost(error) {
            return self.disconnected(&error.to_string());
        }
        self.refused(&error.to_string(), passes(error.kind(), error.code()))
    }

    /// The server's refusal.
    pub(crate) fn refused(&self, cause: &str, passing: bool) -> Error {
        Error::Refused {
            url: self.redacted.clone(),
            cause: cause.to_owned(),
            passing,
        }
    }
}

/// Whether the connection is of no use after this error. A response that did not come in time
/// counts: what arrives later would be taken for the answer to another question.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
}

fn passes(kind: ErrorKind, code: Option<&str>) -> bool {
    let known = matches!(
        kind,
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
        )
    );
    known || matches!(code, Some("OOM" | "BUSY" | "MISCONF" | "NOREPLICAS"))
}

/// Whether a push says that its connection is gone.
pub(crate) fn is_goodbye(push: &PushInfo) -> bool {
    push.kind == PushKind::Disconnection
}
