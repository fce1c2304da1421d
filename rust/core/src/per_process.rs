//! Values of which every process has its own: what a parent opened is never used after a fork.

use std::sync::OnceLock;

/// A value that is made once in each process which asks for it.
///
/// The parent's value is neither locked, used nor dropped in a child: another thread of the
/// parent may have held its locks at the moment of the fork, and closing it would say goodbye to
/// a peer that still talks to the parent.
#[derive(Debug)]
pub struct PerProcess<T> {
    pid: OnceLock<u32>,
    value: OnceLock<T>,
    child: OnceLock<Box<PerProcess<T>>>,
}

impl<T> PerProcess<T> {
    /// A value that nobody has asked for.
    pub const fn new() -> Self {
        Self {
            pid: OnceLock::new(),
            value: OnceLock::new(),
            child: OnceLock::new(),
        }
    }

    /// This process's value, made by `make` when it asks for the first time.
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        let pid = std::process::id();
        let mut node = self;
        while *node.pid.get_or_init(|| pid) != pid {
            node = node.child.get_or_init(|| Box::new(Self::new()));
        }
        node.value.get_or_init(make)
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if self.pid.get().is_some_and(|&pid| pid != std::process::id()) {
            std::mem::forget(self.value.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_made_once() {
        let value = PerProcess::new();
        assert_eq!(*value.get_or_init(|| 1), 1);
        assert_eq!(*value.get_or_init(|| 2), 1);
    }

    #[test]
    fn a_value_of_another_process_is_neither_used_nor_dropped() {
        let dropped = std::sync::Arc::new(());
        let value = PerProcess::new();
        value.pid.set(std::process::id().wrapping_add(1)).unwrap();
        value.value.set(std::sync::Arc::clone(&dropped)).unwrap();
        let own = std::sync::Arc::clone(value.get_or_init(std::sync::Arc::default));
        assert!(!std::sync::Arc::ptr_eq(&own, &dropped));
        drop(value);
        assert_eq!(std::sync::Arc::strong_count(&dropped), 2);
        assert_eq!(std::sync::Arc::strong_count(&own), 1);
    }
}
