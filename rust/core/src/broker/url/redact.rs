//! URLs without what must not be seen.

/// Parts of an option's name that say that its value is a secret.
const SECRETS: &[&str] = &["password", "secret", "token", "sentinel_kwargs"];

/// A URL without its passwords, whether it can be parsed or not: fit for logs.
///
/// Where a password was not percent-encoded, more than the password is left out, never less.
pub fn redacted(raw: &str) -> String {
    lists(raw)
        .into_iter()
        .map(redact_one)
        .collect::<Vec<_>>()
        .join(";")
}

/// Cuts a list of URLs where a `;` has another scheme after it; others may be within a password.
fn lists(raw: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    for (at, _) in raw.match_indices(';') {
        let after = &raw[at + 1..];
        if after.split_once("://").is_some_and(|(name, _)| is_scheme(name)) {
            found.push(&raw[start..at]);
            start = at + 1;
        }
    }
    found.push(&raw[start..]);
    found
}

/// Whether this can be the name of a scheme.
pub(super) fn is_scheme(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_'))
}

fn redact_one(raw: &str) -> String {
    let Some((scheme, rest)) = raw.split_once("://").filter(|(name, _)| is_scheme(name)) else {
        // Without a scheme nobody knows what this is: `:secret@host` keeps its secret too.
        return raw
            .rsplit_once('@')
            .map_or_else(|| raw.to_owned(), |(_, host)| format!("**@{host}"));
    };
    let rest = match rest.rsplit_once('@') {
        Some((userinfo, host)) if !rest.starts_with('/') => match userinfo.split_once(':') {
            Some((user, _)) => format!("{user}:**@{host}"),
            None => format!("{userinfo}@{host}"),
        },
        None if !rest.starts_with('/') => without_what_is_no_port(rest),
        _ => rest.to_owned(),
    };
    let Some((rest, query)) = rest.split_once('?') else {
        return format!("{scheme}://{rest}");
    };
    let query: Vec<String> = query.split('&').map(redact_pair).collect();
    format!("{scheme}://{rest}?{}", query.join("&"))
}

/// A part without an `@` may be the beginning of a URL that was cut within its password: what
/// stands where a port belongs, and is none, is left out with all that follows.
fn without_what_is_no_port(rest: &str) -> String {
    // The address of IPv6 has colons of its own.
    let address = rest.find(']').filter(|_| rest.starts_with('[')).unwrap_or(0);
    let end = rest[address..]
        .find(['/', '?'])
        .map_or(rest.len(), |end| address + end);
    let authority = &rest[address..end];
    match authority.split_once(':') {
        Some((host, port)) if !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{}{host}:**", &rest[..address])
        }
        _ => rest.to_owned(),
    }
}

fn redact_pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((name, _)) if SECRETS.iter().any(|word| name.contains(word)) => {
            format!("{name}=**")
        }
        _ => pair.to_owned(),
    }
}
