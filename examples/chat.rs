//! One real chat completion with a leased key, from any address that speaks OpenAI's API.
//!
//! `cargo run --release --example chat -- PROVIDER MODEL PROMPT` asks a running gollmd for a key of PROVIDER, makes the request, and
//! reports what came of it. A key that is rate limited, spent or refused is set aside and the next one is tried; a provider that
//! fails is given a moment. The model's answer goes to standard output.

use std::error::Error as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use gollm::{CallError, Client, Failed, Lease, Outcome, Select, Usage};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use serde_json::{Value, json};

const HELP: &str = "usage: cargo run --release --example chat -- PROVIDER MODEL PROMPT";

/// How long a select may wait for a key that is cooling down.
const WAIT: Duration = Duration::from_secs(30);

/// How long the provider may take.
const LONGEST: Duration = Duration::from_secs(120);

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [provider, model, prompt] = arguments.as_slice() else {
        return complain(HELP, 2);
    };
    match chat(provider, model, prompt).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => complain(&why.to_string(), 1),
    }
}

async fn chat(provider: &str, model: &str, prompt: &str) -> Result<(), Failure> {
    let http = http()?;
    let gollm = Client::from_env().await?;
    let wait_ms = u64::try_from(WAIT.as_millis()).ok();
    let select = Select { model: Some(model.parse()?), wait_ms, ..Select::any(provider.parse()?) };
    let answer = gollm.with_key_for(select, |lease| complete(http.clone(), lease, model.to_owned(), prompt.to_owned())).await;
    let text = answer.map_err(|why: CallError<String>| why.to_string())?;
    writeln!(io::stdout(), "{text}")?;
    Ok(())
}

/// A client that verifies by the system's certificates, and sends a key to nobody but the address it was leased for.
fn http() -> Result<reqwest::Client, Failure> {
    // An error says that one is installed already.
    rustls::crypto::ring::default_provider().install_default().ok();
    Ok(reqwest::Client::builder().timeout(LONGEST).redirect(reqwest::redirect::Policy::none()).build()?)
}

/// Makes the request, and says what came of it.
async fn complete(http: reqwest::Client, lease: Arc<Lease>, asked: String, prompt: String) -> Result<(String, Usage), Failed<String>> {
    // After a fallback, the configuration's equivalent.
    let model = lease.model().map_or(asked, ToString::to_string);
    let request = http
        .post(format!("{}/chat/completions", lease.base_url()))
        .header(AUTHORIZATION, format!("Bearer {}", lease.secret().expose()))
        .header(CONTENT_TYPE, "application/json")
        .body(json!({"model": model, "messages": [{"role": "user", "content": prompt}]}).to_string());
    let response = request.send().await.map_err(unreached)?;
    let (status, wait) = (response.status(), retry_after(response.headers()));
    let body: Value = serde_json::from_str(&response.text().await.map_err(unreached)?).unwrap_or(Value::Null);
    if !status.is_success() {
        let message = body.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason given").to_owned();
        return Err(Failed::new(outcome(status, &body), format!("{status}: {message}")).retry_after(wait));
    }
    let tokens = |name: &str| body.pointer(&format!("/usage/{name}")).and_then(Value::as_u64).unwrap_or(0);
    let usage = Usage {
        cached_tokens: tokens("prompt_tokens_details/cached_tokens"),
        model: model.parse().ok(),
        ..Usage::tokens(tokens("prompt_tokens"), tokens("completion_tokens"))
    };
    match body.pointer("/choices/0/message/content").and_then(Value::as_str) {
        Some(text) => Ok((text.to_owned(), usage)),
        None => Err(Failed::new(Outcome::ServerError, "the answer has no text".to_owned()).used(usage)),
    }
}

/// What a status says of the key, the provider, or the request.
fn outcome(status: StatusCode, body: &Value) -> Outcome {
    match status.as_u16() {
        429 if body.pointer("/error/code").is_some_and(|code| code == "insufficient_quota") => Outcome::QuotaExhausted,
        402 => Outcome::QuotaExhausted,
        429 => Outcome::RateLimited,
        401 => Outcome::AuthFailed,
        403 => Outcome::PermissionDenied,
        503 | 529 => Outcome::Overloaded,
        500.. => Outcome::ServerError,
        _ => Outcome::BadRequest,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

fn unreached(why: reqwest::Error) -> Failed<String> {
    let outcome = if why.is_timeout() { Outcome::Timeout } else { Outcome::ServerError };
    let cause = why.source().map_or_else(String::new, |cause| format!(": {cause}"));
    Failed::new(outcome, format!("{}{cause}", why.without_url()))
}

fn complain(why: &str, status: u8) -> ExitCode {
    // With standard error gone, the exit status is all that is left to say.
    writeln!(io::stderr(), "{why}").ok();
    ExitCode::from(status)
}
