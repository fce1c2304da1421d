//! A message as the columns of a row.

use bytes::Bytes;
use rusqlite::Row;
use rusqlite::types::{FromSql, ValueRef};

use crate::error::{Error, Result};
use crate::wire::message::{Message, Properties, Target};

pub(super) const COLUMNS: &str = "exchange, routing_key, properties, headers, body";

/// The message in the first five columns of `row` ([`COLUMNS`]). A column may hold
/// anything where another program has written its row.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Result<Message>, Target)> {
    let text = |index| -> rusqlite::Result<String> {
        Ok(row.get_ref(index)?.as_str().unwrap_or_default().to_owned())
    };
    let target = Target {
        exchange: text(0)?,
        routing_key: text(1)?,
    };
    let message = blobs(row).and_then(|[properties, headers, body]| {
        Ok(Message {
            properties: unpack(properties)?,
            headers: Bytes::copy_from_slice(headers),
            body: Bytes::copy_from_slice(body),
        })
    });
    Ok((message, target))
}

fn blobs<'a>(row: &'a Row<'_>) -> Result<[&'a [u8]; 3]> {
    let blob = |index, what| {
        match row.get_ref(index) {
            Ok(ValueRef::Blob(bytes)) => Ok(bytes),
            Ok(other) => Err(format!("BLOB was expected, not {}", other.data_type())),
            Err(error) => Err(error.to_string()),
        }
        .map_err(|detail| Error::Malformed { what, detail })
    };
    Ok([blob(2, "properties")?, blob(3, "headers")?, blob(4, "body")?])
}

/// A column of whole numbers; 0 where there is none in it.
pub(super) fn whole<T: FromSql + Default>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    Ok(T::column_result(row.get_ref(index)?).unwrap_or_default())
}

type Packed<'a> = (
    &'a str,
    &'a str,
    Option<&'a str>,
    Option<&'a str>,
    u8,
    Option<u8>,
    Option<&'a str>,
    &'a str,
    Vec<(&'a str, &'a str)>,
);

pub(super) fn pack(properties: &Properties) -> Vec<u8> {
    let extra = properties
        .extra
        .iter()
        .map(|(name, json)| (name.as_str(), json.as_str()));
    let packed: Packed<'_> = (
        &properties.content_type,
        &properties.content_encoding,
        properties.correlation_id.as_deref(),
        properties.reply_to.as_deref(),
        properties.delivery_mode,
        properties.priority,
        properties.expiration.as_deref(),
        &properties.delivery_tag,
        extra.collect(),
    );
    // Strings and numbers into memory: nothing of it can fail.
    rmp_serde::to_vec(&packed).unwrap_or_default()
}

fn unpack(bytes: &[u8]) -> Result<Properties> {
    let (
        content_type,
        content_encoding,
        correlation_id,
        reply_to,
        delivery_mode,
        priority,
        expiration,
        tag,
        extra,
    ): Packed<'_> = rmp_serde::from_slice(bytes).map_err(|error| Error::Malformed {
        what: "properties",
        detail: error.to_string(),
    })?;
    Ok(Properties {
        content_type: content_type.to_owned(),
        content_encoding: content_encoding.to_owned(),
        correlation_id: correlation_id.map(str::to_owned),
        reply_to: reply_to.map(str::to_owned),
        delivery_mode,
        priority,
        expiration: expiration.map(str::to_owned),
        delivery_tag: tag.to_owned(),
        extra: extra
            .into_iter()
            .map(|(name, json)| (name.to_owned(), json.to_owned()))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::super::messages::{Outlook, lease, list_aside, outlook, promote, settle};
    use super::super::schema;
    use super::*;
    use crate::broker::{History, Verdict};

    /// A file with one message as ours are, and those that `sql` makes of copies of it.
    fn file(sql: &[&str]) -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap().unwrap();
        let properties = Properties {
            content_type: "application/json".to_owned(),
            content_encoding: "utf-8".to_owned(),
            correlation_id: None,
            reply_to: None,
            delivery_mode: 2,
            priority: None,
            expiration: None,
            delivery_tag: String::new(),
            extra: Vec::new(),
        };
        for change in ["id = id", "id = id"].iter().chain(sql) {
            connection
                .execute(
                    "INSERT INTO messages (queue, step, exchange, routing_key, properties, headers, body)
                     VALUES ('q', 0, '', 'q', ?1, x'7b7d', x'5b5d')",
                    [pack(&properties)],
                )
                .unwrap();
            let last = "WHERE id = (SELECT max(id) FROM messages)";
            connection
                .execute(&format!("UPDATE messages SET {change} {last}"), [])
                .unwrap();
        }
        connection
    }

    #[test]
    fn a_row_of_other_types_is_malformed_and_set_aside_and_keeps_no_other_back() {
        let wrong = [
            "properties = 'text'",
            "headers = '{}'",
            "body = 5",
            "properties = x'00'",
        ];
        let mut connection = file(&wrong);
        let transaction = connection.transaction().unwrap();
        let taken = lease(&transaction, &["q".to_owned()], 7, 100).unwrap();
        let (good, bad): (Vec<_>, Vec<_>) = taken.into_iter().partition(|one| one.message.is_ok());
        assert_eq!((good.len(), bad.len()), (2, wrong.len()));
        assert!(
            bad[1]
                .message
                .as_ref()
                .is_err_and(|error| error.to_string().contains("BLOB was expected, not Text"))
        );
        for delivery in bad {
            let verdict = Verdict::SetAside("malformed".to_owned());
            settle(&transaction, &delivery.token, &verdict, &History::default()).unwrap();
        }
        let aside = list_aside(&transaction, "q", 100).unwrap();
        assert_eq!(
            aside.iter().filter(|one| one.message.is_err()).count(),
            wrong.len()
        );
    }

    #[test]
    fn numbers_and_names_of_other_types_are_passed_over() {
        let odd = [
            "losses = 'x'",
            "deliveries = 'x'",
            "step = 'x'",
            "exchange = x'ff'",
            "routing_key = x'ff'",
        ];
        let mut connection = file(&odd);
        let transaction = connection.transaction().unwrap();
        let taken = lease(&transaction, &["q".to_owned()], 7, 100).unwrap();
        assert_eq!(
            taken.iter().filter(|one| one.message.is_ok()).count(),
            2 + odd.len()
        );
    }

    #[test]
    fn a_due_time_that_is_no_number_has_come() {
        for odd in ["'soon'", "x'ff'", "5.5"] {
            let mut connection = file(&[&format!("run_at_ms = {odd}")]);
            connection
                .execute("DELETE FROM messages WHERE run_at_ms IS NULL", [])
                .unwrap();
            let transaction = connection.transaction().unwrap();
            let queues = ["q".to_owned()];
            assert_eq!(outlook(&transaction, &queues, 10).unwrap(), Outlook::Now, "{odd}");
            promote(&transaction, &queues, 10, 100).unwrap();
            assert_eq!(lease(&transaction, &queues, 7, 100).unwrap().len(), 1, "{odd}");
            assert_eq!(
                outlook(&transaction, &queues, 10).unwrap(),
                Outlook::Nothing,
                "{odd}"
            );
        }
    }
}
