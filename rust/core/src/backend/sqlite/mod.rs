//! The SQLite result store: documents in the file of the broker, or in one of their own.

mod chords;
pub(crate) mod documents;
mod listener;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use self::listener::Listener;
use super::chords::{ChordStore, Join, Part};
use super::{Put, ResultStore, Subscription};
use crate::broker::sqlite::database::Handle;
use crate::broker::sqlite::wakeup::Kind;
use crate::broker::url::BrokerUrl;
use crate::error::Result;
use crate::per_process::PerProcess;
use crate::time::Deadline;

pub(super) fn store(url: &BrokerUrl) -> Result<Arc<dyn ResultStore>> {
    Ok(Arc::new(SqliteStore {
        handle: Handle::new(url)?,
        listener: PerProcess::new(),
    }))
}

#[derive(Debug)]
struct SqliteStore {
    handle: Handle,
    /// Started by the first subscription.
    listener: PerProcess<Mutex<Option<Arc<Listener>>>>,
}

impl SqliteStore {
    fn listener(&self, deadline: Deadline) -> Result<Arc<Listener>> {
        let mut listener = self.listener.get_or_init(Mutex::default).lock();
        if let Some(listener) = &*listener {
            return Ok(Arc::clone(listener));
        }
        let started = Listener::start(
            self.handle.database()?,
            self.handle.config.poll_interval,
            deadline,
        )?;
        Ok(Arc::clone(listener.insert(Arc::new(started))))
    }
}

impl ResultStore for SqliteStore {
    fn put(&self, puts: Vec<Put>, deadline: Deadline) -> Result<()> {
        let database = self.handle.database()?;
        let now_ms = database.unix_ms();
        database.write(deadline, |transaction| {
            documents::store(transaction, puts.iter(), now_ms)
        })?;
        database
            .bell
            .ring(Kind::Waiters, puts.iter().map(|put| put.task_id.as_str()));
        Ok(())
    }

    fn get(&self, task_id: &str, deadline: Deadline) -> Result<Option<Bytes>> {
        let database = self.handle.database()?;
        let now_ms = database.unix_ms();
        database.read(deadline, |snapshot| documents::current(snapshot, task_id, now_ms))
    }

    fn get_many(&self, task_ids: &[String], deadline: Deadline) -> Result<Vec<Option<Bytes>>> {
        let database = self.handle.database()?;
        let now_ms = database.unix_ms();
        database.read(deadline, |snapshot| {
            let find = |task_id: &String| documents::current(snapshot, task_id, now_ms);
            task_ids.iter().map(find).collect()
        })
    }

    fn forget(&self, task_id: &str, deadline: Deadline) -> Result<()> {
        let database = self.handle.database()?;
        database.write(deadline, |transaction| documents::forget(transaction, task_id))
    }

    fn subscribe(
        &self,
        task_id: &str,
        already_sent: bool,
        deadline: Deadline,
    ) -> Result<Box<dyn Subscription>> {
        let subscription = Listener::subscribe(&self.listener(deadline)?, task_id, already_sent, deadline)?;
        Ok(Box::new(subscription))
    }

    fn put_raw(&self, key: &str, value: Bytes, expires_s: Option<u64>, deadline: Deadline) -> Result<()> {
        let database = self.handle.database()?;
        let moment_ms = documents::expiry_ms(expires_s, database.unix_ms());
        database.write(deadline, |transaction| {
            documents::put_raw(transaction, key, &value, moment_ms)
        })
    }

    fn get_raw(&self, key: &str, deadline: Deadline) -> Result<Option<Bytes>> {
        let database = self.handle.database()?;
        let now_ms = database.unix_ms();
        database.read(deadline, |snapshot| documents::raw(snapshot, key, now_ms))
    }

    fn forget_raw(&self, key: &str, deadline: Deadline) -> Result<()> {
        let database = self.handle.database()?;
        database.write(deadline, |transaction| documents::forget_raw(transaction, key))
    }

    fn chords(&self) -> Option<&dyn ChordStore> {
        Some(self)
    }

    fn cleanup(&self, deadline: Deadline) -> Result<u64> {
        let database = self.handle.database()?;
        let now_ms = database.unix_ms();
        database.write(deadline, |transaction| documents::cleanup(transaction, now_ms))
    }
}

impl ChordStore for SqliteStore {
    fn set_chord_size(
        &self,
        group_id: &str,
        size: u64,
        expires_s: Option<u64>,
        deadline: Deadline,
    ) -> Result<()> {
        let database = self.handle.database()?;
        let moment_ms = documents::expiry_ms(expires_s, database.unix_ms());
        database.write(deadline, |transaction| {
            chords::set_size(transaction, group_id, size, moment_ms)
        })
    }

    fn add_to_chord(
        &self,
        group_id: &str,
        more: u64,
        expires_s: Option<u64>,
        deadline: Deadline,
    ) -> Result<()> {
        let database = self.handle.database()?;
        let moment_ms = documents::expiry_ms(expires_s, database.unix_ms());
        database.write(deadline, |transaction| {
            chords::add(transaction, group_id, more, moment_ms)
        })
    }

    fn join(&self, part: &Part, deadline: Deadline) -> Result<Join> {
        let database = self.handle.database()?;
        let now_ms = database.unix_ms();
        database.write(deadline, |transaction| chords::join(transaction, part, now_ms))
    }

    fn keep_claim(&self, group_id: &str, token: &str, claim_s: u64, deadline: Deadline) -> Result<bool> {
        let database = self.handle.database()?;
        let until_ms = documents::expiry_ms(Some(claim_s), database.unix_ms());
        database.write(deadline, |transaction| {
            chords::keep_claim(transaction, group_id, token, until_ms)
        })
    }

    fn close_chord(&self, group_id: &str, token: &str, done_s: u64, deadline: Deadline) -> Result<bool> {
        let database = self.handle.database()?;
        let until_ms = documents::expiry_ms(Some(done_s), database.unix_ms());
        database.write(deadline, |transaction| {
            chords::close(transaction, group_id, token, until_ms)
        })
    }

    fn fail_chord(&self, group_id: &str, deadline: Deadline) -> Result<()> {
        let database = self.handle.database()?;
        database.write(deadline, |transaction| chords::fail(transaction, group_id))
    }
}
