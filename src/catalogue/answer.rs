//! An HTTP answer of a provider, bounded and parsed once, with what can be read from any of them.

use std::time::Duration;

use serde_json::Value;

use crate::catalogue::{Anew, Provider};
use crate::id::AccountName;
use crate::protocol::reply::Balance;

/// Bytes of a body that are read; what comes after them is dropped.
pub const BODY_MAX: usize = 64 * 1024;

/// Longer waits than this are not believed.
const WAIT_MAX: Duration = Duration::from_secs(31 * 86_400);

/// Numbers as large as these are no spans: seconds since 1970, and milliseconds.
const EPOCH_SECONDS: i64 = 1_000_000_000;
const EPOCH_MILLIS: i64 = 1_000_000_000_000;

/// Currencies of one account that are shown.
const BALANCES_MAX: usize = 4;

/// An answer. It may echo the key: nothing of it is shown but through `probe::redact`.
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    text: String,
    body: Body,
}

/// What a provider says is left of its own limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// Requests that it still takes.
    pub requests: Option<u64>,
    /// Tokens that it still takes; where it counts several kinds, of the scarcest.
    pub tokens: Option<u64>,
    /// How long it takes nothing: until the last of the limits with nothing left begins anew.
    pub nothing_for: Option<Duration>,
}

/// What a body turned out to be.
#[derive(PartialEq)]
enum Body {
    Json(Value),
    /// A page for people: of a proxy, a gateway, a portal; not of the API.
    Page,
    /// Longer than [`BODY_MAX`].
    Cut,
    Other,
}

impl Answer {
    /// Reads an answer. Of a body longer than [`BODY_MAX`] only the beginning is looked at, and it is not parsed.
    pub fn new<'a>(status: u16, headers: impl IntoIterator<Item = (&'a str, &'a str)>, body: &[u8]) -> Self {
        let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let text = String::from_utf8_lossy(body.get(..BODY_MAX).unwrap_or(body)).into_owned();
        let is_page = headers.iter().any(|(name, value)| name == "content-type" && value.to_ascii_lowercase().contains("text/html"));
        let body = if is_page || text.trim_start().starts_with('<') {
            Body::Page
        } else if body.len() > BODY_MAX {
            Body::Cut
        } else {
            serde_json::from_str(&text).map_or(Body::Other, |value| Body::Json(unwrapped(value)))
        };
        Self { status, headers, text, body }
    }

    /// Its status. Some providers answer errors with 200 and the status in the body (OpenRouter, "Errors and debugging").
    #[must_use]
    pub fn status(&self) -> u16 {
        let inner = || self.at("/error/code").first().and_then(|code| u16::try_from(code.as_u64()?).ok()).filter(|code| (400..600).contains(code));
        if self.status == 200 { inner().unwrap_or(200) } else { self.status }
    }

    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Is it a page for people? The API itself did not answer then.
    #[must_use]
    pub fn is_page(&self) -> bool {
        self.body == Body::Page
    }

    /// Is it JSON, or the beginning of some that was too long to read?
    #[must_use]
    pub fn looks_like_json(&self) -> bool {
        match self.body {
            Body::Json(_) => true,
            Body::Cut => self.text.trim_start().starts_with(['{', '[']),
            Body::Page | Body::Other => false,
        }
    }

    /// The body as text, or the beginning of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The values at a JSON pointer (RFC 6901) whose step `*` stands for every element of an array.
    #[must_use]
    pub fn at(&self, pointer: &str) -> Vec<&Value> {
        let Body::Json(value) = &self.body else {
            return Vec::new();
        };
        let mut found = vec![value];
        for step in pointer.split('/').skip(1) {
            found = found.into_iter().flat_map(|value| children(value, step)).collect();
        }
        found
    }

    /// What the provider says to people, not yet redacted; none in a page or in a body that was too long.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        let places = ["/error/message", "/message", "/error", "/detail", "/title"];
        places.iter().find_map(|place| self.at(place).first()?.as_str()).filter(|text| !text.trim().is_empty())
    }

    /// How long the provider asks to wait: `retry-after-ms`, `retry-after` in seconds or as a date (RFC 9110, 10.2.3), or Google's
    /// `retryDelay`. None where it is absent, nonsense, or more than 31 days.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let millis = || seconds(self.header("retry-after-ms")?, 1000.0);
        let after = || seconds(self.header("retry-after")?, 1.0).or_else(|| self.until_date());
        let delay = || self.at("/error/details/*/retryDelay").first().and_then(|delay| seconds(delay.as_str()?.strip_suffix('s')?, 1.0));
        millis().or_else(after).or_else(delay).filter(|wait| *wait <= WAIT_MAX)
    }

    /// What the provider says is left of its limits; none where it says nothing.
    #[must_use]
    pub fn left(&self, provider: &Provider) -> Option<Left> {
        let mut found: Option<Left> = None;
        for limit in provider.limit_headers.iter().copied().flatten() {
            let Some(count) = self.header(limit.remaining).and_then(|count| count.trim().parse::<u64>().ok()) else { continue };
            let left = found.get_or_insert_default();
            let place = if limit.requests { &mut left.requests } else { &mut left.tokens };
            *place = Some(place.map_or(count, |other| other.min(count)));
            if count == 0 {
                let wait = match limit.anew {
                    Anew::At(header) => self.header(header).and_then(|reset| self.until(reset)).filter(|wait| *wait <= WAIT_MAX),
                    Anew::Within(window) => Some(window),
                };
                left.nothing_for = left.nothing_for.max(wait);
            }
        }
        found
    }

    /// A span as Go writes it (`6m0s`, `1.5s`, `120ms`), seconds, or a moment (RFC 3339, or seconds or milliseconds since 1970),
    /// from the answer's own `Date` on.
    fn until(&self, reset: &str) -> Option<Duration> {
        let moment = match reset.trim().parse::<i64>() {
            Ok(since) if since >= EPOCH_MILLIS => jiff::Timestamp::from_millisecond(since).ok(),
            Ok(since) if since >= EPOCH_SECONDS => jiff::Timestamp::from_second(since).ok(),
            Ok(_) => None,
            Err(_) => reset.parse().ok(),
        };
        match moment {
            Some(moment) => {
                let now = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(self.header("date")?).ok()?;
                Some(Duration::try_from(moment.duration_since(now)).unwrap_or(Duration::ZERO))
            }
            None => seconds(reset, 1.0).or_else(|| go_span(reset)),
        }
    }

    /// A date is measured from the answer's own `Date`: the provider's clock, on both sides.
    fn until_date(&self) -> Option<Duration> {
        let date = |name: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(self.header(name)?).ok();
        let wait = date("retry-after")?.duration_since(date("date")?);
        Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
    }

    /// What is left of the key's money, where the answer tells it, by currency.
    #[must_use]
    pub fn balances(&self, provider: &Provider) -> Vec<Balance> {
        let Some(at) = provider.balance.filter(|_| (200..300).contains(&self.status)) else {
            return Vec::new();
        };
        let amount = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|amount: &f64| amount.is_finite());
        let first = |pointer: Option<&'static str>| Some(*self.at(pointer?).first()?);
        let currencies = at.currency.map(|pointer| self.at(pointer));
        let balance = |(place, left): (usize, &Value)| {
            let currency = match &currencies {
                Some(named) => word(named.get(place)?)?,
                None => "USD".to_owned(),
            };
            Some(Balance { currency, left: amount(left)?, limit: first(at.limit).and_then(amount), resets: first(at.resets).and_then(word) })
        };
        self.at(at.left).into_iter().take(BALANCES_MAX).enumerate().filter_map(balance).collect()
    }

    /// The account that the answer names, by the provider's headers or by its probe's field.
    #[must_use]
    pub fn account(&self, provider: &Provider) -> Option<AccountName> {
        let named: Vec<&str> = provider.account_headers.iter().filter_map(|name| self.header(name)).collect();
        if !named.is_empty() {
            return named.join("/").parse().ok();
        }
        self.at(provider.probe?.account?).first()?.as_str()?.parse().ok()
    }
}

/// A short text of letters.
fn word(value: &Value) -> Option<String> {
    value.as_str().filter(|text| (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphabetic())).map(str::to_owned)
}

/// Google wraps some errors in an array of one.
fn unwrapped(value: Value) -> Value {
    match value {
        Value::Array(mut values) if values.len() == 1 => values.pop().unwrap_or_default(),
        value => value,
    }
}

fn children<'a>(value: &'a Value, step: &str) -> Vec<&'a Value> {
    match (value, step) {
        (Value::Array(values), "*") => values.iter().collect(),
        (Value::Object(fields), step) => fields.get(step).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// A span of time as Go's `time.Duration` writes it.
fn go_span(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, next) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let per_second = match unit {
            "h" => 1.0 / 3600.0,
            "m" => 1.0 / 60.0,
            "s" => 1.0,
            "ms" => 1e3,
            "us" | "µs" => 1e6,
            "ns" => 1e9,
            _ => return None,
        };
        total = total.checked_add(seconds(number, per_second)?)?;
        rest = next;
    }
    (!text.trim().is_empty()).then_some(total)
}

fn seconds(number: &str, per_second: f64) -> Option<Duration> {
    let number: f64 = number.trim().parse().ok()?;
    Duration::try_from_secs_f64(number / per_second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(headers: &[(&str, &str)]) -> Option<u128> {
        Answer::new(429, headers.iter().copied(), b"").retry_after().map(|wait| wait.as_millis())
    }

    #[test]
    fn a_wait_is_read_in_every_form_it_is_sent_in() {
        assert_eq!(wait(&[("Retry-After", "7")]), Some(7_000));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(500));
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "6500")]), Some(6_500));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"), date]), Some(60_000));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), date]), Some(0));
        let body = br#"{"error":{"details":[{"reason":"X"},{"retryDelay":"22s"}]}}"#;
        assert_eq!(Answer::new(429, [], body).retry_after(), Some(Duration::from_secs(22)));
    }

    #[test]
    fn a_wait_that_is_nonsense_is_none() {
        for nonsense in ["-1", "NaN", "inf", "soon", "", "2678401", "1e300", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn what_is_left_is_read_as_each_provider_sends_it() {
        let left =
            |kind: &str, headers: &[(&str, &str)]| Answer::new(200, headers.iter().copied(), b"{}").left(crate::catalogue::find(kind).unwrap());
        let openai = [
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-reset-tokens", "1m30.5s"),
        ];
        let nothing_for = Some(Duration::from_millis(90_500));
        assert_eq!(left("openai", &openai), Some(Left { requests: Some(59), tokens: Some(0), nothing_for }));
        let anthropic = [
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:20Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "900"),
            ("anthropic-ratelimit-output-tokens-remaining", "70"),
            ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
        ];
        assert_eq!(left("anthropic", &anthropic), Some(Left { requests: Some(0), tokens: Some(70), nothing_for: Some(Duration::from_secs(20)) }));
        assert_eq!(left("openai", &[]), None);
        assert_eq!(left("anthropic", &openai), None);
        let date = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");
        for (kind, remaining, reset) in [
            ("openrouter", "x-ratelimit-remaining", Some(("x-ratelimit-reset", "1767225610000"))),
            ("openai_compatible", "x-ratelimit-remaining", Some(("x-ratelimit-reset", "1767225610"))),
            ("cerebras", "x-ratelimit-remaining-requests-day", Some(("x-ratelimit-reset-requests-day", "10.0"))),
            ("mistral", "x-ratelimit-remaining-req-10-second", None),
        ] {
            let headers: Vec<_> = [Some((remaining, "0")), reset, Some(date)].into_iter().flatten().collect();
            assert_eq!(
                left(kind, &headers),
                Some(Left { requests: Some(0), tokens: None, nothing_for: Some(Duration::from_secs(10)) }),
                "{remaining}"
            );
        }
        let nonsense = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "soon")];
        assert_eq!(left("openai", &nonsense), Some(Left { requests: Some(0), tokens: None, nothing_for: None }));
        for (text, millis) in [("120ms", Some(120)), ("6m0s", Some(360_000)), ("1h2m3s", Some(3_723_000)), ("", None), ("s", None), ("1x", None)] {
            assert_eq!(go_span(text).map(|span| span.as_millis()), millis, "{text}");
        }
    }

    #[test]
    fn an_account_is_named_by_headers_or_by_a_field() {
        let openai = crate::catalogue::find("openai").unwrap();
        let account = |headers: &[(&str, &str)]| Answer::new(200, headers.iter().copied(), b"{}").account(openai).map(|name| name.to_string());
        assert_eq!(account(&[("openai-organization", "org-a"), ("openai-project", "proj_b")]).as_deref(), Some("org-a/proj_b"));
        assert_eq!(account(&[("OpenAI-Organization", "org-a")]).as_deref(), Some("org-a"));
        assert_eq!(account(&[]), None);
        let cohere = crate::catalogue::find("cohere").unwrap();
        let answer = Answer::new(200, [], br#"{"valid":true,"organization_id":"o-1"}"#);
        assert_eq!(answer.account(cohere).map(|name| name.to_string()).as_deref(), Some("o-1"));
    }

    #[test]
    fn what_is_left_of_the_money_is_read_where_it_is_told() {
        let balances = |kind: &str, body: &str| Answer::new(200, [], body.as_bytes()).balances(crate::catalogue::find(kind).unwrap());
        let balance = |currency: &str, left, limit, resets: Option<&str>| Balance {
            currency: currency.to_owned(),
            left,
            limit,
            resets: resets.map(str::to_owned),
        };
        let deepseek =
            r#"{"is_available":true,"balance_infos":[{"currency":"USD","total_balance":"110.00"},{"currency":"CNY","total_balance":"0.50"}]}"#;
        assert_eq!(balances("deepseek", deepseek), [balance("USD", 110.0, None, None), balance("CNY", 0.5, None, None)]);
        let openrouter = r#"{"data":{"limit":10,"limit_remaining":7.5,"limit_reset":"monthly"}}"#;
        assert_eq!(balances("openrouter", openrouter), [balance("USD", 7.5, Some(10.0), Some("monthly"))]);
        for (kind, nothing) in [
            ("openrouter", r#"{"data":{"limit":null,"limit_remaining":null}}"#),
            ("deepseek", r#"{"balance_infos":[{"currency":"\u001b[31m","total_balance":"1"},{"currency":"USD","total_balance":"inf"}]}"#),
            ("openai", openrouter),
        ] {
            assert_eq!(balances(kind, nothing), []);
        }
    }

    #[test]
    fn a_status_in_the_body_of_a_200_is_the_status() {
        assert_eq!(Answer::new(200, [], br#"{"error":{"code":429}}"#).status(), 429);
        assert_eq!(Answer::new(200, [], br#"{"error":{"code":"x"}}"#).status(), 200);
        assert_eq!(Answer::new(400, [], br#"{"error":{"code":429}}"#).status(), 400);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_answer(status in 0_u16..1000, value in ".{0,40}", body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let names = ["retry-after", "date", "retry-after-ms", "x-ratelimit-reset-tokens"];
            let headers = names.map(|name| (name, value.as_str())).into_iter().chain([("x-ratelimit-remaining-tokens", "0")]);
            let answer = Answer::new(status, headers, &body);
            for kind in crate::catalogue::all() {
                let judgement = crate::catalogue::classify::judge(kind, &answer);
                drop((judgement, answer.account(kind), answer.balances(kind), answer.message(), answer.retry_after(), answer.left(kind)));
            }
        }
    }
}
