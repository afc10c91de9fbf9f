//! How each provider says what, where the status alone does not: ordered, the first that fits counts.
//!
//! Compiled on 2026-11-23 from the providers' pages on errors and from answers in public reports.

use std::fmt;

use serde_json::Value;

use super::answer::Answer;
use super::classify::Meaning::{self, Accepted, Busy, Elsewhere, Refused, Restricted, Slower, Spent, Unproven, Wrong};
use super::classify::Scope;
use crate::protocol::outcome::Outcome;

/// One way in which a provider says one thing.
#[derive(Debug)]
pub(super) struct Rule {
    /// Statuses that it stands under; empty: any.
    status: &'static [u16],
    sign: Sign,
    /// What it says.
    pub(super) means: Meaning,
    /// What a limit holds for that it says.
    pub(super) scope: Scope,
}

/// What an answer is recognised by, besides its status.
#[derive(Debug)]
enum Sign {
    /// Nothing more.
    None,
    /// One of these texts at a JSON pointer.
    Is(&'static str, &'static [&'static str]),
    /// One of these texts anywhere in the body, in any case; written here in lower case.
    Says(&'static [&'static str]),
    /// This truth value at a JSON pointer.
    Flag(&'static str, bool),
    /// A list at a JSON pointer without this text.
    Lacks(&'static str, &'static str),
    /// A number not above zero at a JSON pointer.
    NoneLeft(&'static str),
    /// A header with the value `0`.
    HeaderZero(&'static str),
}
use Sign::{Flag, HeaderZero, Is, Lacks, NoneLeft, Says};

impl Rule {
    /// The limit holds for the model that was asked.
    const fn of_the_model(self) -> Self {
        Self { scope: Scope::Model, ..self }
    }

    /// The limit holds for the key alone.
    const fn of_the_key(self) -> Self {
        Self { scope: Scope::Key, ..self }
    }

    /// The limit holds for the account, whatever the model.
    const fn of_the_account(self) -> Self {
        Self { scope: Scope::Account, ..self }
    }

    /// Is it what the answer says?
    pub(super) fn fits(&self, status: u16, answer: &Answer) -> bool {
        (self.status.is_empty() || self.status.contains(&status)) && self.sign.shows(answer)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statuses: Vec<String> = self.status.iter().map(u16::to_string).collect();
        write!(f, "{}", if statuses.is_empty() { "any status".to_owned() } else { statuses.join(", ") })?;
        match &self.sign {
            Sign::None => {}
            Is(pointer, texts) => write!(f, " with {} at {pointer}", texts.join(" or "))?,
            Says(texts) => write!(f, " that says {}", texts.join(" or ").replace('\n', "\\n"))?,
            Flag(pointer, wanted) => write!(f, " with {wanted} at {pointer}")?,
            Lacks(pointer, text) => write!(f, " without {text} at {pointer}")?,
            NoneLeft(pointer) => write!(f, " with nothing at {pointer}")?,
            HeaderZero(name) => write!(f, " with {name}: 0")?,
        }
        let outcome = self.means.judgement().outcome.map_or("no answer of the API", Outcome::name);
        let scope = match self.scope {
            Scope::Usual => "",
            Scope::Key => " for the key alone",
            Scope::Model => " for the model",
            Scope::Account => " for the account",
        };
        write!(f, ": {outcome}{scope}")
    }
}

impl Sign {
    fn shows(&self, answer: &Answer) -> bool {
        match self {
            Sign::None => true,
            Is(pointer, texts) => answer.at(pointer).iter().any(|value| value.as_str().is_some_and(|text| texts.contains(&text))),
            Says(texts) => {
                let body = answer.text().to_lowercase();
                texts.iter().any(|text| body.contains(text))
            }
            Flag(pointer, wanted) => answer.at(pointer).contains(&&Value::Bool(*wanted)),
            Lacks(pointer, text) => {
                let lists = answer.at(pointer);
                let has = |list: &&Value| list.as_array().is_some_and(|items| items.iter().any(|item| item == text));
                lists.iter().any(|list| list.is_array()) && !lists.iter().any(has)
            }
            NoneLeft(pointer) => answer.at(pointer).iter().any(|value| value.as_f64().is_some_and(|left| left <= 0.0)),
            HeaderZero(name) => answer.header(name) == Some("0"),
        }
    }
}

const fn rule(status: &'static [u16], sign: Sign, means: Meaning) -> Rule {
    Rule { status, sign, means, scope: Scope::Usual }
}

pub(super) static OPENAI: [Rule; 7] = [
    rule(&[401, 403], Says(&["missing_scope", "missing scopes", "insufficient permissions for this operation"]), Restricted),
    rule(&[401], Says(&["ip is not authorized", "ip not authorized", "ip_not_authorized", "ip allowlist"]), Elsewhere),
    rule(&[401], Says(&["must be a member of an organization", "mismatched_organization", "mismatched_project", "no such organization"]), Elsewhere),
    rule(&[403], Is("/error/code", &["unsupported_country_region_territory"]), Elsewhere),
    rule(
        &[400, 429],
        Is(
            "/error/code",
            &[
                "credit_balance_exhausted",
                "organization_spend_limit_exceeded",
                "project_spend_limit_exceeded",
                "organization_usage_limit_exceeded",
                "insufficient_quota",
                "billing_not_active",
                "billing_hard_limit_reached",
            ],
        ),
        Spent,
    ),
    rule(&[429], Is("/error/type", &["insufficient_quota", "billing_not_active"]), Spent),
    rule(&[429, 503], Is("/error/code", &["slow_down"]), Slower).of_the_account(),
];

pub(super) static ANTHROPIC: [Rule; 6] = [
    rule(&[401], Says(&["cors requests are not allowed"]), Elsewhere),
    rule(&[400], Says(&["credit balance is too low"]), Spent),
    rule(&[400], Says(&["reached your specified api usage limits", "reached your specified workspace api usage limits"]), Spent),
    rule(&[400, 401, 403], Says(&["organization has been disabled"]), Refused),
    rule(&[429], Is("/error/details/error_code", &["enforced_spend_limit_reached"]), Spent),
    rule(&[], Is("/error/type", &["overloaded_error"]), Busy),
];

pub(super) static GEMINI: [Rule; 9] = [
    rule(&[429], Says(&["prepayment credits are depleted"]), Spent),
    // This tier has none of the model.
    rule(&[429], Says(&["limit: 0,", "limit: 0 ", "limit: 0\\n", "limit: 0\""]), Spent).of_the_model(),
    // The delay beside a daily quota is not true: the quota comes back at midnight in California.
    rule(&[429], Says(&["perday"]), Spent).of_the_model(),
    rule(&[429], Is("/error/code", &["quota_exceeded"]), Spent),
    rule(&[400], Is("/error/details/*/reason", &["API_KEY_INVALID"]), Refused),
    rule(&[400], Says(&["api key not valid", "api key expired", "api key not found"]), Refused),
    // The region, or billing that is switched off.
    rule(&[400], Is("/error/status", &["FAILED_PRECONDITION"]), Elsewhere),
    rule(&[403], Says(&["reported as leaked", "has been suspended", "project has been denied access"]), Refused),
    rule(&[403], Is("/error/details/*/reason", &["CONSUMER_SUSPENDED"]), Refused),
];

pub(super) static MISTRAL: [Rule; 4] = [
    rule(&[403], Says(&["inactive subscription", "usage limit reached"]), Spent),
    rule(&[429, 503], Says(&["service tier capacity exceeded"]), Busy),
    rule(&[429], HeaderZero("x-ratelimit-remaining-tokens-month"), Spent),
    // Requests a second are counted over all models.
    rule(&[429], Says(&["requests rate limit exceeded"]), Slower).of_the_account(),
];

pub(super) static COHERE: [Rule; 6] = [
    rule(&[200], Flag("/valid", true), Accepted),
    rule(&[200], Flag("/valid", false), Refused),
    rule(&[200], Sign::None, Unproven),
    rule(&[429], Says(&["calls / month", "per month"]), Spent).of_the_key(),
    rule(&[402], Sign::None, Spent).of_the_key(),
    rule(&[498, 499], Sign::None, Wrong),
];

pub(super) static GROQ: [Rule; 6] = [
    rule(&[400, 403], Says(&["organization_restricted", "organization has been restricted"]), Refused),
    rule(&[400, 403], Is("/error/code", &["blocked_api_access", "insufficient_quota"]), Spent),
    rule(&[400, 403], Says(&["\"spend_"]), Spent),
    // Its network blocks addresses with 403 before it looks at the key.
    rule(&[403], Sign::None, Elsewhere),
    rule(&[413], Is("/error/code", &["rate_limit_exceeded"]), Slower),
    rule(&[429], Says(&["tokens per day", "requests per day", "(tpd)", "(rpd)"]), Spent).of_the_model(),
];

pub(super) static DEEPSEEK: [Rule; 1] = [rule(&[200], Flag("/is_available", false), Spent)];

pub(super) static XAI: [Rule; 7] = [
    rule(&[200], Flag("/team_blocked", true), Refused),
    rule(&[200], Flag("/api_key_blocked", true), Refused),
    rule(&[200], Flag("/api_key_disabled", true), Refused),
    rule(&[200], Lacks("/acls", "api-key:endpoint:*"), Restricted),
    rule(&[200], Lacks("/acls", "api-key:model:*"), Restricted),
    rule(&[400], Says(&["incorrect api key provided"]), Refused),
    rule(
        &[403, 429],
        Says(&["used all available credits", "reached its monthly spending limit", "doesn't have any credits or licenses", "run out of credits"]),
        Spent,
    ),
];

pub(super) static OPENROUTER: [Rule; 5] = [
    rule(&[200], NoneLeft("/data/limit_remaining"), Spent).of_the_key(),
    rule(&[402], Is("/error/metadata/error_type", &["in_flight_budget_exhausted"]), Slower).of_the_account(),
    rule(&[403], Says(&["key limit exceeded"]), Spent).of_the_key(),
    rule(&[429], Is("/error/availability/code", &["capacity_exhausted"]), Busy),
    rule(&[429], Says(&["per-day"]), Spent),
];

/// Its 403 is documented for prompts that are too long.
pub(super) static TOGETHER: [Rule; 1] = [rule(&[403], Says(&["context length", "max_tokens", "input token"]), Wrong)];

pub(super) static FIREWORKS: [Rule; 3] = [
    rule(&[403], Says(&["fire pass api keys are not authorized for this route"]), Restricted),
    rule(&[403], Sign::None, Refused),
    rule(&[412], Says(&["suspended", "spending limit", "past invoices"]), Spent),
];

pub(super) static PERPLEXITY: [Rule; 1] = [rule(&[401], Says(&["insufficient_quota", "exceeded your current quota"]), Spent)];

pub(super) static CEREBRAS: [Rule; 2] = [
    rule(&[429], Says(&["queue_exceeded", "experiencing high traffic"]), Busy),
    rule(&[429], Says(&["per day limit exceeded", "tokens per day", "requests per day"]), Spent).of_the_model(),
];

pub(super) static AZURE: [Rule; 3] = [
    rule(&[403], Says(&["virtual network", "firewall rules", "temporarily blocked"]), Elsewhere),
    rule(&[429], Says(&["retry after 86400 seconds"]), Spent),
    rule(&[429], Says(&["high demand", "maximum usage size allowed during peak load", "nocapacity"]), Busy),
];

pub(super) static NVIDIA: [Rule; 2] =
    [rule(&[403], Says(&["authorization failed"]), Refused), rule(&[404], Says(&["not found for account"]), Restricted)];

pub(super) static COMPATIBLE: [Rule; 2] = [
    rule(&[429], Says(&["insufficient_quota", "exceeded your current quota", "budget has been exceeded"]), Spent),
    // An unknown host may mean the address by it, or the key.
    rule(&[403], Sign::None, Elsewhere),
];

/// What LiteLLM's proxy says in its own name, whatever API it speaks (`ProxyErrorTypes` of its 1.80): tried after a provider's own.
pub(super) static GATEWAYS: [Rule; 3] = [
    // Without a database it knows its master key alone.
    rule(&[400, 401], Is("/error/type", &["no_db_connection", "token_not_found_in_db", "expired_key"]), Refused),
    rule(
        &[401, 403],
        Is("/error/type", &["key_model_access_denied", "team_model_access_denied", "user_model_access_denied", "org_model_access_denied"]),
        Restricted,
    ),
    rule(&[400, 429], Is("/error/type", &["budget_exceeded"]), Spent),
];
