//! An HTTP answer in a file, as `curl -i` writes it.

use std::collections::BTreeMap;

use crate::protocol::provider::ProviderResponse;

/// A text that is no HTTP answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// There is nothing.
    #[error("it is empty: if no answer came, report `--outcome timeout`")]
    Empty,
    /// It is something else.
    #[error("it does not begin with `HTTP/` and a status: write it with `curl -i`")]
    NotHttp,
}

/// Reads an answer; of several in a row, as after a redirect or a proxy, the last.
pub(crate) fn read(bytes: &[u8]) -> Result<ProviderResponse, NoAnswer> {
    let text = String::from_utf8_lossy(bytes);
    if text.trim().is_empty() {
        return Err(NoAnswer::Empty);
    }
    let mut rest = text.as_ref();
    loop {
        let (head, body) = split(rest);
        let mut lines = head.lines();
        let status = lines.next().and_then(status).ok_or(NoAnswer::NotHttp)?;
        if body.starts_with("HTTP/") && split(body).0.lines().next().and_then(self::status).is_some() {
            rest = body;
            continue;
        }
        let headers = lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        let headers = headers.collect::<BTreeMap<_, _>>();
        return Ok(ProviderResponse { status, headers, body: Some(body.to_owned()) }.bounded());
    }
}

/// The head and the body.
fn split(text: &str) -> (&str, &str) {
    let ends = ["\r\n\r\n", "\n\n"].into_iter().filter_map(|end| text.find(end).map(|at| (at, at + end.len())));
    ends.min().map_or((text, ""), |(end, start)| (text.get(..end).unwrap_or_default(), text.get(start..).unwrap_or_default()))
}

/// The status of a status line (RFC 9112, section 4).
fn status(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/")?.split_whitespace().nth(1)?.parse().ok().filter(|status| (100..1000).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_curl_writes_it() {
        let answer = read(b"HTTP/2 429 \r\nretry-after: 7\r\nContent-Type: application/json\r\n\r\n{\"error\":{}}").unwrap();
        assert_eq!((answer.status, answer.headers["retry-after"].as_str(), answer.body.as_deref()), (429, "7", Some("{\"error\":{}}")));
    }

    #[test]
    fn of_several_answers_the_last_counts() {
        let proxied = b"HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 401 Unauthorized\nx: 1\n\nno";
        let answer = read(proxied).unwrap();
        assert_eq!((answer.status, answer.body.as_deref()), (401, Some("no")));
    }

    #[test]
    fn a_long_body_is_bounded() {
        let long = format!("HTTP/1.1 200 OK\n\n{}end", "ä".repeat(1024 * 1024));
        let body = read(long.as_bytes()).unwrap().body.unwrap();
        assert!(body.len() < 512 * 1024 && body.ends_with("end"));
    }

    #[test]
    fn what_is_no_answer_is_told_so() {
        assert_eq!(read(b"{}").err(), Some(NoAnswer::NotHttp));
        assert_eq!(read(b"HTTP/1.1 OK\n\n").err(), Some(NoAnswer::NotHttp));
        assert_eq!(read(b"\n").err(), Some(NoAnswer::Empty));
    }
}
