//! Connections to Redis: how they are opened, what their errors mean, when to try again.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
    RedisError, ServerErrorKind,
};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::sentinel::Sentinels;
use crate::broker::dial::{Address, BlockingWire, Tls};
pub(crate) use crate::broker::reconnect::{Backoff, until, wait_for};
use crate::broker::rotation::Rotation;
use crate::broker::url::{BrokerUrl, Server};
use crate::error::{Error, Result};
use crate::runtime::{self, Local};

const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a connection that is under suspicion may take to prove itself.
const PROOF_WITHIN: Duration = Duration::from_secs(2);
/// Ends the wait on a connection that died without a word. Far above what a busy server needs.
const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pipelines that wait for the socket. Ours are bounded before they come here.
const PIPELINES_BUFFERED: usize = 1_024;

/// How many connections this process has dialed: no two have the same number, over whichever link.
static DIALED: AtomicU64 = AtomicU64::new(0);

/// What a connection says without being asked, with the connection's number.
pub(crate) type OnPush = Arc<dyn Fn(u64, &PushInfo) + Send + Sync>;

/// One connection at a time to one server, opened when needed, replaced when lost: by one to the
/// next server of the URL, where this one does not answer.
pub(crate) struct Link {
    ways: Vec<Way>,
    rotation: Arc<Rotation>,
    redacted: String,
    connect_timeout: Duration,
    response_timeout: Duration,
    on_push: Option<OnPush>,
    /// Whether keys read over this connection ring when they change.
    tracks: bool,
    /// Where the thread that waits for an answer reads it by itself.
    local: Option<Local>,
    /// Read by the process's I/O thread all the same.
    is_shared: AtomicBool,
    state: Mutex<State>,
    dialing: tokio::sync::Mutex<()>,
}

/// How one server is reached.
struct Way {
    route: Route,
    settings: RedisConnectionInfo,
    redacted: String,
}

enum Route {
    Server(Address),
    /// To whom the sentinels say.
    Master(Sentinels),
}

#[derive(Default)]
struct State {
    current: Option<Live>,
}

/// An open connection and its number.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) serial: u64,
    /// Which of the URL's servers.
    server: usize,
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
        let ways = if url.is_sentinel() {
            let tls = Tls::of(&url.options, false)?;
            let server = url.servers().next().cloned().unwrap_or_default();
            vec![Way {
                route: Route::Master(Sentinels::of(url, tls)?),
                settings: settings(&server),
                redacted: url.redacted(),
            }]
        } else {
            url.servers()
                .map(|server| Way::to(server, url))
                .collect::<Result<_>>()?
        };
        Ok(Self {
            rotation: Rotation::of(&url.server(), ways.len()),
            ways,
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
            local: None,
            is_shared: AtomicBool::new(false),
            state: Mutex::default(),
            dialing: tokio::sync::Mutex::default(),
        })
    }

    /// The same, but read by the thread that waits in [`Link::block_on`], and only while it does.
    pub(super) fn read_by_who_waits(self) -> Self {
        let local = Some(Local::default());
        Self { local, ..self }
    }

    /// Has the I/O thread read from now on, also while nobody waits.
    pub(super) fn share(&self) {
        if !self.is_shared.swap(true, Ordering::SeqCst) {
            self.state.lock().current = None;
        }
    }

    /// Waits for what is asked over this connection, on a thread that is not the runtime's.
    ///
    /// # Errors
    /// What `work` returns.
    pub(super) fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match &self.local {
            Some(local) => local.block_on(work)?,
            None => runtime::handle()?.block_on(work),
        }
    }

    /// Whose reader its connections get, whoever asks for them.
    fn home(&self) -> Result<Handle> {
        match &self.local {
            Some(local) if !self.is_shared.load(Ordering::SeqCst) => local.handle(),
            _ => runtime::handle(),
        }
    }

    /// The open connection, if there is one. What goes to a server that others have left is none.
    pub(crate) fn current(&self) -> Option<Live> {
        let mut state = self.state.lock();
        let server = self.rotation.at();
        if state.current.as_ref().is_some_and(|live| live.server != server) {
            state.current = None;
        }
        state.current.clone()
    }

    /// The open connection, or a new one.
    ///
    /// # Errors
    /// [`Error::Disconnected`] or [`Error::Refused`] with the server's words; of all servers,
    /// where there are several.
    pub(crate) async fn live(&self) -> Result<Live> {
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let _one_dials = self.dialing.lock().await;
        if let Some(live) = self.current() {
            return Ok(live);
        }
        let home = self.home()?;
        let mut round = self.rotation.round();
        while let Some(server) = round.next() {
            let serial = DIALED.fetch_add(1, Ordering::Relaxed) + 1;
            // Rare, and large: whoever waits for a connection is not to be as large.
            let mut dial = Box::pin(self.dial(server, serial));
            let at_home = poll_fn(|context| {
                let _here = home.enter();
                dial.as_mut().poll(context)
            });
            let dialed = timeout(self.patience(server), at_home).await;
            match dialed.unwrap_or_else(|_| Err(self.no_answer(server))) {
                Ok(live) => {
                    self.state.lock().current = Some(live.clone());
                    return Ok(live);
                }
                Err(error) => round.failed(server, error),
            }
        }
        Err(round.error(&self.redacted))
    }

    /// The number of the open connection, if there is one.
    pub(super) fn current_serial(&self) -> Option<u64> {
        self.current().map(|live| live.serial)
    }

    /// How long the server may take to answer.
    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// A blocking connection to the only server, and what is to be said first, each answered by `OK`.
    /// `None`: it could not be opened, or this is a server that is found or spoken with in another way.
    pub(super) async fn open_plain(&self) -> Option<(Box<dyn BlockingWire>, Vec<Cmd>)> {
        let [way] = &self.ways[..] else {
            return None;
        };
        let Route::Server(address) = &way.route else {
            return None;
        };
        let opened = timeout(self.connect_timeout, address.open_plain()).await;
        Some((opened.ok()??, way.greeting()))
    }

    /// How long one try may take, the greeting included.
    fn patience(&self, server: usize) -> Duration {
        match &self.ways[server].route {
            Route::Server(_) => self.connect_timeout,
            // Sentinels are asked first.
            Route::Master(_) => self.connect_timeout.saturating_mul(2),
        }
    }

    /// As [`Link::live`], but a connection that is open already has to answer first, and soon: for who
    /// has just seen another one to the same server fall silent.
    ///
    /// # Errors
    /// As [`Link::live`].
    pub(super) async fn proved(&self) -> Result<Live> {
        if let Some(mut live) = self.current() {
            let ping = redis::cmd("PING");
            let asked = ping.query_async::<redis::Value>(&mut live.connection);
            match timeout(PROOF_WITHIN, asked).await {
                Ok(Ok(_)) => return Ok(live),
                Ok(Err(_)) | Err(_) => self.drop_connection(live.serial),
            }
        }
        self.live().await
    }

    fn no_answer(&self, server: usize) -> Error {
        let way = &self.ways[server];
        match &way.route {
            Route::Server(address) => way.disconnected(&address.silence(self.patience(server))),
            Route::Master(_) => way.disconnected("no answer to the greeting"),
        }
    }

    async fn dial(&self, server: usize, serial: u64) -> Result<Live> {
        let way = &self.ways[server];
        let address = match &way.route {
            Route::Server(address) => address.clone(),
            Route::Master(sentinels) => sentinels
                .master()
                .await
                .map_err(|cause| way.disconnected(&cause))?,
        };
        let mut config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.response_timeout))
            .set_pipeline_buffer_size(PIPELINES_BUFFERED);
        if let Some(on_push) = self.on_push.clone() {
            config = config.set_push_sender(move |push: PushInfo| {
                on_push(serial, &push);
                Ok::<(), std::convert::Infallible>(())
            });
        }
        let opened = address.open(self.connect_timeout).await;
        let wire = opened.map_err(|cause| cause.about(&way.redacted))?;
        let (mut connection, driver) = MultiplexedConnection::new_with_config(&way.settings, wire, config)
            .await
            .map_err(|error| way.greeting_error(&error, &address))?;
        // Ends with the last clone of the connection.
        tokio::spawn(driver);
        if matches!(way.route, Route::Master(_)) {
            way.check_master(&mut connection).await?;
        }
        let has_tracking = self.tracks && self.track(&mut connection).await?;
        Ok(Live {
            serial,
            server,
            connection,
            has_tracking,
        })
    }

    /// Whether the URL names sentinels, so that another server may be the master any time.
    pub(crate) fn follows_master(&self) -> bool {
        self.ways.iter().any(|way| matches!(way.route, Route::Master(_)))
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
        // A master that has become a replica refuses to write; the new one is somewhere else.
        if is_lost(error) || is_of_replica(error) {
            self.drop_connection(serial);
        }
        self.error(error)
    }

    /// Translates a failure.
    pub(super) fn error(&self, error: &RedisError) -> Error {
        if is_lost(error) {
            return Error::Disconnected {
                url: self.redacted.clone(),
                cause: error.to_string(),
            };
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

impl Way {
    fn to(server: &Server, url: &BrokerUrl) -> Result<Self> {
        let tls = Tls::of(&url.options, server.is_secure)?;
        let address = if server.path.is_empty() {
            Address::Tcp(server.host.clone(), url.port_of(server), tls)
        } else {
            Address::Unix(server.path.clone().into())
        };
        Ok(Self {
            route: Route::Server(address),
            settings: settings(server),
            redacted: server.redacted.clone(),
        })
    }

    /// Who we are and in which database, as commands.
    fn greeting(&self) -> Vec<Cmd> {
        let mut greeting = Vec::new();
        if let Some(password) = self.settings.password() {
            let mut auth = redis::cmd("AUTH");
            auth.arg(self.settings.username()).arg(password);
            greeting.push(auth);
        }
        if self.settings.db() != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.settings.db());
            greeting.push(select);
        }
        greeting
    }

    fn disconnected(&self, cause: &str) -> Error {
        Error::Disconnected {
            url: self.redacted.clone(),
            cause: cause.to_owned(),
        }
    }

    /// What a server says to a client that it does not let in.
    fn greeting_error(&self, error: &RedisError, address: &Address) -> Error {
        if is_lost(error) {
            let cause = address.hung_up(&error.to_string(), "rediss://, or broker_use_ssl");
            return cause.about(&self.redacted);
        }
        Error::Refused {
            url: self.redacted.clone(),
            cause: error.to_string(),
            passing: passes(error.kind(), error.code()),
        }
    }

    /// A sentinel may have named a server that is the master no more, or not yet.
    async fn check_master(&self, connection: &mut MultiplexedConnection) -> Result<()> {
        let role: redis::RedisResult<Vec<redis::Value>> = redis::cmd("ROLE").query_async(connection).await;
        match role {
            Ok(role) if role.first().is_some_and(|first| is_word(first, b"master")) => Ok(()),
            // Where the user may not ask, the first write tells.
            Err(error) if !is_lost(&error) => Ok(()),
            Ok(_) | Err(_) => Err(self.disconnected("the sentinels' master is not one yet, or no more")),
        }
    }
}

fn is_word(value: &redis::Value, word: &[u8]) -> bool {
    redis::from_redis_value_ref::<Vec<u8>>(value).is_ok_and(|bytes| bytes == word)
}

/// Who we are, and in which database.
fn settings(server: &Server) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default()
        .set_db(server.db)
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name();
    if let Some(username) = &server.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &server.password {
        settings = settings.set_password(password);
    }
    settings
}

/// Whether the connection is of no use after this error. A response that did not come in time
/// counts: what arrives later would be taken for the answer to another question.
pub(crate) fn is_lost(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
}

/// Whether a replica has refused to write.
pub(super) fn is_of_replica(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
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
