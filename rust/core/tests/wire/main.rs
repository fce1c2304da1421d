//! Codec and wire format: compared with recorded vectors, and by properties.

mod limits;
mod properties;
mod value;
mod vectors;
