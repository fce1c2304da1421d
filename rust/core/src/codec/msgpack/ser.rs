//! The encoder.

use rmp::encode as write;
use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use crate::codec::{BIG_INT, MAX_ENCODED_DEPTH, WTF8};
use crate::error::{Error, Result};

/// Appends values to a buffer.
#[derive(Debug)]
pub(super) struct Serializer<'out> {
    out: &'out mut Vec<u8>,
    depth: usize,
}

impl<'out> Serializer<'out> {
    pub(super) fn new(out: &'out mut Vec<u8>) -> Self {
        Self { out, depth: 0 }
    }

    fn enter(&mut self) -> Result<()> {
        if self.depth == MAX_ENCODED_DEPTH {
            return Err(unencodable(&format!(
                "nested deeper than {MAX_ENCODED_DEPTH} levels (or it contains itself)"
            )));
        }
        self.depth += 1;
        Ok(())
    }

    fn open_list<'a>(&'a mut self, length: Option<usize>) -> Result<Items<'a, 'out>> {
        self.enter()?;
        write::write_array_len(self.out, known(length)?).map_err(full)?;
        Ok(Items { serializer: self })
    }

    fn open_map<'a>(&'a mut self, length: Option<usize>) -> Result<Items<'a, 'out>> {
        self.enter()?;
        write::write_map_len(self.out, known(length)?).map_err(full)?;
        Ok(Items { serializer: self })
    }

    /// Opens the map `{"variant": …}` of an enum's variant that holds data.
    fn open_variant(&mut self, variant: &str) -> Result<()> {
        write::write_map_len(self.out, 1).map_err(full)?;
        write::write_str(self.out, variant).map_err(full)
    }
}

fn unencodable(detail: &str) -> Error {
    Error::Unencodable {
        detail: detail.to_owned(),
    }
}

fn full<E: std::fmt::Display>(error: E) -> Error {
    unencodable(&error.to_string())
}

fn known(length: Option<usize>) -> Result<u32> {
    length
        .and_then(|length| u32::try_from(length).ok())
        .ok_or_else(|| unencodable("MessagePack needs the number of items first, below 2**32"))
}

macro_rules! integers {
    ($write:ident: $($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<()> {
            write::$write(self.out, value.into()).map(drop).map_err(full)
        })*
    };
}

impl<'a, 'out> serde::Serializer for &'a mut Serializer<'out> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Items<'a, 'out>;
    type SerializeTuple = Items<'a, 'out>;
    type SerializeTupleStruct = Items<'a, 'out>;
    type SerializeTupleVariant = Items<'a, 'out>;
    type SerializeMap = Items<'a, 'out>;
    type SerializeStruct = Items<'a, 'out>;
    type SerializeStructVariant = Items<'a, 'out>;

    integers! { write_sint: serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64 }
    integers! { write_uint: serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64 }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<()> {
        write::write_bool(self.out, value).map_err(full)
    }

    fn serialize_f32(self, value: f32) -> Result<()> {
        self.serialize_f64(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Result<()> {
        write::write_f64(self.out, value).map_err(full)
    }

    fn serialize_char(self, value: char) -> Result<()> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<()> {
        write::write_str(self.out, value).map_err(full)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        write::write_bin(self.out, value).map_err(full)
    }

    fn serialize_none(self) -> Result<()> {
        write::write_nil(self.out).map_err(full)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<()> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<()> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<()> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<()> {
        match name {
            BIG_INT => Err(unencodable("MessagePack has no integers outside of 64 bits")),
            WTF8 => Err(unencodable("MessagePack has no text with lone surrogates")),
            _ => value.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.open_variant(variant)?;
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items<'a, 'out>> {
        self.open_list(length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Items<'a, 'out>> {
        self.open_list(Some(length))
    }

    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<Items<'a, 'out>> {
        self.open_list(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items<'a, 'out>> {
        self.open_variant(variant)?;
        self.open_list(Some(length))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Items<'a, 'out>> {
        self.open_map(length)
    }

    fn serialize_struct(self, _name: &'static str, length: usize) -> Result<Items<'a, 'out>> {
        self.open_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items<'a, 'out>> {
        self.open_variant(variant)?;
        self.open_map(Some(length))
    }
}

/// The items of an open container.
#[derive(Debug)]
pub(super) struct Items<'a, 'out> {
    serializer: &'a mut Serializer<'out>,
}

impl Items<'_, '_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut *self.serializer)
    }

    fn finish(self) {
        self.serializer.depth -= 1;
    }
}

/// The traits of sequences differ in names only, and so do those of structs.
macro_rules! sequence {
    ($trait:ident, $method:ident) => {
        impl $trait for Items<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.item(value)
            }

            fn end(self) -> Result<()> {
                self.finish();
                Ok(())
            }
        }
    };
}

macro_rules! fields {
    ($trait:ident) => {
        impl $trait for Items<'_, '_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<()> {
                self.item(name)?;
                self.item(value)
            }

            fn end(self) -> Result<()> {
                self.finish();
                Ok(())
            }
        }
    };
}

sequence!(SerializeSeq, serialize_element);
sequence!(SerializeTuple, serialize_element);
sequence!(SerializeTupleStruct, serialize_field);
sequence!(SerializeTupleVariant, serialize_field);
fields!(SerializeStruct);
fields!(SerializeStructVariant);

impl SerializeMap for Items<'_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.item(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.item(value)
    }

    fn end(self) -> Result<()> {
        self.finish();
        Ok(())
    }
}
