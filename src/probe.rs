//! One live check of one key, by its provider's free request only: no tokens are spent, and the key goes nowhere else.

pub mod redact;
mod call;
mod wording;
#[cfg(test)]
mod stand_in;

use std::future::Future;
use std::time::Duration;

use crate::catalogue::answer::Answer;
use crate::catalogue::classify::{Judgement, Scope, judge};
use crate::catalogue::shape;
use crate::catalogue::usage::{Usage, read_body};
use crate::catalogue::{Probe, Proof, Provider, Target};
use crate::health::checked::{Checked, Contact};
use crate::http::{self, Call, Http, Unreached};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::KeyVerdict;
use crate::secret::Secret;

/// Checks keys, over one HTTP client that keeps its connections.
#[derive(Debug)]
pub struct Prober {
    http: Http,
    timeout: Duration,
}

/// What asking for a completion found.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Spent {
    /// What it says of the key.
    pub checked: Checked,
    /// What the completion used, where one was answered.
    pub usage: Option<Usage>,
}

impl Prober {
    /// A prober whose checks take no longer than `timeout` each.
    #[must_use]
    pub const fn new(timeout: Duration, http: Http) -> Self {
        Self { http, timeout }
    }

    /// Checks a key of a provider of the kind `kind`, whose API is at `base_url`.
    pub async fn check(&self, kind: &'static Provider, base_url: &str, secret: &Secret) -> Checked {
        let Some(probe) = call::probe_at(kind, base_url) else {
            return by_shape(kind, base_url, secret);
        };
        let live = self.live(kind, probe, base_url, secret);
        match probe.target {
            Target::Path(_) => self.in_time(base_url, live).await,
            // Whether that host can be reached says nothing of the provider's API.
            Target::Elsewhere(url) => Checked { contact: Contact::Untried, ..self.in_time(url, live).await },
        }
    }

    /// Asks for the smallest completion of `model`, which costs money.
    pub async fn spend(&self, kind: &'static Provider, base_url: &str, secret: &Secret, model: &str) -> Spent {
        let mut usage = None;
        let asking = async {
            match self.send(Call::completion(kind, base_url, secret, model)).await {
                Err(why) => missed(&why),
                Ok(answer) => {
                    usage = read_body(kind, answer.text()).usage.filter(|_| (200..300).contains(&answer.status()));
                    let checked = by_answer(kind, judge(kind, &answer), &answer, secret);
                    // What an answer to the free check says of the key, one to a completion need not say.
                    let checked = Checked { balances: None, ..checked };
                    match checked.outcome {
                        Some(Outcome::Ok) => Checked { verdict: KeyVerdict::Valid, message: wording::VALID.to_owned(), ..checked },
                        // Of other models it says nothing.
                        Some(Outcome::QuotaExhausted) if checked.scope == Scope::Model => {
                            Checked::unproven(None, checked.contact, &format!("its quota of {model} is spent: HTTP {}", answer.status()))
                        }
                        _ => checked,
                    }
                }
            }
        };
        let checked = self.in_time(base_url, asking).await;
        // A completion may take its time where the API is there.
        let contact = if checked.outcome == Some(Outcome::Timeout) { Contact::Untried } else { checked.contact.clone() };
        let checked = Checked { contact, ..checked };
        Spent { checked, usage }
    }

    /// One time limit for connect, headers and body, and for all requests of one check.
    async fn in_time(&self, url: &str, checking: impl Future<Output = Checked>) -> Checked {
        match tokio::time::timeout(self.timeout, checking).await {
            Ok(checked) => checked,
            Err(_) => {
                let why = format!("no answer from {} in {:?}", http::host(url), self.timeout);
                Checked::unproven(Some(Outcome::Timeout), Contact::Missed { why: why.clone(), no_network: false }, &why)
            }
        }
    }

    async fn live(&self, kind: &'static Provider, probe: Probe, base_url: &str, secret: &Secret) -> Checked {
        match self.send(Call::probing(kind, probe, base_url, secret)).await {
            Err(why) => missed(&why),
            Ok(answer) => {
                let checked = by_answer(kind, judge(kind, &answer), &answer, secret);
                let needs_contrast = probe.proof == Proof::Contrast && checked.verdict == KeyVerdict::Valid;
                if needs_contrast { self.contrasted(checked, kind, probe, base_url).await } else { checked }
            }
        }
    }

    /// A success proves a key only where a made-up one is refused.
    async fn contrasted(&self, checked: Checked, kind: &'static Provider, probe: Probe, base_url: &str) -> Checked {
        let Ok(made_up) = Secret::new("sk-gollm-made-up-key-that-no-host-may-accept".to_owned()) else {
            return checked;
        };
        let why = match self.send(Call::probing(kind, probe, base_url, &made_up)).await {
            Err(why) => why.to_string(),
            Ok(answer) => match judge(kind, &answer).outcome {
                Some(Outcome::AuthFailed | Outcome::PermissionDenied) => return checked,
                Some(Outcome::Ok) => "this endpoint answers any key".to_owned(),
                _ => format!("a made-up key was answered with HTTP {}, so the key's success proves nothing", answer.status()),
            },
        };
        Checked { account: checked.account, balances: checked.balances, ..Checked::unproven(checked.outcome, checked.contact, &why) }
    }

    async fn send(&self, call: Result<Call, Unreached>) -> Result<Answer, Unreached> {
        self.http.send(call?).await
    }
}

fn by_answer(kind: &Provider, judgement: Judgement, answer: &Answer, secret: &Secret) -> Checked {
    Checked {
        verdict: judgement.verdict,
        outcome: judgement.outcome,
        message: wording::message(kind, judgement.verdict, answer, secret),
        scope: judgement.scope,
        // Some other host may have answered in its place.
        contact: if judgement.outcome.is_some() && !answer.is_page() { Contact::Reached } else { Contact::Untried },
        account: answer.account(kind),
        balances: kind
            .balance
            .filter(|_| (200..300).contains(&answer.status()) && judgement.outcome.is_some() && !answer.is_page())
            .map(|_| answer.balances(kind)),
    }
}

fn by_shape(kind: &Provider, base_url: &str, secret: &Secret) -> Checked {
    let shape = shape::message(kind.name, shape::check(kind.name, base_url, secret));
    Checked::unproven(None, Contact::Untried, &format!("{} has no free request that proves a key. {shape}", kind.name))
}

fn missed(why: &Unreached) -> Checked {
    let contact = match why {
        Unreached::Address | Unreached::Key => Contact::Untried,
        Unreached::Connect { no_network, .. } => Contact::Missed { why: why.to_string(), no_network: *no_network },
        Unreached::Broken { .. } => Contact::Missed { why: why.to_string(), no_network: false },
    };
    Checked::unproven(None, contact, &why.to_string())
}

#[cfg(test)]
mod tests {
    use super::stand_in::{Reply, StandIn};
    use super::*;
    use crate::catalogue;

    const KEY: &str = "sk-proj-real-and-secret-0123456789";

    fn prober(timeout: Duration) -> Prober {
        Prober::new(timeout, Http::new(&crate::environment::Environment::default()).unwrap())
    }

    async fn check(kind: &str, host: &StandIn) -> Checked {
        let secret = Secret::new(KEY.to_owned()).unwrap();
        let checked = prober(Duration::from_secs(20)).check(catalogue::find(kind).unwrap(), &host.base_url, &secret).await;
        assert!(!checked.message.contains("real-and-secret"), "{}", checked.message);
        checked
    }

    #[tokio::test]
    async fn a_key_that_is_accepted_is_valid_and_names_its_account() {
        let host = StandIn::start(|_| Reply::new(200, r#"{"data":[]}"#).header("openai-organization", "org-a")).await;
        let checked = check("openai", &host).await;
        assert_eq!(checked.verdict, KeyVerdict::Valid);
        assert_eq!(checked.outcome, Some(Outcome::Ok));
        assert_eq!(checked.message, "Key is valid and active");
        assert_eq!(checked.account, Some("org-a".parse().unwrap()));
        let seen = host.seen();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].starts_with("GET /v1/models\n"), "{}", seen[0]);
        assert!(seen[0].contains(&format!("authorization: Bearer {KEY}")));
        assert!(seen[0].contains(concat!("user-agent: gollm/", env!("CARGO_PKG_VERSION"))));
    }

    #[tokio::test]
    async fn a_key_that_is_refused_is_invalid_and_its_echo_is_not_shown() {
        let body = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}. Find it elsewhere.","code":"invalid_api_key"}}}}"#);
        let host = StandIn::start(move |_| Reply::new(401, body.clone())).await;
        let checked = check("openai", &host).await;
        assert_eq!((checked.verdict, checked.outcome), (KeyVerdict::Invalid, Some(Outcome::AuthFailed)));
        assert_eq!(checked.message, "openai does not accept the key: HTTP 401, \"Incorrect API key provided: [redacted]. Find it elsewhere.\"");
    }

    #[tokio::test]
    async fn a_spent_account_and_a_rate_limit_say_the_key_is_known() {
        let host = StandIn::start(|_| Reply::new(429, r#"{"error":{"type":"insufficient_quota"}}"#)).await;
        assert_eq!(check("openai", &host).await.verdict, KeyVerdict::NoQuota);
        let host = StandIn::start(|_| Reply::new(429, "{}").header("retry-after", "7")).await;
        let checked = check("openai", &host).await;
        assert_eq!((checked.verdict, checked.outcome), (KeyVerdict::Inconclusive, Some(Outcome::RateLimited)));
    }

    #[tokio::test]
    async fn a_key_does_not_follow_a_redirect() {
        let other = StandIn::start(|_| Reply::new(200, "{}")).await;
        let location = other.base_url.clone();
        let host = StandIn::start(move |_| Reply::new(307, "").header("location", location.clone())).await;
        let checked = check("openai", &host).await;
        assert_eq!((checked.verdict, checked.outcome), (KeyVerdict::Inconclusive, None));
        assert!(checked.message.contains("redirect"), "{}", checked.message);
        assert!(other.seen().is_empty());
    }

    #[tokio::test]
    async fn a_slow_host_is_given_up_after_the_timeout() {
        let host = StandIn::start(|_| Reply { delay: Duration::from_secs(60), ..Reply::new(200, "{}") }).await;
        let secret = Secret::new(KEY.to_owned()).unwrap();
        let prober = prober(Duration::from_millis(100));
        let checked = prober.check(catalogue::find("openai").unwrap(), &host.base_url, &secret).await;
        assert_eq!((checked.verdict, checked.outcome), (KeyVerdict::Inconclusive, Some(Outcome::Timeout)));
        assert_eq!(checked.message, "Key could not be checked: no answer from 127.0.0.1 in 100ms");
    }

    #[tokio::test]
    async fn the_timeout_is_one_for_headers_and_body_together() {
        // A byte that comes now and then starts no new one.
        for (head, filler) in [
            (&b"HTTP/1.1 200 OK\r\nx-endless: "[..], b'x'),
            (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9000\r\n\r\n{\"data\":", b' '),
        ] {
            let address = stand_in::start_raw(head, Some(filler)).await;
            let secret = Secret::new(KEY.to_owned()).unwrap();
            let checking = prober(Duration::from_millis(200));
            let checked = checking.check(catalogue::find("openai").unwrap(), &format!("http://{address}/v1"), &secret).await;
            assert_eq!((checked.verdict, checked.outcome), (KeyVerdict::Inconclusive, Some(Outcome::Timeout)), "{checked:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_of_an_api_says_nothing_of_the_key() {
        for (scheme, answer) in [
            ("http", &b"SSH-2.0-OpenSSH_9.6\r\n"[..]),
            ("http", b"HTTP/1.1 999999 No\r\n\r\n"),
            ("http", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"data\":["),
            ("https", b"HTTP/1.1 400 This is no TLS\r\n\r\n"),
        ] {
            let address = stand_in::start_raw(answer, None).await;
            let secret = Secret::new(KEY.to_owned()).unwrap();
            let checking = prober(Duration::from_secs(20));
            let checked = checking.check(catalogue::find("openai").unwrap(), &format!("{scheme}://{address}/v1"), &secret).await;
            assert_eq!(checked.verdict, KeyVerdict::Inconclusive, "{scheme} {}: {checked:?}", answer.escape_ascii());
            assert!(!checked.message.contains(KEY), "{checked:?}");
        }
    }

    #[tokio::test]
    async fn a_host_that_is_not_there_says_nothing_of_the_key() {
        let secret = Secret::new(KEY.to_owned()).unwrap();
        let checked = prober(Duration::from_secs(20)).check(catalogue::find("openai").unwrap(), "http://127.0.0.1:1/v1", &secret).await;
        assert_eq!((checked.verdict, checked.outcome), (KeyVerdict::Inconclusive, None));
        assert!(checked.message.starts_with("Key could not be checked: no connection to 127.0.0.1: "), "{}", checked.message);
    }

    #[tokio::test]
    async fn a_huge_body_is_read_only_to_its_bound() {
        let list = format!(r#"{{"data":["{}"]}}"#, "x".repeat(4 * 1024 * 1024));
        let host = StandIn::start(move |_| Reply::new(200, list.clone())).await;
        assert_eq!(check("openai", &host).await.verdict, KeyVerdict::Valid);
        let text = format!(r#"{{"error":{{"message":"{}{KEY}"}}}}"#, "x".repeat(crate::catalogue::answer::BODY_MAX));
        let host = StandIn::start(move |_| Reply::new(401, text.clone())).await;
        assert_eq!(check("openai", &host).await.message, "openai does not accept the key: HTTP 401");
    }

    #[tokio::test]
    async fn a_web_page_says_nothing_of_the_key() {
        let host = StandIn::start(|_| Reply::new(403, format!("<html>blocked {KEY}</html>")).header("content-type", "text/html")).await;
        let checked = check("groq", &host).await;
        assert_eq!(checked.verdict, KeyVerdict::Inconclusive);
        assert_eq!(checked.message, "Key could not be checked: a web page came instead of an answer of groq (HTTP 403)");
    }

    #[tokio::test]
    async fn a_host_that_answers_a_made_up_key_too_proves_nothing() {
        let host = StandIn::start(|_| Reply::new(200, "{}")).await;
        let checked = check("openai_compatible", &host).await;
        assert_eq!((checked.verdict, checked.outcome), (KeyVerdict::Inconclusive, Some(Outcome::Ok)));
        assert_eq!(checked.message, "Key could not be checked: this endpoint answers any key");
        let seen = host.seen();
        assert_eq!(seen.len(), 2);
        assert!(seen[1].contains("made-up") && !seen[1].contains(KEY));
    }

    #[tokio::test]
    async fn a_host_that_refuses_a_made_up_key_proves_the_other() {
        let host = StandIn::start(|request| if request.contains(KEY) { Reply::new(200, "{}") } else { Reply::new(401, "{}") }).await;
        assert_eq!(check("together", &host).await.message, "Key is valid and active");
        let busy = StandIn::start(|request| if request.contains(KEY) { Reply::new(200, "{}") } else { Reply::new(429, "{}") }).await;
        assert_eq!(check("together", &busy).await.verdict, KeyVerdict::Inconclusive);
    }

    #[tokio::test]
    async fn without_a_free_request_nothing_is_sent() {
        let host = StandIn::start(|_| Reply::new(200, "{}")).await;
        let checked = check("perplexity", &host).await;
        assert_eq!((checked.verdict, checked.outcome), (KeyVerdict::Inconclusive, None));
        assert!(checked.message.contains("no free request"), "{}", checked.message);
        assert!(host.seen().is_empty());
    }

    #[tokio::test]
    async fn this_machine_is_reached_without_the_proxy() {
        let proxy = StandIn::start(|_| Reply::new(500, "{}")).await;
        let host = StandIn::start(|_| Reply::new(200, "{}")).await;
        let environment = [("HTTPS_PROXY", proxy.base_url.as_str())].into_iter().collect();
        let prober = Prober::new(Duration::from_secs(20), Http::new(&environment).unwrap());
        let secret = Secret::new(KEY.to_owned()).unwrap();
        let kind = catalogue::find("openai").unwrap();
        assert_eq!(prober.check(kind, &host.base_url, &secret).await.verdict, KeyVerdict::Valid);
        let encrypted = host.base_url.replace("http://", "https://");
        assert_eq!(prober.check(kind, &encrypted, &secret).await.outcome, None);
        assert!(proxy.seen().is_empty());
    }

    #[tokio::test]
    async fn another_machine_is_reached_through_the_proxy_without_showing_it_the_key() {
        let proxy = StandIn::start(|_| Reply::new(500, "{}")).await;
        let secret = Secret::new(KEY.to_owned()).unwrap();
        let kind = catalogue::find("openai").unwrap();
        let through = |no_proxy: &'static str| [("https_proxy", proxy.base_url.as_str()), ("NO_PROXY", no_proxy)].into_iter().collect();
        let prober = Prober::new(Duration::from_secs(20), Http::new(&through("")).unwrap());
        assert_eq!(prober.check(kind, "https://provider.invalid/v1", &secret).await.outcome, None);
        let seen = proxy.seen();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].starts_with("CONNECT provider.invalid:443\n") && !seen[0].contains(KEY), "{}", seen[0]);
        for (no_proxy, base_url) in [("provider.invalid", "https://provider.invalid/v1"), ("", "http://provider.invalid/v1")] {
            let prober = Prober::new(Duration::from_secs(20), Http::new(&through(no_proxy)).unwrap());
            assert_eq!(prober.check(kind, base_url, &secret).await.outcome, None);
        }
        assert_eq!(proxy.seen().len(), 1);
    }
}
