//! A named pipe: its access list says who may connect, and nothing else tells callers apart.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::sync::Arc;

use interprocess::os::windows::ToWtf16;
use interprocess::os::windows::named_pipe::tokio::PipeListener;
use interprocess::os::windows::named_pipe::{PipeListenerOptions, pipe_mode};
use interprocess::os::windows::security_descriptor::SecurityDescriptor;

use crate::endpoint::listen::{Audience, ListenError, Peer, refused};
use crate::endpoint::{Endpoint, Stream};
use crate::id::Uid;

/// Everything for the pipe's owner (S-1-3-4, OWNER RIGHTS), administrators and SYSTEM, nothing for anybody else; `P` keeps
/// other entries from being inherited. (Security Descriptor String Format, Windows documentation)
const ACCESS_LIST: &str = "D:P(A;;GA;;;S-1-3-4)(A;;GA;;;BA)(A;;GA;;;SY)";

/// What the pipe holds each way while nobody reads. What does not fit is lost when its writer ends.
const BUFFER: u32 = 64 * 1024;

/// The daemon may learn who the caller is and not act in its name (SECURITY_IDENTIFICATION).
const IDENTIFY_ONLY: u32 = 0x0001_0000;

#[derive(Debug)]
pub(super) struct Listening(PipeListener<pipe_mode::Bytes, pipe_mode::Bytes>);

impl Listening {
    pub(super) fn bind(endpoint: &Endpoint) -> Result<Self, ListenError> {
        let name = name(endpoint)?;
        let listen = || {
            let text = OsStr::new(ACCESS_LIST).to_wtf_16().map_err(io::Error::other)?;
            PipeListenerOptions::new()
                .path(OsStr::new(&name))
                .accept_remote(false)
                .security_descriptor(Some(SecurityDescriptor::deserialize(&text)?))
                .input_buffer_size_hint(BUFFER)
                .output_buffer_size_hint(BUFFER)
                .create_tokio_duplex::<pipe_mode::Bytes>()
        };
        // The first pipe of a name is asked for; where there is one already, access is what the system denies.
        listen().map(Self).map_err(|why| match why.kind() {
            io::ErrorKind::PermissionDenied => ListenError::InUse { path: endpoint.clone() },
            _ => refused("listen on", endpoint.path())(why),
        })
    }

    /// Nobody may serve the pipe.
    pub(super) fn probe(endpoint: &Endpoint) -> Result<(), ListenError> {
        match OpenOptions::new().read(true).write(true).security_qos_flags(IDENTIFY_ONLY).open(name(endpoint)?) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
            // Answered, busy, or closed to this user: somebody has it.
            _ => Err(ListenError::InUse { path: endpoint.clone() }),
        }
    }

    pub(super) fn open_to(&self, audience: Audience) -> Result<(), ListenError> {
        if audience == Audience::Owner { Ok(()) } else { Err(ListenError::NoAudience) }
    }

    /// The name of a pipe is there for as long as one end of it is.
    pub(super) fn hide(&self) {}

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        let stream = self.0.accept().await?;
        let pid = stream.client_process_id().ok().and_then(|pid| i32::try_from(pid).ok());
        Ok((Stream::of(stream), Peer { uid: Uid(0), gid: 0, groups: Arc::default(), pid, cgroup: None }))
    }
}

fn name(endpoint: &Endpoint) -> Result<String, ListenError> {
    endpoint.pipe().ok_or_else(|| ListenError::NotAPipe { path: endpoint.clone() })
}
