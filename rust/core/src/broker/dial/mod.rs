//! Opens a connection to a server: TCP, TLS or a Unix socket, the same for every broker and store.

mod plain;
mod refusal;
mod tls;
mod verifier;

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::Error;

pub(crate) use plain::BlockingWire;
use refusal::late_refusal;
pub(crate) use tls::Tls;

/// What bytes go through to a server, whatever is below.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum NotOpen {
    /// It may come about later.
    Lost(String),
    /// It cannot, before somebody corrects something: the cause says what.
    Refused(String),
}

impl NotOpen {
    /// The error to report, about a server with this (redacted) URL.
    pub(crate) fn about(self, url: &str) -> Error {
        let url = url.to_owned();
        match self {
            Self::Lost(cause) => Error::Disconnected { url, cause },
            Self::Refused(cause) => Error::Refused {
                url,
                cause,
                passing: false,
            },
        }
    }
}

impl From<std::io::Error> for NotOpen {
    fn from(error: std::io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl std::fmt::Display for NotOpen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Lost(cause) | Self::Refused(cause)) = self;
        f.write_str(cause)
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// A host, its port, and how to speak TLS with it.
    Tcp(String, u16, Option<Tls>),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Address {
    /// Opens a connection.
    ///
    /// # Errors
    /// The cause, with what to do about it where that is known.
    pub(crate) async fn open(&self, within: Duration) -> Result<Box<dyn Wire>, NotOpen> {
        if let Ok(opened) = timeout(within, self.open_unbounded()).await {
            return opened;
        }
        Err(NotOpen::Lost(self.silence(within)))
    }

    /// Words that nothing came in time.
    pub(crate) fn silence(&self, within: Duration) -> String {
        // Redis waits for the end of a line, which no TLS greeting has.
        let hint = match self {
            Self::Tcp(_, _, Some(_)) => {
                " (if no TLS is spoken on this port: redis:// or amqp://, without broker_use_ssl)"
            }
            Self::Tcp(_, _, None) | Self::Unix(_) => "",
        };
        format!("no answer within {} s{hint}", within.as_secs_f64())
    }

    /// Opens a connection for a thread of its own to wait on; `None` where that is not possible.
    pub(crate) async fn open_plain(&self) -> Option<Box<dyn BlockingWire>> {
        match self {
            Self::Tcp(host, port, None) => {
                let tcp = TcpStream::connect((host.as_str(), *port)).await.ok()?;
                tcp.set_nodelay(true).ok()?;
                Some(Box::new(tcp.into_std().ok()?))
            }
            #[cfg(unix)]
            Self::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await.ok()?;
                Some(Box::new(stream.into_std().ok()?))
            }
            _ => None,
        }
    }

    async fn open_unbounded(&self) -> Result<Box<dyn Wire>, NotOpen> {
        match self {
            Self::Tcp(host, port, tls) => {
                let tcp = TcpStream::connect((host.as_str(), *port)).await?;
                // A message is written at once, and waited for: there is nothing to be gathered.
                tcp.set_nodelay(true)?;
                match tls {
                    None => Ok(Box::new(tcp)),
                    Some(tls) => Ok(Box::new(tls.wrap(host, tcp).await?)),
                }
            }
            Self::Unix(path) => unix(path).await,
        }
    }

    /// Why a server has hung up instead of greeting. `secure` is how to ask for TLS.
    pub(crate) fn hung_up(&self, cause: &str, secure: &str) -> NotOpen {
        match self {
            Self::Tcp(_, _, Some(tls)) => late_refusal(cause).unwrap_or_else(|| {
                // A reset may overtake the alert that says so.
                let hint = if tls.has_identity() {
                    ""
                } else {
                    "; if the server asks for a client certificate, give ssl_certfile and ssl_keyfile"
                };
                NotOpen::Lost(format!("{cause}{hint}"))
            }),
            Self::Tcp(..) => NotOpen::Lost(format!(
                "{cause}; if the server speaks TLS on this port, ask for it ({secure})"
            )),
            Self::Unix(_) => NotOpen::Lost(cause.to_owned()),
        }
    }
}

#[cfg(unix)]
async fn unix(path: &std::path::Path) -> Result<Box<dyn Wire>, NotOpen> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(NotOpen::Lost(format!("{}: {error}", path.display()))),
    }
}

#[cfg(not(unix))]
#[expect(clippy::unused_async, reason = "stands for the one that waits")]
async fn unix(_path: &std::path::Path) -> Result<Box<dyn Wire>, NotOpen> {
    Err(NotOpen::Refused(
        "there are no Unix sockets on this system; give host and port".to_owned(),
    ))
}
