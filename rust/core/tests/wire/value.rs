//! What the tests share: a value of any type, and the recorded vectors.
#![expect(clippy::unwrap_used, reason = "a broken vector file must stop the test")]
#![expect(clippy::wildcard_enum_match_arm, reason = "the type is the tests' own")]

use std::fmt;

use celeriac_core::Result;
use celeriac_core::codec::{BIG_INT, Limits, WTF8, json, msgpack};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

/// What JSON or MessagePack can say, with the order and duplicates of members as found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Big(String),
    Float(f64),
    Text(String),
    /// Text with lone surrogates in JSON, bytes in MessagePack.
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// As Python's `dict` holds it: the last of equal keys, in the place of the first.
    pub(crate) fn without_duplicates(self) -> Self {
        match self {
            Self::List(items) => Self::List(items.into_iter().map(Self::without_duplicates).collect()),
            Self::Map(members) => Self::Map(merged(members)),
            scalar => scalar,
        }
    }
}

fn merged(members: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    let mut merged: Vec<(Value, Value)> = Vec::new();
    for (name, value) in members {
        let value = value.without_duplicates();
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some(member) => member.1 = value,
            None => merged.push((name, value)),
        }
    }
    merged
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Big(digits) => serializer.serialize_newtype_struct(BIG_INT, digits),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) if serializer.is_human_readable() => {
                serializer.serialize_newtype_struct(WTF8, serde_bytes::Bytes::new(bytes))
            }
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// Builds a [`Value`] from whatever comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build;

impl<'de> DeserializeSeed<'de> for Build {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Unsigned(value), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> std::result::Result<Value, E> {
        Ok(Value::Bytes(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(name) = members.next_key_seed(Self)? {
            let value = members.next_value_seed(Self)?;
            if name == Value::Text(BIG_INT.to_owned()) {
                let Value::Text(digits) = value else {
                    return Err(serde::de::Error::custom("digits are text"));
                };
                return Ok(Value::Big(digits));
            }
            map.push((name, value));
        }
        Ok(Value::Map(map))
    }
}

pub(crate) fn from_json(data: &[u8]) -> Result<Value> {
    json::from_slice(data, Build, Limits::default())
}

pub(crate) fn to_json(value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    json::append(&mut out, value)?;
    Ok(out)
}

pub(crate) fn from_msgpack(data: &[u8]) -> Result<Value> {
    msgpack::from_slice(data, Build, Limits::default())
}

pub(crate) fn to_msgpack(value: &Value) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    msgpack::append(&mut out, value)?;
    Ok(out)
}

/// The versions of Celery that were recorded, the reference first.
pub(crate) const VERSIONS: [&str; 4] = ["5.7", "5.6", "5.5", "5.4"];

/// A file of the reference's recorded vectors.
pub(crate) fn recorded<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    recorded_of(VERSIONS[0], name)
}

/// A file of a version's recorded vectors; another version's than the reference's holds only what
/// differs.
pub(crate) fn recorded_of<T: for<'de> Deserialize<'de>>(version: &str, name: &str) -> T {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors");
    let text = std::fs::read_to_string(format!("{folder}/celery-{version}/{name}.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
