//! The tables, and how an older file is brought up to date.

use rusqlite::{Connection, Row, Transaction, params_from_iter};

/// "CELR": tells our files from other people's.
const APPLICATION_ID: i32 = 0x4345_4c52;

/// Each step makes one version out of the one before; the file's `user_version` counts them.
const STEPS: &[&str] = &[
    "
CREATE TABLE bindings (
    exchange TEXT NOT NULL, exchange_type TEXT NOT NULL, routing_key TEXT NOT NULL, queue TEXT NOT NULL,
    PRIMARY KEY (exchange, routing_key, queue)
) WITHOUT ROWID;

-- A message keeps its id, and with it its place, until it is acked. `owner` is NULL while it
-- waits, 0 when it is set aside, otherwise who has leased it. `run_at_ms`: not before that time.
-- No AUTOINCREMENT: it would write a quarter more pages for each publish.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    step INTEGER NOT NULL,
    owner INTEGER,
    run_at_ms INTEGER,
    deliveries INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    exchange TEXT NOT NULL,
    routing_key TEXT NOT NULL,
    properties BLOB NOT NULL,
    headers BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX messages_waiting ON messages (queue, step, id) WHERE owner IS NULL AND run_at_ms IS NULL;
CREATE INDEX messages_leased ON messages (owner) WHERE owner IS NOT NULL;
CREATE INDEX messages_delayed ON messages (run_at_ms) WHERE run_at_ms IS NOT NULL;

-- Who leases messages. `beat` changes while it lives; `socket` tells at once that it is dead.
CREATE TABLE owners (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT NOT NULL, pid INTEGER NOT NULL, socket TEXT NOT NULL, beat INTEGER NOT NULL DEFAULT 0
);

-- Every document of a result is a row, the last one is current. Earlier ones live a moment
-- longer, so that who listens in another process sees all of them.
CREATE TABLE results (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id TEXT NOT NULL,
    expires_ms INTEGER,
    is_success INTEGER NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX results_by_task ON results (task_id, seq);
CREATE INDEX results_by_expiry ON results (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE raw_values (key TEXT PRIMARY KEY, expires_ms INTEGER, value BLOB NOT NULL) WITHOUT ROWID;
",
    "
-- Mailboxes of remote control: each belongs to the process that bound its socket, and ends with it.
CREATE TABLE mailboxes (
    socket TEXT PRIMARY KEY,
    queue TEXT NOT NULL, exchange TEXT NOT NULL, exchange_type TEXT NOT NULL, routing_key TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE letters (id INTEGER PRIMARY KEY, socket TEXT NOT NULL, envelope BLOB NOT NULL);
CREATE INDEX letters_by_socket ON letters (socket, id);
",
    "
-- A chord waits for `size` + `added` parts; who has the claim sends its body.
CREATE TABLE chords (
    group_id TEXT PRIMARY KEY, size INTEGER, added INTEGER NOT NULL DEFAULT 0, expires_ms INTEGER,
    claim TEXT, claim_until_ms INTEGER, done_until_ms INTEGER
) WITHOUT ROWID;
CREATE TABLE chord_parts (
    group_id TEXT NOT NULL, identity TEXT NOT NULL, place INTEGER NOT NULL, expires_ms INTEGER,
    content BLOB NOT NULL,
    UNIQUE (group_id, identity)
);
",
    "
-- The queue of one consumer, a broadcast's, ends with its owner.
ALTER TABLE bindings ADD COLUMN owner INTEGER;
CREATE INDEX bindings_owned ON bindings (owner) WHERE owner IS NOT NULL;
",
    "
-- What waits for its eta, queue by queue: nobody looks through the messages of another queue.
DROP INDEX messages_delayed;
CREATE INDEX messages_delayed ON messages (queue, run_at_ms) WHERE run_at_ms IS NOT NULL;
",
    "
-- How many parts of a chord have come, so that nobody counts their rows each time.
ALTER TABLE chords ADD COLUMN arrived INTEGER NOT NULL DEFAULT 0;
INSERT INTO chords (group_id, arrived, expires_ms)
    SELECT group_id, count(*), max(expires_ms) FROM chord_parts WHERE true GROUP BY group_id
    ON CONFLICT (group_id) DO UPDATE SET arrived = excluded.arrived;
",
    "
-- How often who held a message died; and of what is set aside: when, and by which worker.
ALTER TABLE messages ADD COLUMN losses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN aside_at_ms INTEGER;
ALTER TABLE messages ADD COLUMN aside_by TEXT;
",
];

/// What a file that takes another's place is told at once, because nobody would tell it again:
/// which queues are bound (but for those of one owner), and who listens to remote control.
#[derive(Debug, Default)]
pub(super) struct Carried {
    bindings: Vec<[String; 4]>,
    mailboxes: Vec<[String; 5]>,
}

pub(super) fn to_carry(stale: &Connection) -> rusqlite::Result<Carried> {
    let mut bindings = stale
        .prepare("SELECT exchange, exchange_type, routing_key, queue FROM bindings WHERE owner IS NULL")?;
    let mut mailboxes =
        stale.prepare("SELECT socket, queue, exchange, exchange_type, routing_key FROM mailboxes")?;
    Ok(Carried {
        bindings: bindings.query_map([], texts)?.collect::<Result<_, _>>()?,
        mailboxes: mailboxes.query_map([], texts)?.collect::<Result<_, _>>()?,
    })
}

fn texts<const COLUMNS: usize>(row: &Row<'_>) -> rusqlite::Result<[String; COLUMNS]> {
    let mut columns = [const { String::new() }; COLUMNS];
    for (index, column) in columns.iter_mut().enumerate() {
        *column = row.get(index)?;
    }
    Ok(columns)
}

pub(super) fn carry(connection: &mut Connection, carried: &Carried) -> rusqlite::Result<()> {
    let transaction = Transaction::new(connection, rusqlite::TransactionBehavior::Immediate)?;
    for binding in &carried.bindings {
        transaction.execute(
            "INSERT OR IGNORE INTO bindings (exchange, exchange_type, routing_key, queue) VALUES (?, ?, ?, ?)",
            params_from_iter(binding),
        )?;
    }
    for mailbox in &carried.mailboxes {
        transaction.execute(
            "INSERT OR IGNORE INTO mailboxes (socket, queue, exchange, exchange_type, routing_key)
             VALUES (?, ?, ?, ?, ?)",
            params_from_iter(mailbox),
        )?;
    }
    transaction.commit()
}

/// Why a file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is a database of something else.
    Foreign,
    /// A newer celeriac made it.
    Newer,
}

/// Brings the file up to date; `Err` inside says why it must not be touched.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<Result<(), Unfit>> {
    if version_of(connection)? == STEPS.len() && application_of(connection)? == APPLICATION_ID {
        return Ok(Ok(()));
    }
    let transaction = Transaction::new(connection, rusqlite::TransactionBehavior::Immediate)?;
    let version = version_of(&transaction)?;
    if let Some(unfit) = judge(&transaction, version)? {
        return Ok(Err(unfit));
    }
    for step in STEPS.iter().skip(version) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(
        None,
        "user_version",
        u32::try_from(STEPS.len()).unwrap_or(u32::MAX),
    )?;
    transaction.commit()?;
    Ok(Ok(()))
}

fn judge(connection: &Connection, version: usize) -> rusqlite::Result<Option<Unfit>> {
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && application_of(connection)? != APPLICATION_ID {
        return Ok(Some(Unfit::Foreign));
    }
    Ok((version > STEPS.len()).then_some(Unfit::Newer))
}

fn version_of(connection: &Connection) -> rusqlite::Result<usize> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

fn application_of(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    #[test]
    fn an_empty_file_is_migrated_once() {
        let mut connection = empty();
        assert_eq!(migrate(&mut connection), Ok(Ok(())));
        assert_eq!(migrate(&mut connection), Ok(Ok(())));
        assert_eq!(version_of(&connection), Ok(STEPS.len()));
    }

    #[test]
    fn the_parts_of_an_older_files_chords_are_counted() {
        let mut connection = empty();
        let counted = STEPS.iter().position(|step| step.contains("COLUMN arrived"));
        for step in STEPS.iter().take(counted.unwrap()) {
            connection.execute_batch(step).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO chords (group_id, size) VALUES ('sized', 3);
                 INSERT INTO chord_parts (group_id, identity, place, content)
                     VALUES ('sized', 'a', 0, ''), ('sized', 'b', 1, ''), ('early', 'c', 0, '');",
            )
            .unwrap();
        connection
            .pragma_update(None, "application_id", APPLICATION_ID)
            .unwrap();
        connection
            .pragma_update(None, "user_version", u32::try_from(counted.unwrap()).unwrap())
            .unwrap();
        assert_eq!(migrate(&mut connection), Ok(Ok(())));
        let found: Vec<(String, Option<i64>, i64)> = connection
            .prepare("SELECT group_id, size, arrived FROM chords ORDER BY group_id")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert_eq!(
            found,
            [("early".to_owned(), None, 1), ("sized".to_owned(), Some(3), 2)]
        );
    }

    #[test]
    fn somebody_elses_database_is_left_alone() {
        let mut connection = empty();
        connection.execute_batch("CREATE TABLE theirs (a)").unwrap();
        assert_eq!(migrate(&mut connection), Ok(Err(Unfit::Foreign)));
        assert_eq!(version_of(&connection), Ok(0));
    }

    #[test]
    fn a_newer_file_is_left_alone() {
        let mut connection = empty();
        migrate(&mut connection).unwrap().unwrap();
        connection.pragma_update(None, "user_version", 1_000).unwrap();
        assert_eq!(migrate(&mut connection), Ok(Err(Unfit::Newer)));
    }
}
