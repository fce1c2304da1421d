//! Several servers, one of which is used: the next one when it does not answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::error::Error;

/// Which of several servers this process uses. Everyone who was given the same servers moves on
/// together: a consumer's connections, and a publisher that subscribes to results for a store, have
/// to be on one server.
#[derive(Debug)]
pub(crate) struct Rotation {
    count: usize,
    at: AtomicUsize,
}

type Known = Vec<(String, Weak<Rotation>)>;

static KNOWN: Mutex<Known> = Mutex::new(Vec::new());

impl Rotation {
    /// The rotation of these servers, by the names of all of them.
    pub(crate) fn of(names: &str, count: usize) -> Arc<Self> {
        let fresh = || {
            Arc::new(Self {
                count,
                at: AtomicUsize::new(0),
            })
        };
        if count == 1 {
            return fresh();
        }
        let mut known = KNOWN.lock();
        known.retain(|(_, rotation)| rotation.strong_count() > 0);
        let same = known.iter().find(|(of, _)| of == names);
        if let Some(rotation) = same.and_then(|(_, rotation)| rotation.upgrade()) {
            return rotation;
        }
        let rotation = fresh();
        known.push((names.to_owned(), Arc::downgrade(&rotation)));
        rotation
    }

    /// The server in use.
    pub(crate) fn at(&self) -> usize {
        self.at.load(Ordering::SeqCst)
    }

    /// Tries each server once, from the one in use.
    pub(crate) fn round(&self) -> Round<'_> {
        Round {
            rotation: self,
            left: self.count,
            failures: Vec::new(),
        }
    }

    /// That server does not answer. Whoever says so second says nothing new.
    fn pass(&self, failed: usize) {
        let next = (failed + 1) % self.count;
        let moved = self
            .at
            .compare_exchange(failed, next, Ordering::SeqCst, Ordering::SeqCst);
        if moved.is_ok() && self.count > 1 {
            tracing::info!("the next server is tried");
        }
    }
}

/// One try of every server.
pub(crate) struct Round<'a> {
    rotation: &'a Rotation,
    left: usize,
    failures: Vec<Error>,
}

impl Round<'_> {
    /// The server to try; `None` when all were tried.
    pub(crate) fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        Some(self.rotation.at())
    }

    /// The server could not be used.
    pub(crate) fn failed(&mut self, server: usize, error: Error) {
        if self.rotation.count > 1 {
            tracing::warn!(%error, "a server cannot be used");
        }
        self.failures.push(error);
        self.rotation.pass(server);
    }

    /// What all servers said, for the URL they are listed in.
    pub(crate) fn error(mut self, redacted: &str) -> Error {
        match self.failures.len() {
            1 => self.failures.remove(0),
            _ => Error::Disconnected {
                url: redacted.to_owned(),
                cause: self
                    .failures
                    .iter()
                    .map(Error::to_string)
                    .collect::<Vec<_>>()
                    .join("; "),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> Error {
        Error::Disconnected {
            url: "redis://h".to_owned(),
            cause: "refused".to_owned(),
        }
    }

    #[test]
    fn all_who_know_the_same_servers_move_on_together_and_once() {
        let (one, other) = (Rotation::of("a;b;c", 3), Rotation::of("a;b;c", 3));
        let (mut first, mut second) = (one.round(), other.round());
        let (at, also) = (first.next().unwrap(), second.next().unwrap());
        first.failed(at, down());
        second.failed(also, down());
        assert_eq!((one.at(), other.at()), (1, 1));
    }

    #[test]
    fn a_round_tries_each_server_once_and_tells_of_all() {
        let rotation = Rotation::of("d;e", 2);
        let mut round = rotation.round();
        let mut tried = Vec::new();
        while let Some(at) = round.next() {
            tried.push(at);
            round.failed(at, down());
        }
        assert_eq!(tried, [0, 1]);
        let message = round.error("redis://d;redis://e").to_string();
        assert_eq!(message.matches("refused").count(), 2, "{message}");
    }
}
