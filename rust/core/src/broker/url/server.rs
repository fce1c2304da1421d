//! One server of a URL: who, where, and what on it.

use super::{Scheme, bad, decoded, redacted};
use crate::error::{Error, Result};

const DEFAULT_VHOST: &str = "/";

/// One server of a URL.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Server {
    /// The server's own URL, fit for logs.
    pub(crate) redacted: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    /// An IPv6 address stands without brackets.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// The socket's, for `redis+socket`.
    pub(crate) path: String,
    pub(crate) db: i64,
    pub(crate) vhost: String,
    /// Whether its scheme asks for TLS.
    pub(crate) is_secure: bool,
}

/// How a scheme's URLs are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Memory,
    Sqlite,
    Redis,
    RedisSocket,
    Sentinel,
    Amqp,
}

impl Form {
    /// The form of a scheme, and whether it asks for TLS.
    pub(super) fn of(scheme: &str) -> Option<(Self, bool)> {
        Some(match scheme {
            "memory" | "cache+memory" => (Self::Memory, false),
            "sqlite" => (Self::Sqlite, false),
            "redis" => (Self::Redis, false),
            "rediss" => (Self::Redis, true),
            "redis+socket" | "socket" => (Self::RedisSocket, false),
            "sentinel" => (Self::Sentinel, false),
            "amqp" | "pyamqp" => (Self::Amqp, false),
            "amqps" => (Self::Amqp, true),
            _ => return None,
        })
    }

    /// The broker behind it.
    pub(super) fn scheme(self) -> Scheme {
        match self {
            Self::Memory => Scheme::Memory,
            Self::Sqlite => Scheme::Sqlite,
            Self::Redis | Self::RedisSocket | Self::Sentinel => Scheme::Redis,
            Self::Amqp => Scheme::Amqp,
        }
    }
}

/// A server's URL cut into pieces that a scheme reads in its own way.
pub(super) struct Parts<'a> {
    /// The whole URL, with all its servers: what errors show is cut from it.
    pub(super) raw: &'a str,
    /// The server's own.
    pub(super) own: &'a str,
    /// Its own without scheme and query.
    pub(super) rest: &'a str,
    pub(super) vhost: Option<&'a str>,
}

impl Parts<'_> {
    /// Reads the server of a URL of this form.
    ///
    /// # Errors
    /// [`Error::BadUrl`] says what is expected.
    pub(super) fn server(&self, form: Form, is_secure: bool) -> Result<Server> {
        let mut server = Server {
            redacted: redacted(self.own),
            is_secure,
            ..Server::default()
        };
        if form == Form::Memory {
            let (_, path) = self.rest.split_once('/').unwrap_or((self.rest, ""));
            server.path = decoded(path.trim_matches('/'))?;
            return Ok(server);
        }
        if form == Form::Sqlite {
            server.path = self.file()?;
            return Ok(server);
        }
        let (userinfo, rest) = split_userinfo(self.rest);
        (server.username, server.password) = credentials(userinfo)?;
        if form == Form::RedisSocket {
            server.path = self.socket(rest)?;
            server.db = self.database("")?;
            return Ok(server);
        }
        // One slash ends the host; what follows is the name, further slashes included.
        let (hostport, path) = rest.split_once('/').unwrap_or((rest, ""));
        (server.host, server.port) = self.host_and_port(hostport)?;
        let name = decoded(path)?;
        if form == Form::Amqp {
            let vhost = self.vhost.map_or(name, str::to_owned);
            server.vhost = Some(vhost)
                .filter(|vhost| !vhost.is_empty())
                .unwrap_or_else(|| DEFAULT_VHOST.to_owned());
        } else {
            server.db = self.database(&name)?;
        }
        Ok(server)
    }

    fn file(&self) -> Result<String> {
        let path = decoded(self.rest.strip_prefix('/').unwrap_or_default())?;
        if path.is_empty() || path == ":memory:" {
            return Err(self.wrong(
                "names no file: sqlite:///relative.db or sqlite:////absolute.db (memory:// needs none)",
            ));
        }
        Ok(path)
    }

    fn socket(&self, rest: &str) -> Result<String> {
        let path = decoded(rest)?;
        if !path.starts_with('/') {
            return Err(self.wrong("names no socket: redis+socket:///path/to/redis.sock?virtual_host=0"));
        }
        Ok(path)
    }

    fn host_and_port(&self, hostport: &str) -> Result<(String, Option<u16>)> {
        let malformed = || {
            let scheme = self.own.split("://").next().unwrap_or_default();
            self.wrong(&format!(
                "cannot read host and port; expected {scheme}://user:password@host:port/name, special \
                 characters percent-encoded"
            ))
        };
        let (host, port) = match hostport.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(malformed)?;
                let port = match after {
                    "" => "",
                    after => after.strip_prefix(':').ok_or_else(malformed)?,
                };
                (host, port)
            }
            None => hostport.split_once(':').unwrap_or((hostport, "")),
        };
        let port = match port {
            "" => None,
            digits => Some(digits.parse().map_err(|_| malformed())?),
        };
        let host = match host {
            "" => "127.0.0.1".to_owned(),
            host => decoded(host)?,
        };
        Ok((host, port))
    }

    /// The number of a Redis database: from the query, otherwise from the path.
    fn database(&self, path: &str) -> Result<i64> {
        match self.vhost.unwrap_or(path).trim_matches('/') {
            "" => Ok(0),
            digits => {
                let number = digits.parse().ok().filter(|db| *db >= 0);
                number.ok_or_else(|| self.wrong("the database is a number from 0"))
            }
        }
    }

    fn wrong(&self, what: &str) -> Error {
        bad(format!("{:?}: {what}", redacted(self.raw)))
    }
}

fn split_userinfo(rest: &str) -> (Option<&str>, &str) {
    match rest.rsplit_once('@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, rest),
    }
}

fn credentials(userinfo: Option<&str>) -> Result<(Option<String>, Option<String>)> {
    let Some(userinfo) = userinfo else {
        return Ok((None, None));
    };
    let (user, password) = match userinfo.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (userinfo, None),
    };
    let user = Some(decoded(user)?).filter(|user| !user.is_empty());
    let password = password.map(decoded).transpose()?;
    Ok((user, password.filter(|password| !password.is_empty())))
}
