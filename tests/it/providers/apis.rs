//! What each provider's API answers, written down from its pages and from public reports, and not from gollm's catalogue.

/// One provider's API, as far as keys and counts go.
pub(super) struct Api {
    pub(super) kind: &'static str,
    /// What its base URL ends with.
    pub(super) base: &'static str,
    /// The header that carries the key, and what stands before the key in it.
    pub(super) credential: (&'static str, &'static str),
    /// What every request needs besides.
    pub(super) besides: Option<(&'static str, &'static str)>,
    /// The free request that tells a good key, and what it answers.
    pub(super) check: Option<(&'static str, &'static str)>,
    /// What the free request answers to a key without credit, where that shows.
    pub(super) check_spent: Option<&'static str>,
    /// To a key that it does not know.
    pub(super) refused: (u16, &'static str),
    /// To a completion with a key without credit.
    pub(super) spent: (u16, &'static str),
    /// To a completion with a key that is too fast; asks for a wait of 40 s where it has a way to.
    pub(super) slower: (u16, &'static str),
    /// Its completions, of the model `m-1`.
    pub(super) completion: &'static str,
    /// An answer that counts 12 tokens sent and 5 answered.
    pub(super) answer: &'static str,
    /// The same as a stream.
    pub(super) stream: &'static str,
}

const BEARER: (&str, &str) = ("authorization", "Bearer ");
const LIST: &str = r#"{"object":"list","data":[{"id":"m-1","object":"model"}]}"#;
const CHAT: &str = r#"{"id":"c","object":"chat.completion","model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"1"},"finish_reason":"length"}],"usage":{"prompt_tokens":12,"completion_tokens":5,"total_tokens":17}}"#;
const CHUNKS: &str = "data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"1\"}}],\"usage\":null}\n\n\
    data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":5,\"total_tokens\":17}}\n\ndata: [DONE]\n\n";

/// An API like OpenAI's, of which the others differ in a few places.
const LIKE_OPENAI: Api = Api {
    kind: "",
    base: "/v1",
    credential: BEARER,
    besides: None,
    check: Some(("GET /v1/models", LIST)),
    check_spent: None,
    refused: (401, r#"{"error":{"message":"Incorrect API key provided.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#),
    spent: (402, r#"{"error":{"message":"Insufficient balance"}}"#),
    slower: (429, r#"{"error":{"message":"Rate limit reached","type":"requests","code":"rate_limit_exceeded"}}"#),
    completion: "POST /v1/chat/completions",
    answer: CHAT,
    stream: CHUNKS,
};

pub(super) static APIS: [Api; 18] = [
    Api {
        kind: "openai",
        spent: (
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        ),
        ..LIKE_OPENAI
    },
    Api {
        kind: "anthropic",
        base: "",
        credential: ("x-api-key", ""),
        besides: Some(("anthropic-version", "2023-06-01")),
        check: Some(("GET /v1/models?limit=1", r#"{"data":[{"type":"model","id":"m-1"}],"has_more":false}"#)),
        refused: (401, r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#),
        spent: (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}}"#,
        ),
        slower: (429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your rate limit"}}"#),
        completion: "POST /v1/messages",
        answer: r#"{"id":"msg","type":"message","model":"m-1","content":[{"type":"text","text":"1"}],"usage":{"input_tokens":2,"cache_read_input_tokens":10,"cache_creation_input_tokens":0,"output_tokens":5}}"#,
        stream: "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m-1\",\"usage\":{\"input_tokens\":2,\"cache_read_input_tokens\":10,\"cache_creation_input_tokens\":0,\"output_tokens\":1}}}\n\n\
            event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n",
        ..LIKE_OPENAI
    },
    Api {
        kind: "gemini",
        base: "",
        credential: ("x-goog-api-key", ""),
        check: Some(("GET /v1beta/models?pageSize=1", r#"{"models":[{"name":"models/m-1"}]}"#)),
        refused: (
            400,
            r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
        ),
        spent: (402, r#"{"error":{"code":402,"message":"Your prepayment credits are depleted.","status":"RESOURCE_EXHAUSTED"}}"#),
        slower: (
            429,
            r#"{"error":{"code":429,"message":"Quota exceeded, limit: 15","status":"RESOURCE_EXHAUSTED","details":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel"},{"retryDelay":"40s"}]}}"#,
        ),
        completion: "POST /v1beta/models/m-1:generateContent",
        answer: r#"{"candidates":[{"content":{"parts":[{"text":"1"}]}}],"usageMetadata":{"promptTokenCount":12,"candidatesTokenCount":2,"thoughtsTokenCount":3},"modelVersion":"m-1"}"#,
        stream: "data: {\"candidates\":[],\"usageMetadata\":{\"promptTokenCount\":12},\"modelVersion\":\"m-1\"}\r\n\r\n\
            data: {\"candidates\":[],\"usageMetadata\":{\"promptTokenCount\":12,\"candidatesTokenCount\":2,\"thoughtsTokenCount\":3},\"modelVersion\":\"m-1\"}\r\n\r\n",
        ..LIKE_OPENAI
    },
    Api {
        kind: "mistral",
        refused: (401, r#"{"detail":"Unauthorized"}"#),
        spent: (403, r#"{"message":"Usage limit reached for this workspace"}"#),
        slower: (429, r#"{"object":"error","message":"Rate limit exceeded","type":"rate_limited","param":null,"code":"1300"}"#),
        ..LIKE_OPENAI
    },
    Api {
        kind: "cohere",
        base: "",
        check: Some(("POST /v1/check-api-key", r#"{"valid":true,"organization_id":"org-1"}"#)),
        refused: (401, r#"{"message":"invalid api token"}"#),
        spent: (429, r#"{"message":"You are using a Trial key, which is limited to 1000 API calls / month."}"#),
        slower: (429, r#"{"message":"You are using a Trial key, which is limited to 40 API calls / minute."}"#),
        completion: "POST /v2/chat",
        answer: r#"{"id":"c","finish_reason":"MAX_TOKENS","message":{"role":"assistant","content":[]},"usage":{"billed_units":{"input_tokens":12,"output_tokens":5},"tokens":{"input_tokens":70,"output_tokens":5}}}"#,
        stream: "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"billed_units\":{\"input_tokens\":12,\"output_tokens\":5},\"tokens\":{\"input_tokens\":70,\"output_tokens\":5}}}}\n\n",
        ..LIKE_OPENAI
    },
    Api {
        kind: "groq",
        base: "/openai/v1",
        check: Some(("GET /openai/v1/models", LIST)),
        spent: (
            400,
            r#"{"error":{"message":"API access blocked: spend limit reached.","type":"invalid_request_error","code":"blocked_api_access"}}"#,
        ),
        completion: "POST /openai/v1/chat/completions",
        stream: "data: {\"model\":\"m-1\",\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":5,\"total_tokens\":17}}}\n\ndata: [DONE]\n\n",
        ..LIKE_OPENAI
    },
    Api {
        kind: "deepseek",
        base: "",
        check: Some((
            "GET /user/balance",
            r#"{"is_available":true,"balance_infos":[{"currency":"USD","total_balance":"110.00","granted_balance":"10.00","topped_up_balance":"100.00"}]}"#,
        )),
        check_spent: Some(
            r#"{"is_available":false,"balance_infos":[{"currency":"USD","total_balance":"0.00","granted_balance":"0.00","topped_up_balance":"0.00"}]}"#,
        ),
        refused: (
            401,
            r#"{"error":{"message":"Authentication Fails, Your api key: ****FAKE is invalid","type":"authentication_error","param":null,"code":"invalid_request_error"}}"#,
        ),
        spent: (402, r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#),
        completion: "POST /chat/completions",
        ..LIKE_OPENAI
    },
    Api {
        kind: "xai",
        check: Some((
            "GET /v1/api-key",
            r#"{"redacted_api_key":"xai-...FAKE","team_id":"team-1","acls":["api-key:model:*","api-key:endpoint:*"],"team_blocked":false,"api_key_blocked":false,"api_key_disabled":false}"#,
        )),
        refused: (
            400,
            r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***KE. You can obtain an API key from https://console.x.ai."}"#,
        ),
        spent: (
            403,
            r#"{"code":"permission-denied","error":"Your team 00000000 has either used all available credits or reached its monthly spending limit."}"#,
        ),
        // It counts reasoning beside the answer.
        answer: r#"{"model":"m-1","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":1,"total_tokens":17,"completion_tokens_details":{"reasoning_tokens":4}}}"#,
        stream: "data: {\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":1,\"total_tokens\":17}}\n\ndata: [DONE]\n\n",
        ..LIKE_OPENAI
    },
    Api {
        kind: "openrouter",
        base: "/api/v1",
        check: Some((
            "GET /api/v1/key",
            r#"{"data":{"label":"k","limit":10,"limit_remaining":7.5,"limit_reset":"monthly","usage":2.5,"is_free_tier":false}}"#,
        )),
        check_spent: Some(r#"{"data":{"label":"k","limit":10,"limit_remaining":0,"limit_reset":"monthly","usage":10,"is_free_tier":false}}"#),
        refused: (401, r#"{"error":{"message":"User not found.","code":401}}"#),
        spent: (402, r#"{"error":{"code":402,"message":"Insufficient credits"}}"#),
        slower: (429, r#"{"error":{"code":429,"message":"Rate limit exceeded","metadata":{"error_type":"rate_limit_exceeded"}}}"#),
        completion: "POST /api/v1/chat/completions",
        stream: ": OPENROUTER PROCESSING\n\ndata: {\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":5,\"total_tokens\":17}}\n\ndata: [DONE]\n\n",
        ..LIKE_OPENAI
    },
    Api { kind: "together", ..LIKE_OPENAI },
    Api {
        kind: "fireworks",
        base: "/inference/v1",
        check: Some(("GET /inference/v1/models", LIST)),
        refused: (403, r#"{"error":{"code":"UNAUTHENTICATED","message":"The API key you provided is invalid."}}"#),
        spent: (
            412,
            r#"{"error":{"code":"PRECONDITION_FAILED","message":"Account a is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."}}"#,
        ),
        completion: "POST /inference/v1/chat/completions",
        ..LIKE_OPENAI
    },
    Api {
        kind: "perplexity",
        base: "",
        check: None,
        refused: (401, r#"{"error":{"message":"Invalid API key provided.","type":"invalid_api_key","code":401}}"#),
        spent: (401, r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":401}}"#),
        completion: "POST /v1/agent",
        answer: r#"{"id":"r","object":"response","model":"m-1","output":[],"usage":{"input_tokens":12,"output_tokens":5,"total_tokens":17}}"#,
        stream: "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"m-1\",\"usage\":{\"input_tokens\":12,\"output_tokens\":5,\"total_tokens\":17}}}\n\n",
        ..LIKE_OPENAI
    },
    Api {
        kind: "cerebras",
        refused: (401, r#"{"message":"Wrong API Key","type":"invalid_request_error","param":"api_key","code":"wrong_api_key"}"#),
        spent: (402, r#"{"message":"Payment required","type":"payment_required_error","param":null,"code":"payment_required"}"#),
        slower: (429, r#"{"message":"Too many requests","type":"too_many_requests_error","param":"quota","code":"request_quota_exceeded"}"#),
        ..LIKE_OPENAI
    },
    Api {
        kind: "azure_openai",
        base: "/openai/v1",
        credential: ("api-key", ""),
        check: Some(("GET /openai/v1/models", LIST)),
        refused: (401, r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}"#),
        spent: (
            429,
            r#"{"error":{"code":"429","message":"Requests have exceeded the call rate limit of your current free tier. Please retry after 86400 seconds."}}"#,
        ),
        slower: (
            429,
            r#"{"error":{"code":"429","message":"Requests have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 40 seconds."}}"#,
        ),
        completion: "POST /openai/v1/chat/completions",
        ..LIKE_OPENAI
    },
    // At home these two are asked at another host; a host of one's own that speaks their API is asked for its models.
    Api {
        kind: "huggingface",
        spent: (402, r#"{"error":"You have exceeded your monthly included credits for Inference Providers."}"#),
        ..LIKE_OPENAI
    },
    Api {
        kind: "nvidia_nim",
        refused: (403, r#"{"status":403,"title":"Forbidden","detail":"Authorization failed"}"#),
        spent: (402, r#"{"status":402,"title":"Payment Required","detail":"Cloud credits expired"}"#),
        slower: (429, r#"{"status":429,"title":"Too Many Requests"}"#),
        ..LIKE_OPENAI
    },
    Api {
        kind: "ollama",
        base: "",
        check: Some(("GET /api/tags", r#"{"models":[{"name":"m-1"}]}"#)),
        refused: (401, r#"{"error":"unauthorized","signin_url":"https://ollama.com/connect"}"#),
        spent: (402, r#"{"error":"upgrade your plan"}"#),
        slower: (429, r#"{"error":"too many concurrent requests"}"#),
        completion: "POST /api/chat",
        answer: r#"{"model":"m-1","message":{"role":"assistant","content":"1"},"done":true,"prompt_eval_count":12,"eval_count":5}"#,
        stream: "{\"model\":\"m-1\",\"message\":{\"content\":\"1\"},\"done\":false}\n{\"model\":\"m-1\",\"done\":true,\"prompt_eval_count\":12,\"eval_count\":5}\n",
        ..LIKE_OPENAI
    },
    Api {
        kind: "openai_compatible",
        refused: (401, r#"{"error":"Unauthorized"}"#),
        spent: (429, r#"{"error":{"message":"ExceededBudget: budget has been exceeded!","type":"budget_exceeded","code":"429"}}"#),
        ..LIKE_OPENAI
    },
];
