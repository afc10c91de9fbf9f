//! Single values: from what a file or variable says to numbers, names and durations within their bounds.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::suggest::suggestion;
use super::tree::{Node, Value};
use crate::id::InvalidName;
use crate::money::{InvalidUsd, Usd};
use crate::policy::is_here;
use crate::protocol::strategy::Strategy;
use crate::time::span::Span;

/// Tokens that an answer may be allowed.
pub(super) const TOKENS: RangeInclusive<u64> = 1..=1_000_000_000;

/// What is wrong with a value, and what may stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) allowed: String,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { what: what.into(), allowed: allowed.into() }
    }

    fn found(node: &Node, allowed: impl Into<String>) -> Self {
        Self::new(format!("found {}", found(node)), allowed)
    }
}

/// May a text be repeated in a message? Not if it may be a secret that stands in the wrong place.
pub(super) fn harmless(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let capitals = text.bytes().any(|b| b.is_ascii_uppercase());
    let longest = if digits > 2 { 20 } else { 32 };
    text.len() <= longest && !text.starts_with("sk-") && !(digits > 0 && capitals) && text.chars().all(|c| !c.is_control())
}

/// A text in backticks, or only its length where it may be a secret.
pub(super) fn quoted(text: &str) -> String {
    if harmless(text) { format!("`{text}`") } else { format!("(a text of {} characters)", text.chars().count()) }
}

/// What stands there, in words that give no secret away.
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Integer(value) if value.unsigned_abs() < 1_000_000_000_000 => format!("`{value}`"),
        Value::Integer(_) => "a very large number".to_owned(),
        Value::Float(value) => format!("`{value}`"),
        Value::Text(text) if text.is_empty() => "an empty text".to_owned(),
        Value::Text(text) if harmless(text) => format!("the text `{}`", text.as_str()),
        Value::Text(text) => format!("a text of {} characters", text.chars().count()),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}

/// A text.
pub(super) fn text(node: &Node) -> Result<&str, Wrong> {
    match &node.value {
        Value::Text(text) => Ok(text),
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) => Err(Wrong::found(node, "put it in quotes, if it is meant as a text")),
        _ => Err(Wrong::found(node, "write a text")),
    }
}

/// `true` or `false`.
pub(super) fn flag(node: &Node) -> Result<bool, Wrong> {
    match node.value {
        Value::Bool(value) => Ok(value),
        _ => Err(Wrong::found(node, "write `true` or `false`")),
    }
}

/// A whole number within bounds.
pub(super) fn whole(bounds: RangeInclusive<u64>) -> impl Fn(&Node) -> Result<u64, Wrong> {
    move |node| {
        let number = match node.value {
            Value::Integer(number) => u64::try_from(number).ok(),
            // `1e3`; the bounds are far below where an f64 skips whole numbers.
            Value::Float(number) if number.fract() == 0.0 && (0.0..=1e12).contains(&number) => Some(number as u64),
            _ => None,
        };
        let allowed = || format!("write a whole number from {} to {}", bounds.start(), bounds.end());
        number.filter(|number| bounds.contains(number)).ok_or_else(|| Wrong::found(node, allowed()))
    }
}

/// An amount of dollars.
pub(super) fn dollars(node: &Node) -> Result<Usd, Wrong> {
    let allowed = "write a number of US dollars from 0 to 1000000000, without quotes";
    number(node).ok_or(InvalidUsd::NotANumber).and_then(Usd::from_dollars).map_err(|_| Wrong::found(node, allowed))
}

/// A share: above 0, at most 1.
pub(super) fn share(node: &Node) -> Result<f64, Wrong> {
    number(node).filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(|| Wrong::found(node, "write a number above 0 and at most 1"))
}

fn number(node: &Node) -> Option<f64> {
    match node.value {
        Value::Integer(value) => Some(value as f64),
        Value::Float(value) => Some(value),
        _ => None,
    }
}

/// A duration.
pub(super) fn span(node: &Node) -> Result<Duration, Wrong> {
    match node.as_text().map(Span::from_str) {
        Some(Ok(span)) => Ok(span.duration()),
        Some(Err(why)) => Err(Wrong::found(node, why.to_string())),
        None => Err(Wrong::found(node, "write a duration as `30s`, `5m`, `1h30m` or `1d`")),
    }
}

/// A name of any kind.
pub(super) fn name<T: FromStr<Err = InvalidName>>(node: &Node) -> Result<T, Wrong> {
    let text = text(node)?;
    text.parse().map_err(|why: InvalidName| Wrong::new(format!("{} is no name", quoted(text)), why.to_string()))
}

/// One of some words.
pub(super) fn word<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&Node) -> Result<T, Wrong> {
    move |node| {
        let text = text(node)?;
        let names = || words.iter().map(|(name, _)| *name).collect::<Vec<_>>();
        let found = words.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| Wrong::new(format!("{} is not known", quoted(text)), suggestion(text, &names())))
    }
}

/// A rotation strategy.
pub(super) fn strategy(node: &Node) -> Result<Strategy, Wrong> {
    word(&Strategy::ALL)(node)
}

/// Where an API is: `https://HOST[:PORT][/PATH]`, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BaseUrl {
    pub(super) url: String,
    /// Without TLS to another machine: keys can be read on the way.
    pub(super) open: bool,
}

/// A base URL.
pub(super) fn base_url(node: &Node) -> Result<BaseUrl, Wrong> {
    let text = text(node)?;
    let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err(Wrong::found(node, "write a URL that begins with `https://`")),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Wrong::new("there is a user or password in the URL", "leave it out: keys belong under `api_keys`"));
    }
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host_fits = !host.is_empty() && (bracketed || host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')));
    if !host_fits || !rest.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'"' | b'\\')) {
        return Err(Wrong::new("this is no base URL", "write `https://HOST[:PORT][/PATH]`, without `?`, `#` or spaces"));
    }
    let url = text.trim_end_matches('/').to_owned();
    let open = !tls && !is_here(&url);
    Ok(BaseUrl { url, open })
}

#[cfg(test)]
mod tests {
    use super::super::tree::At;
    use super::*;
    use crate::policy::RATES;

    fn node(value: Value) -> Node {
        Node { at: At::File(0), value }
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        for value in [Value::Integer(0), Value::Integer(-1), Value::Integer(1_000_000_001), Value::Float(1.5), Value::Null] {
            assert!(whole(RATES)(&node(value)).is_err());
        }
        assert_eq!(whole(RATES)(&node(Value::Integer(1_000_000_000))), Ok(1_000_000_000));
        assert_eq!(whole(RATES)(&node(Value::Float(1e3))), Ok(1000));
        for value in [0.0, -0.1, 1.01, f64::NAN, f64::INFINITY] {
            assert!(share(&node(Value::Float(value))).is_err(), "{value}");
        }
        assert_eq!(share(&node(Value::Integer(1))), Ok(1.0));
        for value in [-0.01, f64::NAN, f64::INFINITY, 1e10] {
            assert!(dollars(&node(Value::Float(value))).is_err(), "{value}");
        }
        assert_eq!(dollars(&node(Value::Integer(0))), Ok(Usd::ZERO));
    }

    #[test]
    fn a_base_url_is_http_with_a_host_and_no_secret() {
        let read = |text: &str| base_url(&Node::text(At::File(0), text));
        assert_eq!(read("https://api.example.com/v1/").map(|u| (u.url, u.open)), Ok(("https://api.example.com/v1".to_owned(), false)));
        assert!(["http://10.0.0.5:8000", "http://127.example.com", "http://[2001:db8::1]"].iter().all(|u| read(u).is_ok_and(|u| u.open)));
        assert!(["http://localhost:1/", "http://127.0.0.1", "http://[::1]:80/v1"].iter().all(|u| read(u).is_ok_and(|u| !u.open)));
        for wrong in ["", "api.example.com", "ftp://x", "https://", "https:///v1", "https://a b", "https://h/?key=x", "https://:80"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        let wrong = read("https://user:hunter2@h/").unwrap_err();
        assert!(!format!("{wrong:?}").contains("hunter2"));
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        assert!(harmless("round_robbin"));
        assert!(harmless("cached_input_cost_per_1k_tokens"));
        assert!(!harmless("sk-abc"));
        assert!(!harmless("AIzaSyA1234"));
        assert!(!harmless("0123456789abcdef0123456789abcdef"));
        assert!(!harmless(&"x".repeat(33)));
    }
}
