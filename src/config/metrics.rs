//! `metrics`: where Prometheus finds what there is to measure. Only programs of this machine can.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::tree::Node;
use super::value::{Wrong, quoted, text};

/// Longest path that every system takes for a socket.
const PATH_MAX: usize = 97;

/// Where the metrics are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScrapeAddress {
    /// A loopback address, which no other machine reaches.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ScrapeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScrapeAddress::Tcp(address) => write!(f, "{address}"),
            ScrapeAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `127.0.0.1:PORT`, `[::1]:PORT` or `unix:/PATH`.
pub(super) fn address(node: &Node) -> Result<ScrapeAddress, Wrong> {
    let text = text(node)?;
    if let Some(path) = text.strip_prefix("unix:") {
        return socket(path);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if !address.ip().is_loopback() => {
            let allowed = "write `127.0.0.1:PORT` or `[::1]:PORT`: what gollmd tells there is for programs of this machine alone";
            Err(Wrong::new(format!("{} is no loopback address", quoted(text)), allowed))
        }
        Ok(address) if address.port() == 0 => Err(Wrong::new("port 0 is another one at each start", "write a port from 1 to 65535")),
        Ok(address) => Ok(ScrapeAddress::Tcp(address)),
        Err(_) => Err(Wrong::new(format!("{} is no address", quoted(text)), "write `127.0.0.1:PORT`, `[::1]:PORT` or `unix:/PATH`")),
    }
}

fn socket(path: &str) -> Result<ScrapeAddress, Wrong> {
    if cfg!(windows) {
        return Err(Wrong::new("there are no such sockets on this system", "write `127.0.0.1:PORT` or `[::1]:PORT`"));
    }
    let path = PathBuf::from(path);
    if !path.is_absolute() || path.file_name().is_none() {
        return Err(Wrong::new("the path of the socket is not absolute", "write `unix:/PATH`, such as `unix:/run/gollm/metrics.sock`"));
    }
    if path.as_os_str().len() > PATH_MAX {
        return Err(Wrong::new("the path is too long for a socket", format!("write a path of at most {PATH_MAX} bytes")));
    }
    Ok(ScrapeAddress::Unix(path))
}

#[cfg(test)]
mod tests {
    use super::super::tree::At;
    use super::*;

    fn read(text: &str) -> Result<ScrapeAddress, Wrong> {
        address(&Node::text(At::File(0), text))
    }

    #[test]
    fn only_this_machine_can_be_listened_to() {
        for text in ["127.0.0.1:9464", "127.9.9.9:1", "[::1]:65535"] {
            assert_eq!(read(text).map(|address| address.to_string()), Ok(text.to_owned()));
        }
        for text in ["0.0.0.0:9464", "192.168.0.1:9464", "[::]:9464", "[2001:db8::1]:9464"] {
            assert!(read(text).is_err_and(|wrong| wrong.what.ends_with("is no loopback address")), "{text}");
        }
        for text in ["localhost:9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", ":9464", "9464", "", "/run/gollm/metrics.sock"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_has_an_absolute_path_that_fits() {
        assert_eq!(read("unix:/run/gollm/metrics.sock").map(|address| address.to_string()), Ok("unix:/run/gollm/metrics.sock".to_owned()));
        for text in ["unix:", "unix:/", "unix:metrics.sock", "unix:./a", &format!("unix:/{}", "x".repeat(PATH_MAX))] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
