//! Codec and wire format: compared with recorded vectors, and by properties.

mod limits;
mod mutations;
mod properties;
mod protocol1;
mod value;
mod vectors;
