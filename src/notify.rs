//! One message to a webhook: its body, its signature, and whether it was taken.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::alert::post::PostId;
use crate::config::webhook::{Address, WebhookFormat};
use crate::http::{self, Call, Http};
use crate::protocol::alert::{Alert, AlertState};
use crate::time::Timestamp;
use crate::vault::sign::signature;

/// How long one message may take.
const TIME: Duration = Duration::from_secs(10);

/// Sends messages, over one HTTP client that keeps its connections.
#[derive(Debug)]
pub struct Notifier(Http);

/// A webhook. It has no Debug: its URL may hold a token.
pub struct Target {
    /// Its name in the store.
    pub id: PostId,
    /// Its place in the configuration, from 0.
    pub number: usize,
    /// The host, and its port where that is not the usual one, for people.
    pub host: String,
    address: Address,
    format: WebhookFormat,
    /// Why it did not take the last message.
    trouble: Mutex<Option<String>>,
}

/// Why a message was not taken. It names no URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The host answered that it does not.
    #[error("HTTP {0}")]
    Refused(u16),
    /// There was no answer.
    #[error("{0}")]
    Unreached(String),
}

/// What a body says besides the alert.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    alert: &'a Alert,
    /// The machine that gollmd runs on.
    host: &'a str,
    /// Of gollmd.
    version: &'static str,
}

impl Target {
    /// A webhook at an address, the `number`th of the configuration; `id` names it in the store.
    #[must_use]
    pub fn new(id: PostId, number: usize, address: Address, format: WebhookFormat) -> Self {
        Self { id, number, host: http::place(address.url.expose()), address, format, trouble: Mutex::new(None) }
    }

    /// Why it did not take the last message; none: it did, or there was none.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of what came of the last message; returns what was known before.
    pub fn note(&self, trouble: Option<String>) -> Option<String> {
        std::mem::replace(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner), trouble)
    }
}

impl Notifier {
    /// One that sends over this client.
    #[must_use]
    pub const fn new(http: Http) -> Self {
        Self(http)
    }

    /// Sends an alert of the machine `host`; `now` is signed with it. Returns the status that it was taken with.
    ///
    /// # Errors
    /// It was not taken, or not within ten seconds.
    pub async fn send(&self, target: &Target, alert: &Alert, host: &str, now: Timestamp) -> Result<u16, NotTaken> {
        let unreached = |why: &dyn std::fmt::Display| NotTaken::Unreached(why.to_string());
        let body = body(target.format, alert, host).map_err(|why| unreached(&why))?;
        let headers = headers(target, alert, &body, now);
        let call = Call::post(target.address.url.expose(), &headers, body).map_err(|why| unreached(&why))?;
        let answer = match tokio::time::timeout(TIME, self.0.send(call)).await {
            Ok(answer) => answer.map_err(|why| unreached(&why))?,
            Err(_) => return Err(NotTaken::Unreached(format!("no answer from {} in {TIME:?}", target.host))),
        };
        match answer.status() {
            status @ 200..300 => Ok(status),
            status => Err(NotTaken::Refused(status)),
        }
    }
}

fn headers(target: &Target, alert: &Alert, body: &str, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut headers = vec![("gollm-alert", alert.id.to_string())];
    if let Some(secret) = &target.address.secret {
        let unix = now.unix_millis().div_euclid(1000).to_string();
        let signed = signature(secret, &[unix.as_bytes(), b".", body.as_bytes()]);
        headers.push(("gollm-signature", format!("t={unix},v1={signed}")));
    }
    headers
}

fn body(format: WebhookFormat, alert: &Alert, host: &str) -> Result<String, serde_json::Error> {
    match format {
        WebhookFormat::Json => serde_json::to_string(&Body { alert, host, version: env!("CARGO_PKG_VERSION") }),
        WebhookFormat::Slack => serde_json::to_string(&serde_json::json!({ "text": line(alert, host) })),
    }
}

/// A line as Slack shows it (<https://api.slack.com/reference/surfaces/formatting>): three characters are its own.
fn line(alert: &Alert, host: &str) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mark = if alert.state == AlertState::Raised { ":warning:" } else { ":white_check_mark:" };
    format!("{mark} *gollm on {}*: {} ({}, {})", escaped(host), escaped(&alert.message), alert.kind, alert.state.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::alert::AlertKind;
    use crate::secret::Secret;

    fn alert() -> Alert {
        let time: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        Alert {
            id: 7,
            time,
            kind: AlertKind::KeyInvalid,
            state: AlertState::Raised,
            since: time,
            provider: Some("openai".parse().unwrap()),
            key_name: Some("primary".parse().unwrap()),
            account: None,
            caller: None,
            cost_usd: None,
            limit_usd: None,
            message: "openai/primary is invalid: <its provider> refuses it & so on".to_owned(),
        }
    }

    fn target(secret: Option<&str>) -> Target {
        let url = Secret::new("https://hooks.example.org/T0KEN".to_owned()).unwrap();
        let secret = secret.map(|text| Secret::new(text.to_owned()).unwrap());
        Target::new(PostId("a".into()), 0, Address { url, secret }, WebhookFormat::Json)
    }

    #[test]
    fn a_body_has_the_alerts_fields_and_says_where_it_comes_from() {
        let body: serde_json::Value = serde_json::from_str(&body(WebhookFormat::Json, &alert(), "box").unwrap()).unwrap();
        assert_eq!((&body["kind"], &body["state"], &body["host"]), (&"key_invalid".into(), &"raised".into(), &"box".into()));
        assert_eq!((&body["id"], &body["key_name"], &body["account"]), (&7.into(), &"primary".into(), &serde_json::Value::Null));
    }

    #[test]
    fn slacks_own_characters_are_escaped() {
        let body: serde_json::Value = serde_json::from_str(&body(WebhookFormat::Slack, &alert(), "box").unwrap()).unwrap();
        let expected = ":warning: *gollm on box*: openai/primary is invalid: &lt;its provider&gt; refuses it &amp; so on (key_invalid, raised)";
        assert_eq!(body, serde_json::json!({ "text": expected }));
    }

    #[test]
    fn a_message_is_signed_with_its_time_where_there_is_a_secret() {
        let now = Timestamp::from_unix_millis(1_769_860_800_999);
        let target = target(Some("s3cret"));
        let headers = headers(&target, &alert(), "{}", now);
        let expected = signature(&Secret::new("s3cret".to_owned()).unwrap(), &[b"1769860800.{}"]);
        assert_eq!(headers, [("gollm-alert", "7".to_owned()), ("gollm-signature", format!("t=1769860800,v1={expected}"))]);
        assert_eq!(super::headers(&self::target(None), &alert(), "{}", now).len(), 1);
        assert_eq!(target.host, "hooks.example.org");
    }
}
