//! Broker and result URLs, as kombu reads them.
//!
//! Source: kombu `utils/url.py` (`_parse_url`), `connection.py` (lists of URLs),
//! `transport/redis.py` (`_connparams`, `_prepare_virtual_host`, `SentinelChannel`) and
//! `transport/pyamqp.py` (`establish_connection`).

mod query;
mod redact;
mod server;
#[cfg(test)]
mod tests;

use percent_encoding::percent_decode_str;

use super::options::Options;
use crate::error::{Error, Result};

pub use redact::redacted;
pub(crate) use server::Server;
use server::{Form, Parts};

/// What a URL's scheme selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `memory://`: inside this process.
    Memory,
    /// `sqlite:///path`: one file, many processes of one machine.
    Sqlite,
    /// `redis://`, `rediss://`, `redis+socket://`, `sentinel://`.
    Redis,
    /// `amqp://`, `pyamqp://`, `amqps://`: RabbitMQ.
    Amqp,
}

const KNOWN_SCHEMES: &str = "amqp:// and amqps:// (RabbitMQ), redis://, rediss://, redis+socket:// and \
                             sentinel:// (Redis), sqlite:///, memory://";
const DEFAULT_REDIS_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26_379;
const DEFAULT_AMQP_PORT: u16 = 5672;
const DEFAULT_AMQPS_PORT: u16 = 5671;

/// A parsed URL, of one server or a list of them, with its transport options.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    form: Form,
    /// The URL as given, password included: never print it.
    pub raw: String,
    /// Transport options, those of the URL's query included.
    pub options: Options,
    first: Server,
    others: Vec<Server>,
}

impl std::fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerUrl")
            .field("url", &self.redacted())
            .finish_non_exhaustive()
    }
}

impl BrokerUrl {
    /// Parses a URL, or several with `;` between them: the servers to use one after the other,
    /// or, with `sentinel://`, those to ask for the server. `options` are transport options as
    /// `(name, JSON text)`, and win over the same names in the URL's query; the first URL's
    /// options are those of all.
    ///
    /// # Errors
    /// [`Error::BadUrl`] names the schemes and options that exist.
    pub fn parse(raw: &str, options: Vec<(String, String)>) -> Result<Self> {
        let mut pieces = raw.split(';').filter(|piece| !piece.is_empty());
        let first = pieces.next().unwrap_or_default();
        let (form, is_secure) = form_of(first, raw)?;
        let (rest, query) = cut(first, form)?;
        let mut all = query::parse(query)?;
        all.extend(options);
        let vhost = query::take(&mut all, "db");
        let vhost = query::take(&mut all, "virtual_host").or(vhost);
        let parts = Parts {
            raw,
            own: first,
            rest,
            vhost: vhost.as_deref(),
        };
        let server = parts.server(form, is_secure)?;
        let url = Self {
            form,
            raw: raw.to_owned(),
            options: Options::check(form.scheme(), all)?,
            first: server,
            others: pieces
                .map(|piece| other(piece, raw, (form, is_secure)))
                .collect::<Result<_>>()?,
        };
        if url.is_sentinel() && url.options.text("master_name")?.is_none() {
            return Err(bad(format!(
                "{:?}: sentinel:// needs the transport option \"master_name\", the name that the sentinels \
                 give the server",
                url.redacted()
            )));
        }
        Ok(url)
    }

    /// What the scheme selects.
    pub fn scheme(&self) -> Scheme {
        self.form.scheme()
    }

    /// The URL without its passwords: fit for logs.
    pub fn redacted(&self) -> String {
        redacted(&self.raw)
    }

    /// The URL with all transport options in its query, password included: never print it.
    /// Parsed again, it is the same broker.
    pub fn with_options(&self) -> String {
        // A list may begin with separators, and the first URL is the first that is not empty.
        let raw = self.raw.trim_start_matches(';');
        let (first, others) = match raw.split_once(';') {
            Some((first, others)) => (first, Some(others)),
            None => (raw, None),
        };
        let mut whole = first.to_owned();
        for (name, json) in self.options.iter() {
            whole.push(if whole.contains('?') { '&' } else { '?' });
            let value = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
            let value = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
            whole.extend([name, "="].into_iter().chain(value));
        }
        if let Some(others) = others {
            whole.extend([";", others]);
        }
        whole
    }

    /// User name, decoded; the first server's.
    pub fn username(&self) -> Option<&str> {
        self.first.username.as_deref()
    }

    /// Password, decoded: never print it.
    pub fn password(&self) -> Option<&str> {
        self.first.password.as_deref()
    }

    /// Host, `127.0.0.1` when none was given; an IPv6 address stands without brackets.
    pub fn host(&self) -> &str {
        &self.first.host
    }

    /// Port, the protocol's own when none was given.
    pub fn port(&self) -> u16 {
        self.port_of(&self.first)
    }

    /// The port of one of the servers.
    pub(crate) fn port_of(&self, server: &Server) -> u16 {
        let has_tls = || server.is_secure || self.options.asks_for_tls();
        server.port.unwrap_or_else(|| match self.form {
            Form::Amqp if has_tls() => DEFAULT_AMQPS_PORT,
            Form::Amqp => DEFAULT_AMQP_PORT,
            Form::Sentinel => DEFAULT_SENTINEL_PORT,
            Form::Redis | Form::RedisSocket | Form::Memory | Form::Sqlite => DEFAULT_REDIS_PORT,
        })
    }

    /// `SQLite`: the file; `redis+socket`: the socket; memory: the name; otherwise empty.
    pub fn path(&self) -> &str {
        &self.first.path
    }

    /// Number of the Redis database.
    pub fn db(&self) -> i64 {
        self.first.db
    }

    /// `RabbitMQ`'s virtual host, decoded; `/` when none was given.
    pub fn vhost(&self) -> &str {
        &self.first.vhost
    }

    /// All servers, in the order in which they are tried.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Server> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Whether the servers are sentinels, who know where Redis is.
    pub(crate) fn is_sentinel(&self) -> bool {
        self.form == Form::Sentinel
    }

    /// Names of the servers, whatever database and options: two URLs with equal servers share
    /// published messages.
    pub fn server(&self) -> String {
        let mut names: Vec<String> = self.servers().map(|server| self.name_of(server)).collect();
        if self.is_sentinel() {
            names.extend(self.options.text("master_name").ok().flatten());
        }
        names.join(";")
    }

    fn name_of(&self, server: &Server) -> String {
        if !server.path.is_empty() {
            return server.path.clone();
        }
        let host = match server.host.as_str() {
            "localhost" => "127.0.0.1",
            host => host,
        };
        format!("{host}:{}", self.port_of(server))
    }

    /// Names of transport options that are accepted and have no effect yet.
    pub fn not_honoured(&self) -> Vec<&str> {
        self.options.not_honoured(self.scheme())
    }
}

/// The form of a URL, by its scheme.
fn form_of(own: &str, raw: &str) -> Result<(Form, bool)> {
    let name = own.split_once("://").map(|(name, _)| name);
    let Some(name) = name.filter(|name| redact::is_scheme(name)) else {
        return Err(bad(format!(
            "{:?} is not a URL; known forms: {KNOWN_SCHEMES}",
            redacted(raw)
        )));
    };
    Form::of(name).ok_or_else(|| bad(format!("unknown scheme {name:?}; known: {KNOWN_SCHEMES}")))
}

/// Cuts scheme and query off.
fn cut(own: &str, form: Form) -> Result<(&str, &str)> {
    let (_, rest) = own.split_once("://").unwrap_or(("", own));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !matches!(form, Form::Memory | Form::Sqlite) {
        query::check_no_at(query)?;
    }
    Ok((rest, query))
}

/// Reads one of the further URLs of a list.
fn other(own: &str, raw: &str, (form, is_secure): (Form, bool)) -> Result<Server> {
    let (own_form, is_secure) = match own.contains("://") {
        true => form_of(own, raw)?,
        // A host alone is one more of the same kind. With an @ it may be the rest of a password.
        false if !own.contains('@') => (form, is_secure),
        false => {
            return Err(bad(format!(
                "{:?}: give each server of a list its scheme, and percent-encode a ; in a password (%3B)",
                redacted(raw)
            )));
        }
    };
    let is_many = matches!(form, Form::Memory | Form::Sqlite);
    if is_many
        || own_form.scheme() != form.scheme()
        || (own_form == Form::Sentinel) != (form == Form::Sentinel)
    {
        return Err(bad(format!(
            "{:?}: the servers of a list are all of one kind: RabbitMQ, Redis, or Redis Sentinel",
            redacted(raw)
        )));
    }
    let (rest, query) = cut(own, own_form)?;
    let mut options = query::parse(query)?;
    let vhost = query::take(&mut options, "db");
    let vhost = query::take(&mut options, "virtual_host").or(vhost);
    if !options.is_empty() {
        return Err(bad(format!(
            "{:?}: options of a list of servers are given with its first URL, or as transport options",
            redacted(raw)
        )));
    }
    let vhost = vhost.as_deref();
    Parts {
        raw,
        own,
        rest,
        vhost,
    }
    .server(own_form, is_secure)
}

fn bad(detail: String) -> Error {
    Error::BadUrl { detail }
}

fn decoded(text: &str) -> Result<String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| bad("a part of the URL is not UTF-8 once its percent signs are decoded".to_owned()))
}
