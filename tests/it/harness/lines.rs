//! A client that speaks JSON lines, as a program in any language would.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::{Value, json};

use super::{LONGEST, until};

/// A connection of JSON lines.
pub(crate) struct Lines {
    reader: BufReader<UnixStream>,
    next: u64,
}

impl Lines {
    pub(crate) fn connect(socket: &Path) -> Self {
        // A full queue of connections is no failure of the daemon's.
        Self::of(until("a connection", || UnixStream::connect(socket).ok()))
    }

    pub(crate) fn of(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream.set_write_timeout(Some(LONGEST)).unwrap();
        Self { reader: BufReader::new(stream), next: 1 }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends no more, and still reads.
    pub(crate) fn finish(&mut self) {
        self.reader.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Sends a request and returns its id.
    pub(crate) fn request(&mut self, op: &Value) -> std::io::Result<u64> {
        let id = self.next;
        self.next += 1;
        self.send(format!("{}\n", json!({"id": id, "op": op})).as_bytes())?;
        Ok(id)
    }

    /// The next line; none: the daemon closed the connection.
    pub(crate) fn read(&mut self) -> std::io::Result<Option<Value>> {
        let mut line = String::new();
        match self.reader.read_line(&mut line)? {
            0 => Ok(None),
            // Half a line is what a daemon leaves that was killed while it wrote.
            _ if !line.ends_with('\n') => Ok(None),
            _ => Ok(Some(serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}")))),
        }
    }

    /// The next line, which must come.
    pub(crate) fn reply(&mut self) -> Value {
        self.read().unwrap().expect("the daemon closed the connection")
    }

    /// Asks and gets the reply; an error when the connection broke.
    pub(crate) fn try_ask(&mut self, op: &Value) -> std::io::Result<Value> {
        let id = self.request(op)?;
        let mut line = self.read()?.ok_or(std::io::ErrorKind::UnexpectedEof)?;
        if line["id"].is_null() {
            // Of the connection, not of the request: it is turned away.
            return Err(std::io::Error::other(line.to_string()));
        }
        assert_eq!(line["id"], json!(id), "{line}");
        Ok(line["reply"].take())
    }

    /// Asks and gets the reply, which must come.
    pub(crate) fn ask(&mut self, op: &Value) -> Value {
        self.try_ask(op).unwrap_or_else(|why| panic!("{op}: {why}"))
    }

    /// Asks for what must be answered with a reply of this kind.
    pub(crate) fn expect(&mut self, kind: &str, op: &Value) -> Value {
        let mut reply = self.ask(op);
        assert!(reply.get(kind).is_some(), "{op} was answered with {reply}");
        reply[kind].take()
    }

    /// Asks for what must be refused with this code.
    pub(crate) fn refused(&mut self, code: &str, op: &Value) -> Value {
        let error = self.expect("error", op);
        assert_eq!(error["code"], code, "{op}: {error}");
        error
    }

    /// Asks for what is only done.
    pub(crate) fn done(&mut self, op: &Value) {
        assert_eq!(self.ask(op), "done", "{op}");
    }

    /// Leases a key.
    pub(crate) fn lease(&mut self, select: &Value) -> Value {
        self.expect("lease", &json!({"select": select}))
    }

    /// Leases a key of a provider and tells its name.
    pub(crate) fn key(&mut self, provider: &str) -> String {
        text(&self.lease(&json!({"provider": provider}))["key_name"])
    }

    /// Reports what came of a lease.
    pub(crate) fn report(&mut self, lease: &Value, outcome: &str) -> Value {
        self.expect("reported", &json!({"report": {"lease": lease["lease"], "outcome": outcome}}))
    }

    /// The row of one key.
    pub(crate) fn row(&mut self, provider: &str, key: &str) -> Value {
        let rows = self.expect("keys", &json!({"keys": {"provider": provider}}));
        rows.as_array().unwrap().iter().find(|row| row["key_name"] == key).unwrap().clone()
    }
}

/// The text of a JSON string.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The names of an object's fields.
pub(crate) fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object")).keys().map(String::as_str).collect()
}

/// A JSON number of dollars in whole nano-dollars.
pub(crate) fn nanos(value: &Value) -> i64 {
    let dollars = value.as_f64().unwrap_or_else(|| panic!("{value} is no number"));
    #[expect(clippy::cast_possible_truncation, reason = "tests count in dollars and cents")]
    let nanos = (dollars * 1e9).round() as i64;
    nanos
}
