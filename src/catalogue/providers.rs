//! The facts of each provider. Compiled on 2026-11-23 from the pages named at `source`; an entry is meant to be checked in a minute.

use super::{Auth, BalanceAt, Carries, Characters, Completion, CompletionForm, Method, Probe, Proof, Provider, Shape, Target, rules, usage};

const MANY: usize = usize::MAX;

const fn shape(prefix: &'static str, characters: Characters, length: std::ops::RangeInclusive<usize>) -> Shape {
    Shape { prefix, characters, length, marker: None }
}

/// Every OpenAI key has the word `OpenAI` in base64 in its middle.
const fn openai_shape(prefix: &'static str, characters: Characters) -> Shape {
    Shape { prefix, characters, length: 40..=MANY, marker: Some("T3BlbkFJ") }
}

const fn get(path: &'static str, proof: Proof) -> Probe {
    Probe { method: Method::Get, target: Target::Path(path), carries: Carries::AsUsual, proof, account: None }
}

/// Chat completions in OpenAI's form.
const fn chat(model: Option<&'static str>) -> Completion {
    Completion { path: "/chat/completions", form: CompletionForm::MaxTokens, model }
}

/// Listing the models, which needs a good key.
const fn models() -> Probe {
    get("/models", Proof::Success)
}

pub(super) static ALL: [Provider; 18] = [
    Provider {
        name: "openai",
        base_url: Some("https://api.openai.com/v1"),
        variables: &["OPENAI_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[
            openai_shape("sk-proj-", Characters::WordDash),
            openai_shape("sk-svcacct-", Characters::WordDash),
            openai_shape("sk-service-", Characters::WordDash),
            openai_shape("sk-admin-", Characters::WordDash),
            openai_shape("sk-", Characters::Alphanumeric),
        ],
        // A restricted key may lack the right to list models: it is refused with `missing_scope`, and is real.
        probe: Some(models()),
        balance: None,
        completion: Completion { path: "/chat/completions", form: CompletionForm::MaxCompletionTokens, model: Some("gpt-4.1-nano") },
        account_headers: &["openai-organization", "openai-project"],
        rules: &rules::OPENAI,
        usage: &[&usage::CHAT, &usage::RESPONSES],
        limits: "organization and project, per model; never per key",
        source: "https://developers.openai.com/api/docs/guides/error-codes",
    },
    Provider {
        name: "anthropic",
        base_url: Some("https://api.anthropic.com"),
        variables: &["ANTHROPIC_API_KEY"],
        auth: Auth::Header("x-api-key"),
        extra_headers: &[("anthropic-version", "2023-06-01")],
        shapes: &[shape("sk-ant-api03-", Characters::WordDash, 95..=95), shape("sk-ant-admin01-", Characters::WordDash, 95..=95)],
        // An empty balance does not show here.
        probe: Some(get("/v1/models?limit=1", Proof::Success)),
        balance: None,
        completion: Completion { path: "/v1/messages", form: CompletionForm::MaxTokens, model: Some("claude-haiku-4-5") },
        account_headers: &["anthropic-organization-id"],
        rules: &rules::ANTHROPIC,
        usage: &[&usage::MESSAGES],
        limits: "organization (optionally tightened per workspace), pooled per model family; never per key",
        source: "https://platform.claude.com/docs/en/api/rate-limits.md",
    },
    Provider {
        name: "gemini",
        base_url: Some("https://generativelanguage.googleapis.com"),
        variables: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        auth: Auth::Header("x-goog-api-key"),
        extra_headers: &[],
        shapes: &[shape("AQ.", Characters::WordDashDot, 20..=MANY), shape("AIza", Characters::WordDash, 35..=35)],
        // A wrong key is answered with 400. The list answers while the prepaid credit is spent.
        probe: Some(get("/v1beta/models?pageSize=1", Proof::Success)),
        balance: None,
        completion: Completion {
            path: "/v1beta/models/{model}:generateContent",
            form: CompletionForm::GenerateContent,
            model: Some("gemini-2.5-flash-lite"),
        },
        account_headers: &[],
        rules: &rules::GEMINI,
        usage: &[&usage::GENERATE_CONTENT, &usage::CHAT],
        limits: "Google Cloud project, per model and tier; never per key; prepaid credit per billing account",
        source: "https://ai.google.dev/gemini-api/docs/generate-content/api-errors",
    },
    Provider {
        name: "mistral",
        base_url: Some("https://api.mistral.ai/v1"),
        variables: &["MISTRAL_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[],
        // A key of the Codestral console works on codestral.mistral.ai alone.
        probe: Some(models()),
        balance: None,
        completion: chat(Some("ministral-3b-latest")),
        account_headers: &[],
        rules: &rules::MISTRAL,
        usage: &[&usage::CHAT],
        limits: "organization or workspace (its pages disagree); never per key; spending cap per workspace",
        source: "https://docs.mistral.ai/resources/error-glossary.md",
    },
    Provider {
        name: "cohere",
        base_url: Some("https://api.cohere.com"),
        variables: &["COHERE_API_KEY", "CO_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[shape("", Characters::Alphanumeric, 40..=40)],
        // Made for this: the answer has `valid`.
        probe: Some(Probe { method: Method::Post, account: Some("/organization_id"), ..get("/v1/check-api-key", Proof::Success) }),
        balance: None,
        completion: Completion { path: "/v2/chat", form: CompletionForm::MaxTokens, model: Some("command-r7b-12-2024") },
        account_headers: &[],
        rules: &rules::COHERE,
        usage: &[&usage::BILLED_UNITS, &usage::META_BILLED_UNITS],
        limits: "per key type and endpoint/model; trial keys 20 req/min chat and 1,000 calls a month in all",
        source: "https://docs.cohere.com/reference/check-api-key.md",
    },
    Provider {
        name: "groq",
        base_url: Some("https://api.groq.com/openai/v1"),
        variables: &["GROQ_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[shape("gsk_", Characters::Alphanumeric, 52..=52)],
        probe: Some(models()),
        balance: None,
        completion: chat(Some("llama-3.1-8b-instant")),
        account_headers: &[],
        rules: &rules::GROQ,
        usage: &[&usage::CHAT],
        limits: "organization, per model; projects may be set lower; never per key",
        source: "https://console.groq.com/docs/rate-limits.md",
    },
    Provider {
        name: "deepseek",
        base_url: Some("https://api.deepseek.com"),
        variables: &["DEEPSEEK_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[shape("sk-", Characters::Lower, 32..=32)],
        // Tells the balance too: with `is_available` false, calls get 402.
        probe: Some(get("/user/balance", Proof::Success)),
        balance: Some(BalanceAt { currency: Some("/balance_infos/*/currency"), left: "/balance_infos/*/total_balance", limit: None, resets: None }),
        completion: chat(Some("deepseek-chat")),
        account_headers: &[],
        rules: &rules::DEEPSEEK,
        usage: &[&usage::CHAT],
        limits: "account, as requests at the same time per model, whatever the key",
        source: "https://api-docs.deepseek.com/quick_start/error_codes.md",
    },
    Provider {
        name: "xai",
        base_url: Some("https://api.x.ai/v1"),
        variables: &["XAI_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[shape("xai-", Characters::Word, 80..=80)],
        // A wrong key is answered with 400; a blocked one with 200 and flags.
        probe: Some(Probe { account: Some("/team_id"), ..get("/api-key", Proof::Success) }),
        balance: None,
        completion: chat(Some("grok-4-1-fast-non-reasoning")),
        account_headers: &[],
        rules: &rules::XAI,
        usage: &[&usage::CHAT_BESIDE_REASONING, &usage::RESPONSES],
        limits: "team, per model (RPS and TPM), tier by lifetime spend; a key may have its own tighter qps/qpm/tpm",
        source: "https://docs.x.ai/developers/debugging",
    },
    Provider {
        name: "openrouter",
        base_url: Some("https://openrouter.ai/api/v1"),
        variables: &["OPENROUTER_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[shape("sk-or-v1-", Characters::Hex, 64..=64)],
        // The list of models is public and answers any key; `/key` does not.
        probe: Some(get("/key", Proof::Success)),
        balance: Some(BalanceAt { currency: None, left: "/data/limit_remaining", limit: Some("/data/limit"), resets: Some("/data/limit_reset") }),
        completion: chat(Some("openai/gpt-4o-mini")),
        account_headers: &[],
        rules: &rules::OPENROUTER,
        usage: &[&usage::CHAT],
        limits: "account (globally governed), plus an optional credit cap per key",
        source: "https://openrouter.ai/docs/guides/overview/auth/api-keys",
    },
    Provider {
        name: "together",
        base_url: Some("https://api.together.xyz/v1"),
        variables: &["TOGETHER_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[],
        // Whether the list of models needs a key is not documented.
        probe: Some(get("/models", Proof::Contrast)),
        balance: None,
        completion: chat(Some("openai/gpt-oss-20b")),
        account_headers: &[],
        rules: &rules::TOGETHER,
        usage: &[&usage::CHAT],
        limits: "organization, per model, dynamic (follows recent traffic)",
        source: "https://docs.together.ai/docs/error-codes",
    },
    Provider {
        name: "fireworks",
        base_url: Some("https://api.fireworks.ai/inference/v1"),
        variables: &["FIREWORKS_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[
            shape("fw_", Characters::Alphanumeric, 16..=MANY),
            shape("fpk_", Characters::Alphanumeric, 16..=MANY),
            shape("", Characters::Alphanumeric, 16..=MANY),
        ],
        // "Fire Pass" keys are refused here with 403 and work for requests.
        probe: Some(models()),
        balance: None,
        completion: chat(Some("accounts/fireworks/models/gpt-oss-20b")),
        account_headers: &[],
        rules: &rules::FIREWORKS,
        usage: &[&usage::CHAT],
        limits: "account, adaptive token rates",
        source: "https://docs.fireworks.ai/guides/inference-error-codes",
    },
    Provider {
        name: "perplexity",
        base_url: Some("https://api.perplexity.ai"),
        variables: &["PERPLEXITY_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[shape("pplx-", Characters::Alphanumeric, 48..=48)],
        // No free request is documented.
        probe: None,
        balance: None,
        completion: Completion { path: "/v1/agent", form: CompletionForm::Responses, model: Some("perplexity/sonar") },
        account_headers: &[],
        rules: &rules::PERPLEXITY,
        usage: &[&usage::RESPONSES],
        limits: "project, by a usage tier of lifetime spend",
        source: "https://docs.perplexity.ai/docs/agent-api/migrate-from-sonar/how-to.md",
    },
    Provider {
        name: "cerebras",
        base_url: Some("https://api.cerebras.ai/v1"),
        variables: &["CEREBRAS_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[shape("csk-", Characters::Alphanumeric, 40..=MANY)],
        // Whether the list of models needs a key is not documented.
        probe: Some(get("/models", Proof::Contrast)),
        balance: None,
        completion: chat(Some("llama3.1-8b")),
        account_headers: &[],
        rules: &rules::CEREBRAS,
        usage: &[&usage::CHAT],
        limits: "organization, per model; tokens are reserved up front from max_completion_tokens",
        source: "https://inference-docs.cerebras.ai/support/error.md",
    },
    Provider {
        name: "azure_openai",
        base_url: None,
        variables: &["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"],
        auth: Auth::Header("api-key"),
        extra_headers: &[],
        shapes: &[shape("", Characters::Hex, 32..=32), shape("", Characters::Alphanumeric, 84..=84)],
        // The answer 401 says "invalid key or wrong endpoint", and means either.
        probe: Some(models()),
        balance: None,
        completion: Completion { path: "/chat/completions", form: CompletionForm::MaxCompletionTokens, model: None },
        account_headers: &[],
        rules: &rules::AZURE,
        usage: &[&usage::CHAT, &usage::RESPONSES],
        limits: "subscription + region + model (TPM/RPM quota), split over deployments",
        source: "https://learn.microsoft.com/azure/foundry/openai/how-to/troubleshoot-errors",
    },
    Provider {
        name: "huggingface",
        base_url: Some("https://router.huggingface.co/v1"),
        variables: &["HF_TOKEN"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[shape("hf_", Characters::Alphanumeric, 34..=34), shape("api_org_", Characters::Alphanumeric, 34..=34)],
        // The list of models is public, so the hub is asked whose token it is.
        probe: Some(Probe { target: Target::Elsewhere("https://huggingface.co/api/whoami-v2"), account: Some("/name"), ..models() }),
        balance: None,
        completion: chat(Some("openai/gpt-oss-120b")),
        account_headers: &[],
        rules: &[],
        usage: &[&usage::CHAT],
        limits: "user or billed organization (credits); Hub API limits per 5-minute window",
        source: "https://github.com/CSOAI-ORG/councilof-ai/issues/1102",
    },
    Provider {
        name: "nvidia_nim",
        base_url: Some("https://integrate.api.nvidia.com/v1"),
        variables: &["NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[shape("nvapi-", Characters::WordDash, 64..=64)],
        // The list of models is public, so the key service is asked; the key is part of the body there.
        probe: Some(Probe {
            method: Method::Post,
            target: Target::Elsewhere("https://api.ngc.nvidia.com/v3/keys/get-caller-info"),
            carries: Carries::InForm("credentials"),
            ..models()
        }),
        balance: None,
        completion: chat(Some("meta/llama-3.1-8b-instruct")),
        account_headers: &[],
        rules: &rules::NVIDIA,
        usage: &[&usage::CHAT],
        limits: "account; about 40 requests a minute on the free trial (not from its own pages)",
        source: "https://github.com/andrewyng/openworker/pull/529",
    },
    Provider {
        name: "ollama",
        base_url: Some("http://localhost:11434"),
        variables: &["OLLAMA_API_KEY"],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[],
        // A local one takes any key, or none.
        probe: Some(get("/api/tags", Proof::Contrast)),
        balance: None,
        completion: Completion { path: "/api/chat", form: CompletionForm::Ollama, model: None },
        account_headers: &[],
        rules: &[],
        usage: &[&usage::EVAL_COUNTS, &usage::CHAT],
        limits: "local queue (OLLAMA_MAX_QUEUE); cloud: account plan",
        source: "https://github.com/ollama/ollama",
    },
    Provider {
        name: "openai_compatible",
        base_url: None,
        variables: &[],
        auth: Auth::Bearer,
        extra_headers: &[],
        shapes: &[],
        // vLLM, LiteLLM and the like: what a success proves is found out by a made-up key.
        probe: Some(get("/models", Proof::Contrast)),
        balance: None,
        completion: chat(None),
        account_headers: &[],
        rules: &rules::COMPATIBLE,
        usage: &[&usage::CHAT, &usage::RESPONSES],
        limits: "unknown",
        source: "https://github.com/harbor-framework/harbor/pull/996",
    },
];
