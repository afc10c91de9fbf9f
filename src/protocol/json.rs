//! The JSON codec: one request a line, one reply a line, UTF-8.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::protocol::reply::Response;
use crate::protocol::request::{Op, Request};

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
/// An operation without fields may be written `"status"`, `{"status":{}}` or `{"status":null}`, and so may one whose
/// fields are all optional.
///
/// # Errors
/// The line is not JSON, or not a request.
pub fn decode_request(line: &[u8]) -> Result<Request, BadLine> {
    if line.trim_ascii_start().first() == Some(&b'[') {
        // Serde would take a list for the fields in their order, and their order is no promise.
        return Err(BadLine { id: None, message: "the request can't be read: it is a list, an object is expected".to_owned() });
    }
    let error = match serde_json::from_slice(line) {
        Ok(request) => return Ok(request),
        Err(error) => error,
    };
    respelt(line, error).map_err(|error| BadLine { id: id_of(line), message: describe(&error) })
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

/// A request whose operation stays text where it stands: it may hold a secret, of which no copy is made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outline<'a> {
    id: u64,
    #[serde(borrow)]
    op: &'a RawValue,
}

/// Reads the line again where its operation has no fields, in each of the spellings; `error` says why it was refused.
fn respelt(line: &[u8], error: serde_json::Error) -> Result<Request, serde_json::Error> {
    let Outline { id, op } = serde_json::from_slice(line)?;
    let name = without_fields(op.get()).ok_or(error)?;
    let read = Op::deserialize(Value::from(name)).or_else(|_| Op::deserialize(serde_json::json!({ name: {} })));
    read.map(|op| Request { id, op })
}

/// The name of an operation that is written without fields.
fn without_fields(op: &str) -> Option<&str> {
    let name = if op.starts_with('{') {
        let fields: BTreeMap<&str, &RawValue> = serde_json::from_str(op).ok()?;
        let (name, body) = fields.first_key_value().filter(|_| fields.len() == 1)?;
        let empty = body.get().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(|rest| rest.trim_ascii().is_empty());
        if !empty && body.get() != "null" {
            return None;
        }
        *name
    } else {
        op.strip_prefix('"')?.strip_suffix('"')?
    };
    is_plain(name).then_some(name)
}

/// Does it look like a name of this protocol, and so like no secret?
fn is_plain(name: &str) -> bool {
    name.len() <= 24 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
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
    if is_plain(name) { Cow::Borrowed(text) } else { Cow::Owned(format!("{begin}…{after}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(matches!(read(r#"{"id":1,"op":{"keys":null}}"#).unwrap().op, Op::Keys(_)));
        assert!(matches!(read(r#"{"op": {"status" : { } } ,"id":1}"#).unwrap().op, Op::Status));
    }

    #[test]
    fn the_error_is_about_what_is_wrong_and_not_about_the_spelling() {
        let message = |line| read(line).err().unwrap().message;
        let unknown = message(r#"{"id":8,"op":{"status":{}},"x":1}"#);
        assert!(unknown.contains("unknown field `x`") && unknown.contains("column"), "{unknown}");
        assert!(message(r#"{"id":8,"op":"select"}"#).contains("missing field `provider`"));
        assert!(message(r#"{"id":8,"op":"stats"}"#).contains("unknown variant `stats`"));
        assert!(message(r#"{"id":8,"op":{"status":{"a":1}}}"#).contains("column"));
    }

    #[test]
    fn a_list_is_no_request() {
        for line in [r#"[1,"status"]"#, r#" [1,{"status":{}}]"#, "[]", "["] {
            let bad = read(line).err().unwrap();
            assert!(bad.id.is_none() && bad.message.contains("list"), "{}", bad.message);
        }
    }

    #[test]
    fn an_operation_with_fields_is_read_once() {
        assert_eq!(without_fields(r#"{"key_set":{"secret":"sk-planted"}}"#), None);
        assert_eq!(without_fields(r#"{"status":{},"keys":{}}"#), None);
        assert_eq!(without_fields(r#""sk-planted""#), None);
        assert_eq!(without_fields(r#"{"status":{}}"#), Some("status"));
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
