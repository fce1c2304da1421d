//! The Tokio runtime of this process.
