//! Broker and result URLs, as kombu reads them.
//!
//! Source: kombu `utils/url.py` (`_parse_url`), `transport/redis.py` (`_connparams`,
//! `_prepare_virtual_host`) and `transport/pyamqp.py` (`establish_connection`).

use percent_encoding::percent_decode_str;

use super::options::Options;
use crate::error::{Error, Result};

/// What a URL's scheme selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `memory://`: inside this process.
    Memory,
    /// `sqlite:///path`: one file, many processes of one machine.
    Sqlite,
    /// `redis://`, `redis+socket://`.
    Redis,
    /// `amqp://`, `pyamqp://`: RabbitMQ.
    Amqp,
}

const KNOWN_SCHEMES: &str = "amqp://, redis://, redis+socket://, sqlite:///, memory://";
const DEFAULT_REDIS_PORT: u16 = 6379;
const DEFAULT_AMQP_PORT: u16 = 5672;
const DEFAULT_AMQP_VHOST: &str = "/";

/// A parsed URL with its transport options.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    scheme: Scheme,
    /// The URL as given, password included: never print it.
    pub raw: String,
    /// Transport options, those of the URL's query included.
    pub options: Options,
    username: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    /// `SQLite`: the file. `redis+socket`: the socket. Memory: the name. Redis: empty.
    path: String,
    db: i64,
    vhost: String,
}

impl std::fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerUrl")
            .field("url", &self.redacted())
            .finish_non_exhaustive()
    }
}

impl BrokerUrl {
    /// Parses a URL; `options` are transport options as `(name, JSON text)`, and win over the
    /// same names in the URL's query.
    ///
    /// # Errors
    /// [`Error::BadUrl`] names the schemes and options that exist.
    pub fn parse(raw: &str, options: Vec<(String, String)>) -> Result<Self> {
        let Some((name, rest)) = raw.split_once("://") else {
            return Err(bad(format!(
                "{:?} is not a URL; known forms: {KNOWN_SCHEMES}",
                redacted(raw)
            )));
        };
        if raw.contains(';') {
            return Err(bad(format!(
                "{:?}: lists of servers are not supported; give one URL",
                redacted(raw)
            )));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut all = parse_query(query)?;
        all.extend(options);
        let vhost = take(&mut all, "virtual_host").or_else(|| take(&mut all, "db"));
        let parts = Parts { raw, rest, vhost };
        match name {
            "memory" | "cache+memory" => parts.memory(Options::check(Scheme::Memory, all)?),
            "sqlite" => parts.sqlite(Options::check(Scheme::Sqlite, all)?),
            "redis" => parts.redis(Options::check(Scheme::Redis, all)?),
            "redis+socket" | "socket" => parts.redis_socket(Options::check(Scheme::Redis, all)?),
            "amqp" | "pyamqp" => parts.amqp(Options::check(Scheme::Amqp, all)?),
            "amqps" => Err(bad("amqps:// (TLS) is not supported by this version; known: "
                .to_owned()
                + KNOWN_SCHEMES)),
            "rediss" => Err(bad("rediss:// (TLS) is not supported by this version; known: "
                .to_owned()
                + KNOWN_SCHEMES)),
            _ => Err(bad(format!("unknown scheme {name:?}; known: {KNOWN_SCHEMES}"))),
        }
    }

    /// What the scheme selects.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The URL without its password: fit for logs.
    pub fn redacted(&self) -> String {
        redacted(&self.raw)
    }

    /// The URL with all transport options in its query, password included: never print it.
    /// Parsed again, it is the same broker.
    pub fn with_options(&self) -> String {
        let mut whole = self.raw.clone();
        for (name, json) in self.options.iter() {
            whole.push(if whole.contains('?') { '&' } else { '?' });
            let value = serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned());
            let value = percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
            whole.extend([name, "="].into_iter().chain(value));
        }
        whole
    }

    /// User name, decoded.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Password, decoded: never print it.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Host, `127.0.0.1` when none was given; an IPv6 address stands without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port, the protocol's own when none was given.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.scheme {
            Scheme::Amqp => DEFAULT_AMQP_PORT,
            Scheme::Redis | Scheme::Memory | Scheme::Sqlite => DEFAULT_REDIS_PORT,
        })
    }

    /// `SQLite`: the file; `redis+socket`: the socket; memory: the name; otherwise empty.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Number of the Redis database.
    pub fn db(&self) -> i64 {
        self.db
    }

    /// `RabbitMQ`'s virtual host, decoded; `/` when none was given.
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Names of the server, whatever database and options: two URLs with equal servers share
    /// published messages.
    pub fn server(&self) -> String {
        if self.path.is_empty() {
            let host = if self.host == "localhost" {
                "127.0.0.1"
            } else {
                &self.host
            };
            format!("{host}:{}", self.port())
        } else {
            self.path.clone()
        }
    }

    /// Names of transport options that are accepted and have no effect yet.
    pub fn not_honoured(&self) -> Vec<&str> {
        self.options.not_honoured(self.scheme)
    }
}

/// A URL without its passwords, whether it can be parsed or not: fit for logs.
pub fn redacted(raw: &str) -> String {
    raw.split(';').map(redact_one).collect::<Vec<_>>().join(";")
}

fn redact_one(raw: &str) -> String {
    let Some((scheme, rest)) = raw.split_once("://") else {
        // Without a scheme nobody knows what this is: `:secret@host` keeps its secret too.
        return raw
            .rsplit_once('@')
            .map_or_else(|| raw.to_owned(), |(_, host)| format!("**@{host}"));
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let rest = match rest.rsplit_once('@') {
        Some((userinfo, host)) if !rest.starts_with('/') => match userinfo.split_once(':') {
            Some((user, _)) => format!("{user}:**@{host}"),
            None => format!("{userinfo}@{host}"),
        },
        _ => rest.to_owned(),
    };
    if query.is_empty() {
        return format!("{scheme}://{rest}");
    }
    let query: Vec<String> = query.split('&').map(redact_pair).collect();
    format!("{scheme}://{rest}?{}", query.join("&"))
}

fn redact_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _))
            if ["password", "secret", "token"]
                .iter()
                .any(|word| name.contains(word)) =>
        {
            format!("{name}=**")
        }
        _ => pair.to_owned(),
    }
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

/// Query options as `(name, JSON text)`: what reads as a number or a truth value is one.
fn parse_query(query: &str) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(&value.replace('+', " "))?;
        let json = match value.to_ascii_lowercase().as_str() {
            "true" => "true".to_owned(),
            "false" => "false".to_owned(),
            _ if value.starts_with(['[', '{']) => value,
            _ if serde_json::from_str::<serde_json::Number>(&value).is_ok() => value,
            _ => serde_json::Value::String(value).to_string(),
        };
        all.push((decoded(name)?, json));
    }
    Ok(all)
}

fn take(all: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let at = all.iter().position(|(known, _)| known == name)?;
    let (_, json) = all.remove(at);
    Some(serde_json::from_str::<String>(&json).unwrap_or(json))
}

/// A URL cut into pieces that a scheme reads in its own way.
struct Parts<'a> {
    raw: &'a str,
    rest: &'a str,
    vhost: Option<String>,
}

impl Parts<'_> {
    fn url(&self, scheme: Scheme, options: Options) -> BrokerUrl {
        BrokerUrl {
            scheme,
            raw: self.raw.to_owned(),
            options,
            username: None,
            password: None,
            host: String::new(),
            port: None,
            path: String::new(),
            db: 0,
            vhost: String::new(),
        }
    }

    fn memory(&self, options: Options) -> Result<BrokerUrl> {
        let mut url = self.url(Scheme::Memory, options);
        let (_, path) = self.rest.split_once('/').unwrap_or((self.rest, ""));
        url.path = decoded(path.trim_matches('/'))?;
        Ok(url)
    }

    fn sqlite(&self, options: Options) -> Result<BrokerUrl> {
        let mut url = self.url(Scheme::Sqlite, options);
        let path = self.rest.strip_prefix('/').unwrap_or_default();
        url.path = decoded(path)?;
        if url.path.is_empty() || url.path == ":memory:" {
            return Err(bad(format!(
                "{:?} names no file: sqlite:///relative.db or sqlite:////absolute.db (memory:// needs none)",
                url.redacted()
            )));
        }
        Ok(url)
    }

    fn redis(&self, options: Options) -> Result<BrokerUrl> {
        let mut url = self.url(Scheme::Redis, options);
        let (userinfo, rest) = split_userinfo(self.rest);
        (url.username, url.password) = credentials(userinfo)?;
        let (hostport, path) = rest.split_once('/').unwrap_or((rest, ""));
        (url.host, url.port) = self.host_and_port(hostport)?;
        let path = decoded(path)?;
        url.db = self.database(self.vhost.as_deref().unwrap_or(&path))?;
        Ok(url)
    }

    fn amqp(&self, options: Options) -> Result<BrokerUrl> {
        let mut url = self.url(Scheme::Amqp, options);
        let (userinfo, rest) = split_userinfo(self.rest);
        (url.username, url.password) = credentials(userinfo)?;
        // One slash ends the host; what follows is the name, further slashes included.
        let (hostport, path) = rest.split_once('/').unwrap_or((rest, ""));
        (url.host, url.port) = self.host_and_port(hostport)?;
        let vhost = match &self.vhost {
            Some(vhost) => vhost.clone(),
            None => decoded(path)?,
        };
        url.vhost = if vhost.is_empty() {
            DEFAULT_AMQP_VHOST.to_owned()
        } else {
            vhost
        };
        Ok(url)
    }

    fn redis_socket(&self, options: Options) -> Result<BrokerUrl> {
        let mut url = self.url(Scheme::Redis, options);
        let (userinfo, rest) = split_userinfo(self.rest);
        (url.username, url.password) = credentials(userinfo)?;
        url.path = decoded(rest)?;
        if !url.path.starts_with('/') {
            return Err(bad(format!(
                "{:?} names no socket: redis+socket:///path/to/redis.sock?virtual_host=0",
                url.redacted()
            )));
        }
        url.db = self.database(self.vhost.as_deref().unwrap_or(""))?;
        Ok(url)
    }

    fn host_and_port(&self, hostport: &str) -> Result<(String, Option<u16>)> {
        let malformed = || {
            bad(format!(
                "{:?}: cannot read host and port; expected {}://user:password@host:port/name, \
                 special characters percent-encoded",
                redacted(self.raw),
                self.raw.split("://").next().unwrap_or_default()
            ))
        };
        let (host, port) = match hostport.strip_prefix('[') {
            Some(v6) => {
                let (host, after) = v6.split_once(']').ok_or_else(malformed)?;
                (host, after.strip_prefix(':').unwrap_or_default())
            }
            None => hostport.split_once(':').unwrap_or((hostport, "")),
        };
        let port = match port {
            "" => None,
            digits => Some(digits.parse().map_err(|_| malformed())?),
        };
        let host = if host.is_empty() {
            "127.0.0.1".to_owned()
        } else {
            decoded(host)?
        };
        Ok((host, port))
    }

    fn database(&self, vhost: &str) -> Result<i64> {
        match vhost.trim_matches('/') {
            "" => Ok(0),
            digits => digits.parse().ok().filter(|db| *db >= 0).ok_or_else(|| {
                bad(format!(
                    "{:?}: the database is a number from 0, not {digits:?}",
                    redacted(self.raw)
                ))
            }),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> BrokerUrl {
        BrokerUrl::parse(raw, Vec::new()).unwrap()
    }

    fn refusal(raw: &str) -> String {
        BrokerUrl::parse(raw, Vec::new()).unwrap_err().to_string()
    }

    #[test]
    fn redis_url_names_user_password_host_port_and_database() {
        let url = parse("redis://us%40er:p%2Fw@example.org:7000/3");
        assert_eq!(url.username(), Some("us@er"));
        assert_eq!(url.password(), Some("p/w"));
        assert_eq!((url.host(), url.port(), url.db()), ("example.org", 7000, 3));
    }

    #[test]
    fn redis_url_without_parts_takes_the_defaults() {
        for raw in ["redis://", "redis:///", "redis://127.0.0.1//"] {
            let url = parse(raw);
            assert_eq!(
                (url.host(), url.port(), url.db()),
                ("127.0.0.1", 6379, 0),
                "{raw}"
            );
        }
    }

    #[test]
    fn redis_url_takes_an_ipv6_address() {
        let url = parse("redis://:secret@[::1]:6380/1");
        assert_eq!((url.host(), url.port(), url.db()), ("::1", 6380, 1));
        assert_eq!(url.password(), Some("secret"));
    }

    #[test]
    fn socket_url_takes_the_database_from_virtual_host() {
        let url = parse("redis+socket:///run/redis.sock?virtual_host=4");
        assert_eq!((url.path(), url.db()), ("/run/redis.sock", 4));
    }

    #[test]
    fn query_options_are_transport_options_and_explicit_ones_win() {
        let raw = "redis://h/0?visibility_timeout=5&global_keyprefix=a%3A";
        let explicit = vec![("visibility_timeout".to_owned(), "7.5".to_owned())];
        let url = BrokerUrl::parse(raw, explicit).unwrap();
        assert_eq!(
            url.options
                .seconds("visibility_timeout")
                .unwrap()
                .map(|wait| wait.as_millis()),
            Some(7500)
        );
        assert_eq!(
            url.options.text("global_keyprefix").unwrap().as_deref(),
            Some("a:")
        );
    }

    #[test]
    fn url_with_its_options_is_the_same_broker() {
        let options = [
            ("global_keyprefix", "\"a b:\""),
            ("priority_steps", "[0, 5]"),
            ("visibility_timeout", "7.5"),
        ];
        let options = options.map(|(name, json)| (name.to_owned(), json.to_owned()));
        let url = BrokerUrl::parse("redis://h/?virtual_host=2", options.to_vec()).unwrap();
        let again = parse(&url.with_options());
        assert_eq!(
            again.options.iter().collect::<Vec<_>>(),
            url.options.iter().collect::<Vec<_>>()
        );
        assert_eq!((again.host(), again.db()), ("h", 2));
    }

    #[test]
    fn memory_and_sqlite_urls_name_their_store() {
        assert_eq!(parse("memory://").path(), "");
        assert_eq!(parse("memory:///jobs").path(), "jobs");
        assert_eq!(parse("cache+memory://").scheme(), Scheme::Memory);
        assert_eq!(parse("sqlite:///rel/jobs.db").path(), "rel/jobs.db");
        assert_eq!(parse("sqlite:////abs/jobs.db").path(), "/abs/jobs.db");
        assert!(refusal("sqlite://").contains("names no file"));
    }

    #[test]
    fn refusal_names_what_exists_and_hides_the_password() {
        assert!(refusal("sqs://k:s@h").contains("known: amqp://"));
        assert!(refusal("amqps://h").contains("TLS"));
        assert!(refusal("rediss://h").contains("TLS"));
        assert!(refusal("localhost").contains("known forms"));
        let message = refusal("redis://u:pa/ss@h:port/0");
        assert!(!message.contains("pa/ss"), "{message}");
        assert!(refusal("redis://h/jobs").contains("number from 0"));
        assert!(refusal("redis://h/0?nonsense=1").contains("visibility_timeout"));
        assert!(refusal("redis://h/0?ssl_cert_reqs=none").contains("TLS"));
    }

    #[test]
    fn redacted_url_keeps_all_but_the_secrets() {
        assert_eq!(redacted("redis://u:p@h:1/0"), "redis://u:**@h:1/0");
        assert_eq!(redacted("redis://:p@x@h/0"), "redis://:**@h/0");
        assert_eq!(
            redacted("redis://h/0?password=x&db=1"),
            "redis://h/0?password=**&db=1"
        );
        assert_eq!(
            redacted("amqp://a:b@h;amqp://c:d@i"),
            "amqp://a:**@h;amqp://c:**@i"
        );
        assert_eq!(redacted("sqlite:////a@b/c"), "sqlite:////a@b/c");
        assert_eq!(redacted(":p@h"), "**@h");
        assert!(!format!("{:?}", parse("redis://u:hush@h")).contains("hush"));
    }

    #[test]
    fn amqp_url_without_parts_takes_the_defaults() {
        for raw in ["amqp://", "pyamqp://127.0.0.1", "amqp:///", "amqp://127.0.0.1//"] {
            let url = parse(raw);
            assert_eq!(
                (url.host(), url.port(), url.vhost()),
                ("127.0.0.1", 5672, "/"),
                "{raw}"
            );
            assert_eq!((url.username(), url.password()), (None, None), "{raw}");
        }
    }

    #[test]
    fn amqp_url_names_its_virtual_host_after_one_slash() {
        for (raw, vhost) in [
            ("amqp://h/jobs", "jobs"),
            ("amqp://h//jobs", "/jobs"),
            ("amqp://h/%2F", "/"),
            ("amqp://h/%2Fjobs", "/jobs"),
            ("amqp://h/a/b", "a/b"),
            ("amqp://h/jobs?virtual_host=other", "other"),
        ] {
            assert_eq!(parse(raw).vhost(), vhost, "{raw}");
        }
        let url = parse("amqp://us%40er:p%2Fw@[::1]:5673/v");
        assert_eq!((url.username(), url.password()), (Some("us@er"), Some("p/w")));
        assert_eq!((url.host(), url.port()), ("::1", 5673));
    }

    #[test]
    fn equal_servers_share_a_name_whatever_the_database() {
        assert_eq!(
            parse("redis://localhost/1").server(),
            parse("redis://:x@127.0.0.1:6379/2").server()
        );
        assert_ne!(parse("redis://h:1").server(), parse("redis://h:2").server());
    }
}
