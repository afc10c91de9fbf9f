//! The JSON codec: one request a line, one reply a line, UTF-8.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::protocol::reply::Response;
use crate::protocol::request::Request;

/// A line that is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadLine {
    /// The id of the request, where it could be read.
    pub id: Option<u64>,
    /// What is wrong and where, with no value of the line in it.
    pub message: String,
}

/// Reads one request from a line without its line end.
///
/// An operation without fields may be written `"status"` or `{"status":{}}`, and so may one whose fields are all optional.
///
/// # Errors
/// The line is not JSON, or not a request.
pub fn decode_request(line: &[u8]) -> Result<Request, BadLine> {
    if line.trim_ascii_start().first() != Some(&b'{') {
        return Err(BadLine { id: None, message: "the request can't be read: a request is an object, `{\"id\": 1, \"op\": …}`".to_owned() });
    }
    let error = match serde_json::from_slice::<Request>(line) {
        Ok(request) => return Ok(request),
        Err(error) => error,
    };
    match respell(line).map(serde_json::from_value::<Request>) {
        Some(Ok(request)) => Ok(request),
        Some(Err(other)) => {
            let message = format!("{} at line {} column {}", describe(&other), error.line(), error.column());
            Err(BadLine { id: id_of(line), message })
        }
        None => Err(BadLine { id: id_of(line), message: describe(&error) }),
    }
}

/// Appends `response` as one line with its end.
///
/// # Errors
/// None that a reply of this crate can cause.
pub fn encode_response(response: &Response, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *out, response)?;
    out.push(b'\n');
    Ok(())
}

/// The same request with `"op": "name"` written as `"op": {"name": {}}`, or the other way round.
fn respell(line: &[u8]) -> Option<Value> {
    // A line with a secret in it is not taken apart: the parts would not be wiped.
    if line.windows(6).any(|window| window == b"secret") {
        return None;
    }
    let mut request: Value = serde_json::from_slice(line).ok()?;
    let op = request.get_mut("op")?;
    *op = match op.take() {
        Value::String(name) => Value::Object([(name, Value::Object(serde_json::Map::new()))].into_iter().collect()),
        Value::Object(fields) => {
            let (name, body) = fields.iter().next()?;
            let empty = body.as_object().is_some_and(serde_json::Map::is_empty);
            if fields.len() == 1 && empty { Value::String(name.clone()) } else { return None }
        }
        _ => return None,
    };
    Some(request)
}

fn id_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct OnlyId {
        id: u64,
    }
    serde_json::from_slice::<OnlyId>(line).ok().map(|only| only.id)
}

/// The error's text with its place, and without what it repeats from the line: it may be a secret.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let mut kept = String::with_capacity(text.len());
    let mut rest = without_name(&text).chars().take(600).collect::<Vec<_>>().into_iter();
    while let Some(c) = rest.next() {
        if c == '"' {
            kept.push('…');
            pass_string(&mut rest);
        } else {
            kept.push(c);
        }
    }
    format!("the request can't be read: {kept}")
}

/// Passes over a string whose first quote was read; serde writes it escaped.
fn pass_string(rest: &mut impl Iterator<Item = char>) {
    while let Some(c) = rest.next() {
        match c {
            '"' => return,
            '\\' => drop(rest.next()),
            _ => {}
        }
    }
}

/// Names the unknown field or variant only where it looks like one that was misspelled.
fn without_name(text: &str) -> Cow<'_, str> {
    let begins = ["unknown field `", "unknown variant `"].into_iter().find(|begin| text.starts_with(begin));
    let ends = ["`, expected ", "`, there are no "].into_iter().find_map(|end| text.rfind(end));
    let (Some(begin), Some(end)) = (begins, ends) else { return Cow::Borrowed(text) };
    let (name, after) = (text.get(begin.len()..end).unwrap_or_default(), text.get(end..).unwrap_or_default());
    let plain = name.len() <= 24 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if plain { Cow::Borrowed(text) } else { Cow::Owned(format!("{begin}…{after}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::Op;

    fn read(line: &str) -> Result<Request, BadLine> {
        decode_request(line.as_bytes())
    }

    #[test]
    fn the_documented_lines_are_read() {
        assert!(matches!(read(r#"{"id":1,"op":{"select":{"provider":"openai"}}}"#).unwrap().op, Op::Select(_)));
        assert!(matches!(read(r#"{"id":3,"op":"status"}"#).unwrap().op, Op::Status));
        let report = r#"{"id":2,"op":{"report":{"lease":"gl_x","outcome":"ok","model":"gpt-4","input_tokens":1000,"output_tokens":500}}}"#;
        assert!(matches!(read(report).unwrap().op, Op::Report(_)));
    }

    #[test]
    fn an_operation_without_fields_has_two_spellings() {
        assert!(matches!(read(r#"{"id":1,"op":"keys"}"#).unwrap().op, Op::Keys(_)));
        assert!(matches!(read(r#"{"id":1,"op":{"keys":{}}}"#).unwrap().op, Op::Keys(_)));
        assert!(matches!(read(r#"{"id":1,"op":{"status":{}}}"#).unwrap().op, Op::Status));
        assert!(matches!(read(r#"{"id":1,"op":{"status":null}}"#).unwrap().op, Op::Status));
    }

    #[test]
    fn a_malformed_line_says_where_and_keeps_the_id() {
        let bad = read(r#"{"id":7,"op":{"select":{"provider":"openai","colour":1}}}"#).err().unwrap();
        assert_eq!(bad.id, Some(7));
        assert!(bad.message.contains("colour") && bad.message.contains("column"), "{}", bad.message);
        assert_eq!(read("{").err().unwrap().id, None);
        assert_eq!(read(r#"{"id":-1,"op":"status"}"#).err().unwrap().id, None);
    }

    #[test]
    fn the_callers_own_mistake_is_told() {
        let bad = read(r#"{"id":8,"op":{"status":{}},"colour":1}"#).err().unwrap();
        assert!(bad.message.contains("colour"), "{}", bad.message);
        assert!(read(r#"[1,"status"]"#).is_err());
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        let bad = read(r#"{"id":1,"op":{"key_set":{"provider":"openai","key_name":"a","secret":"ok","rate_limit":"sk-planted"}}}"#).err().unwrap();
        assert!(!bad.message.contains("sk-planted"), "{}", bad.message);
        let bad = read(r#"{"id":1,"op":{"select":{"provider":"SK planted"}}}"#).err().unwrap();
        assert!(!bad.message.contains("planted"), "{}", bad.message);
    }

    #[test]
    fn a_secret_as_a_name_or_with_quotes_in_it_is_not_repeated() {
        for line in [
            r#"{"id":1,"op":{"select":{"provider":"openai","sk-planted":1}}}"#,
            r#"{"id":1,"op":{"select":{"provider":"openai","`sk-planted`, expected x":1}}}"#,
            r#"{"id":1,"op":{"select":{"provider":"openai","strategy":"sk-planted"}}}"#,
            r#"{"id":1,"op":{"sk-planted":{}}}"#,
            r#"{"id":1,"op":"sk-planted"}"#,
            r#"{"id":"sk-\"planted\"","op":"status"}"#,
        ] {
            let message = read(line).err().unwrap().message;
            assert!(!message.contains("planted") && message.contains("column"), "{message}");
        }
    }
}
