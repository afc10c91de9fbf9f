//! `gollm-config.yaml` and the environment, to checked settings: every problem with its place.

mod access;
mod check;
mod env;
mod fields;
mod file;
pub mod metrics;
pub mod problem;
pub mod prices;
mod provider;
pub mod secrets;
pub mod show;
mod suggest;
mod tree;
mod value;
mod warn;
pub mod webhook;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use self::metrics::ScrapeAddress;
use self::problem::{ConfigError, Findings, Problem};
use self::secrets::{Fetched, SecretSource};
use self::webhook::Webhook;
use crate::environment::Environment;
use crate::id::KeyId;
use crate::policy::{AccessPolicy, Policy};
use crate::protocol::strategy::Strategy;

/// The name of the file in its directory.
pub const FILE_NAME: &str = "gollm-config.yaml";

/// A checked configuration.
#[derive(Debug)]
pub struct Settings {
    /// What selection, limits and health are decided by.
    pub policy: Policy,
    /// Where each key's secret comes from; that of a key without a source is in the store.
    pub secrets: BTreeMap<KeyId, SecretSource>,
    /// Who is told of alerts.
    pub webhooks: Vec<Webhook>,
    /// The secrets themselves, as [`load`] fetched them; whoever uses them takes them out of here.
    pub fetched: Fetched,
    /// The file that was read; none: the environment alone.
    pub file: Option<PathBuf>,
    /// Where the master secret comes from.
    pub master: MasterSetting,
    /// The strategy of providers that name none.
    pub default_strategy: Strategy,
    /// `false`: the data key lies unwrapped in the store.
    pub encrypt_keys: bool,
    /// Are shapes checked on load, and keys validated live at start?
    pub key_validation: bool,
    /// Is an audit trail kept?
    pub audit_logging: bool,
    /// How much of it, and how long.
    pub audit: AuditSettings,
    /// Where metrics are served; none: nowhere.
    pub metrics: Option<ScrapeAddress>,
    /// Limit for one live call made with a key.
    pub key_timeout: Duration,
    /// Who is served; none: no section `access` says it.
    pub access: Option<AccessPolicy>,
    /// Keys that begin as another provider's do: a mistake, of which the daemon warns while the others work.
    pub misplaced: Vec<KeyId>,
    /// What is allowed, but worth a look: a line each, without secrets.
    pub warnings: Vec<String>,
}

/// Where the master secret comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MasterSetting {
    /// The first of the others that is there.
    #[default]
    Auto,
    /// The systemd credential `gollm-master`.
    Credential,
    /// `GOLLM_MASTER_PASSWORD`.
    Environment,
    /// The keyring of the operating system.
    Keyring,
    /// A file in the state directory.
    File,
    /// A person, by `gollmctl unlock`.
    Prompt,
}

/// What the audit trail keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditSettings {
    /// Which leases it tells of.
    pub selects: AuditedSelects,
    /// How old an entry may grow.
    pub keep: Duration,
    /// Entries at most.
    pub max_entries: usize,
}

/// Which leases the audit trail tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditedSelects {
    /// Of none: usage has them all by caller.
    #[default]
    None,
    /// Of one in a hundred, at random.
    Sampled,
    /// Of each.
    All,
}

impl AuditedSelects {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Self); 3] = [("none", Self::None), ("sampled", Self::Sampled), ("all", Self::All)];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sampled => "sampled",
            Self::All => "all",
        }
    }
}

impl MasterSetting {
    /// All of them, with their names.
    pub const ALL: [(&'static str, MasterSetting); 6] = [
        ("auto", MasterSetting::Auto),
        ("credential", MasterSetting::Credential),
        ("environment", MasterSetting::Environment),
        ("keyring", MasterSetting::Keyring),
        ("file", MasterSetting::File),
        ("prompt", MasterSetting::Prompt),
    ];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            MasterSetting::Auto => "auto",
            MasterSetting::Credential => "credential",
            MasterSetting::Environment => "environment",
            MasterSetting::Keyring => "keyring",
            MasterSetting::File => "file",
            MasterSetting::Prompt => "prompt",
        }
    }
}

/// The file that is meant: `explicit`, `$GOLLM_CONFIG`, `$XDG_CONFIG_HOME/gollm/gollm-config.yaml`
/// (`$HOME/.config` where that is not set), `/etc/gollm/gollm-config.yaml`; on Windows, after the first two,
/// `%APPDATA%\gollm\gollm-config.yaml` and `%ProgramData%\gollm\gollm-config.yaml`. None: the environment alone.
///
/// # Errors
/// `explicit` or `$GOLLM_CONFIG` names a file that is not there.
pub fn locate(explicit: Option<&Path>, env: &Environment) -> Result<Option<PathBuf>, ConfigError> {
    let asked = match explicit {
        Some(path) => Some((path.to_owned(), "named by --config")),
        None => env.path("GOLLM_CONFIG").map(|path| (path, "named by $GOLLM_CONFIG")),
    };
    if let Some((path, asked_by)) = asked {
        // One that can't be looked at is left to `load`, which says why.
        return if path.try_exists().unwrap_or(true) { Ok(Some(path)) } else { Err(ConfigError::Missing { path, asked_by }) };
    }
    let directories = if cfg!(windows) { directories_of_windows(env) } else { directories_of_unix(env) };
    let mut candidates = directories.into_iter().flatten().map(|directory| directory.join("gollm").join(FILE_NAME));
    Ok(candidates.find(|path| path.exists()))
}

/// The user's, then the machine's. A path that is not absolute would mean another file in every directory.
fn directories_of_unix(env: &Environment) -> [Option<PathBuf>; 2] {
    let user = env.path("XDG_CONFIG_HOME").filter(|path| path.is_absolute()).or_else(|| env.path("HOME").map(|home| home.join(".config")));
    [user, Some(PathBuf::from("/etc"))]
}

fn directories_of_windows(env: &Environment) -> [Option<PathBuf>; 2] {
    ["APPDATA", "ProgramData"].map(|name| env.path(name).filter(|path| path.is_absolute()))
}

/// Reads and checks the file and the environment; without a file, the environment alone and the providers' own variables.
/// Fetches each secret once.
///
/// # Errors
/// The file can't be read, holds secrets as text where others can read it, or says something wrong.
pub fn load(file: Option<&Path>, env: &Environment) -> Result<Settings, ConfigError> {
    let Some(path) = file else {
        let mut settings = build("", None, env)?.settings;
        settings.fetched = Fetched::from_sources(&settings.secrets, &settings.webhooks, env);
        warn::look_at_secrets(&mut settings);
        return Ok(settings);
    };
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut opened = File::open(path).map_err(unreadable)?;
    // The mode of the file that is open, not of whatever has the name by then.
    let mode = mode(&opened).map_err(unreadable)?;
    let mut text = Zeroizing::new(String::new());
    // One byte more than allowed, so that too large a file is noticed.
    let limit = u64::try_from(file::SIZE_MAX + 1).unwrap_or(u64::MAX);
    Read::by_ref(&mut opened).take(limit).read_to_string(&mut text).map_err(unreadable)?;
    let Built { mut settings, secrets_as_text } = build(&text, Some(path), env)?;
    if secrets_as_text && mode & 0o077 != 0 {
        return Err(ConfigError::Exposed { path: path.to_owned(), mode });
    }
    if mode & 0o022 != 0 {
        let file = path.display();
        settings.warnings.push(format!("{file} can be changed by others (mode {mode:04o}), who can send keys elsewhere with it: chmod go-w {file}"));
    }
    settings.policy.prices = prices::beside(path)?;
    settings.fetched = Fetched::from_sources(&settings.secrets, &settings.webhooks, env);
    warn::look_at_secrets(&mut settings);
    Ok(settings)
}

/// The permission bits of an open file; 0 where there are none.
#[cfg(unix)]
fn mode(file: &File) -> io::Result<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(file.metadata()?.permissions().mode() & 0o7777)
}

#[cfg(not(unix))]
fn mode(_: &File) -> io::Result<u32> {
    Ok(0)
}

/// Checks the text of a file, and the variables that override it. Reads nothing else.
///
/// # Errors
/// [`ConfigError::Invalid`] with every problem that was found.
pub fn parse(text: &str, origin: &Path, env: &Environment) -> Result<Settings, ConfigError> {
    build(text, Some(origin), env).map(|built| built.settings)
}

struct Built {
    settings: Settings,
    /// Does the file hold a secret as text, even if a variable overrides it?
    secrets_as_text: bool,
}

fn build(text: &str, origin: Option<&Path>, env: &Environment) -> Result<Built, ConfigError> {
    let place = origin.unwrap_or_else(|| Path::new("environment"));
    let mut root = file::read(text).map_err(|why| ConfigError::Invalid(vec![Problem::broken(why, place)]))?;
    let secrets_as_text = secrets::stand_as_text(&root);
    let mut findings = Findings::default();
    if origin.is_none() {
        env::take_providers_own(&mut root, env);
    }
    env::overlay(&mut root, env, &mut findings);
    let base = origin.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
    let mut settings = check::settings(&root, base, &mut findings);
    settings.file = origin.map(Path::to_owned);
    settings.warnings = std::mem::take(&mut findings.warnings);
    let problems = findings.problems(text, place);
    if problems.is_empty() { Ok(Built { settings, secrets_as_text }) } else { Err(ConfigError::Invalid(problems)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        (directory, path)
    }

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        #[cfg(not(unix))]
        let _ = mode;
    }

    #[test]
    fn a_file_that_was_asked_for_must_be_there() {
        let env: Environment = [("GOLLM_CONFIG", "/nonexistent/env.yaml")].into_iter().collect();
        let why = locate(Some(Path::new("/nonexistent/a.yaml")), &env).unwrap_err();
        assert_eq!(why.to_string(), "/nonexistent/a.yaml: there is no such file (named by --config)");
        let why = locate(None, &env).unwrap_err();
        assert_eq!(why.to_string(), "/nonexistent/env.yaml: there is no such file (named by $GOLLM_CONFIG)");
    }

    #[cfg(unix)]
    #[test]
    fn files_are_found_in_their_order() {
        let (directory, path) = directory();
        let user = directory.path().join("gollm").join(FILE_NAME);
        std::fs::create_dir(user.parent().unwrap()).unwrap();
        write(&user, "", 0o644);
        write(&path, "", 0o644);
        let home: Environment = [("XDG_CONFIG_HOME", directory.path().to_str().unwrap())].into_iter().collect();
        assert_eq!(locate(None, &home).unwrap(), Some(user));
        let named: Environment =
            [("XDG_CONFIG_HOME", directory.path().to_str().unwrap()), ("GOLLM_CONFIG", path.to_str().unwrap())].into_iter().collect();
        assert_eq!(locate(None, &named).unwrap(), Some(path.clone()));
        assert_eq!(locate(Some(&path), &home).unwrap(), Some(path));
    }

    #[test]
    fn on_windows_the_users_directory_comes_before_the_machines() {
        let (directory, _) = directory();
        let [user, machine] = ["user", "machine"].map(|name| directory.path().join(name));
        let env: Environment = [("APPDATA", user.to_str().unwrap()), ("ProgramData", machine.to_str().unwrap())].into_iter().collect();
        assert_eq!(directories_of_windows(&env), [Some(user), Some(machine)]);
        assert_eq!(directories_of_windows(&Environment::default()), [None, None]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_with_secrets_that_others_can_read_is_refused() {
        let (_directory, path) = directory();
        let text = include_str!("../tests/data/config/complete.yaml");
        for mode in [0o644, 0o640, 0o604, 0o620] {
            write(&path, text, mode);
            let why = load(Some(&path), &Environment::default()).unwrap_err().to_string();
            let expected = format!("{0} holds secrets and can be read by others (mode {mode:04o}): chmod 600 {0}", path.display());
            assert_eq!(why, expected);
        }
        // What a variable overrides still stands in the file.
        let env: Environment = [("GOLLM_OPENAI_API_KEY_PRIMARY", "sk-1"), ("GOLLM_ANTHROPIC_API_KEY_PRIMARY", "sk-2")].into_iter().collect();
        write(&path, text, 0o644);
        assert!(matches!(load(Some(&path), &env), Err(ConfigError::Exposed { .. })));
        write(&path, text, 0o600);
        assert!(load(Some(&path), &env).is_ok());
        write(&path, "providers: {openai: {api_keys: [{name: a, key: env:A}]}}", 0o644);
        assert!(load(Some(&path), &env).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_change_is_a_warning() {
        let (_directory, path) = directory();
        write(&path, "", 0o664);
        let warnings = load(Some(&path), &Environment::default()).unwrap().warnings;
        assert!(warnings[0].contains("can be changed by others (mode 0664)") && warnings[0].ends_with(&format!("chmod go-w {}", path.display())));
        write(&path, "", 0o644);
        assert!(load(Some(&path), &Environment::default()).unwrap().warnings.is_empty());
    }

    #[test]
    fn what_the_secrets_show_is_a_warning() {
        let (_directory, path) = directory();
        let keys = "{name: a, key: sk-ant-PLANTED}, {name: b, key: sk-ant-PLANTED}, {name: c, key: env:UNSET}";
        write(&path, &format!("providers: {{openai: {{api_keys: [{keys}]}}}}"), 0o600);
        let warnings = load(Some(&path), &Environment::default()).unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.starts_with("key openai/b has the same secret as key openai/a")), "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.contains("key openai/c: environment variable UNSET is not set")), "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.contains("key openai/a: Key does not look like an openai key")), "{warnings:?}");
        assert!(!warnings.concat().contains("PLANTED"));
    }

    #[test]
    fn too_large_a_file_and_a_directory_are_refused() {
        let (directory, path) = directory();
        write(&path, &"#".repeat(file::SIZE_MAX + 10), 0o600);
        assert!(load(Some(&path), &Environment::default()).unwrap_err().to_string().contains("larger than 256 KiB"));
        assert!(load(Some(directory.path()), &Environment::default()).unwrap_err().to_string().starts_with("can't read"));
    }

    #[test]
    fn no_debug_output_holds_a_secret() {
        let settings = parse("providers: {openai: {api_keys: [{name: a, key: sk-PLANTED}]}}", Path::new("f"), &Environment::default());
        assert!(!format!("{settings:?}").contains("PLANTED"));
    }
}
