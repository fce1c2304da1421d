//! Broker and result URLs, as kombu reads them.

use crate::error::{Error, Result};

/// What a URL's scheme selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `memory://`: inside this process.
    Memory,
    /// `sqlite:///path`: one file, many processes of one machine.
    Sqlite,
    /// `redis://`, `rediss://`, `redis+socket://`.
    Redis,
}

/// A parsed URL with its transport options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    scheme: Scheme,
    /// The URL as given, password included: never print it.
    pub raw: String,
    /// Transport options as `(name, JSON text)`.
    pub options: Vec<(String, String)>,
}

impl BrokerUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// [`Error::BadUrl`] names the schemes that exist.
    pub fn parse(raw: &str, options: Vec<(String, String)>) -> Result<Self> {
        let name = raw.split_once(':').map_or(raw, |(scheme, _)| scheme);
        let scheme = match name {
            "memory" | "cache+memory" => Scheme::Memory,
            "sqlite" => Scheme::Sqlite,
            "redis" => Scheme::Redis,
            _ => {
                return Err(Error::BadUrl {
                    detail: format!("unknown scheme {name:?}; known: memory, sqlite, redis"),
                });
            }
        };
        Ok(Self {
            scheme,
            raw: raw.to_owned(),
            options,
        })
    }

    /// What the scheme selects.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }
}
