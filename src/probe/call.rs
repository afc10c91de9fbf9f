//! The one request of a check, made up before anything is sent.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use zeroize::Zeroizing;

use crate::catalogue::{self, Auth, Carries, CompletionForm, Method, Probe, Provider, Target};
use crate::http::{Call, Unreached, address};
use crate::secret::Secret;

/// How keys are checked at `base_url`.
///
/// A key for a host of one's own that speaks a provider's API is not shown to another host of that provider.
pub(super) fn probe_at(kind: &Provider, base_url: &str) -> Option<Probe> {
    let probe = kind.probe?;
    let is_at_home = kind.base_url == Some(base_url.trim_end_matches('/'));
    match probe.target {
        Target::Elsewhere(_) if !is_at_home => catalogue::find("openai_compatible")?.probe,
        Target::Elsewhere(_) | Target::Path(_) => Some(probe),
    }
}

impl Call {
    /// The request of `probe` with the key `secret`.
    pub(super) fn probing(kind: &Provider, probe: Probe, base_url: &str, secret: &Secret) -> Result<Self, Unreached> {
        let url = match probe.target {
            Target::Path(path) => joined(base_url, path),
            Target::Elsewhere(url) => url.to_owned(),
        };
        let mut headers = usual_headers(kind);
        let body = match probe.carries {
            Carries::AsUsual => {
                let (name, value) = credential(kind.auth, secret)?;
                headers.insert(name, value);
                None
            }
            Carries::InForm(field) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
                Some(format!("{field}={}", percent_encoded(secret).as_str()))
            }
        };
        let method = match probe.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
        };
        Ok(Self { method, url: address(&url)?, headers, body })
    }

    /// The smallest completion of `model` with the key `secret`.
    pub(super) fn completion(kind: &Provider, base_url: &str, secret: &Secret, model: &str) -> Result<Self, Unreached> {
        let completion = kind.completion;
        // In a path the model's name must not lead elsewhere.
        let in_path = model.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if completion.path.contains(MODEL) && !in_path {
            return Err(Unreached::Address);
        }
        let url = joined(base_url, &completion.path.replace(MODEL, model));
        let mut headers = usual_headers(kind);
        let (name, value) = credential(kind.auth, secret)?;
        headers.insert(name, value);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = smallest(completion.form, model).to_string();
        Ok(Self { method: reqwest::Method::POST, url: address(&url)?, headers, body: Some(body) })
    }
}

/// Stands for the model in a path.
const MODEL: &str = "{model}";

/// A request for one token; for a few where an API takes no fewer.
fn smallest(form: CompletionForm, model: &str) -> serde_json::Value {
    let messages = json!([{"role": "user", "content": "1"}]);
    match form {
        CompletionForm::MaxTokens => json!({"model": model, "messages": messages, "max_tokens": 1}),
        CompletionForm::MaxCompletionTokens => json!({"model": model, "messages": messages, "max_completion_tokens": 16}),
        CompletionForm::Responses => json!({"model": model, "input": "1", "max_output_tokens": 16}),
        CompletionForm::GenerateContent => json!({"contents": [{"parts": [{"text": "1"}]}], "generationConfig": {"maxOutputTokens": 1}}),
        CompletionForm::Ollama => json!({"model": model, "messages": messages, "stream": false, "options": {"num_predict": 1}}),
    }
}

fn usual_headers(kind: &Provider) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in kind.extra_headers {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn credential(auth: Auth, secret: &Secret) -> Result<(HeaderName, HeaderValue), Unreached> {
    let (name, text) = match auth {
        Auth::Bearer => (AUTHORIZATION, Zeroizing::new(format!("Bearer {}", secret.expose()))),
        Auth::Header(name) => (HeaderName::from_static(name), Zeroizing::new(secret.expose().to_owned())),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| Unreached::Key)?;
    // Not indexed by HTTP/2, not shown by Debug.
    value.set_sensitive(true);
    Ok((name, value))
}

/// `path` after `base_url`; a first step that the base URL ends with already (`…/v1` and `/v1/models`) stands there once.
fn joined(base_url: &str, path: &str) -> String {
    let base_url = base_url.trim_end_matches('/');
    let first = path.match_indices('/').nth(1).and_then(|(end, _)| path.get(..end));
    let base_url = first.and_then(|step| base_url.strip_suffix(step)).unwrap_or(base_url);
    format!("{base_url}{path}")
}

/// For a form (RFC 3986, 2.1): whatever is not unreserved is encoded.
fn percent_encoded(secret: &Secret) -> Zeroizing<String> {
    let mut encoded = Zeroizing::new(String::with_capacity(secret.expose().len() * 3));
    for c in secret.expose().chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~') {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{:02X}", u32::from(c)));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(kind: &str, base_url: Option<&str>, key: &str) -> Call {
        let kind = catalogue::find(kind).unwrap();
        let base_url = base_url.or(kind.base_url).unwrap();
        Call::probing(kind, probe_at(kind, base_url).unwrap(), base_url, &Secret::new(key.to_owned()).unwrap()).ok().unwrap()
    }

    #[test]
    fn a_key_is_sent_as_its_provider_wants_it() {
        let openai = call("openai", None, "sk-a");
        assert_eq!(openai.url.as_str(), "https://api.openai.com/v1/models");
        assert_eq!(openai.headers["authorization"], "Bearer sk-a");
        assert!(openai.headers["authorization"].is_sensitive());
        let anthropic = call("anthropic", None, "sk-a");
        assert_eq!(anthropic.url.as_str(), "https://api.anthropic.com/v1/models?limit=1");
        assert_eq!(anthropic.headers["x-api-key"], "sk-a");
        assert_eq!(anthropic.headers["anthropic-version"], "2023-06-01");
        assert!(!anthropic.headers.contains_key("authorization"));
        let gemini = call("gemini", None, "AIza");
        assert_eq!(gemini.url.as_str(), "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1");
        assert_eq!(gemini.headers["x-goog-api-key"], "AIza");
    }

    #[test]
    fn a_key_in_a_form_stands_in_no_header() {
        let nvidia = call("nvidia_nim", None, "nvapi-a/b&c");
        assert_eq!(nvidia.url.as_str(), "https://api.ngc.nvidia.com/v3/keys/get-caller-info");
        assert_eq!(nvidia.body.as_deref(), Some("credentials=nvapi-a%2Fb%26c"));
        assert!(!nvidia.headers.contains_key("authorization"));
    }

    #[test]
    fn a_key_of_ones_own_host_is_not_shown_to_the_providers() {
        let own = call("nvidia_nim", Some("http://127.0.0.1:8000/v1"), "own");
        assert_eq!(own.url.as_str(), "http://127.0.0.1:8000/v1/models");
        assert_eq!(own.body, None);
        assert_eq!(call("huggingface", Some("https://tgi.example/v1/"), "own").url.host_str(), Some("tgi.example"));
        assert_eq!(call("huggingface", None, "hf_a").url.host_str(), Some("huggingface.co"));
    }

    #[test]
    fn every_free_request_can_be_made() {
        for kind in catalogue::all().iter().filter(|kind| kind.probe.is_some()) {
            let base_url = kind.base_url.unwrap_or("https://host.example/openai/v1");
            let _ = call(kind.name, Some(base_url), "key");
        }
    }

    #[test]
    fn every_completion_asks_for_little_and_says_for_which_model() {
        for kind in catalogue::all() {
            let base_url = kind.base_url.unwrap_or("https://host.example/openai/v1");
            let secret = Secret::new("key".to_owned()).unwrap();
            let call = Call::completion(kind, base_url, &secret, kind.completion.model.unwrap_or("m-1")).ok().unwrap();
            assert!(call.url.as_str().starts_with(base_url) && !call.url.as_str().contains('{'), "{}", call.url);
            let body = call.body.unwrap();
            let model = kind.completion.model.unwrap_or("m-1");
            assert!(body.contains(model) || call.url.as_str().contains(model), "{}", kind.name);
            assert!(body.len() < 160, "{body}");
        }
        let gemini = catalogue::find("gemini").unwrap();
        let elsewhere = Call::completion(gemini, "https://host.example", &Secret::new("key".to_owned()).unwrap(), "../../files?x=");
        assert!(matches!(elsewhere, Err(Unreached::Address)));
    }

    #[test]
    fn a_step_that_both_have_stands_once() {
        assert_eq!(joined("https://h/v1", "/v1/models?limit=1"), "https://h/v1/models?limit=1");
        assert_eq!(joined("https://h/", "/v1/models"), "https://h/v1/models");
        assert_eq!(joined("https://h/v1", "/models"), "https://h/v1/models");
    }

    #[test]
    fn an_address_that_is_no_url_is_an_error() {
        let kind = catalogue::find("openai").unwrap();
        for base_url in ["", "api.openai.com/v1", "ftp://host/v1", "file:///etc"] {
            let call = Call::probing(kind, kind.probe.unwrap(), base_url, &Secret::new("k".to_owned()).unwrap());
            assert!(matches!(call, Err(Unreached::Address)), "{base_url}");
        }
    }
}
