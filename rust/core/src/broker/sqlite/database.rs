//! Connections to one file: one writer and one reader in each process.
//!
//! A single writer, because threads of one process that wait for a mutex wake at once, while
//! connections that wait for each other's file lock have to sleep and look again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::file::Footing;
use super::schema::{Carried, Unfit};
use super::wakeup::Bell;
use super::{file, schema};
use crate::broker::url::{BrokerUrl, Scheme};
use crate::error::{Error, Result};
use crate::per_process::PerProcess;
use crate::time::{Clock, Deadline, SystemClock};

const DEFAULT_LEASE: Duration = Duration::from_secs(30);
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Statements that stay prepared on a connection: a few more than there are.
const STATEMENTS: usize = 64;
/// Pages of 4 KiB in the log before they are moved into the database, which costs two syncs.
const CHECKPOINT_PAGES: u32 = 4_000;
/// Opening waits this long for processes that open the file at the same time.
const OPENING: Duration = Duration::from_secs(10);

/// What a URL says.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) path: PathBuf,
    /// A living owner that does not stir for this long loses its messages.
    pub(crate) lease: Duration,
    /// How often who waits looks although nobody rang.
    pub(crate) poll_interval: Duration,
    synchronous: &'static str,
}

impl Config {
    fn parse(url: &BrokerUrl) -> Result<Self> {
        let synchronous = url.options.text("synchronous")?.unwrap_or_default();
        Ok(Self {
            path: file::resolve(url.path())?,
            lease: url.options.seconds("lease_timeout")?.unwrap_or(DEFAULT_LEASE),
            poll_interval: url
                .options
                .seconds("poll_interval")?
                .unwrap_or(DEFAULT_POLL_INTERVAL),
            synchronous: match synchronous.to_ascii_uppercase().as_str() {
                "" | "NORMAL" => "NORMAL",
                "FULL" => "FULL",
                _ => {
                    return Err(Error::BadUrl {
                        detail: format!("option \"synchronous\" is NORMAL or FULL, not {synchronous:?}"),
                    });
                }
            },
        })
    }
}

/// A database that opens with its first use, once in each process.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) config: Config,
    open: PerProcess<Mutex<Option<Arc<Database>>>>,
}

impl Handle {
    pub(crate) fn new(url: &BrokerUrl) -> Result<Self> {
        Ok(Self {
            config: Config::parse(url)?,
            open: PerProcess::new(),
        })
    }

    /// This process's connections.
    pub(crate) fn database(&self) -> Result<Arc<Database>> {
        let mut open = self.open.get_or_init(Mutex::default).lock();
        if let Some(database) = &*open {
            return Ok(Arc::clone(database));
        }
        let database = Database::shared(&self.config)?;
        *open = Some(Arc::clone(&database));
        Ok(database)
    }

    /// Whether a URL means this file.
    pub(crate) fn is_of(&self, raw: &str) -> bool {
        BrokerUrl::parse(raw, Vec::new()).is_ok_and(|url| {
            url.scheme() == Scheme::Sqlite
                && file::resolve(url.path()).is_ok_and(|path| path == self.config.path)
        })
    }
}

/// The databases that are open in this process.
static OPEN: PerProcess<Mutex<HashMap<PathBuf, Weak<Database>>>> = PerProcess::new();

/// The connections of this process to one file.
#[derive(Debug)]
pub(crate) struct Database {
    config: Config,
    /// None between a file that is gone and the one that takes its place.
    writer: Mutex<Option<Connection>>,
    reader: Mutex<Option<Connection>>,
    ground: Mutex<Ground>,
    /// How often the file was opened anew. It does not change while a transaction runs.
    openings: AtomicU64,
    clock: Arc<dyn Clock>,
    pub(crate) bell: Bell,
}

/// What the connections stand on.
#[derive(Debug)]
struct Ground {
    files: Footing,
    /// What a new file is to know of the one before.
    to_carry: Carried,
}

impl Database {
    fn shared(config: &Config) -> Result<Arc<Self>> {
        let mut open = OPEN.get_or_init(Mutex::default).lock();
        if let Some(database) = open.get(&config.path).and_then(Weak::upgrade) {
            return Ok(database);
        }
        let database = Arc::new(Self::open(config, SystemClock::shared())?);
        open.insert(config.path.clone(), Arc::downgrade(&database));
        Ok(database)
    }

    fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self> {
        let (writer, reader) = connect_both(config, Deadline::after(OPENING))?;
        let wake_folder = create_wake_folder(&config.path)?;
        Ok(Self {
            config: config.clone(),
            writer: Mutex::new(Some(writer)),
            reader: Mutex::new(Some(reader)),
            ground: Mutex::new(Ground {
                files: Footing::of(&config.path),
                to_carry: Carried::default(),
            }),
            openings: AtomicU64::new(0),
            bell: Bell::new(wake_folder, Arc::clone(&clock)),
            clock,
        })
    }

    /// Which file this is, of those that had its name one after the other. Asked within a
    /// transaction it is the file of that transaction.
    pub(crate) fn opening(&self) -> u64 {
        self.openings.load(Ordering::Acquire)
    }

    /// Now, in milliseconds since the Unix epoch.
    pub(crate) fn unix_ms(&self) -> i64 {
        i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX)
    }

    /// Milliseconds that never go back and do not count the machine's sleep.
    pub(crate) fn monotonic_ms(&self) -> u64 {
        self.clock.monotonic_ms()
    }

    /// Runs `work` in one transaction, again when another process is in the way.
    pub(crate) fn write<T>(
        &self,
        deadline: Deadline,
        mut work: impl FnMut(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.stay_with_the_file(deadline)?;
        let given = deadline.left();
        let Some(mut writer) = self.writer.try_lock_until(deadline.instant()) else {
            return Err(busy(given));
        };
        let writer = writer.as_mut().ok_or_else(|| gone(&self.config.path))?;
        persist(&self.config.path, deadline, || {
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// Runs `work` on one snapshot.
    pub(crate) fn read<T>(
        &self,
        deadline: Deadline,
        mut work: impl FnMut(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.stay_with_the_file(deadline)?;
        let given = deadline.left();
        let Some(mut reader) = self.reader.try_lock_until(deadline.instant()) else {
            return Err(busy(given));
        };
        let reader = reader.as_mut().ok_or_else(|| gone(&self.config.path))?;
        persist(&self.config.path, deadline, || {
            let snapshot = reader.transaction_with_behavior(TransactionBehavior::Deferred)?;
            work(&snapshot)
        })
    }

    /// Opens the file anew when another one has its name by now.
    ///
    /// Somebody has deleted it, or put another in its place; or another copy of SQLite in a
    /// process that uses it has dropped that process's locks, and its log was deleted under it.
    /// Whoever stayed with what is deleted would write where nobody reads.
    fn stay_with_the_file(&self, deadline: Deadline) -> Result<()> {
        if self.ground.lock().files == Footing::of(&self.config.path) {
            return Ok(());
        }
        let given = deadline.left();
        let (Some(mut writer), Some(mut reader)) = (
            self.writer.try_lock_until(deadline.instant()),
            self.reader.try_lock_until(deadline.instant()),
        ) else {
            return Err(busy(given));
        };
        let mut ground = self.ground.lock();
        if ground.files == Footing::of(&self.config.path) {
            return Ok(());
        }
        if let Some(stale) = writer.take() {
            ground.to_carry = schema::to_carry(&stale).unwrap_or_default();
            leave(stale);
        }
        // Both are closed before one is opened: SQLite would hand on what they share.
        if let Some(stale) = reader.take() {
            leave(stale);
        }
        let (mut new_writer, new_reader) = connect_both(&self.config, deadline)?;
        create_wake_folder(&self.config.path)?;
        persist(&self.config.path, deadline, || {
            schema::carry(&mut new_writer, &ground.to_carry)
        })?;
        ground.files = Footing::of(&self.config.path);
        (*writer, *reader) = (Some(new_writer), Some(new_reader));
        self.openings.fetch_add(1, Ordering::Release);
        tracing::warn!(
            path = %self.config.path.display(),
            "the queue file or its log was deleted or replaced while it was in use; what has its name now is \
             used, and what was in the old one is lost. Stop workers and producers before you delete it, \
             and open it with no other copy of SQLite in a process that uses celeriac"
        );
        Ok(())
    }
}

/// A writer and a reader of a file that is made, and brought up to date, if need be.
fn connect_both(config: &Config, deadline: Deadline) -> Result<(Connection, Connection)> {
    let path = &config.path;
    file::prepare(path)?;
    let mut writer = persist(path, deadline, || connect(config))?;
    match persist(path, deadline, || schema::migrate(&mut writer))? {
        Ok(()) => {}
        Err(unfit) => return Err(unfit_file(path, unfit)),
    }
    let reader = persist(path, deadline, || connect(config))?;
    Ok((writer, reader))
}

/// Closes a connection to what is deleted, without moving its log into what others use.
fn leave(stale: Connection) {
    let left = stale.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    if let Err(error) = left {
        tracing::debug!(%error, "a stale connection is kept open");
        std::mem::forget(stale);
    }
}

fn create_wake_folder(path: &Path) -> Result<PathBuf> {
    file::create_wake_folder(path).map_err(|error| Error::Storage {
        path: path.display().to_string(),
        cause: format!("cannot create the folder of the wake-up sockets: {error}"),
        passing: false,
    })
}

fn connect(config: &Config) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&config.path, flags)?;
    connection.busy_handler(Some(wait_a_little))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", config.synchronous)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// SQLite's own handler sleeps whole milliseconds; most transactions last less than a tenth.
fn wait_a_little(tries: i32) -> bool {
    const SHORT: i32 = 40;
    const GIVE_UP: i32 = 300;
    let pause_us = if tries < SHORT { 50 } else { 500 };
    std::thread::park_timeout(Duration::from_micros(pause_us));
    tries < GIVE_UP
}

/// Repeats `work` until it meets no other process's lock, or the deadline passes.
fn persist<T>(path: &Path, deadline: Deadline, mut work: impl FnMut() -> rusqlite::Result<T>) -> Result<T> {
    let given = deadline.left();
    loop {
        match work() {
            Ok(value) => return Ok(value),
            Err(error) if is_busy(&error) && !deadline.has_passed() => {
                // Not every lock asks the busy handler first.
                std::thread::park_timeout(Duration::from_millis(1));
            }
            Err(error) if is_busy(&error) => return Err(busy(given)),
            Err(error) => return Err(storage(path, &error)),
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

fn busy(given: Duration) -> Error {
    Error::TimedOut {
        what: "waiting for the lock of the SQLite database",
        waited_ms: u64::try_from(given.as_millis()).unwrap_or(u64::MAX),
    }
}

fn storage(path: &Path, error: &rusqlite::Error) -> Error {
    Error::Storage {
        path: path.display().to_string(),
        cause: error.to_string(),
        passing: error.sqlite_error_code() == Some(ErrorCode::DiskFull),
    }
}

/// Another thread has failed to open it anew; the next call tries again.
fn gone(path: &Path) -> Error {
    Error::Storage {
        path: path.display().to_string(),
        cause: "it was deleted and could not be opened anew yet".to_owned(),
        passing: true,
    }
}

fn unfit_file(path: &Path, unfit: Unfit) -> Error {
    let why = match unfit {
        Unfit::Foreign => "is a database of another program; name a file of its own",
        Unfit::Newer => "was made by a newer version of celeriac; upgrade, or name another file",
    };
    Error::BadUrl {
        detail: format!("{} {why}", path.display()),
    }
}
