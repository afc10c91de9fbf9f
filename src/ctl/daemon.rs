//! The way to the daemon: the only file of gollmctl that knows the client.

use std::path::Path;
use std::time::Duration;

use crate::ctl::failure::Failure;
use crate::environment::Environment;
use crate::protocol::reply::Reply;
use crate::protocol::request::Op;

/// Time for anything that the daemon knows by itself.
const QUICK: Duration = Duration::from_secs(15);

/// Time for live checks, which wait for providers: one at a time each, 30 s a key.
const SLOW: Duration = Duration::from_secs(600);

/// A connection to the daemon.
pub(crate) struct Link {
    stream: stand_in::Stream,
}

/// Connects to the daemon at `socket`, or where the contract of the socket says that it is.
pub(crate) fn connect(socket: Option<&Path>, environment: &Environment) -> Result<Link, Failure> {
    stand_in::connect(socket, environment).map(|stream| Link { stream })
}

impl Link {
    /// Asks one thing and waits for the answer; an error of the daemon is a failure.
    pub(crate) fn call(&mut self, op: Op) -> Result<Reply, Failure> {
        let name = op.name();
        let limit = if matches!(op, Op::Validate(_)) { SLOW } else { QUICK };
        match stand_in::call(&mut self.stream, op, limit).map_err(|why| Failure::NoAnswer { op: name, why: why.to_string() })? {
            Reply::Error(reply) => Err(Failure::Refused { op: name, reply }),
            reply => Ok(reply),
        }
    }
}

/// Speaks the binary codec over a Unix socket, until the library's blocking client is there.
mod stand_in {
    use std::io::{self, Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use zeroize::Zeroizing;

    use crate::ctl::failure::Failure;
    use crate::environment::Environment;
    use crate::protocol::reply::{Reply, Response};
    use crate::protocol::request::{Op, Request};
    use crate::protocol::{PREAMBLE, frame};

    pub(super) type Stream = UnixStream;

    pub(super) fn connect(socket: Option<&Path>, environment: &Environment) -> Result<Stream, Failure> {
        let given = socket.map(Path::to_owned).or_else(|| environment.path("GOLLM_SOCKET"));
        let candidates = given.map_or_else(
            || {
                let own = environment.path("XDG_RUNTIME_DIR").map(|dir| dir.join("gollm/gollmd.sock"));
                own.into_iter().chain([PathBuf::from("/run/gollm/gollmd.sock")]).collect()
            },
            |path| vec![path],
        );
        let mut tried = Vec::new();
        for path in candidates {
            match UnixStream::connect(&path) {
                Ok(stream) => return Ok(stream),
                Err(error) => tried.push(format!("{} ({error})", path.display())),
            }
        }
        Err(Failure::NoDaemon { tried: tried.join(", ") })
    }

    pub(super) fn call(stream: &mut Stream, op: Op, limit: Duration) -> io::Result<Reply> {
        stream.set_read_timeout(Some(limit))?;
        let mut bytes = Zeroizing::new(PREAMBLE.to_vec());
        frame::encode(&Request { id: 1, op }, &mut bytes).map_err(io::Error::other)?;
        stream.write_all(&bytes)?;
        let mut head = [0; PREAMBLE.len() + frame::HEADER];
        stream.read_exact(&mut head)?;
        let (_, header) = head.split_at(PREAMBLE.len());
        let length = frame::body_length(header).map_err(io::Error::other)?.unwrap_or(0);
        let mut body = Zeroizing::new(vec![0; length]);
        stream.read_exact(&mut body)?;
        frame::decode::<Response>(&body).map(|response| response.reply).map_err(io::Error::other)
    }
}
