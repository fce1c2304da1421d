//! URLs as people write them, and what is said about those that cannot be used.

use proptest::prelude::*;

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
    assert!(refusal("localhost").contains("known forms"));
    let message = refusal("redis://u:pa/ss@h:port/0");
    assert!(!message.contains("pa/ss"), "{message}");
    assert!(refusal("redis://h/jobs").contains("number from 0"));
    assert!(refusal("redis://h/0?nonsense=1").contains("visibility_timeout"));
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
    // A ; and a scheme within a password: found by `make fuzz`.
    assert_eq!(
        redacted("redis://u:seca://b;redis://c:1/0"),
        "redis://u:**;redis://c:1/0"
    );
    assert_eq!(redacted("redis://[::1]:6379/0?db=1"), "redis://[::1]:6379/0?db=1");
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

#[test]
fn secure_schemes_take_the_ports_of_their_kind() {
    assert_eq!(parse("amqps://h").port(), 5671);
    assert_eq!(parse("amqp://h?ssl=true").port(), 5671);
    assert_eq!(parse("amqp://h?ssl_cert_reqs=none").port(), 5671);
    assert_eq!(parse("rediss://h").port(), 6379);
    assert_eq!(parse("sentinel://h?master_name=m").port(), 26_379);
}

#[test]
fn list_names_servers_of_one_kind_each_with_its_own_parts() {
    let url = parse("redis://a:p@one/1;rediss://two:7000/2;redis+socket:///run/x.sock?virtual_host=3;four");
    let servers: Vec<_> = url
        .servers()
        .map(|server| (server.host.as_str(), server.db))
        .collect();
    assert_eq!(servers, [("one", 1), ("two", 2), ("", 3), ("four", 0)]);
    assert_eq!(url.server(), "one:6379;two:7000;/run/x.sock;four:6379");
    let url = parse("amqp://u:p@one/v;amqps://two");
    let servers: Vec<_> = url
        .servers()
        .map(|server| (url.port_of(server), &*server.vhost))
        .collect();
    assert_eq!(servers, [(5672, "v"), (5671, "/")]);
}

#[test]
fn list_of_different_kinds_is_refused() {
    for raw in [
        "redis://h;amqp://h",
        "sentinel://h?master_name=m;redis://h",
        "memory://;memory://",
        "redis://h;redis://h?socket_timeout=3",
    ] {
        let message = refusal(raw);
        assert!(message.contains("list"), "{raw}: {message}");
    }
}

#[test]
fn sentinels_share_one_name_and_the_first_has_the_database() {
    let url = parse("sentinel://:p@one:1/3?master_name=m;sentinel://two:2/4");
    assert!(url.is_sentinel());
    assert_eq!((url.db(), url.password()), (3, Some("p")));
    assert_eq!(url.server(), "one:1;two:2;m");
    assert!(refusal("sentinel://h").contains("master_name"));
}

#[test]
fn list_with_its_options_is_the_same_broker() {
    let options = vec![("sentinel_kwargs".to_owned(), r#"{"password": "x"}"#.to_owned())];
    let url = BrokerUrl::parse("sentinel://one?master_name=m;sentinel://two", options).unwrap();
    let again = parse(&url.with_options());
    assert_eq!(again.server(), url.server());
    assert_eq!(
        again
            .options
            .nested("sentinel_kwargs")
            .unwrap()
            .text("password")
            .unwrap()
            .unwrap(),
        "x"
    );
    assert!(!again.redacted().contains('x'), "{}", again.redacted());
}

#[test]
fn options_find_the_first_url_of_a_list_that_begins_with_a_separator() {
    let url = parse(";redis://h/1?socket_timeout=3;redis://i");
    let again = parse(&url.with_options());
    assert_eq!((again.host(), again.db()), ("h", 1));
    assert_eq!(
        again.options.word("socket_timeout").ok(),
        url.options.word("socket_timeout").ok()
    );
}

/// Anything a password may be; `_` marks the place of the secret in what is around it.
fn secrets() -> impl Strategy<Value = String> {
    "[A-Za-z0-9:/?#\\[\\]@!$&'()*+,;=%._~ |-]{1,4}Zq7[A-Za-z0-9:/?#\\[\\]@!$&'()*+,;=%._~ |-]{0,6}"
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Everything that anybody gets to see of a URL.
fn shown(raw: &str) -> Vec<String> {
    let mut all = vec![redacted(raw)];
    match BrokerUrl::parse(raw, Vec::new()) {
        Ok(url) => {
            all.push(format!("{url:?}"));
            all.push(url.redacted());
            all.extend(url.servers().map(|server| server.redacted.clone()));
        }
        Err(error) => all.push(format!("{error} {error:?}")),
    }
    all
}

proptest! {
    #[test]
    fn no_encoded_password_is_ever_shown_and_all_are_understood(
        scheme in prop::sample::select(vec!["redis", "rediss", "amqp", "amqps", "pyamqp"]),
        secret in secrets(),
        user in "[a-z]{0,4}",
        more in any::<bool>(),
    ) {
        let first = format!("{scheme}://{user}:{}@h:1/1", encoded(&secret));
        let raw = if more { format!("{first};{first}") } else { first };
        let url = parse(&raw);
        prop_assert_eq!(url.password(), Some(secret.as_str()));
        for text in shown(&raw) {
            prop_assert!(!text.contains("Zq7"), "{text}");
        }
    }

    #[test]
    fn no_password_is_shown_where_it_was_not_encoded(
        scheme in prop::sample::select(vec!["redis", "rediss", "amqp", "amqps", "sentinel", "sqs"]),
        secret in secrets(),
        rest in prop::sample::select(vec!["h", "h:1/0", "h:port/x", "[::1]:2", "h/0?nonsense=1", ""]),
        // A list may follow.
        tail in prop::sample::select(vec!["", ";redis://i", ";amqp://u:p@i"]),
    ) {
        let raw = format!("{scheme}://user:{secret}@{rest}{tail}");
        for text in shown(&raw) {
            prop_assert!(!text.contains("Zq7"), "{raw}: {text}");
        }
    }
}
