//! What models cost: a table compiled on 2026-11-23 from providers' price pages and public price lists.
//!
//! Only the standard tier: the answers of a batch are charged in full. What is written to a cache has a price where it costs more than other input, as for five minutes. Where a source gives the input
//! and the output of long prompts alone, their cache costs the same share of the input as elsewhere. Promotions that end later than
//! that day stand as they were then. Generated once, kept by hand.

use super::{LongPrompts, Price, Rates};
use crate::money::Usd;

/// Models of one provider and their prices.
pub(super) type Models = &'static [(&'static str, Price)];

/// The price of a model in millionths of a dollar a million tokens, as price pages give it (`2_500_000` is $2.50). The same number
/// is nano-dollars a thousand tokens.
const fn price(input: i64, output: i64) -> Price {
    let rates = Rates { input: Usd::from_nanos(input), output: Usd::from_nanos(output), cached_input: None, cache_write: None };
    Price { rates, long: None }
}

/// The same, with the price of input that is read from the provider's cache.
const fn cached(input: i64, read: i64, output: i64) -> Price {
    let flat = price(input, output);
    Price { rates: Rates { cached_input: Some(Usd::from_nanos(read)), ..flat.rates }, long: None }
}

impl Price {
    /// With the price of input that is written to the provider's cache.
    const fn written(self, write: i64) -> Self {
        Self { rates: Rates { cache_write: Some(Usd::from_nanos(write)), ..self.rates }, long: self.long }
    }

    /// With the price of requests whose input is longer than `tokens`.
    const fn above(self, tokens: u64, price: Price) -> Self {
        Self { rates: self.rates, long: Some(LongPrompts { above: tokens, rates: price.rates }) }
    }
}

/// By provider; [`super::ANY_MODEL`] stands for every model of one.
pub(super) static PRICES: &[(&str, Models)] = &[
    (
        "openai",
        &[
            ("gpt-3.5-turbo", price(500_000, 1_500_000)),
            ("gpt-4.1", cached(2_000_000, 500_000, 8_000_000)),
            ("gpt-4.1-mini", cached(400_000, 100_000, 1_600_000)),
            ("gpt-4.1-nano", cached(100_000, 25_000, 400_000)),
            ("gpt-4o", cached(2_500_000, 1_250_000, 10_000_000)),
            ("gpt-4o-mini", cached(150_000, 75_000, 600_000)),
            ("gpt-5", cached(1_250_000, 125_000, 10_000_000)),
            ("gpt-5-mini", cached(250_000, 25_000, 2_000_000)),
            ("gpt-5-nano", cached(50_000, 5_000, 400_000)),
            ("gpt-5.1", cached(1_250_000, 125_000, 10_000_000)),
            ("gpt-5.2", cached(1_750_000, 175_000, 14_000_000)),
            ("gpt-5.3-codex", cached(1_750_000, 175_000, 14_000_000)),
            ("gpt-5.4", cached(2_500_000, 250_000, 15_000_000).above(272_000, cached(5_000_000, 500_000, 22_500_000))),
            ("gpt-5.4-mini", cached(750_000, 75_000, 4_500_000)),
            ("gpt-5.4-nano", cached(200_000, 20_000, 1_250_000)),
            ("gpt-5.5", cached(5_000_000, 500_000, 30_000_000).above(272_000, cached(10_000_000, 1_000_000, 45_000_000))),
            ("gpt-5.5-pro", price(30_000_000, 180_000_000).above(272_000, price(60_000_000, 270_000_000))),
            ("gpt-5.6-luna", cached(200_000, 20_000, 1_200_000)),
            (
                "gpt-5.6-sol",
                cached(5_000_000, 500_000, 30_000_000)
                    .written(6_250_000)
                    .above(272_000, cached(10_000_000, 1_000_000, 45_000_000).written(12_500_000)),
            ),
            ("gpt-5.6-terra", cached(2_000_000, 200_000, 12_000_000)),
            ("gpt-6-astra", cached(10_000_000, 1_000_000, 50_000_000)),
            ("gpt-6-luna", cached(100_000, 10_000, 500_000).written(125_000)),
            ("gpt-6-sol", cached(2_000_000, 200_000, 10_000_000).written(2_500_000)),
            ("gpt-6.1-sol", cached(2_000_000, 100_000, 10_000_000).written(2_500_000)),
            ("o3", cached(2_000_000, 500_000, 8_000_000)),
            ("o4-mini", cached(1_100_000, 275_000, 4_400_000)),
            ("text-embedding-3-large", price(130_000, 0)),
            ("text-embedding-3-small", price(20_000, 0)),
            ("text-embedding-ada-002", price(100_000, 0)),
        ],
    ),
    (
        "anthropic",
        &[
            ("claude-3-5-haiku-latest", cached(800_000, 80_000, 4_000_000).written(1_000_000)),
            ("claude-3-7-sonnet-20250219", cached(3_000_000, 300_000, 15_000_000).written(3_750_000)),
            ("claude-3-haiku-20240307", cached(250_000, 30_000, 1_250_000).written(300_000)),
            ("claude-fable-5", cached(10_000_000, 1_000_000, 50_000_000).written(12_500_000)),
            ("claude-fable-5-1", cached(10_000_000, 250_000, 50_000_000).written(12_500_000)),
            ("claude-haiku-4-5", cached(1_000_000, 100_000, 5_000_000).written(1_250_000)),
            (
                "claude-haiku-5-5",
                cached(100_000, 10_000, 500_000).written(125_000).above(100_000, cached(500_000, 50_000, 2_500_000).written(625_000)),
            ),
            ("claude-opus-4-1", cached(15_000_000, 1_500_000, 75_000_000).written(18_750_000)),
            ("claude-opus-4-5", cached(5_000_000, 500_000, 25_000_000).written(6_250_000)),
            ("claude-opus-4-6", cached(5_000_000, 500_000, 25_000_000).written(6_250_000)),
            ("claude-opus-4-7", cached(5_000_000, 500_000, 25_000_000).written(6_250_000)),
            ("claude-opus-4-8", cached(5_000_000, 500_000, 25_000_000).written(6_250_000)),
            ("claude-opus-5", cached(5_000_000, 500_000, 25_000_000).written(6_250_000)),
            ("claude-opus-5-5", cached(4_000_000, 200_000, 20_000_000).written(5_000_000)),
            ("claude-sonnet-4-0", cached(3_000_000, 300_000, 15_000_000).written(3_750_000)),
            ("claude-sonnet-4-5", cached(3_000_000, 300_000, 15_000_000).written(3_750_000)),
            ("claude-sonnet-4-6", cached(3_000_000, 300_000, 15_000_000).written(3_750_000)),
            ("claude-sonnet-5", cached(2_000_000, 200_000, 10_000_000).written(2_500_000)),
            ("claude-sonnet-5-5", cached(2_000_000, 100_000, 10_000_000).written(2_500_000)),
        ],
    ),
    (
        "gemini",
        &[
            ("gemini-2.0-flash", cached(100_000, 25_000, 400_000)),
            ("gemini-2.0-flash-lite", cached(75_000, 18_750, 300_000)),
            ("gemini-2.5-flash", cached(300_000, 30_000, 2_500_000)),
            ("gemini-2.5-flash-lite", cached(100_000, 10_000, 400_000)),
            ("gemini-2.5-pro", cached(1_250_000, 125_000, 10_000_000).above(200_000, cached(2_500_000, 250_000, 15_000_000))),
            ("gemini-3-flash-preview", cached(500_000, 50_000, 3_000_000)),
            ("gemini-3-pro-preview", cached(2_000_000, 200_000, 12_000_000).above(200_000, cached(4_000_000, 400_000, 18_000_000))),
            ("gemini-3.1-flash-lite", cached(250_000, 25_000, 1_500_000)),
            ("gemini-3.1-pro-preview", cached(2_000_000, 200_000, 12_000_000).above(200_000, cached(4_000_000, 400_000, 18_000_000))),
            ("gemini-3.5-flash", cached(1_500_000, 150_000, 9_000_000)),
            ("gemini-3.5-flash-lite", cached(300_000, 30_000, 2_500_000)),
            ("gemini-3.6-flash", cached(750_000, 75_000, 3_750_000)),
            ("gemini-3.7-flash", cached(750_000, 75_000, 3_750_000)),
            ("gemini-3.8-flash", cached(750_000, 75_000, 3_750_000)),
            ("gemini-embedding-001", price(150_000, 0)),
        ],
    ),
    (
        "mistral",
        &[
            ("codestral-embed", price(150_000, 0)),
            ("codestral-latest", cached(300_000, 30_000, 900_000)),
            ("devstral-2512", cached(400_000, 40_000, 2_000_000)),
            ("devstral-latest", price(400_000, 2_000_000)),
            ("magistral-medium-latest", price(2_000_000, 5_000_000)),
            ("magistral-small", price(500_000, 1_500_000)),
            ("ministral-14b-2512", cached(200_000, 20_000, 200_000)),
            ("ministral-3b-latest", price(40_000, 40_000)),
            ("ministral-8b-latest", price(100_000, 100_000)),
            ("mistral-embed", price(100_000, 0)),
            ("mistral-large-2512", cached(500_000, 50_000, 1_500_000)),
            ("mistral-large-latest", cached(500_000, 50_000, 1_500_000)),
            ("mistral-medium-2508", price(400_000, 2_000_000)),
            ("mistral-medium-2604", price(1_500_000, 7_500_000)),
            ("mistral-medium-latest", price(400_000, 2_000_000)),
            ("mistral-small-2603", cached(150_000, 15_000, 600_000)),
            ("mistral-small-latest", cached(150_000, 15_000, 600_000)),
            ("open-mistral-nemo", price(150_000, 150_000)),
            ("pixtral-large-latest", price(2_000_000, 6_000_000)),
        ],
    ),
    (
        "cohere",
        &[
            ("command-a-03-2025", price(2_500_000, 10_000_000)),
            ("command-a-plus-05-2026", price(2_500_000, 10_000_000)),
            ("command-a-reasoning-08-2025", price(2_500_000, 10_000_000)),
            ("command-a-vision-07-2025", price(2_500_000, 10_000_000)),
            ("command-r-08-2024", price(150_000, 600_000)),
            ("command-r-plus-08-2024", price(2_500_000, 10_000_000)),
            ("command-r7b-12-2024", price(37_500, 150_000)),
            ("embed-english-v3.0", price(100_000, 0)),
            ("embed-multilingual-v3.0", price(100_000, 0)),
            ("embed-v4.0", price(120_000, 0)),
        ],
    ),
    (
        "groq",
        &[
            ("llama-3.1-8b-instant", price(50_000, 80_000)),
            ("llama-3.3-70b-versatile", price(590_000, 790_000)),
            ("meta-llama/llama-4-maverick-17b-128e-instruct", price(200_000, 600_000)),
            ("meta-llama/llama-4-scout-17b-16e-instruct", price(110_000, 340_000)),
            ("moonshotai/kimi-k2-instruct-0905", cached(1_000_000, 500_000, 3_000_000)),
            ("openai/gpt-oss-120b", cached(150_000, 75_000, 600_000)),
            ("openai/gpt-oss-20b", cached(75_000, 37_500, 300_000)),
            ("openai/gpt-oss-safeguard-20b", price(75_000, 300_000)),
            ("qwen/qwen3-32b", price(290_000, 590_000)),
        ],
    ),
    (
        "deepseek",
        &[
            ("deepseek-chat", cached(140_000, 2_800, 280_000)),
            ("deepseek-flash", cached(140_000, 2_800, 280_000)),
            ("deepseek-reasoner", cached(140_000, 2_800, 280_000)),
            ("deepseek-v4-flash", cached(140_000, 2_800, 280_000)),
            ("deepseek-v4-pro", cached(435_000, 3_625, 870_000)),
        ],
    ),
    (
        "xai",
        &[
            ("grok-3", cached(3_000_000, 750_000, 15_000_000)),
            ("grok-3-mini", cached(300_000, 75_000, 500_000)),
            ("grok-4-0709", cached(3_000_000, 750_000, 15_000_000)),
            ("grok-4-1-fast-non-reasoning", cached(200_000, 50_000, 500_000)),
            ("grok-4-1-fast-reasoning", cached(200_000, 50_000, 500_000)),
            ("grok-4-fast-reasoning", cached(200_000, 50_000, 500_000)),
            ("grok-4.20-0309-non-reasoning", cached(1_250_000, 200_000, 2_500_000).above(200_000, cached(2_500_000, 400_000, 5_000_000))),
            ("grok-4.20-0309-reasoning", cached(1_250_000, 200_000, 2_500_000).above(200_000, cached(2_500_000, 400_000, 5_000_000))),
            ("grok-4.20-multi-agent-0309", cached(1_250_000, 200_000, 2_500_000).above(200_000, cached(2_500_000, 400_000, 5_000_000))),
            ("grok-4.3", cached(1_250_000, 200_000, 2_500_000).above(200_000, cached(2_500_000, 400_000, 5_000_000))),
            ("grok-4.5", cached(2_000_000, 500_000, 6_000_000).above(204_800, cached(4_000_000, 1_000_000, 12_000_000))),
            ("grok-4.6", cached(2_000_000, 500_000, 6_000_000).above(204_800, cached(4_000_000, 1_000_000, 12_000_000))),
            ("grok-build-0.1", cached(1_000_000, 200_000, 2_000_000).above(200_000, cached(2_000_000, 400_000, 4_000_000))),
            ("grok-code-fast-1", cached(200_000, 20_000, 1_500_000)),
        ],
    ),
    (
        "openrouter",
        &[
            ("anthropic/claude-haiku-4.5", cached(1_000_000, 100_000, 5_000_000).written(1_250_000)),
            (
                "anthropic/claude-opus-4.7",
                cached(5_000_000, 500_000, 25_000_000)
                    .written(6_250_000)
                    .above(200_000, cached(10_000_000, 1_000_000, 37_500_000).written(12_500_000)),
            ),
            ("anthropic/claude-opus-4.8", cached(5_000_000, 500_000, 25_000_000).written(6_250_000)),
            (
                "anthropic/claude-sonnet-4.6",
                cached(3_000_000, 300_000, 15_000_000).written(3_750_000).above(200_000, cached(6_000_000, 600_000, 22_500_000).written(7_500_000)),
            ),
            ("anthropic/claude-sonnet-5", cached(2_000_000, 200_000, 10_000_000).written(3_750_000)),
            ("deepseek/deepseek-v4-flash", cached(98_000, 20_000, 196_000)),
            ("deepseek/deepseek-v4-pro", cached(435_000, 3_625, 870_000)),
            ("google/gemini-2.5-flash", cached(300_000, 30_000, 2_500_000)),
            ("google/gemini-2.5-flash-lite", cached(100_000, 10_000, 400_000)),
            ("google/gemini-2.5-pro", cached(1_250_000, 125_000, 10_000_000)),
            ("google/gemini-3.1-pro-preview", cached(2_000_000, 200_000, 12_000_000).above(200_000, cached(4_000_000, 400_000, 18_000_000))),
            ("google/gemini-3.5-flash", cached(1_500_000, 150_000, 9_000_000)),
            ("meta-llama/llama-3.3-70b-instruct", price(100_000, 320_000)),
            ("minimax/minimax-m3", cached(300_000, 60_000, 1_200_000)),
            ("moonshotai/kimi-k2.6", cached(550_000, 110_000, 3_200_000)),
            ("openai/gpt-4o-mini", cached(150_000, 75_000, 600_000)),
            ("openai/gpt-5", cached(1_250_000, 125_000, 10_000_000)),
            ("openai/gpt-5-mini", cached(250_000, 25_000, 2_000_000)),
            ("openai/gpt-5.4", cached(2_500_000, 250_000, 15_000_000)),
            ("openai/gpt-5.4-mini", cached(750_000, 75_000, 4_500_000)),
            ("openai/gpt-5.5", cached(5_000_000, 500_000, 30_000_000)),
            ("openai/gpt-oss-120b", cached(30_000, 30_000, 150_000)),
            ("qwen/qwen3-coder", price(220_000, 1_800_000)),
            ("x-ai/grok-4.3", cached(1_250_000, 200_000, 2_500_000).above(200_000, cached(2_500_000, 400_000, 5_000_000))),
            ("z-ai/glm-5.2", cached(930_000, 180_000, 3_000_000)),
        ],
    ),
    (
        "together",
        &[
            ("MiniMaxAI/MiniMax-M3", cached(300_000, 60_000, 1_200_000)),
            ("Qwen/Qwen2.5-7B-Instruct-Turbo", price(300_000, 300_000)),
            ("Qwen/Qwen3-235B-A22B-Instruct-2507-tput", price(200_000, 600_000)),
            ("Qwen/Qwen3-Coder-480B-A35B-Instruct-FP8", price(2_000_000, 2_000_000)),
            ("Qwen/Qwen3.5-397B-A17B", price(600_000, 3_600_000)),
            ("deepseek-ai/DeepSeek-R1", price(3_000_000, 7_000_000)),
            ("deepseek-ai/DeepSeek-V3-1", price(600_000, 1_700_000)),
            ("deepseek-ai/DeepSeek-V4-Pro", cached(1_740_000, 200_000, 3_480_000)),
            ("google/gemma-4-31B-it", price(390_000, 970_000)),
            ("meta-llama/Llama-3.3-70B-Instruct-Turbo", price(880_000, 880_000)),
            ("meta-llama/Meta-Llama-3-8B-Instruct-Lite", price(140_000, 140_000)),
            ("moonshotai/Kimi-K2.6", cached(1_200_000, 200_000, 4_500_000)),
            ("moonshotai/Kimi-K2.7-Code", cached(950_000, 190_000, 4_000_000)),
            ("openai/gpt-oss-120b", price(150_000, 600_000)),
            ("openai/gpt-oss-20b", price(50_000, 200_000)),
            ("zai-org/GLM-5.1", price(1_400_000, 4_400_000)),
            ("zai-org/GLM-5.2", cached(1_400_000, 260_000, 4_400_000)),
        ],
    ),
    (
        "fireworks",
        &[
            ("deepseek-v4-flash", cached(140_000, 28_000, 280_000)),
            ("deepseek-v4-pro", cached(1_740_000, 145_000, 3_480_000)),
            ("glm-5p1", cached(1_400_000, 260_000, 4_400_000)),
            ("glm-5p2", cached(1_400_000, 260_000, 4_400_000)),
            ("gpt-oss-120b", cached(150_000, 15_000, 600_000)),
            ("gpt-oss-20b", cached(70_000, 35_000, 300_000)),
            ("kimi-k2p6", cached(950_000, 160_000, 4_000_000)),
            ("kimi-k2p7-code", cached(950_000, 190_000, 4_000_000)),
            ("llama-v3p1-8b-instruct", price(200_000, 200_000)),
            ("minimax-m2p7", cached(300_000, 60_000, 1_200_000)),
            ("minimax-m3", cached(300_000, 60_000, 1_200_000)),
            ("qwen3p7-plus", cached(400_000, 80_000, 1_600_000)),
        ],
    ),
    (
        "perplexity",
        &[
            ("sonar", price(1_000_000, 1_000_000)),
            ("sonar-deep-research", price(2_000_000, 8_000_000)),
            ("sonar-pro", price(3_000_000, 15_000_000)),
            ("sonar-reasoning", price(1_000_000, 5_000_000)),
            ("sonar-reasoning-pro", price(2_000_000, 8_000_000)),
        ],
    ),
    (
        "cerebras",
        &[
            ("gpt-oss-120b", price(350_000, 750_000)),
            ("llama-3.3-70b", price(850_000, 1_200_000)),
            ("llama3.1-8b", price(100_000, 100_000)),
            ("qwen-3-32b", price(400_000, 800_000)),
            ("zai-glm-4.7", price(2_250_000, 2_750_000)),
        ],
    ),
    (
        "azure_openai",
        &[
            ("gpt-4.1", cached(2_000_000, 500_000, 8_000_000)),
            ("gpt-4.1-mini", cached(400_000, 100_000, 1_600_000)),
            ("gpt-4.1-nano", cached(100_000, 25_000, 400_000)),
            ("gpt-4o", cached(2_500_000, 1_250_000, 10_000_000)),
            ("gpt-4o-mini", cached(150_000, 75_000, 600_000)),
            ("gpt-5", cached(1_250_000, 130_000, 10_000_000)),
            ("gpt-5-mini", cached(250_000, 30_000, 2_000_000)),
            ("gpt-5-nano", cached(50_000, 10_000, 400_000)),
            ("gpt-5.1", cached(1_250_000, 125_000, 10_000_000)),
            ("gpt-5.2", cached(1_750_000, 125_000, 14_000_000)),
            ("gpt-5.4", cached(2_500_000, 250_000, 15_000_000).above(272_000, cached(5_000_000, 500_000, 22_500_000))),
            ("gpt-5.4-mini", cached(750_000, 75_000, 4_500_000)),
            ("gpt-5.4-nano", cached(200_000, 20_000, 1_250_000)),
            ("gpt-5.5", cached(5_000_000, 500_000, 30_000_000).above(272_000, cached(10_000_000, 1_000_000, 45_000_000))),
            ("o3", cached(2_000_000, 500_000, 8_000_000)),
            ("o4-mini", cached(1_100_000, 275_000, 4_400_000)),
            ("text-embedding-3-large", price(130_000, 0)),
            ("text-embedding-3-small", price(20_000, 0)),
            ("text-embedding-ada-002", price(100_000, 0)),
        ],
    ),
    (
        "huggingface",
        &[
            ("MiniMaxAI/MiniMax-M3", price(300_000, 1_200_000)),
            ("Qwen/Qwen3-235B-A22B-Thinking-2507", price(300_000, 3_000_000)),
            ("Qwen/Qwen3-32B", price(290_000, 590_000)),
            ("Qwen/Qwen3-Coder-480B-A35B-Instruct", price(2_000_000, 2_000_000)),
            ("Qwen/Qwen3-Embedding-8B", price(10_000, 0)),
            ("deepseek-ai/DeepSeek-V3.2", price(280_000, 400_000)),
            ("deepseek-ai/DeepSeek-V4-Flash", price(140_000, 280_000)),
            ("deepseek-ai/DeepSeek-V4-Pro", cached(435_000, 3_625, 870_000)),
            ("meta-llama/Llama-3.3-70B-Instruct", price(590_000, 790_000)),
            ("moonshotai/Kimi-K2.6", cached(950_000, 160_000, 4_000_000)),
            ("openai/gpt-oss-120b", price(250_000, 690_000)),
            ("zai-org/GLM-5.2", price(1_400_000, 4_400_000)),
        ],
    ),
    (
        "nvidia_nim",
        &[
            ("deepseek-ai/deepseek-v4-pro", cached(435_000, 3_625, 870_000)),
            ("meta/llama-3.1-8b-instruct", price(0, 0)),
            ("meta/llama-3.3-70b-instruct", price(0, 0)),
            ("minimaxai/minimax-m3", price(0, 0)),
            ("mistralai/mistral-large-3-675b-instruct-2512", price(0, 0)),
            ("moonshotai/kimi-k2.6", price(0, 0)),
            ("nvidia/nemotron-3-nano-30b-a3b", price(0, 0)),
            ("nvidia/nemotron-3-super-120b-a12b", price(200_000, 800_000)),
            ("nvidia/nemotron-3-ultra-550b-a55b", cached(500_000, 150_000, 2_500_000)),
            ("openai/gpt-oss-120b", price(0, 0)),
            ("openai/gpt-oss-20b", price(0, 0)),
            ("qwen/qwen3-coder-480b-a35b-instruct", price(0, 0)),
        ],
    ),
    (
        "ollama",
        &[
            // Local models cost no tokens, those in its cloud are a flat subscription.
            (super::ANY_MODEL, price(0, 0)),
        ],
    ),
];
