//! The providers, models and keys of the example, and the configuration that has them.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use gollm::money::Usd;
use gollm::secret::Secret;

/// Keys that it takes for every provider to have one.
pub(crate) const KEYS_LEAST: u64 = 6;

/// Whose key each of six is.
const TURNS: [&Provider; 6] = [&OPENAI, &ANTHROPIC, &GEMINI, &OPENAI, &ANTHROPIC, &WORKSHOP];

/// A provider, and what is asked of it.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    /// Of a hundred requests.
    pub(crate) share: u32,
    pub(crate) models: &'static [Model],
    /// Its lines of the configuration, before its keys.
    settings: &'static str,
    /// The settings of each key.
    limits: &'static str,
}

/// A model, and how it is used.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// Of a hundred requests to its provider.
    pub(crate) share: u32,
    /// Most tokens that are sent; the least are a twentieth.
    pub(crate) input: u64,
    /// Most tokens that are answered.
    pub(crate) output: u64,
    /// Nano-dollars that a program sets aside for one request.
    estimate: i64,
}

impl Model {
    pub(crate) const fn estimate(&self) -> Usd {
        Usd::from_nanos(self.estimate)
    }
}

const OPENAI: Provider = Provider {
    name: "openai",
    share: 48,
    models: &[
        Model { name: "gpt-4.1", share: 35, input: 6_000, output: 1_500, estimate: 15_000_000 },
        Model { name: "gpt-4.1-mini", share: 55, input: 8_000, output: 1_200, estimate: 4_000_000 },
        Model { name: "text-embedding-3-small", share: 10, input: 4_000, output: 0, estimate: 80_000 },
    ],
    settings: "    rotation: {strategy: round_robin, health_check: false}\n",
    limits: ", rate_limit: 60, cost_limit: 1.0",
};

const ANTHROPIC: Provider = Provider {
    name: "anthropic",
    share: 34,
    models: &[
        Model { name: "claude-sonnet-4-5", share: 45, input: 7_000, output: 2_000, estimate: 30_000_000 },
        Model { name: "claude-haiku-4-5", share: 55, input: 5_000, output: 1_000, estimate: 8_000_000 },
    ],
    settings: "    rotation: {strategy: least_used, health_check: false}\n",
    limits: ", rate_limit: 80",
};

/// All its keys are of one account.
const GEMINI: Provider = Provider {
    name: "gemini",
    share: 12,
    models: &[
        Model { name: "gemini-2.5-pro", share: 30, input: 9_000, output: 1_500, estimate: 25_000_000 },
        Model { name: "gemini-2.5-flash", share: 70, input: 9_000, output: 1_000, estimate: 5_000_000 },
    ],
    settings: "    rotation: {strategy: round_robin, health_check: false}\n",
    limits: ", account: studio, cost_limit: 5.0",
};

/// A server of one's own, whose small model has no price.
const WORKSHOP: Provider = Provider {
    name: "workshop",
    share: 6,
    models: &[
        Model { name: "llama-70b", share: 60, input: 4_000, output: 800, estimate: 1_000_000 },
        Model { name: "llama-8b", share: 40, input: 4_000, output: 800, estimate: 0 },
    ],
    settings: "    kind: openai\n    base_url: http://127.0.0.1:9/v1\n    rotation: {strategy: round_robin, health_check: false}\n    models:\n      \
               - {name: llama-70b, input_cost_per_1k_tokens: 0.0001, output_cost_per_1k_tokens: 0.0003}\n",
    limits: "",
};

/// All of them.
pub(crate) const PROVIDERS: [&Provider; 4] = [&OPENAI, &ANTHROPIC, &GEMINI, &WORKSHOP];

const REST: &str = "global:\n  key_validation: false\n  fallback_chain: [openai, anthropic]\n  equivalent_models:\n    \
                    - [openai/gpt-4.1, anthropic/claude-sonnet-4-5]\n    - [openai/gpt-4.1-mini, anthropic/claude-haiku-4-5]\n\
                    master: {source: file}\n";

/// A key: its provider, and its number among the keys of that.
type Key = (&'static Provider, usize);

/// So many keys, in turn of the one provider and the other.
pub(crate) fn keys(count: usize) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for provider in TURNS.iter().cycle().take(count) {
        let before = keys.iter().filter(|(other, _)| other.name == provider.name).count();
        keys.push((provider, before + 1));
    }
    keys
}

/// The secret of a key, after it was replaced so many times. No provider would take it.
pub(crate) fn secret(provider: &str, key: &str, replaced: u32) -> String {
    format!("sk-made-up-{provider}-0123456789abcdefghijklmnopqrstuvwxyz-{key}{replaced}")
}

/// Is it one of these?
pub(crate) fn is_made_up(secret: &Secret) -> bool {
    secret.expose().starts_with("sk-made-up-")
}

/// Writes the configuration, which only its owner may read.
pub(crate) fn write(file: &Path, keys: &[Key]) -> io::Result<()> {
    let mut text = "# Written by the example `month`. The keys are made up.\nproviders:\n".to_owned();
    for provider in PROVIDERS {
        text.push_str(&format!("  {}:\n{}    api_keys:\n", provider.name, provider.settings));
        for (_, number) in keys.iter().filter(|(other, _)| other.name == provider.name) {
            let name = format!("key-{number}");
            let secret = secret(provider.name, &name, 0);
            text.push_str(&format!("      - {{name: {name}, key: {secret}{}}}\n", provider.limits));
        }
    }
    text.push_str(REST);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}
