//! What to set before connecting.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::error::Error;
use crate::client::{Client, blocking};
use crate::endpoint;
use crate::environment::Environment;

/// The time limit for a request where none is set.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of a client, for the one with tokio and the one without.
///
/// ```no_run
/// # async fn example() -> Result<(), gollm::Error> {
/// use gollm::environment::Environment;
/// let builder = gollm::Client::builder().socket("/run/gollm/gollmd.sock").timeout(std::time::Duration::from_secs(1));
/// let client = builder.connect(&Environment::of_process()).await?;
/// # drop(client);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    socket: Option<PathBuf>,
    timeout: Duration,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self { socket: None, timeout: TIMEOUT }
    }
}

impl ClientBuilder {
    /// Only this socket, whatever the environment says.
    #[must_use]
    pub fn socket(self, path: impl Into<PathBuf>) -> Self {
        Self { socket: Some(path.into()), ..self }
    }

    /// The time limit for connecting and for each request, connecting anew included; 5 s where it is not set.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Connects, within a tokio runtime, to the first daemon that answers.
    ///
    /// # Errors
    /// None answers, or not this protocol.
    pub async fn connect(self, environment: &Environment) -> Result<Client, Error> {
        Client::open(endpoint::candidates(self.socket.as_deref(), environment), self.timeout).await
    }

    /// Connects, without a runtime, to the first daemon that answers.
    ///
    /// # Errors
    /// None answers, or not this protocol.
    pub fn connect_blocking(self, environment: &Environment) -> Result<blocking::Client, Error> {
        blocking::Client::open(endpoint::candidates(self.socket.as_deref(), environment), self.timeout)
    }
}
