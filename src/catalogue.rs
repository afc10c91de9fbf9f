//! The LLM services that gollm knows, as data: where each is, how its keys look and are sent, how one is checked for free.

pub mod answer;
pub mod classify;
pub mod prices;
pub mod shape;
pub mod usage;
mod headers;
mod providers;
mod rules;

use std::ops::RangeInclusive;

pub use headers::{Anew, LimitHeader};

/// One LLM service.
#[derive(Debug)]
pub struct Provider {
    /// Its name in the configuration, as a provider or as a `kind`.
    pub name: &'static str,
    /// Where its API is, without a slash at the end; none: the configuration must say it.
    pub base_url: Option<&'static str>,
    /// Environment variables that its own tools read the key from, the usual one first.
    pub variables: &'static [&'static str],
    /// How a request carries the key.
    pub auth: Auth,
    /// Headers that every request needs besides, with their values.
    pub extra_headers: &'static [(&'static str, &'static str)],
    /// The documented shapes of its keys; empty: none is documented.
    pub shapes: &'static [Shape],
    /// How a key is checked without spending tokens; none: there is no free way.
    pub probe: Option<Probe>,
    /// Where a success of the probe tells what is left of the key's money; none: it does not.
    pub balance: Option<BalanceAt>,
    /// The smallest request that spends tokens.
    pub completion: Completion,
    /// Headers of its answers that together name the account of the key.
    pub account_headers: &'static [&'static str],
    /// How it says what, where the status alone does not.
    rules: &'static [rules::Rule],
    /// The forms in which its answers count tokens.
    pub usage: &'static [&'static usage::Form],
    /// Headers in which its answers say what is left of its limits.
    pub limit_headers: &'static [&'static [LimitHeader]],
    /// What its rate limits and quotas hang on, for people.
    pub limits: &'static str,
    /// Where these facts are from.
    pub source: &'static str,
}

impl Provider {
    /// How it says what, where the status alone does not: a line a rule, the first that fits counts.
    pub fn errors(&self) -> impl Iterator<Item = String> {
        self.rules.iter().map(rules::Rule::to_string)
    }
}

/// How a request carries the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer KEY` (RFC 6750).
    Bearer,
    /// The key alone in this header.
    Header(&'static str),
}

/// A documented shape of a key: a hint for people who mix keys up, never a reason to refuse one, since providers change them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// What such a key begins with.
    pub prefix: &'static str,
    /// What stands after the prefix.
    pub characters: Characters,
    /// How many characters stand after the prefix.
    pub length: RangeInclusive<usize>,
    /// What stands somewhere in it.
    pub marker: Option<&'static str>,
}

/// Sets of ASCII characters that keys are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Characters {
    /// `0-9a-f`
    Hex,
    /// `0-9a-z`
    Lower,
    /// `0-9A-Za-z`
    Alphanumeric,
    /// `0-9A-Za-z_`
    Word,
    /// `0-9A-Za-z_-`
    WordDash,
    /// `0-9A-Za-z_.-`
    WordDashDot,
}

/// One free request that tells a good key from a bad one.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    /// Its method.
    pub method: Method,
    /// Where it goes.
    pub target: Target,
    /// Where in it the key stands.
    pub carries: Carries,
    /// What a success says.
    pub proof: Proof,
    /// JSON pointer (RFC 6901) to the account of the key in a success.
    pub account: Option<&'static str>,
}

/// The method of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

/// Where a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// This path after the base URL.
    Path(&'static str),
    /// Another host of the same provider. It knows the keys of the provider's own service, not those of a gateway with that API.
    Elsewhere(&'static str),
}

/// Where in a probe the key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Where every request of the provider has it.
    AsUsual,
    /// In this field of a form body, and nowhere else.
    InForm(&'static str),
}

/// What the success of a probe says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The key is good.
    Success,
    /// The key is good if a made-up key is refused: some hosts answer any.
    Contrast,
}

/// Where an answer tells what is left of a key's money: JSON pointers (RFC 6901), in which `*` stands for every element of an array.
#[derive(Debug, Clone, Copy)]
pub struct BalanceAt {
    /// The currency (ISO 4217); none: US dollars.
    pub currency: Option<&'static str>,
    /// What is left, as a number or as its text.
    pub left: &'static str,
    /// Of how much.
    pub limit: Option<&'static str>,
    /// When it is filled up again.
    pub resets: Option<&'static str>,
}

/// A request for one answer of as few tokens as the API allows.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    /// Its path after the base URL; `{model}` stands for the model.
    pub path: &'static str,
    /// Its form.
    pub form: CompletionForm,
    /// A cheap model, for a configuration that names none; none: there is none that every account has.
    pub model: Option<&'static str>,
}

/// The form of a completion's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionForm {
    /// Chat completions, with `max_tokens`: most providers, Anthropic's messages and Cohere's chat among them.
    MaxTokens,
    /// Chat completions, with `max_completion_tokens`: OpenAI's newer models refuse the other.
    MaxCompletionTokens,
    /// Responses, with `max_output_tokens`.
    Responses,
    /// Google's `generateContent`.
    GenerateContent,
    /// Ollama's chat.
    Ollama,
}

/// The provider of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Provider> {
    all().iter().find(|provider| provider.name == name)
}

/// What stands for a service of which nothing is known but that it speaks an API like OpenAI's.
#[must_use]
pub fn any() -> &'static Provider {
    let [.., compatible] = &providers::ALL;
    compatible
}

/// Every known provider.
#[must_use]
pub fn all() -> &'static [Provider] {
    &providers::ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_has_a_name_of_its_own_that_a_configuration_can_write() {
        for provider in all() {
            assert!(provider.name.parse::<crate::id::ProviderName>().is_ok(), "{}", provider.name);
            assert_eq!(all().iter().filter(|other| other.name == provider.name).count(), 1, "{}", provider.name);
        }
        assert_eq!(all().len(), 18);
        assert!(find("openai").is_some());
        assert!(find("OpenAI").is_none());
        assert_eq!(any().name, "openai_compatible");
    }

    #[test]
    fn a_base_url_ends_without_a_slash_and_is_encrypted_off_this_machine() {
        for provider in all() {
            let Some(base_url) = provider.base_url else { continue };
            assert!(!base_url.ends_with('/'), "{}", provider.name);
            assert!(base_url.starts_with("https://") || base_url.starts_with("http://localhost:"), "{}", provider.name);
        }
    }

    #[test]
    fn a_variable_belongs_to_one_provider() {
        let variables: Vec<_> = all().iter().flat_map(|provider| provider.variables).collect();
        for variable in &variables {
            assert_eq!(variables.iter().filter(|other| other == &variable).count(), 1, "{variable}");
        }
    }

    #[test]
    fn a_probe_path_begins_with_a_slash_and_another_host_is_reached_encrypted() {
        for probe in all().iter().filter_map(|provider| provider.probe) {
            match probe.target {
                Target::Path(path) => assert!(path.starts_with('/')),
                Target::Elsewhere(url) => assert!(url.starts_with("https://")),
            }
        }
    }
}
