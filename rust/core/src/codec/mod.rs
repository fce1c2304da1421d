//! Content type to bytes and back.
