//! The bare echo server: tokio on one thread, one read and one write a request, and nothing in between.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::Failure;

/// The first argument of a process that is an echo server; then come its socket and the files that hold its replies.
pub(crate) const ROLE: &str = "--echo";

/// Answers the requests of each connection with the replies in turn, until it is killed.
pub(crate) fn serve(arguments: &[String]) -> Result<(), Failure> {
    let (socket, files) = arguments.split_first().ok_or("an echo server needs a socket")?;
    let replies: Vec<Vec<u8>> = files.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    let replies: &'static [Vec<u8>] = replies.leak();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = UnixListener::bind(Path::new(socket))?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(answer(stream, replies));
        }
    })
}

async fn answer(mut stream: UnixStream, replies: &[Vec<u8>]) -> std::io::Result<()> {
    let mut request = vec![0; 16 * 1024];
    for reply in replies.iter().cycle() {
        if stream.read(&mut request).await? == 0 {
            break;
        }
        stream.write_all(reply).await?;
    }
    Ok(())
}
