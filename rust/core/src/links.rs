//! Frames between a worker and its children.
