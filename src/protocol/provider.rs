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

/// Bytes that are kept of the beginning of a long body: it names the model, and what streams count first.
const HEAD: usize = 32 * 1024;

/// Bytes that are kept of its end, where the counts stand.
const TAIL: usize = 256 * 1024;

impl ProviderResponse {
    /// The same without the middle of a long body, which says nothing that is counted and would be too long to send.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        if let Some(body) = &mut self.body
            && body.len() > HEAD + TAIL
        {
            let boundary = |from: usize| (from..=body.len()).find(|at| body.is_char_boundary(*at)).unwrap_or(body.len());
            let (end, start) = (boundary(HEAD), boundary(body.len() - TAIL));
            // On a line of its own: what the cut leaves of a line is not read as one.
            body.replace_range(end..start, "\n");
        }
        self
    }
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
    fn of_a_long_body_both_ends_are_kept() {
        let of = |body: String| ProviderResponse { status: 200, headers: BTreeMap::new(), body: Some(body) }.bounded().body.unwrap();
        let bounded = of(format!("begin{}end", "ä".repeat(HEAD + TAIL)));
        assert!(bounded.len() <= HEAD + TAIL + 4 && bounded.starts_with("beginä") && bounded.ends_with("äend"));
        assert_eq!(bounded.lines().count(), 2);
        assert_eq!(of("short".to_owned()), "short");
    }

    #[test]
    fn debug_shows_no_body() {
        let response = ProviderResponse { status: 401, headers: BTreeMap::new(), body: Some("your key sk-planted is wrong".to_owned()) };
        assert!(!format!("{response:?}").contains("planted"));
    }
}
