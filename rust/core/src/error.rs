//! The only error type of the core, and what its reader can do about it.

/// What the caller of a failed operation can do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The connection is gone: open a new one, then repeat.
    Reconnect,
    /// The peer refuses for the moment: wait, then repeat.
    RetryLater,
    /// Repeating cannot help.
    GiveUp,
}

/// Result of the core's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in the core. A message says what was expected, what was found
/// and what to do; URLs in it are redacted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The server cannot be reached, or the connection to it broke.
    #[error("no connection to {url}: {cause}")]
    Disconnected {
        /// Redacted URL of the server.
        url: String,
        /// What the socket or the client library said.
        cause: String,
    },
    /// The server answered, and said no.
    #[error("{url} refused: {cause}")]
    Refused {
        /// Redacted URL of the server.
        url: String,
        /// The server's words.
        cause: String,
        /// Whether the same request may succeed later (a server that is loading, a full disk).
        passing: bool,
    },
    /// A message was handed over but its confirmation did not arrive in time.
    #[error("unconfirmed after {waited_ms} ms: the message may be queued")]
    Unconfirmed {
        /// How long the confirmation was waited for.
        waited_ms: u64,
    },
    /// An operation did not end before its deadline.
    #[error("{what} did not end within {waited_ms} ms")]
    TimedOut {
        /// The operation.
        what: &'static str,
        /// How long it was waited for.
        waited_ms: u64,
    },
    /// Bytes from outside that are not what they claim to be.
    #[error("malformed {what}: {detail}")]
    Malformed {
        /// The kind of thing (`"json"`, `"envelope"`, `"headers"`).
        what: &'static str,
        /// Where and why.
        detail: String,
    },
    /// A value that the chosen serializer cannot carry.
    #[error("{detail}")]
    Unencodable {
        /// Names the type and the path to the value, as `args[1]["when"]`.
        detail: String,
    },
    /// A content type that is not accepted here.
    #[error("refusing to deserialize content of type {content_type}")]
    ContentRefused {
        /// The content type of the message.
        content_type: String,
    },
    /// A URL or an option of it that cannot be used.
    #[error("{detail}")]
    BadUrl {
        /// What is wrong, and what exists.
        detail: String,
    },
    /// A feature that this version does not have.
    #[error("{feature} is not supported by this version")]
    Unsupported {
        /// The feature.
        feature: String,
    },
    /// The object was closed by its owner.
    #[error("{what} is closed")]
    Closed {
        /// What was closed.
        what: &'static str,
    },
    /// Local storage failed (a full disk, a damaged file).
    #[error("storage {path}: {cause}")]
    Storage {
        /// The file.
        path: String,
        /// What the storage engine said.
        cause: String,
        /// Whether the same request may succeed later.
        passing: bool,
    },
}

impl Error {
    /// What the caller can do now.
    pub fn remedy(&self) -> Remedy {
        match self {
            Error::Disconnected { .. } => Remedy::Reconnect,
            Error::Refused { passing: true, .. }
            | Error::Storage { passing: true, .. }
            | Error::TimedOut { .. } => Remedy::RetryLater,
            Error::Refused { passing: false, .. }
            | Error::Storage { passing: false, .. }
            | Error::Unconfirmed { .. }
            | Error::Malformed { .. }
            | Error::Unencodable { .. }
            | Error::ContentRefused { .. }
            | Error::BadUrl { .. }
            | Error::Unsupported { .. }
            | Error::Closed { .. } => Remedy::GiveUp,
        }
    }
}
