//! What a provider's answer says that the request used.
//!
//! The form is told by the body, not by the provider: gateways answer in each other's forms.

use serde_json::Value;

use crate::money::Usd;

/// Tokens and money of one request, as its answer counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens sent, those read from the provider's cache included.
    pub input: u64,
    /// Tokens of the input that were read from the provider's cache.
    pub cached: u64,
    /// Tokens answered, those of reasoning included.
    pub output: u64,
    /// What the provider says it charges, which is nearer to the truth than a price list.
    pub cost: Option<Usd>,
}

/// One form of answer. Pointers are RFC 6901; those of a list are added up, and those that are absent count nothing.
struct Form {
    /// The answer has this form if there is a number here.
    sign: &'static str,
    input: &'static [&'static str],
    cached: &'static [&'static str],
    output: &'static [&'static str],
}

/// The first that fits counts.
static FORMS: [Form; 7] = [
    // Gemini: what it thinks and what its tools send is billed beside.
    Form {
        sign: "/usageMetadata/promptTokenCount",
        input: &["/usageMetadata/promptTokenCount", "/usageMetadata/toolUsePromptTokenCount"],
        cached: &["/usageMetadata/cachedContentTokenCount"],
        output: &["/usageMetadata/candidatesTokenCount", "/usageMetadata/thoughtsTokenCount"],
    },
    // Cohere charges these, which can be fewer than its tokens.
    Form {
        sign: "/usage/billed_units/input_tokens",
        input: &["/usage/billed_units/input_tokens"],
        cached: &[],
        output: &["/usage/billed_units/output_tokens"],
    },
    Form {
        sign: "/meta/billed_units/input_tokens",
        input: &["/meta/billed_units/input_tokens"],
        cached: &[],
        output: &["/meta/billed_units/output_tokens"],
    },
    // Chat completions of OpenAI, and of most others.
    Form {
        sign: "/usage/prompt_tokens",
        input: &["/usage/prompt_tokens"],
        cached: &["/usage/prompt_tokens_details/cached_tokens"],
        output: &["/usage/completion_tokens"],
    },
    // Anthropic counts what is read from and written to the cache beside the input.
    Form {
        sign: "/usage/cache_read_input_tokens",
        input: &["/usage/input_tokens", "/usage/cache_read_input_tokens", "/usage/cache_creation_input_tokens"],
        cached: &["/usage/cache_read_input_tokens"],
        output: &["/usage/output_tokens"],
    },
    // Responses of OpenAI, and messages without a cache.
    Form {
        sign: "/usage/input_tokens",
        input: &["/usage/input_tokens", "/usage/cache_creation_input_tokens"],
        cached: &["/usage/input_tokens_details/cached_tokens"],
        output: &["/usage/output_tokens"],
    },
    // Ollama's own.
    Form { sign: "/prompt_eval_count", input: &["/prompt_eval_count"], cached: &[], output: &["/eval_count"] },
];

/// What an answer of the provider `kind` says was used; none where it says nothing. Pieces of a stream are not put together.
#[must_use]
pub fn read(kind: &str, body: &Value) -> Option<Usage> {
    let number = |pointer: &&str| body.pointer(pointer).and_then(Value::as_u64);
    let sum = |pointers: &[&str]| pointers.iter().filter_map(number).fold(0, u64::saturating_add);
    let form = FORMS.iter().find(|form| number(&form.sign).is_some())?;
    let mut usage = Usage { input: sum(form.input), cached: sum(form.cached), output: sum(form.output), cost: cost(body) };
    match kind {
        // Its chat completions count reasoning beside the answer; the total has it.
        "xai" => {
            let total = number(&"/usage/total_tokens").unwrap_or(0);
            usage.output = usage.output.max(total.saturating_sub(usage.input));
        }
        "deepseek" if usage.cached == 0 => usage.cached = sum(&["/usage/prompt_cache_hit_tokens"]),
        _ => {}
    }
    Some(usage)
}

/// OpenRouter gives dollars at `cost`, Perplexity at `cost/total_cost`.
fn cost(body: &Value) -> Option<Usd> {
    let places = ["/usage/cost", "/usage/cost/total_cost"];
    let dollars = places.iter().find_map(|place| body.pointer(place)?.as_f64())?;
    Usd::from_dollars(dollars).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tokens(kind: &str, body: &Value) -> Option<(u64, u64, u64)> {
        read(kind, body).map(|usage| (usage.input, usage.cached, usage.output))
    }

    #[test]
    fn each_form_is_counted_as_it_is_billed() {
        let chat = json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}});
        assert_eq!(tokens("openai", &chat), Some((10, 4, 5)));
        let responses = json!({"usage": {"input_tokens": 10, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4}}});
        assert_eq!(tokens("openai", &responses), Some((10, 4, 5)));
        let message = json!({"usage": {"input_tokens": 10, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 7, "output_tokens": 5}});
        assert_eq!(tokens("anthropic", &message), Some((107, 90, 5)));
        let gemini =
            json!({"usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 6}});
        assert_eq!(tokens("gemini", &gemini), Some((10, 4, 11)));
        let cohere = json!({"usage": {"billed_units": {"input_tokens": 3, "output_tokens": 5}, "tokens": {"input_tokens": 70, "output_tokens": 5}}});
        assert_eq!(tokens("cohere", &cohere), Some((3, 0, 5)));
        let embedding = json!({"usage": {"prompt_tokens": 8, "total_tokens": 8}});
        assert_eq!(tokens("openai", &embedding), Some((8, 0, 0)));
        assert_eq!(tokens("ollama", &json!({"prompt_eval_count": 8, "eval_count": 2})), Some((8, 0, 2)));
    }

    #[test]
    fn what_two_providers_count_their_own_way_is_counted_theirs() {
        let xai = json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115}});
        assert_eq!(tokens("xai", &xai), Some((10, 0, 105)));
        let deepseek = json!({"usage": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 6}});
        assert_eq!(tokens("deepseek", &deepseek), Some((10, 6, 5)));
    }

    #[test]
    fn a_cost_that_the_provider_names_is_taken() {
        let cost = |cost: Value| read("openrouter", &json!({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}})).unwrap().cost;
        assert_eq!(cost(json!(0.0125)), Some(Usd::from_dollars(0.0125).unwrap()));
        assert_eq!(cost(json!({"total_cost": 0.5})), Some(Usd::from_dollars(0.5).unwrap()));
        assert_eq!(cost(json!(-1)), None);
        assert_eq!(cost(json!(null)), None);
    }

    #[test]
    fn an_answer_without_counts_says_nothing() {
        for body in [json!({}), json!(null), json!([]), json!({"usage": null}), json!({"usage": {"prompt_tokens": -4}}), json!({"usage": "many"})] {
            assert_eq!(read("openai", &body), None, "{body}");
        }
    }
}
