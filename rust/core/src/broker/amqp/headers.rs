//! Headers: JSON text to an AMQP table as py-amqp encodes it, and back.
//!
//! Source: py-amqp `serialization.py` (`_write_item`, `_read_item`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lapin::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::codec::json::{self, append_str};
use crate::codec::{BIG_INT, Limits};
use crate::error::{Error, Result};

/// The table of headers that are JSON text.
///
/// # Errors
/// [`Error::Malformed`] for text that is no object; [`Error::Unencodable`] for what a table cannot
/// carry: integers beyond 64 bits, names beyond 255 bytes.
pub(super) fn table(text: &[u8]) -> Result<FieldTable> {
    if let AMQPValue::FieldTable(table) = value(text)? {
        return Ok(table);
    }
    Err(Error::Malformed {
        what: "headers",
        detail: "expected an object".to_owned(),
    })
}

/// One value that is JSON text.
///
/// # Errors
/// As [`table`].
pub(super) fn value(text: &[u8]) -> Result<AMQPValue> {
    let read = json::from_slice(text, Seed, Limits::default());
    // What the visitor below refuses is good JSON.
    if let Err(Error::Malformed {
        what: "value",
        detail,
    }) = read
    {
        return Err(Error::Unencodable { detail });
    }
    read
}

/// A text that AMQP holds in at most 255 bytes.
///
/// # Errors
/// [`Error::Unencodable`] names `what` it is.
pub(super) fn short(what: &str, text: &str) -> Result<ShortString> {
    ShortString::try_new(text).map_err(|_| Error::Unencodable {
        detail: format!(
            "{what} has {} bytes; AMQP allows 255, starting {:?}",
            text.len(),
            text.chars().take(40).collect::<String>()
        ),
    })
}

struct Seed;

impl<'de> DeserializeSeed<'de> for Seed {
    type Value = AMQPValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AMQPValue, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// py-amqp writes what fits into 32 bits as `I`, but for the least of these, and all else as 64 bits.
fn integer(number: i64) -> AMQPValue {
    match i32::try_from(number) {
        Ok(short) if short != i32::MIN => AMQPValue::LongInt(short),
        _ => AMQPValue::LongLongInt(number),
    }
}

impl<'de> Visitor<'de> for Seed {
    type Value = AMQPValue;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a header's value")
    }

    fn visit_unit<E>(self) -> Result<AMQPValue, E> {
        Ok(AMQPValue::Void)
    }

    fn visit_bool<E>(self, value: bool) -> Result<AMQPValue, E> {
        Ok(AMQPValue::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<AMQPValue, E> {
        Ok(integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<AMQPValue, E> {
        i64::try_from(value)
            .map(integer)
            .map_err(|_| E::custom(too_large(&value)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<AMQPValue, E> {
        Ok(AMQPValue::Double(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<AMQPValue, E> {
        Ok(AMQPValue::LongString(LongString::from(value)))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<AMQPValue, E> {
        Ok(AMQPValue::LongString(LongString::from(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<AMQPValue, A::Error> {
        let mut array = FieldArray::default();
        while let Some(item) = items.next_element_seed(Seed)? {
            array.push(item);
        }
        Ok(AMQPValue::FieldArray(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<AMQPValue, A::Error> {
        let mut table = FieldTable::default();
        while let Some(name) = items.next_key::<String>()? {
            if name == BIG_INT {
                let digits: String = items.next_value()?;
                return Err(serde::de::Error::custom(too_large(&digits)));
            }
            let name = short("the name of a header", &name).map_err(serde::de::Error::custom)?;
            table.insert(name, items.next_value_seed(Seed)?);
        }
        Ok(AMQPValue::FieldTable(table))
    }
}

fn too_large(digits: &dyn std::fmt::Display) -> String {
    format!("a header's integer must fit into 64 bits on AMQP: {digits}")
}

/// The JSON text of a table, in the table's order.
pub(super) fn text(table: &FieldTable) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    append_table(&mut out, table);
    out
}

fn append_table(out: &mut Vec<u8>, table: &FieldTable) {
    out.push(b'{');
    for (at, (name, value)) in table.into_iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        append_str(out, name.as_str());
        out.extend_from_slice(b": ");
        append_value(out, value);
    }
    out.push(b'}');
}

fn append_array(out: &mut Vec<u8>, array: &[AMQPValue]) {
    out.push(b'[');
    for (at, value) in array.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        append_value(out, value);
    }
    out.push(b']');
}

fn append_value(out: &mut Vec<u8>, value: &AMQPValue) {
    match value {
        AMQPValue::Boolean(true) => out.extend_from_slice(b"true"),
        AMQPValue::Boolean(false) => out.extend_from_slice(b"false"),
        AMQPValue::ShortShortInt(number) => append_integer(out, i64::from(*number)),
        AMQPValue::ShortShortUInt(number) => append_integer(out, i64::from(*number)),
        AMQPValue::ShortInt(number) => append_integer(out, i64::from(*number)),
        AMQPValue::ShortUInt(number) => append_integer(out, i64::from(*number)),
        AMQPValue::LongInt(number) => append_integer(out, i64::from(*number)),
        AMQPValue::LongUInt(number) => append_integer(out, i64::from(*number)),
        AMQPValue::LongLongInt(number) => append_integer(out, *number),
        AMQPValue::Float(number) => append_float(out, f64::from(*number)),
        AMQPValue::Double(number) => append_float(out, *number),
        AMQPValue::DecimalValue(decimal) => {
            append_typed(out, "decimal", &decimal_text(decimal.scale, decimal.value));
        }
        AMQPValue::ShortString(text) => append_str(out, text.as_str()),
        AMQPValue::LongString(text) => append_bytes(out, text.as_bytes()),
        AMQPValue::FieldArray(array) => append_array(out, array.as_slice()),
        AMQPValue::Timestamp(seconds) => append_typed(out, "datetime", &iso_text(*seconds)),
        AMQPValue::FieldTable(table) => append_table(out, table),
        AMQPValue::ByteArray(bytes) => append_bytes(out, bytes.as_slice()),
        AMQPValue::Void => out.extend_from_slice(b"null"),
    }
}

pub(super) fn append_integer(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(super) fn append_float(out: &mut Vec<u8>, number: f64) {
    if json::append(out, &number).is_err() {
        // Every float has a text; null keeps the object whole if that ever changes.
        out.extend_from_slice(b"null");
    }
}

/// Compat: py-amqp reads text as `str`, and what is no UTF-8 as `bytes`.
pub(super) fn append_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => append_str(out, text),
        Err(_) => append_typed(out, "base64", &STANDARD.encode(bytes)),
    }
}

/// kombu's JSON for what JSON has no word for.
pub(super) fn append_typed(out: &mut Vec<u8>, kind: &str, text: &str) {
    out.extend_from_slice(b"{\"__type__\": ");
    append_str(out, kind);
    out.extend_from_slice(b", \"__value__\": ");
    append_str(out, text);
    out.push(b'}');
}

pub(super) fn decimal_text(scale: u8, value: u32) -> String {
    let scale = usize::from(scale);
    if scale == 0 {
        return value.to_string();
    }
    let digits = format!("{value:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{whole}.{fraction}")
}

/// Seconds since the epoch as ISO-8601 in UTC.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
pub(super) fn iso_text(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00")
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::headers::Peek;

    fn there_and_back(text_in: &str) -> String {
        String::from_utf8(text(&table(text_in.as_bytes()).unwrap())).unwrap()
    }

    #[test]
    fn headers_come_back_in_the_order_of_their_names() {
        let headers = r#"{"task": "t", "eta": null, "retries": 0, "timelimit": [null, 1.5], "stamps": {"\u00e4": true}}"#;
        assert_eq!(
            there_and_back(headers),
            r#"{"eta": null, "retries": 0, "stamps": {"\u00e4": true}, "task": "t", "timelimit": [null, 1.5]}"#
        );
    }

    #[test]
    fn values_have_the_types_that_py_amqp_gives_them() {
        let kinds = [
            ("1", AMQPValue::LongInt(1)),
            ("-2147483647", AMQPValue::LongInt(-2_147_483_647)),
            ("-2147483648", AMQPValue::LongLongInt(-2_147_483_648)),
            ("2147483648", AMQPValue::LongLongInt(2_147_483_648)),
            ("1.0", AMQPValue::Double(1.0)),
            ("true", AMQPValue::Boolean(true)),
            ("null", AMQPValue::Void),
            ("\"a\"", AMQPValue::LongString("a".into())),
            (
                "\"\\ud800\"",
                AMQPValue::LongString(vec![0xed, 0xa0, 0x80].into()),
            ),
        ];
        for (json, expected) in kinds {
            assert_eq!(value(json.as_bytes()).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_a_table_cannot_carry_is_refused() {
        for digits in ["9223372036854775808", "123456789012345678901234567890"] {
            let refusal = value(digits.as_bytes()).unwrap_err().to_string();
            assert!(refusal.contains(digits), "{refusal}");
        }
        let long = format!("{{\"{}\": 1}}", "n".repeat(256));
        assert!(
            table(long.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("256 bytes")
        );
        assert!(table(b"[]").is_err());
    }

    #[test]
    fn what_json_has_no_word_for_is_typed_as_kombu_types_it() {
        let mut headers = FieldTable::default();
        headers.insert("a".into(), AMQPValue::Timestamp(951_782_400));
        headers.insert("b".into(), AMQPValue::LongString(vec![0xff].into()));
        let decimal = lapin::types::DecimalValue { scale: 2, value: 5 };
        headers.insert("c".into(), AMQPValue::DecimalValue(decimal));
        let expected = [
            r#""a": {"__type__": "datetime", "__value__": "2000-02-29T00:00:00+00:00"}"#,
            r#""b": {"__type__": "base64", "__value__": "/w=="}"#,
            r#""c": {"__type__": "decimal", "__value__": "0.05"}"#,
        ];
        let headers = String::from_utf8(text(&headers)).unwrap();
        assert_eq!(headers, format!("{{{}}}", expected.join(", ")));
    }

    #[test]
    fn seconds_become_dates_across_leap_years() {
        for (unix_s, expected) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (68_255_999, "1972-02-29T23:59:59+00:00"),
            (4_107_542_400, "2100-03-01T00:00:00+00:00"),
        ] {
            assert_eq!(iso_text(unix_s), expected);
        }
    }

    pub(in super::super) fn amqp_values() -> impl Strategy<Value = AMQPValue> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(AMQPValue::Boolean),
            any::<i8>().prop_map(AMQPValue::ShortShortInt),
            any::<u8>().prop_map(AMQPValue::ShortShortUInt),
            any::<i16>().prop_map(AMQPValue::ShortInt),
            any::<u16>().prop_map(AMQPValue::ShortUInt),
            any::<i32>().prop_map(AMQPValue::LongInt),
            any::<u32>().prop_map(AMQPValue::LongUInt),
            any::<i64>().prop_map(AMQPValue::LongLongInt),
            any::<u32>().prop_map(|bits| AMQPValue::Float(f32::from_bits(bits))),
            any::<u64>().prop_map(|bits| AMQPValue::Double(f64::from_bits(bits))),
            (any::<u8>(), any::<u32>()).prop_map(|(scale, value)| AMQPValue::DecimalValue(
                lapin::types::DecimalValue { scale, value }
            )),
            any::<Vec<u8>>().prop_map(|bytes| AMQPValue::LongString(bytes.into())),
            any::<Vec<u8>>().prop_map(|bytes| AMQPValue::ByteArray(bytes.into())),
            any::<u64>().prop_map(AMQPValue::Timestamp),
            Just(AMQPValue::Void),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(|items| AMQPValue::FieldArray(items.into())),
                vec(("[a-z]{0,8}", inner), 0..6).prop_map(|items| {
                    let mut table = FieldTable::default();
                    for (name, value) in items {
                        table.insert(name.as_str().into(), value);
                    }
                    AMQPValue::FieldTable(table)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_a_table_holds_is_json(value in amqp_values()) {
            let mut headers = FieldTable::default();
            headers.insert("mine".into(), value);
            let json = text(&headers);
            prop_assert!(json.is_ascii());
            // The second way shows that nothing changes any more.
            if let Ok(again) = table(&json) {
                prop_assert_eq!(text(&again), json.clone());
            }
            prop_assert!(Peek::parse(&json).is_ok());
        }

        #[test]
        fn any_text_is_a_table_or_is_refused(json in "[\\[\\]{}:,\"\\\\ud8Na0-9.eE+\\- tn]{0,40}") {
            let found = table(json.as_bytes());
            let is_answered = matches!(
                found, Ok(_) | Err(Error::Malformed { .. } | Error::Unencodable { .. })
            );
            prop_assert!(is_answered);
        }
    }
}
