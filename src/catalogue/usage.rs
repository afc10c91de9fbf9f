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
static FORMS: [Form; 8] = [
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
    // The later events of an Anthropic stream count the output alone.
    Form { sign: "/usage/output_tokens", input: &[], cached: &[], output: &["/usage/output_tokens"] },
    // Ollama's own.
    Form { sign: "/prompt_eval_count", input: &["/prompt_eval_count"], cached: &[], output: &["/eval_count"] },
];

/// Where a body has an answer with counts in it: the body itself, and the events of streams that carry one.
const PLACES: [&str; 3] = ["", "/message", "/response"];

/// Where a body names the model that answered.
const MODELS: [&str; 4] = ["/model", "/message/model", "/response/model", "/modelVersion"];

/// What the body of an answer says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// What was used; none: it says nothing.
    pub usage: Option<Usage>,
    /// The model that answered.
    pub model: Option<String>,
    /// The last piece of it that is an error: a stream may fail after its answer began.
    pub failure: Option<Value>,
}

/// Reads the body of an answer of the provider `kind`: one answer, a list of its pieces, or a stream of them (server-sent
/// events, or a line each), which may be cut. The work grows with the body's length alone.
#[must_use]
pub fn read_body(kind: &str, body: &str) -> Reading {
    let pieces: Vec<Value> = match serde_json::from_str(body) {
        Ok(Value::Array(pieces)) => pieces,
        Ok(whole) => vec![whole],
        Err(_) => body.lines().filter_map(piece).collect(),
    };
    let usage = joined(pieces.iter().map(|piece| of_piece(kind, piece)));
    let model = pieces.iter().find_map(|piece| MODELS.iter().find_map(|place| piece.pointer(place)?.as_str()));
    let failure = pieces.iter().rfind(|piece| piece.get("error").is_some_and(is_something)).cloned();
    Reading { usage: usage.or_else(|| last_counts(kind, body)), model: model.or_else(|| named_model(body)).map(str::to_owned), failure }
}

/// Some answers carry an error that is none.
fn is_something(error: &Value) -> bool {
    match error {
        Value::Object(fields) => !fields.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => false,
    }
}

/// One piece of a stream.
fn piece(line: &str) -> Option<Value> {
    let text = line.strip_prefix("data:").unwrap_or(line).trim();
    if text.starts_with('{') { serde_json::from_str(text).ok() } else { None }
}

fn of_piece(kind: &str, piece: &Value) -> Option<Usage> {
    joined(PLACES.iter().filter_map(|place| piece.pointer(place)).map(|answer| read(kind, answer)))
}

/// The model that a cut text names first. Within strings of JSON the quotes are escaped.
fn named_model(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\"model\"")?;
    rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?.split_once('"').map(|(model, _)| model)
}

/// The counts of a stream grow: each is as large as the largest that a piece tells.
fn joined(pieces: impl Iterator<Item = Option<Usage>>) -> Option<Usage> {
    pieces.flatten().reduce(|one, other| Usage {
        input: one.input.max(other.input),
        cached: one.cached.max(other.cached),
        output: one.output.max(other.output),
        cost: one.cost.max(other.cost),
    })
}

/// The last counts that stand in a text that is cut: they come at the end of answers.
fn last_counts(kind: &str, text: &str) -> Option<Usage> {
    ["usageMetadata", "usage", "billed_units"].into_iter().find_map(|name| {
        let (_, rest) = text.rsplit_once(&format!("\"{name}\""))?;
        let value = serde_json::Deserializer::from_str(rest.trim_start().strip_prefix(':')?).into_iter::<Value>().next()?.ok()?;
        read(kind, &serde_json::json!({ name: value }))
    })
}

/// What one answer, or one piece of a stream, says was used.
fn read(kind: &str, body: &Value) -> Option<Usage> {
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
    fn a_streams_counts_are_those_of_its_pieces() {
        let counts = |kind: &str, body: &str| read_body(kind, body).usage.map(|usage| (usage.input, usage.cached, usage.output));
        let openai = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\ndata: [DONE]\n";
        assert_eq!(counts("openai", openai), Some((10, 0, 5)));
        let responses =
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":3}}}\n";
        assert_eq!(counts("openai", responses), Some((7, 0, 3)));
        let anthropic = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":75,\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n";
        assert_eq!(counts("anthropic", anthropic), Some((100, 75, 15)));
        let gemini = r#"[{"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":1}},{"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":9}}]"#;
        assert_eq!(counts("gemini", gemini), Some((4, 0, 9)));
        let ollama = "{\"response\":\"Hi\",\"done\":false}\n{\"done\":true,\"prompt_eval_count\":8,\"eval_count\":2}\n";
        assert_eq!(counts("ollama", ollama), Some((8, 0, 2)));
    }

    #[test]
    fn a_body_that_is_long_or_cut_tells_its_last_counts_and_its_model() {
        let read = |body: &str| {
            let reading = read_body("openai", body);
            (reading.usage.map(|usage| (usage.input, usage.output)), reading.model)
        };
        let long = format!(
            "{{\"model\": \"gpt-4\",\"choices\":[\"{}\\\"model\\\":\"],\"usage\":{{\"prompt_tokens\":10,\"completion_tokens\":5}}}}",
            "x".repeat(200_000)
        );
        let whole = (Some((10, 5)), Some("gpt-4".to_owned()));
        assert_eq!(read(&long), whole);
        let (head, tail) = (&long[..50], &long[100_000..]);
        assert_eq!(read(&format!("{head}\n{tail}")), whole);
        assert_eq!(read(tail), (Some((10, 5)), None));
        assert_eq!(read(&long[..long.len() - 10]), (None, Some("gpt-4".to_owned())));
    }

    #[test]
    fn a_stream_tells_its_model_and_that_it_failed() {
        let start = "data: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n";
        let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
        let reading = read_body("anthropic", &format!("{start}{error}"));
        assert_eq!((reading.model.as_deref(), reading.usage.map(|usage| usage.input)), (Some("claude"), Some(25)));
        assert_eq!(reading.failure.unwrap().pointer("/error/type"), Some(&json!("overloaded_error")));
        assert_eq!(read_body("anthropic", start).failure, None);
        for none in ["null", "\"\"", "{}", "false"] {
            assert_eq!(read_body("openai", &format!("{{\"error\":{none},\"model\":\"gpt\"}}")).failure, None);
        }
        assert_eq!(read_body("gemini", "[{\"modelVersion\":\"flash\"}]").model.as_deref(), Some("flash"));
    }

    #[test]
    fn an_answer_without_counts_says_nothing() {
        for body in [json!({}), json!(null), json!([]), json!({"usage": null}), json!({"usage": {"prompt_tokens": -4}}), json!({"usage": "many"})] {
            assert_eq!(read("openai", &body), None, "{body}");
        }
    }
}
