//! The decoder.

use rmp::Marker;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::malformed;
use crate::error::{Error, Result};

/// Reads values from the front of a buffer.
#[derive(Debug)]
pub(super) struct Deserializer<'de> {
    data: &'de [u8],
    at: usize,
    depth_left: usize,
}

impl<'de> Deserializer<'de> {
    pub(super) fn new(data: &'de [u8], max_depth: usize) -> Self {
        Self {
            data,
            at: 0,
            depth_left: max_depth,
        }
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<()> {
        match self.data.len() - self.at {
            0 => Ok(()),
            left => Err(malformed(format!("{left} bytes follow the value"))),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'de [u8]> {
        let end = self
            .at
            .checked_add(length)
            .filter(|end| *end <= self.data.len())
            .ok_or_else(|| malformed(format!("{length} bytes expected at byte {}", self.at)))?;
        let taken = &self.data[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A length of one, two or four bytes.
    fn length(&mut self, width: usize) -> Result<usize> {
        let bytes = self.take(width)?;
        Ok(bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn marker(&mut self) -> Result<Marker> {
        let [marker] = self.array()?;
        Ok(Marker::from_u8(marker))
    }

    /// The kind and length of a container, if the marker begins one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other marker is a scalar's")]
    fn container(&mut self, marker: Marker) -> Result<Option<(Container, usize)>> {
        Ok(match marker {
            Marker::FixArray(length) => Some((Container::List, length.into())),
            Marker::Array16 => Some((Container::List, self.length(2)?)),
            Marker::Array32 => Some((Container::List, self.length(4)?)),
            Marker::FixMap(length) => Some((Container::Map, length.into())),
            Marker::Map16 => Some((Container::Map, self.length(2)?)),
            Marker::Map32 => Some((Container::Map, self.length(4)?)),
            _ => None,
        })
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "what is left is refused, whatever it is"
    )]
    fn scalar<V: Visitor<'de>>(&mut self, marker: Marker, visitor: V) -> Result<V::Value> {
        match marker {
            Marker::Null => visitor.visit_unit(),
            Marker::True => visitor.visit_bool(true),
            Marker::False => visitor.visit_bool(false),
            Marker::FixPos(value) => visitor.visit_i64(value.into()),
            Marker::FixNeg(value) => visitor.visit_i64(value.into()),
            Marker::U8 => visitor.visit_u64(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => visitor.visit_u64(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => visitor.visit_u64(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => visitor.visit_u64(u64::from_be_bytes(self.array()?)),
            Marker::I8 => visitor.visit_i64(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => visitor.visit_i64(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => visitor.visit_i64(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => visitor.visit_i64(i64::from_be_bytes(self.array()?)),
            Marker::F32 => visitor.visit_f64(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => visitor.visit_f64(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(length) => self.text(length.into(), visitor),
            Marker::Str8 => self.length(1).and_then(|length| self.text(length, visitor)),
            Marker::Str16 => self.length(2).and_then(|length| self.text(length, visitor)),
            Marker::Str32 => self.length(4).and_then(|length| self.text(length, visitor)),
            Marker::Bin8 => self.length(1).and_then(|length| self.bytes(length, visitor)),
            Marker::Bin16 => self.length(2).and_then(|length| self.bytes(length, visitor)),
            Marker::Bin32 => self.length(4).and_then(|length| self.bytes(length, visitor)),
            other => Err(malformed(format!("no value ({other:?}) before byte {}", self.at))),
        }
    }

    fn text<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value> {
        let start = self.at;
        let text = std::str::from_utf8(self.take(length)?)
            .map_err(|_| malformed(format!("text that is not UTF-8 at byte {start}")))?;
        visitor.visit_borrowed_str(text)
    }

    fn bytes<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.take(length)?)
    }

    /// Enters a container of `length` items of at least `item_bytes` each.
    fn enter(&mut self, length: usize, item_bytes: usize) -> Result<Items<'_, 'de>> {
        if length > (self.data.len() - self.at) / item_bytes {
            return Err(malformed(format!(
                "{length} items announced at byte {}, too few follow",
                self.at
            )));
        }
        self.depth_left = self
            .depth_left
            .checked_sub(1)
            .ok_or_else(|| malformed(format!("nested too deeply at byte {}", self.at)))?;
        Ok(Items {
            left: length,
            deserializer: self,
        })
    }

    fn list<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value> {
        let mut items = self.enter(length, 1)?;
        let value = visitor.visit_seq(&mut items)?;
        items.finish()?;
        Ok(value)
    }

    fn map<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value> {
        let mut items = self.enter(length, 2)?;
        let value = visitor.visit_map(&mut items)?;
        items.finish()?;
        Ok(value)
    }
}

/// What has items.
#[derive(Clone, Copy, Debug)]
enum Container {
    List,
    Map,
}

impl<'de> serde::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = Error;

    // Kept small: this frame and one of `map` or `list` are on the stack for each level.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let marker = self.marker()?;
        match self.container(marker)? {
            Some((Container::List, length)) => self.list(length, visitor),
            Some((Container::Map, length)) => self.map(length, visitor),
            None => self.scalar(marker, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.data.get(self.at) == Some(&Marker::Null.to_u8()) {
            self.at += 1;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The items of a container that are left.
#[derive(Debug)]
struct Items<'a, 'de> {
    deserializer: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'de> Items<'_, 'de> {
    fn item<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        seed.deserialize(&mut *self.deserializer).map(Some)
    }

    /// The visitor must have taken every item.
    fn finish(self) -> Result<()> {
        if self.left > 0 {
            return Err(malformed(format!("{} items too many", self.left)));
        }
        self.deserializer.depth_left += 1;
        Ok(())
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.item(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.item(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.deserializer)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}
