//! Where the secret of a key comes from, and fetching it from there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::tree::Node;
use super::value::{Wrong, text};
use super::webhook::{Address, Webhook};
use crate::environment::Environment;
use crate::id::KeyId;
use crate::secret::{InvalidSecret, SECRET_MAX, Secret};

/// Where the secret of a key comes from.
pub enum SecretSource {
    /// It stands in the configuration file.
    File(Secret),
    /// It is the value of this environment variable (`env:NAME`, or a variable that overrides the file).
    Variable(String),
    /// It is the content of this file (`file:PATH`; a relative path starts at the configuration's directory).
    Path(PathBuf),
    /// It is this systemd credential (`credential:NAME`): a file in `$CREDENTIALS_DIRECTORY`, see systemd.exec(5).
    Credential(String),
}

/// The secrets, each as it was fetched from its source, once. Its `Debug` shows none of them.
#[derive(Default)]
pub struct Fetched {
    keys: BTreeMap<KeyId, Result<Secret, SecretUnavailable>>,
    webhooks: Vec<Result<Address, SecretUnavailable>>,
}

impl Fetched {
    /// Fetches every secret. Slow where a source is: a file may lie on a disk that does not answer.
    #[must_use]
    pub fn from_sources(sources: &BTreeMap<KeyId, SecretSource>, webhooks: &[Webhook], env: &Environment) -> Self {
        Self {
            keys: sources.iter().map(|(id, source)| (id.clone(), source.read(env))).collect(),
            webhooks: webhooks.iter().map(|webhook| webhook.fetch(env)).collect(),
        }
    }

    /// The webhooks' URLs and secrets, in configured order, which are then no longer here.
    pub fn take_webhooks(&mut self) -> Vec<Result<Address, SecretUnavailable>> {
        std::mem::take(&mut self.webhooks)
    }

    /// Every key that has a source, with its secret or why there is none.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyId, &Result<Secret, SecretUnavailable>)> {
        self.keys.iter()
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.keys.keys()).finish()
    }
}

/// Why a secret can't be fetched from its source. It never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretUnavailable {
    /// The variable is not set, or empty.
    #[error("environment variable {name} is not set: set it where gollmd is started")]
    Unset {
        /// The variable.
        name: String,
    },
    /// The file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is there is no regular file: reading a pipe or a device could wait for ever.
    #[error("{} is no regular file: put the secret into one, or use `env:NAME` or `credential:NAME`", path.display())]
    NoFile {
        /// What has the name.
        path: PathBuf,
    },
    /// There are no systemd credentials.
    #[error("there is no credential `{name}`: $CREDENTIALS_DIRECTORY is not set; write `LoadCredential={name}:PATH` in the unit")]
    NoCredentials {
        /// The credential.
        name: String,
    },
    /// What was found there can't be a secret.
    #[error("{place}: {source}")]
    Invalid {
        /// The source, as [`SecretSource::describe`] calls it.
        place: String,
        /// What is wrong with it.
        source: InvalidSecret,
    },
}

impl SecretSource {
    /// Fetches the secret.
    ///
    /// # Errors
    /// Its source is not there, can't be read, or holds what can't be a secret.
    pub fn read(&self, env: &Environment) -> Result<Secret, SecretUnavailable> {
        let found = match self {
            SecretSource::File(secret) => Secret::new(secret.expose().to_owned()),
            SecretSource::Variable(name) => {
                let value = env.value(name).ok_or_else(|| SecretUnavailable::Unset { name: name.clone() })?;
                Secret::new(value.to_owned())
            }
            SecretSource::Path(path) => content(path)?,
            SecretSource::Credential(name) => {
                let directory = env.path("CREDENTIALS_DIRECTORY").ok_or_else(|| SecretUnavailable::NoCredentials { name: name.clone() })?;
                content(&directory.join(name))?
            }
        };
        found.map_err(|source| SecretUnavailable::Invalid { place: self.describe(), source })
    }

    /// The source in words, without the secret.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            SecretSource::File(_) => "text in the configuration file".to_owned(),
            SecretSource::Variable(name) => format!("environment variable {name}"),
            SecretSource::Path(path) => format!("file {}", path.display()),
            SecretSource::Credential(name) => format!("systemd credential {name}"),
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

fn content(path: &Path) -> Result<Result<Secret, InvalidSecret>, SecretUnavailable> {
    let unreadable = |source| SecretUnavailable::Unreadable { path: path.to_owned(), source };
    // Before it is opened: that alone waits for ever at a pipe which nobody writes to.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SecretUnavailable::NoFile { path: path.to_owned() });
    }
    // One allocation, so that no half-read copy is left behind; white space round a secret is allowed.
    let mut text = Zeroizing::new(String::with_capacity(SECRET_MAX + 1024));
    let limit = u64::try_from(SECRET_MAX + 1024).unwrap_or(u64::MAX);
    File::open(path).map_err(unreadable)?.take(limit).read_to_string(&mut text).map_err(unreadable)?;
    Ok(Secret::new(text.to_string()))
}

/// Reads a field that is a secret, or where it comes from. Nothing of what stands there goes into the answer if it is wrong.
pub(super) fn source(node: &Node, base: &Path) -> Result<SecretSource, Wrong> {
    let ways = "write the secret in quotes, or `env:NAME`, `file:PATH` or `credential:NAME`";
    let text = text(node).map_err(|_| Wrong::new("the secret is no text", ways))?;
    if let Some(name) = text.strip_prefix("env:") {
        let fits = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'=');
        return if fits { Ok(SecretSource::Variable(name.to_owned())) } else { Err(Wrong::new("`env:` needs the name of a variable", ways)) };
    }
    if let Some(path) = text.strip_prefix("file:") {
        let fits = !path.is_empty() && !path.contains(char::is_control);
        return if fits { Ok(SecretSource::Path(base.join(path))) } else { Err(Wrong::new("`file:` needs a path", ways)) };
    }
    if let Some(name) = text.strip_prefix("credential:") {
        // Names that systemd allows; a separator would lead out of the credentials' directory.
        let fits = !name.is_empty() && !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'\\'));
        let wrong = || Wrong::new("`credential:` needs a name without `/`", ways);
        return if fits { Ok(SecretSource::Credential(name.to_owned())) } else { Err(wrong()) };
    }
    if text.starts_with('$') {
        return Err(Wrong::new("variables are not put in here", "write `env:NAME` to take the secret from a variable"));
    }
    if text.starts_with('…') {
        return Err(Wrong::new("this is the hidden form that `config show` prints", ways));
    }
    let secret = Secret::new(text.to_owned()).map_err(|why| Wrong::new(why.to_string(), ways))?;
    Ok(SecretSource::File(secret))
}

/// Does any `key` or webhook of the file hold a secret, and not only its source?
pub(super) fn stand_as_text(root: &Node) -> bool {
    let providers = root.child("providers").map(Node::entries).unwrap_or_default();
    let keys = providers.iter().filter_map(|provider| provider.node.child("api_keys")).flat_map(Node::items);
    let mut texts = keys.filter_map(|key| key.child("key").and_then(Node::as_text));
    texts.any(|text| !["env:", "file:", "credential:"].iter().any(|prefix| text.starts_with(prefix)))
        || root.child("webhooks").map(Node::items).unwrap_or_default().iter().any(Webhook::holds_secret)
}

#[cfg(test)]
mod tests {
    use super::super::tree::At;
    use super::*;

    fn read(text: &str) -> Result<SecretSource, Wrong> {
        source(&Node::text(At::File(0), text), Path::new("/etc/gollm"))
    }

    #[test]
    fn a_source_is_known_by_its_prefix() {
        let described = |text: &str| read(text).map(|source| source.describe());
        assert_eq!(described("env:KEY"), Ok("environment variable KEY".to_owned()));
        assert_eq!(described("file:keys/a"), Ok("file /etc/gollm/keys/a".to_owned()));
        assert_eq!(described("file:/run/a"), Ok("file /run/a".to_owned()));
        assert_eq!(described("credential:openai"), Ok("systemd credential openai".to_owned()));
        assert_eq!(described("sk-text"), Ok("text in the configuration file".to_owned()));
        for wrong in ["", "env:", "file:", "credential:", "credential:../x", "credential:a/b", "$KEY", "${KEY}", "…abcd", "a b"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_secret_is_fetched_from_each_source() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("cred"), "sk-from-file\n").unwrap();
        let env: Environment = [("KEY", "sk-from-env"), ("CREDENTIALS_DIRECTORY", directory.path().to_str().unwrap())].into_iter().collect();
        let text = |source: SecretSource| source.read(&env).map(|secret| secret.expose().to_owned()).map_err(|why| why.to_string());
        assert_eq!(text(SecretSource::Variable("KEY".to_owned())), Ok("sk-from-env".to_owned()));
        assert_eq!(text(SecretSource::Credential("cred".to_owned())), Ok("sk-from-file".to_owned()));
        assert_eq!(text(SecretSource::Path(directory.path().join("cred"))), Ok("sk-from-file".to_owned()));
        assert!(text(SecretSource::Variable("NONE".to_owned())).unwrap_err().contains("NONE is not set"));
        assert!(text(SecretSource::Credential("none".to_owned())).unwrap_err().contains("can't read"));
        let bare = SecretSource::Credential("cred".to_owned()).read(&Environment::default());
        assert!(bare.err().unwrap().to_string().contains("LoadCredential=cred"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_refused_unopened() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for place in [socket, directory.path().to_owned()] {
            let why = SecretSource::Path(place.clone()).read(&Environment::default()).err().unwrap().to_string();
            assert!(why.starts_with(&format!("{} is no regular file", place.display())), "{why}");
        }
    }

    #[test]
    fn debug_output_names_the_source_only() {
        assert!(!format!("{:?}", read("sk-PLANTED").unwrap()).contains("PLANTED"));
    }
}
