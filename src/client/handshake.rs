//! The first bytes of a connection: do both sides speak the same version?

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::client::error::Error;
use crate::protocol::{BINARY_VERSION, PREAMBLE};

/// Why a connection did not come about.
pub(super) enum Failure {
    /// No daemon answers there; another place may have one.
    Absent(io::Error),
    /// One does, and there is no talking with it.
    Final(Error),
}

impl From<io::Error> for Failure {
    fn from(why: io::Error) -> Self {
        Self::Absent(why)
    }
}

/// Says hello on a new connection, and hears the daemon's.
pub(super) async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), Failure> {
    stream.write_all(&PREAMBLE).await?;
    let mut answer = [0; PREAMBLE.len()];
    stream.read_exact(&mut answer).await?;
    check(answer)
}

/// Looks at the daemon's preamble.
pub(super) fn check(answer: [u8; PREAMBLE.len()]) -> Result<(), Failure> {
    let [magic @ .., version] = answer;
    let [expected @ .., _] = PREAMBLE;
    if magic != expected {
        return Err(Failure::Final(Error::Protocol { what: "what answers at the socket is no gollmd, or refuses the binary protocol" }));
    }
    if version != BINARY_VERSION {
        return Err(Failure::Final(Error::Version { daemon: version, client: BINARY_VERSION }));
    }
    Ok(())
}
