//! What a provider's answer says: of the request, and of the key that it was made with.

use super::answer::Answer;
use super::{Provider, rules};
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::KeyVerdict;

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Judgement {
    /// What came of the request; none: the provider's API did not answer.
    pub outcome: Option<Outcome>,
    /// What it says of the key.
    pub verdict: KeyVerdict,
    /// What a limit in it holds for.
    pub scope: Scope,
}

/// What a rate limit or a quota holds for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// As limits of that kind usually do: a rate limit for the model that was asked, a quota for the account.
    #[default]
    Usual,
    /// For the key alone, whatever its account.
    Key,
    /// For the model that was asked, with any key of the account.
    Model,
    /// For the account, whatever the model.
    Account,
}

/// The things an answer can say, each an outcome and a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It was answered.
    Accepted,
    /// It was answered, and says nothing of the key.
    Unproven,
    /// The key is not taken.
    Refused,
    /// The key is real, and may not do this.
    Restricted,
    /// The place, the network or a setting is refused, whatever the key.
    Elsewhere,
    /// The account's credit or quota is spent.
    Spent,
    /// Too fast.
    Slower,
    /// The provider is overloaded.
    Busy,
    /// The provider failed.
    Failed,
    /// The provider was too slow.
    Late,
    /// The request was wrong.
    Wrong,
    /// Something else than the API answered.
    Stranger,
}

impl Meaning {
    pub(super) const fn judgement(self) -> Judgement {
        let (outcome, verdict) = match self {
            Meaning::Accepted => (Some(Outcome::Ok), KeyVerdict::Valid),
            Meaning::Unproven => (Some(Outcome::Ok), KeyVerdict::Inconclusive),
            Meaning::Refused => (Some(Outcome::AuthFailed), KeyVerdict::Invalid),
            Meaning::Restricted => (Some(Outcome::PermissionDenied), KeyVerdict::ValidRestricted),
            Meaning::Elsewhere => (Some(Outcome::PermissionDenied), KeyVerdict::Inconclusive),
            Meaning::Spent => (Some(Outcome::QuotaExhausted), KeyVerdict::NoQuota),
            Meaning::Slower => (Some(Outcome::RateLimited), KeyVerdict::Inconclusive),
            Meaning::Busy => (Some(Outcome::Overloaded), KeyVerdict::Inconclusive),
            Meaning::Failed => (Some(Outcome::ServerError), KeyVerdict::Inconclusive),
            Meaning::Late => (Some(Outcome::Timeout), KeyVerdict::Inconclusive),
            Meaning::Wrong => (Some(Outcome::BadRequest), KeyVerdict::Inconclusive),
            Meaning::Stranger => (None, KeyVerdict::Inconclusive),
        };
        Judgement { outcome, verdict, scope: Scope::Usual }
    }
}

/// Judges an answer of `provider`: by its own rules, in their order, else by the status.
///
/// A page for people never says anything of a key: networks and gateways answer with one before the key is read.
pub fn judge(provider: &Provider, answer: &Answer) -> Judgement {
    let status = answer.status();
    let own = provider.rules.iter().chain(&rules::GATEWAYS).find(|rule| rule.fits(status, answer));
    let judgement = own.map_or_else(|| by_status(status, answer).judgement(), |rule| Judgement { scope: rule.scope, ..rule.means.judgement() });
    if answer.is_page() { Judgement { verdict: KeyVerdict::Inconclusive, ..judgement } } else { judgement }
}

/// What a status says where no rule of the provider's own does.
fn by_status(status: u16, answer: &Answer) -> Meaning {
    match status {
        200..300 if answer.looks_like_json() => Meaning::Accepted,
        100..400 => Meaning::Stranger,
        401 => Meaning::Refused,
        402 => Meaning::Spent,
        403 => Meaning::Restricted,
        408 | 504 | 524 => Meaning::Late,
        429 => Meaning::Slower,
        498 | 503 | 529 => Meaning::Busy,
        400..500 => Meaning::Wrong,
        _ => Meaning::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::find;

    fn judged(kind: &str, status: u16, body: &str) -> Judgement {
        judge(find(kind).unwrap(), &Answer::new(status, [], body.as_bytes()))
    }

    /// Answers as providers' users and pages have shown them; the file says where each is from.
    #[test]
    fn answers_seen_in_the_wild_are_judged_as_recorded() {
        let samples: serde_json::Value = serde_json::from_str(include_str!("../../tests/data/error-samples.json")).unwrap();
        let samples = samples["samples"].as_array().unwrap();
        assert_eq!(samples.len(), 59);
        for sample in samples {
            let headers = sample["headers"].as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
            let body = sample["body"].as_str().map_or_else(|| sample["body"].to_string(), str::to_owned);
            let status = u16::try_from(sample["status"].as_u64().unwrap()).unwrap();
            let judgement = judge(find(sample["provider"].as_str().unwrap()).unwrap(), &Answer::new(status, headers, body.as_bytes()));
            let outcome = judgement.outcome.map(Outcome::name);
            assert_eq!(outcome, sample["outcome"].as_str(), "{}", sample["id"]);
            let verdict = serde_json::to_value(judgement.verdict).unwrap();
            if let Some(expected) = sample.get("validate_verdict") {
                assert_eq!(&verdict, expected, "{}", sample["id"]);
            }
        }
    }

    #[test]
    fn a_gateways_own_words_are_known_whatever_api_it_speaks() {
        let says = |kind: &str, status: u16, what: &str| {
            judged(kind, status, &format!(r#"{{"error":{{"message":"No.","type":"{what}","code":"{status}"}}}}"#))
        };
        for kind in ["openai_compatible", "openai", "anthropic"] {
            assert_eq!(says(kind, 400, "no_db_connection").verdict, KeyVerdict::Invalid, "{kind}");
            assert_eq!(says(kind, 401, "key_model_access_denied").outcome, Some(Outcome::PermissionDenied), "{kind}");
            assert_eq!(says(kind, 400, "budget_exceeded").outcome, Some(Outcome::QuotaExhausted), "{kind}");
            assert_eq!(says(kind, 503, "no_db_connection").verdict, KeyVerdict::Inconclusive, "{kind}");
            assert_eq!(says(kind, 400, "bad_request_error").outcome, Some(Outcome::BadRequest), "{kind}");
        }
    }

    #[test]
    fn a_success_that_says_the_key_is_bad_is_no_success() {
        let verdict = |kind: &str, body: &str| judged(kind, 200, body).verdict;
        assert_eq!(verdict("cohere", r#"{"valid":true}"#), KeyVerdict::Valid);
        assert_eq!(verdict("cohere", r#"{"valid":false}"#), KeyVerdict::Invalid);
        assert_eq!(verdict("cohere", "{}"), KeyVerdict::Inconclusive);
        assert_eq!(verdict("deepseek", r#"{"is_available":true}"#), KeyVerdict::Valid);
        assert_eq!(verdict("deepseek", r#"{"is_available":false}"#), KeyVerdict::NoQuota);
        let flags = r#"{"team_blocked":false,"api_key_blocked":false,"api_key_disabled":"#;
        assert_eq!(verdict("xai", &format!("{flags}false}}")), KeyVerdict::Valid);
        let acls = |acls: &str| verdict("xai", &format!("{flags}false,\"acls\":{acls}}}"));
        assert_eq!(acls(r#"["api-key:model:*","api-key:endpoint:*"]"#), KeyVerdict::Valid);
        assert_eq!(acls(r#"["api-key:model:grok-3","api-key:endpoint:*"]"#), KeyVerdict::ValidRestricted);
        assert_eq!(verdict("xai", &format!("{flags}true}}")), KeyVerdict::Invalid);
        assert_eq!(verdict("openrouter", r#"{"data":{"limit_remaining":null}}"#), KeyVerdict::Valid);
        assert_eq!(verdict("openrouter", r#"{"data":{"limit_remaining":0}}"#), KeyVerdict::NoQuota);
    }

    #[test]
    fn a_restricted_key_is_real() {
        let body = r#"{"error":{"message":"Missing scopes: api.model.read","code":"missing_scope"}}"#;
        assert_eq!(judged("openai", 401, body).verdict, KeyVerdict::ValidRestricted);
        assert_eq!(judged("openai", 403, body).verdict, KeyVerdict::ValidRestricted);
    }

    #[test]
    fn a_wrong_key_is_told_by_each_providers_own_status() {
        let verdict = |kind, status, body| judged(kind, status, body).verdict;
        assert_eq!(verdict("openai", 401, r#"{"error":{"code":"invalid_api_key"}}"#), KeyVerdict::Invalid);
        assert_eq!(verdict("xai", 400, r#"{"code":"x","error":"Incorrect API key provided: gs***"}"#), KeyVerdict::Invalid);
        assert_eq!(verdict("xai", 400, r#"{"code":"x","error":"maximum prompt length"}"#), KeyVerdict::Inconclusive);
        assert_eq!(verdict("nvidia_nim", 403, r#"{"detail":"Authorization failed"}"#), KeyVerdict::Invalid);
        assert_eq!(verdict("fireworks", 403, r#"{"error":"Forbidden"}"#), KeyVerdict::Invalid);
    }

    #[test]
    fn what_says_nothing_of_the_key_is_inconclusive() {
        for (kind, status, body) in [
            ("openai", 403, r#"{"error":{"code":"unsupported_country_region_territory"}}"#),
            ("openai", 429, r#"{"error":{"code":"rate_limit_exceeded"}}"#),
            ("openai", 500, "{}"),
            ("openai", 404, "{}"),
            ("openai", 302, ""),
            ("openai", 200, "<html>sign in to the network</html>"),
            ("openai", 200, "OK"),
            ("groq", 403, "<!DOCTYPE html><title>Access denied</title>"),
            ("groq", 403, r#"{"error":{"message":"Access denied. Please check your network settings."}}"#),
            ("mistral", 401, "<html>401 Authorization Required</html>"),
            ("openai_compatible", 403, "{}"),
        ] {
            assert_eq!(judged(kind, status, body).verdict, KeyVerdict::Inconclusive, "{kind} {status} {body}");
        }
        assert_eq!(judged("openai", 429, "{}").outcome, Some(Outcome::RateLimited));
        assert_eq!(judged("openai", 302, "").outcome, None);
    }
}
