//! What a caller tells of a request: in so many words, or by the provider's answer, which is read here.

use std::time::Duration;

use crate::broker::cost::sensible;
use crate::catalogue::Provider;
use crate::catalogue::answer::{Answer, Left};
use crate::catalogue::classify::{Scope, judge};
use crate::catalogue::usage;
use crate::id::{AccountName, ModelName};
use crate::money::Usd;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::outcome::Outcome;
use crate::protocol::provider::ProviderResponse;
use crate::protocol::request::{Record, Report};

/// What a report or a record tells of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What came of it.
    pub outcome: Outcome,
    /// The model that answered.
    pub model: Option<ModelName>,
    /// Was the model read from the provider's answer, which names a version of the one that was asked for?
    pub versioned: bool,
    /// Tokens sent, cached ones included.
    pub input_tokens: Option<u64>,
    /// Tokens answered.
    pub output_tokens: Option<u64>,
    /// Input tokens from the provider's cache.
    pub cached_tokens: Option<u64>,
    /// Input tokens that the provider wrote to its cache.
    pub written_tokens: Option<u64>,
    /// Was there an answer that tells no tokens?
    pub uncounted: bool,
    /// Are the tokens those of many requests?
    pub summed: bool,
    /// What it cost, where somebody knows better than the price list.
    pub cost: Option<Usd>,
    /// How long the provider asked to wait.
    pub retry_after: Option<Duration>,
    /// What a rate limit or a quota holds for.
    pub scope: Scope,
    /// The account that the provider names.
    pub account: Option<AccountName>,
    /// What the provider says is left of its limits.
    pub left: Option<Left>,
}

/// The error that an answer with status 200 ends with, as an answer of its own: its status, where it has one, is in it.
fn ended_with(failure: &serde_json::Value) -> Answer {
    let text = failure.to_string();
    let status = match Answer::new(200, [], text.as_bytes()).status() {
        200 => 500,
        inner => inner,
    };
    Answer::new(status, [], text.as_bytes())
}

impl Told {
    /// What a report tells, of a request to a provider whose API is that of `api`. What the caller says itself wins over the
    /// provider's answer.
    ///
    /// # Errors
    /// It names no outcome, or one beside an answer, or what no request can have used.
    pub fn of(report: &Report, api: &Provider) -> Result<Self, ErrorReply> {
        let told = match (report.outcome, &report.response) {
            (Some(outcome), None) => Self::nothing_but(outcome),
            (None, Some(response)) => Self::heard(api, response),
            _ => return Err(ErrorReply::new(ErrorCode::BadRequest, "a report has either an `outcome` or the provider's `response`")),
        };
        let told = Self {
            versioned: report.model.is_none() && told.model.is_some(),
            model: report.model.clone().or(told.model),
            input_tokens: report.input_tokens.or(told.input_tokens),
            output_tokens: report.output_tokens.or(told.output_tokens),
            cached_tokens: report.cached_tokens.or(told.cached_tokens),
            cost: report.cost_usd.or(told.cost),
            retry_after: report.retry_after_ms.map(Duration::from_millis).or(told.retry_after),
            uncounted: told.uncounted && report.input_tokens.is_none() && report.output_tokens.is_none() && report.cost_usd.is_none(),
            ..told
        };
        told.sensible()
    }

    /// What a record tells.
    ///
    /// # Errors
    /// It tells what no request can have used, or of one that was not made.
    pub fn recorded(record: &Record) -> Result<Self, ErrorReply> {
        let outcome = record.outcome.unwrap_or(Outcome::Ok);
        if outcome == Outcome::Cancelled {
            return Err(ErrorReply::new(ErrorCode::BadRequest, "what was cancelled was not used: there is nothing to record"));
        }
        let told = Self {
            model: record.model.clone(),
            input_tokens: record.input_tokens,
            output_tokens: record.output_tokens,
            cached_tokens: record.cached_tokens,
            cost: record.cost_usd,
            ..Self::nothing_but(outcome)
        };
        told.sensible()
    }

    const fn nothing_but(outcome: Outcome) -> Self {
        Self {
            outcome,
            model: None,
            versioned: false,
            input_tokens: None,
            output_tokens: None,
            cached_tokens: None,
            written_tokens: None,
            uncounted: false,
            summed: false,
            cost: None,
            retry_after: None,
            scope: Scope::Usual,
            account: None,
            left: None,
        }
    }

    /// What the provider's answer says.
    fn heard(api: &Provider, response: &ProviderResponse) -> Self {
        let body = response.body.as_deref().unwrap_or_default();
        let headers = response.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let answer = Answer::new(response.status, headers, body.as_bytes());
        let success = (200..300).contains(&answer.status()) && !answer.is_page();
        let reading = if success { usage::read_body(api, body) } else { usage::Reading::default() };
        let ended = reading.failure.as_ref().map(ended_with);
        let whole = judge(api, &answer);
        // An error at the end of a success is what came of it, with what it limits and how long it asks to wait.
        let (answer_of_it, judgement) = match &ended {
            Some(ended) if matches!(whole.outcome, None | Some(Outcome::Ok)) => (ended, judge(api, ended)),
            _ => (&answer, whole),
        };
        let outcome = match judgement.outcome {
            // What was not the provider's API, such as a page of some gateway's, is taken for its failure and says nothing of a key.
            Some(_) if answer.is_page() && !matches!(answer.status(), 401 | 429 | 500..) => Outcome::ServerError,
            Some(outcome) => outcome,
            // A success need not be one JSON text: it may be a stream, or the end of one.
            None if success && ended.is_none() => Outcome::Ok,
            None => Outcome::ServerError,
        };
        let retry_after = answer.retry_after().or_else(|| answer_of_it.retry_after());
        // The provider's word on how long to wait goes before its limits.
        let left = answer.left(api).map(|left| Left { nothing_for: left.nothing_for.filter(|_| retry_after.is_none()), ..left });
        let usage = reading.usage;
        Self {
            model: reading.model.and_then(|model| model.parse().ok()),
            input_tokens: usage.map(|usage| usage.input),
            output_tokens: usage.map(|usage| usage.output),
            cached_tokens: usage.map(|usage| usage.cached),
            written_tokens: usage.map(|usage| usage.written),
            uncounted: success && usage.is_none() && !body.trim().is_empty(),
            summed: usage.is_some_and(|usage| usage.summed),
            cost: usage.and_then(|usage| usage.cost),
            retry_after,
            scope: judgement.scope,
            account: answer.account(api),
            left,
            ..Self::nothing_but(outcome)
        }
    }

    fn sensible(self) -> Result<Self, ErrorReply> {
        sensible(&[self.input_tokens, self.output_tokens, self.cached_tokens, self.written_tokens], self.cost)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::find;

    fn response(status: u16, headers: &[(&str, &str)], body: &str) -> ProviderResponse {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ProviderResponse { status, headers, body: Some(body.to_owned()) }
    }

    fn told(kind: &str, response: ProviderResponse) -> Told {
        Told::of(&Report::answered("gl_x".parse().unwrap(), response), find(kind).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_tells_outcome_tokens_model_and_account() {
        let body = r#"{"model":"gpt-4-0613","usage":{"prompt_tokens":1000,"completion_tokens":500,"prompt_tokens_details":{"cached_tokens":200}}}"#;
        let told = told("openai", response(200, &[("OpenAI-Organization", "org-a")], body));
        assert_eq!((told.outcome, told.input_tokens, told.output_tokens, told.cached_tokens), (Outcome::Ok, Some(1000), Some(500), Some(200)));
        assert_eq!((told.model, told.account), (Some("gpt-4-0613".parse().unwrap()), Some("org-a".parse().unwrap())));
    }

    #[test]
    fn a_refusal_tells_what_its_provider_means_by_it() {
        let limited = told("openai", response(429, &[("retry-after", "7")], r#"{"error":{"code":"rate_limit_exceeded"}}"#));
        assert_eq!((limited.outcome, limited.retry_after), (Outcome::RateLimited, Some(Duration::from_secs(7))));
        assert_eq!(told("openai", response(429, &[], r#"{"error":{"code":"insufficient_quota"}}"#)).outcome, Outcome::QuotaExhausted);
        assert_eq!(told("anthropic", response(529, &[], r#"{"error":{"type":"overloaded_error"}}"#)).outcome, Outcome::Overloaded);
        assert_eq!(told("openai", response(302, &[], "")).outcome, Outcome::ServerError);
    }

    #[test]
    fn a_stream_that_fails_is_no_success_and_what_it_used_counts() {
        let body = "data: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
                    data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
        let failed = told("anthropic", response(200, &[], body));
        assert_eq!((failed.outcome, failed.input_tokens, failed.model), (Outcome::Overloaded, Some(25), Some("claude".parse().unwrap())));
        let refused = told("openrouter", response(200, &[], "data: {\"error\":{\"code\":429,\"message\":\"slow down\"}}\n"));
        assert_eq!(refused.outcome, Outcome::RateLimited);
        // What the error limits and how long it asks to wait is read as of any other.
        let daily = r#"data: {"error":{"code":429,"message":"quota","details":[{"violations":[{"quotaId":"RequestsPerDayPerModel"}]},{"retryDelay":"22s"}]}}"#;
        let spent = told("gemini", response(200, &[], daily));
        assert_eq!((spent.outcome, spent.scope, spent.retry_after), (Outcome::QuotaExhausted, Scope::Model, Some(Duration::from_secs(22))));
        let failed = "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"no\"}}}\n";
        assert_eq!(told("openai", response(200, &[], failed)).outcome, Outcome::ServerError);
    }

    #[test]
    fn an_answer_without_counts_has_no_price_unless_the_caller_says_one() {
        let silent = told("openai", response(200, &[], r#"{"data":[]}"#));
        assert_eq!((silent.outcome, silent.uncounted), (Outcome::Ok, true));
        let report = Report { input_tokens: Some(7), ..Report::answered("gl_x".parse().unwrap(), response(200, &[], r#"{"data":[]}"#)) };
        assert!(!Told::of(&report, find("openai").unwrap()).unwrap().uncounted);
        assert!(!told("openai", response(200, &[], "")).uncounted);
    }

    #[test]
    fn a_page_of_a_gateway_says_nothing_of_a_key() {
        let page = |status| told("fireworks", response(status, &[("content-type", "text/html")], "<html>no</html>")).outcome;
        assert_eq!([200, 402, 403, 404, 502].map(page), [Outcome::ServerError; 5]);
        assert_eq!(page(429), Outcome::RateLimited);
    }

    #[test]
    fn a_wait_goes_before_what_is_left() {
        let none = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "24h0m0s")];
        let held = |headers: &[(&str, &str)]| told("openai", response(429, headers, "{}")).left.and_then(|left| left.nothing_for);
        assert_eq!(held(&none), Some(Duration::from_secs(86_400)));
        assert_eq!(held(&[none[0], none[1], ("retry-after", "1")]), None);
    }

    #[test]
    fn what_the_caller_says_wins_over_the_answer() {
        let body = r#"{"usage":{"prompt_tokens":1000,"completion_tokens":500}}"#;
        let report = Report {
            input_tokens: Some(7),
            model: Some("mine".parse().unwrap()),
            ..Report::answered("gl_x".parse().unwrap(), response(200, &[], body))
        };
        let told = Told::of(&report, find("openai").unwrap()).unwrap();
        assert_eq!((told.input_tokens, told.output_tokens, told.model), (Some(7), Some(500), Some("mine".parse().unwrap())));
    }

    #[test]
    fn an_outcome_and_an_answer_are_one_too_many_and_neither_is_too_few() {
        let both = Report { outcome: Some(Outcome::Ok), ..Report::answered("gl_x".parse().unwrap(), response(200, &[], "")) };
        let none = Report { outcome: None, ..Report::of("gl_x".parse().unwrap(), Outcome::Ok) };
        for report in [both, none] {
            assert_eq!(Told::of(&report, find("openai").unwrap()).unwrap_err().code, ErrorCode::BadRequest);
        }
        let absurd = told_or_code(r#"{"usage":{"prompt_tokens":9000000000000,"completion_tokens":1}}"#);
        assert_eq!(absurd, Err(ErrorCode::BadRequest));
    }

    fn told_or_code(body: &str) -> Result<Told, ErrorCode> {
        Told::of(&Report::answered("gl_x".parse().unwrap(), response(200, &[], body)), find("openai").unwrap()).map_err(|why| why.code)
    }
}
