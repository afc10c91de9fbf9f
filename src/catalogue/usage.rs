//! What a provider's answer says that the request used.

use serde_json::Value;

use crate::catalogue::Provider;
use crate::money::Usd;

/// Tokens and money of one request, as its answer counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens sent, those read from or written to the provider's cache included.
    pub input: u64,
    /// Tokens of the input that were read from the provider's cache.
    pub cached: u64,
    /// Tokens of the input that were written to the provider's cache.
    pub written: u64,
    /// Tokens answered, those of reasoning included.
    pub output: u64,
    /// What the provider says it charges, which is nearer to the truth than a price list.
    pub cost: Option<Usd>,
    /// The sum of many requests, of which none need be long.
    pub summed: bool,
}

/// One form of answer. Pointers are RFC 6901; those that are absent count nothing.
#[derive(Debug)]
pub struct Form {
    /// What people call it.
    pub name: &'static str,
    /// The answer has this form if there is a number here.
    pub sign: &'static str,
    /// Tokens sent: the sum of these.
    pub input: &'static [&'static str],
    /// Of them, read from a cache: the largest of these.
    pub cached: &'static [&'static str],
    /// Of them, written to a cache: the largest of these.
    pub written: &'static [&'static str],
    /// Tokens answered: the sum of these.
    pub output: &'static [&'static str],
    /// All tokens, where those answered are as many as this leaves.
    pub total: Option<&'static str>,
}

/// Chat completions of OpenAI, and of most others.
pub static CHAT: Form = Form {
    name: "chat completions",
    sign: "/usage/prompt_tokens",
    input: &["/usage/prompt_tokens"],
    // OpenAI's place, DeepSeek's, Mistral's, Together's.
    cached: &["/usage/prompt_tokens_details/cached_tokens", "/usage/prompt_cache_hit_tokens", "/usage/num_cached_tokens", "/usage/cached_tokens"],
    written: &["/usage/prompt_tokens_details/cache_write_tokens"],
    output: &["/usage/completion_tokens"],
    total: None,
};

/// Those of xAI count reasoning beside the answer; the total has it.
pub static CHAT_BESIDE_REASONING: Form = Form {
    name: "chat completions, reasoning beside",
    sign: "/usage/prompt_tokens",
    input: &["/usage/prompt_tokens"],
    cached: &["/usage/prompt_tokens_details/cached_tokens"],
    written: &[],
    output: &["/usage/completion_tokens"],
    total: Some("/usage/total_tokens"),
};

/// Responses of OpenAI, and messages of Anthropic without a cache.
pub static RESPONSES: Form = Form {
    name: "responses",
    sign: "/usage/input_tokens",
    input: &["/usage/input_tokens", "/usage/cache_creation_input_tokens"],
    cached: &["/usage/input_tokens_details/cached_tokens"],
    written: &["/usage/input_tokens_details/cache_write_tokens", "/usage/cache_creation_input_tokens"],
    output: &["/usage/output_tokens"],
    total: None,
};

/// Messages of Anthropic, which count what is read from and written to the cache beside the input.
pub static MESSAGES: Form = Form {
    name: "messages",
    sign: "/usage/cache_read_input_tokens",
    input: &["/usage/input_tokens", "/usage/cache_read_input_tokens", "/usage/cache_creation_input_tokens"],
    cached: &["/usage/cache_read_input_tokens"],
    written: &["/usage/cache_creation_input_tokens"],
    output: &["/usage/output_tokens"],
    total: None,
};

/// The later events of a stream of messages.
pub static OUTPUT_ALONE: Form = Form {
    name: "the end of a stream of messages",
    sign: "/usage/output_tokens",
    input: &[],
    cached: &[],
    written: &[],
    output: &["/usage/output_tokens"],
    total: None,
};

/// Gemini: what it thinks and what its tools send is billed beside.
pub static GENERATE_CONTENT: Form = Form {
    name: "generateContent",
    sign: "/usageMetadata/promptTokenCount",
    input: &["/usageMetadata/promptTokenCount", "/usageMetadata/toolUsePromptTokenCount"],
    cached: &["/usageMetadata/cachedContentTokenCount"],
    written: &[],
    output: &["/usageMetadata/candidatesTokenCount", "/usageMetadata/thoughtsTokenCount"],
    total: None,
};

/// Cohere charges these, which can be fewer than its tokens.
pub static BILLED_UNITS: Form = Form {
    name: "billed units",
    sign: "/usage/billed_units/input_tokens",
    input: &["/usage/billed_units/input_tokens"],
    cached: &[],
    written: &[],
    output: &["/usage/billed_units/output_tokens"],
    total: None,
};

/// The same in the first version of its API, and for embeddings.
pub static META_BILLED_UNITS: Form = Form {
    name: "billed units (v1)",
    sign: "/meta/billed_units/input_tokens",
    input: &["/meta/billed_units/input_tokens"],
    cached: &[],
    written: &[],
    output: &["/meta/billed_units/output_tokens"],
    total: None,
};

/// Ollama's own.
pub static EVAL_COUNTS: Form = Form {
    name: "evaluated tokens",
    sign: "/prompt_eval_count",
    input: &["/prompt_eval_count"],
    cached: &[],
    written: &[],
    output: &["/eval_count"],
    total: None,
};

/// Gateways answer in each other's forms: after a provider's own, the first of these that fits counts.
static FORMS: [&Form; 8] = [&GENERATE_CONTENT, &BILLED_UNITS, &META_BILLED_UNITS, &CHAT, &MESSAGES, &RESPONSES, &OUTPUT_ALONE, &EVAL_COUNTS];

/// Where a body has an answer with counts in it: the body itself, and the events of streams that carry one (Anthropic's first,
/// OpenAI's last of a response, Cohere's last, Groq's last).
const PLACES: [&str; 5] = ["", "/message", "/response", "/delta", "/x_groq"];

/// Where a line of a batch's results has one of many answers: OpenAI's, Anthropic's, Gemini's.
const BATCHED: [&str; 3] = ["/response/body", "/result/message", "/response"];

/// Names the request of a batch that a line answers: OpenAI's and Anthropic's, Gemini's.
const BATCH_SIGNS: [&str; 2] = ["custom_id", "key"];

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

/// Reads the body of an answer of `provider`: one answer, a list of its pieces, a stream of them (server-sent events, or a line
/// each), which may be cut, or the results of a batch, a line each. The work grows with the body's length alone.
#[must_use]
pub fn read_body(provider: &Provider, body: &str) -> Reading {
    let pieces: Vec<Value> = match serde_json::from_str(body) {
        Ok(Value::Array(pieces)) => pieces,
        Ok(whole) => vec![whole],
        Err(_) => body.lines().filter_map(piece).collect(),
    };
    if pieces.first().is_some_and(is_batched) {
        let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
        return read_batch(provider, &pieces, pieces.len() < lines);
    }
    let usage = joined(pieces.iter().map(|piece| of_piece(provider, piece)));
    let model = pieces.iter().find_map(|piece| MODELS.iter().find_map(|place| piece.pointer(place)?.as_str()));
    let failure = pieces.iter().rfind(|piece| piece.get("error").is_some_and(is_something));
    // A response of OpenAI's that failed has its error deeper.
    let deeper = || pieces.iter().filter_map(|piece| piece.get("response")).rfind(|response| response.get("error").is_some_and(is_something));
    let failure = failure.or_else(deeper).cloned();
    // What a batch used so far is told again at each look at it, and its results tell it once.
    if pieces.iter().any(|piece| piece.get("object").is_some_and(|object| object == "batch")) {
        return Reading::default();
    }
    Reading { usage: usage.or_else(|| last_counts(provider, body)), model: model.or_else(|| named_model(body)).map(str::to_owned), failure }
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

fn of_piece(provider: &Provider, piece: &Value) -> Option<Usage> {
    joined(PLACES.iter().filter_map(|place| piece.pointer(place)).map(|answer| read(provider, answer)))
}

/// Is it a line of a batch's results?
fn is_batched(line: &Value) -> bool {
    BATCH_SIGNS.iter().any(|sign| line.get(sign).is_some_and(Value::is_string))
}

/// The results of a batch: the sum of its answers, and their model where it is one. Of results that are cut nothing is told, rather
/// than a part. A request in it that failed is no failure of the download.
fn read_batch(provider: &Provider, lines: &[Value], is_cut: bool) -> Reading {
    let answers =
        || lines.iter().filter_map(|line| BATCHED.iter().find_map(|place| Some((line.pointer(place)?, read(provider, line.pointer(place)?)?))));
    let mut models: Vec<&str> = answers().filter_map(|(answer, _)| MODELS.iter().find_map(|place| answer.pointer(place)?.as_str())).collect();
    models.dedup();
    let usage = answers().map(|(_, usage)| Usage { summed: true, ..usage }).reduce(|one, other| Usage {
        input: one.input.saturating_add(other.input),
        cached: one.cached.saturating_add(other.cached),
        written: one.written.saturating_add(other.written),
        output: one.output.saturating_add(other.output),
        cost: one.cost.zip(other.cost).map(|(one, other)| one.saturating_add(other)),
        summed: true,
    });
    let model = if let [one] = models.as_slice() { Some((*one).to_owned()) } else { None };
    Reading { usage: usage.filter(|_| !is_cut), model, failure: None }
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
        written: one.written.max(other.written),
        output: one.output.max(other.output),
        cost: one.cost.max(other.cost),
        summed: false,
    })
}

/// The last counts that stand in a text that is cut: they come at the end of answers.
fn last_counts(provider: &Provider, text: &str) -> Option<Usage> {
    ["usageMetadata", "usage", "billed_units"].into_iter().find_map(|name| {
        let (_, rest) = text.rsplit_once(&format!("\"{name}\""))?;
        let value = serde_json::Deserializer::from_str(rest.trim_start().strip_prefix(':')?).into_iter::<Value>().next()?.ok()?;
        read(provider, &serde_json::json!({ name: value }))
    })
}

/// What one answer, or one piece of a stream, says was used.
fn read(provider: &Provider, body: &Value) -> Option<Usage> {
    let number = |pointer: &&str| body.pointer(pointer).and_then(Value::as_u64);
    let sum = |pointers: &[&str]| pointers.iter().filter_map(number).fold(0, u64::saturating_add);
    let form = provider.usage.iter().chain(&FORMS).find(|form| number(&form.sign).is_some())?;
    let input = sum(form.input);
    let largest = |pointers: &[&str]| pointers.iter().filter_map(number).max().unwrap_or(0);
    let beside = form.total.as_ref().and_then(number).map_or(0, |total| total.saturating_sub(input));
    Some(Usage {
        input,
        cached: largest(form.cached),
        written: largest(form.written),
        output: sum(form.output).max(beside),
        cost: cost(body),
        summed: false,
    })
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
    use crate::catalogue::find;
    use serde_json::json;

    fn tokens(kind: &str, body: &Value) -> Option<(u64, u64, u64)> {
        read(find(kind).unwrap(), body).map(|usage| (usage.input, usage.cached, usage.output))
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
        let cost = |cost: Value| {
            read(find("openrouter").unwrap(), &json!({"usage": {"prompt_tokens": 1, "completion_tokens": 1, "cost": cost}})).unwrap().cost
        };
        assert_eq!(cost(json!(0.0125)), Some(Usd::from_dollars(0.0125).unwrap()));
        assert_eq!(cost(json!({"total_cost": 0.5})), Some(Usd::from_dollars(0.5).unwrap()));
        assert_eq!(cost(json!(-1)), None);
        assert_eq!(cost(json!(null)), None);
    }

    #[test]
    fn a_streams_counts_are_those_of_its_pieces() {
        let counts = |kind: &str, body: &str| read_body(find(kind).unwrap(), body).usage.map(|usage| (usage.input, usage.cached, usage.output));
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
            let reading = read_body(find("openai").unwrap(), body);
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
        let reading = read_body(find("anthropic").unwrap(), &format!("{start}{error}"));
        assert_eq!((reading.model.as_deref(), reading.usage.map(|usage| usage.input)), (Some("claude"), Some(25)));
        assert_eq!(reading.failure.unwrap().pointer("/error/type"), Some(&json!("overloaded_error")));
        assert_eq!(read_body(find("anthropic").unwrap(), start).failure, None);
        for none in ["null", "\"\"", "{}", "false"] {
            assert_eq!(read_body(find("openai").unwrap(), &format!("{{\"error\":{none},\"model\":\"gpt\"}}")).failure, None);
        }
        assert_eq!(read_body(find("gemini").unwrap(), "[{\"modelVersion\":\"flash\"}]").model.as_deref(), Some("flash"));
    }

    #[test]
    fn the_results_of_a_batch_are_added_up() {
        let counts = |kind: &str, body: &str| read_body(find(kind).unwrap(), body).usage.map(|usage| (usage.input, usage.cached, usage.output));
        let openai = r#"{"id":"batch_req_1","custom_id":"a","response":{"status_code":200,"body":{"usage":{"prompt_tokens":10,"completion_tokens":5}}},"error":null}
{"id":"batch_req_2","custom_id":"b","response":{"status_code":200,"body":{"usage":{"prompt_tokens":10,"completion_tokens":7}}},"error":null}
{"id":"batch_req_3","custom_id":"c","response":{"status_code":400,"body":{"error":{"message":"no"}}},"error":null}"#;
        assert_eq!(counts("openai", openai), Some((20, 0, 12)));
        let anthropic = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"usage":{"input_tokens":10,"cache_read_input_tokens":90,"output_tokens":5}}}}
{"custom_id":"b","result":{"type":"errored","error":{"type":"invalid_request_error"}}}
{"custom_id":"c","result":{"type":"succeeded","message":{"usage":{"input_tokens":1,"cache_read_input_tokens":0,"output_tokens":2}}}}"#;
        assert_eq!(counts("anthropic", anthropic), Some((101, 90, 7)));
        let gemini = r#"{"key":"a","response":{"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":1}}}
{"key":"b","response":{"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":2}}}"#;
        assert_eq!(counts("gemini", gemini), Some((9, 0, 3)));
        // A line that failed is no failure, cut results are none, and a look at a batch counts nothing.
        let read = |kind: &str, body: &str| read_body(find(kind).unwrap(), body);
        let failed = format!("{gemini}\n{{\"key\":\"c\",\"error\":{{\"code\":429,\"message\":\"PerDay\"}}}}");
        assert_eq!((read("gemini", &failed).failure, read("gemini", &failed).usage.map(|usage| usage.summed)), (None, Some(true)));
        assert_eq!(read("openai", &format!("{}\n{}", &openai[..300], &openai[320..])).usage, None);
        assert_eq!(read("openai", r#"{"id":"b","object":"batch","usage":{"input_tokens":100,"output_tokens":5}}"#).usage, None);
        let two = r#"{"custom_id":"a","response":{"body":{"model":"m-1","usage":{"prompt_tokens":1,"completion_tokens":1}}}}
{"custom_id":"b","response":{"body":{"model":"m-2","usage":{"prompt_tokens":1,"completion_tokens":1}}}}"#;
        assert_eq!(read("openai", two).model, None);
        assert_eq!(read("openai", &two.replace("m-2", "m-1")).model.as_deref(), Some("m-1"));
    }

    #[test]
    fn the_last_event_of_a_stream_may_have_them_deeper() {
        let counts = |kind: &str, body: &str| read_body(find(kind).unwrap(), body).usage.map(|usage| (usage.input, usage.cached, usage.output));
        let cohere = "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":3,\"output_tokens\":9}}}}\n";
        assert_eq!(counts("cohere", cohere), Some((3, 0, 9)));
        let groq = "data: {\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":9}}}\n";
        assert_eq!(counts("groq", groq), Some((3, 0, 9)));
    }

    #[test]
    fn what_is_written_to_a_cache_is_counted_of_the_input() {
        let written = |kind: &str, usage: Value| read(find(kind).unwrap(), &json!({"usage": usage})).map(|usage| (usage.input, usage.written));
        let message = json!({"input_tokens": 10, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 7, "output_tokens": 5});
        assert_eq!(written("anthropic", message), Some((17, 7)));
        let chat = json!({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cache_write_tokens": 8}});
        assert_eq!(written("openai", chat), Some((10, 8)));
    }

    #[test]
    fn an_answer_without_counts_says_nothing() {
        for body in [json!({}), json!(null), json!([]), json!({"usage": null}), json!({"usage": {"prompt_tokens": -4}}), json!({"usage": "many"})] {
            assert_eq!(read(find("openai").unwrap(), &body), None, "{body}");
        }
    }
}
