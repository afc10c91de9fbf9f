//! A provider's answer to a request, as a caller passes it on for the daemon to read.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// An HTTP answer of a provider. It may echo the key: its `Debug` shows the status alone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderResponse {
    /// Its status.
    pub status: u16,
    /// Its headers, by name in any case; those that nobody reads may be left out.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its body as text, or the part of it that was kept. In JSON it may stand as the JSON that it is.
    #[serde(default, deserialize_with = "text_or_json")]
    pub body: Option<String>,
}

impl fmt::Debug for ProviderResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderResponse").field("status", &self.status).finish_non_exhaustive()
    }
}

fn text_or_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    if !deserializer.is_human_readable() {
        return Option::deserialize(deserializer);
    }
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        json => Some(json.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Option<String> {
        serde_json::from_str::<ProviderResponse>(&format!("{{\"status\":200{json}}}")).unwrap().body
    }

    #[test]
    fn a_body_is_text_or_the_json_that_it_is() {
        assert_eq!(body(""), None);
        assert_eq!(body(r#","body":null"#), None);
        assert_eq!(body(r#","body":"plain""#).as_deref(), Some("plain"));
        assert_eq!(body(r#","body":{"usage":{"prompt_tokens":1}}"#).as_deref(), Some(r#"{"usage":{"prompt_tokens":1}}"#));
    }

    #[test]
    fn debug_shows_no_body() {
        let response = ProviderResponse { status: 401, headers: BTreeMap::new(), body: Some("your key sk-planted is wrong".to_owned()) };
        assert!(!format!("{response:?}").contains("planted"));
    }
}
