//! Requests that are nearly right, and some that are not at all.

use fastrand::Rng;
use gollm::protocol::outcome::Outcome;
use gollm::protocol::request::{Estimate, Op, Record, Report, Request, Select};
use gollm::protocol::{MESSAGE_MAX, frame};

/// Requests of which the others are made; none changes the configuration, so that a mutation that is well-formed does no harm.
const LINES: [&str; 8] = [
    r#"{"id":1,"op":{"select":{"provider":"openai","model":"gpt-4","estimate":{"input_tokens":10,"output_tokens":5},"fallback":false}}}"#,
    r#"{"id":2,"op":{"report":{"lease":"gl_abc","outcome":"ok","model":"gpt-4","input_tokens":1000,"output_tokens":500,"cost_usd":0.1}}}"#,
    r#"{"id":3,"op":"status"}"#,
    r#"{"id":4,"op":{"statistics":{"by":["key","model"],"since":"2026-01-01T00:00:00Z","bucket":"hour"}}}"#,
    r#"{"id":5,"op":{"validate":{"provider":"openai","format_only":true}}}"#,
    r#"{"id":6,"op":{"record":{"provider":"openai","key_name":"none","cached_tokens":7}}}"#,
    r#"{"id":7,"op":{"renew":{"lease":"gl_abc"}}}"#,
    r#"{"id":8,"op":{"keys":{"provider":null}}}"#,
];

/// Pieces that parsers stumble over.
const PIECES: [&str; 20] = [
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "-0.0",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "[[[[",
    "]]]]",
    "{\"a\":",
    "true",
    "\"\"",
    ",",
    ":",
    "\u{feff}",
    "\u{0}",
    "\"id\":1,",
    "9223372036854775808",
    "\"gl_\"",
    "NaN",
];

/// A line without its end, most often malformed.
pub(super) fn line(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = match rng.u32(0..100) {
        0 => [b"{\"id\":1,\"op\":".to_vec(), b"[".repeat(rng.usize(1..100_000))].concat(),
        1 => [b"{\"id\":1,\"op\":{\"select\":{\"provider\":\"".to_vec(), b"a".repeat(rng.usize(1..MESSAGE_MAX / 2))].concat(),
        2 => "{\"a\":".repeat(rng.usize(1..20_000)).into_bytes(),
        3 => format!("{{\"id\":{},\"op\":\"status\"}}", "9".repeat(rng.usize(20..5000))).into_bytes(),
        4 => [b"{".to_vec(), (0..rng.usize(1..500)).map(|_| rng.u8(..)).collect()].concat(),
        _ => mutated(rng),
    };
    for byte in &mut bytes {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
    // A blank line is passed over without an answer.
    if bytes.trim_ascii().is_empty() { b"{".to_vec() } else { bytes }
}

fn mutated(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = LINES[rng.usize(0..LINES.len())].as_bytes().to_vec();
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(0..bytes.len().max(1)).min(bytes.len());
        match rng.u32(0..6) {
            0 => bytes.truncate(at.max(1)),
            1 => drop(bytes.splice(at..at, PIECES[rng.usize(0..PIECES.len())].bytes())),
            2 => drop(bytes.splice(at..(at + rng.usize(0..12)).min(bytes.len()), PIECES[rng.usize(0..PIECES.len())].bytes())),
            3 if at < bytes.len() => bytes[at] = rng.u8(..),
            4 if at < bytes.len() => bytes[at] ^= 1 << rng.u32(0..8),
            _ => drop(bytes.drain(at..(at + rng.usize(0..8)).min(bytes.len()))),
        }
    }
    bytes
}

/// The body of a frame, most often malformed.
pub(super) fn frame_body(rng: &mut Rng) -> Vec<u8> {
    if rng.u32(0..20) == 0 {
        return (0..rng.usize(0..300)).map(|_| rng.u8(..)).collect();
    }
    let mut bytes = Vec::new();
    frame::encode(&Request { id: rng.u64(..), op: op(rng) }, &mut bytes).unwrap();
    bytes.drain(..frame::HEADER);
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(0..bytes.len().max(1));
        match rng.u32(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), rng.u8(..)),
            // Behind the id and the number of the operation stand lengths and tags.
            2 if bytes.len() > 20 => bytes[8 + at % 12] = [0xff, 0x7f, 0x80, 1, 0][rng.usize(0..5)],
            3 if at < bytes.len() => bytes[at] = 0xff,
            _ if at < bytes.len() => bytes[at] ^= 1 << rng.u32(0..8),
            _ => bytes.push(0),
        }
    }
    // What would change keys, by a flipped number of the operation, is none of this test's.
    let number = bytes.get(8..12).map(|number| u32::from_le_bytes([number[0], number[1], number[2], number[3]]));
    if number.is_some_and(|number| (10..=14).contains(&number)) {
        bytes[8] = 0xff;
    }
    bytes
}

fn op(rng: &mut Rng) -> Op {
    let provider = || "openai".parse().unwrap();
    match rng.u32(0..5) {
        0 => Op::Select(Select {
            model: Some("gpt-4".parse().unwrap()),
            estimate: Some(Estimate { input_tokens: Some(5), ..Estimate::default() }),
            ..Select::any(provider())
        }),
        1 => Op::Report(Report::of("gl_abcdef".parse().unwrap(), Outcome::Timeout)),
        2 => Op::Record(Record {
            provider: provider(),
            key_name: "none".parse().unwrap(),
            outcome: Some(Outcome::Ok),
            model: None,
            input_tokens: Some(1),
            output_tokens: None,
            cached_tokens: None,
            cost_usd: None,
        }),
        3 => Op::Statistics(gollm::protocol::request::Statistics { by: Some(vec![gollm::protocol::request::Split::Key]), ..Default::default() }),
        _ => Op::Status,
    }
}
