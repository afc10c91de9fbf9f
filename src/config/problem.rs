//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{self, Broken};
use super::tree::{At, Place};
use super::value::Wrong;

/// Problems that are listed one by one; finding the place of each costs one reading of the file.
const LISTED_MAX: usize = 50;

/// Why there is no configuration. It never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that was asked for is not there.
    #[error("{}: there is no such file ({asked_by})", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// What asked for it.
        asked_by: &'static str,
    },
    /// The file can't be read.
    #[error("can't read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds secrets as text, and others than its owner can read it.
    #[error("{} holds secrets and can be read by others (mode {mode:04o}): chmod 600 {}", path.display(), shell_word(path))]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// What it says is wrong.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

impl ConfigError {
    /// The problems, if the file could be read.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            ConfigError::Invalid(problems) => problems,
            _ => &[],
        }
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// A path as a shell reads it.
fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c)) && !text.starts_with('-');
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// One thing that is wrong with a configuration. It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file; none if the value is an environment variable's.
    pub file: Option<PathBuf>,
    /// Line in the file, from 1; 0: not known.
    pub line: usize,
    /// Column in the line, from 1; 0: not known.
    pub column: usize,
    /// The field (`providers.openai.rotation.strategy`), or the name of the variable; empty: the file as a whole.
    pub path: String,
    /// What was found.
    pub what: String,
    /// What is allowed, or what mends it.
    pub allowed: String,
}

impl fmt::Display for Problem {
    /// `FILE:LINE:COLUMN: path: what; allowed`, without the parts that there are not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if self.line > 0 {
                write!(f, "{}:{}:", self.line, self.column)?;
            }
            f.write_str(" ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if self.allowed.is_empty() { Ok(()) } else { write!(f, "; {}", self.allowed) }
    }
}

impl Problem {
    /// A text that is no YAML at all.
    pub(super) fn broken(why: Broken, origin: &Path) -> Self {
        let Place { line, column } = why.place.unwrap_or(Place { line: 0, column: 0 });
        Self { file: Some(origin.to_owned()), line, column, path: String::new(), what: why.what, allowed: String::new() }
    }
}

/// What a check has noted so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    problems: Vec<(At, String, Wrong)>,
    pub(super) warnings: Vec<String>,
}

impl Findings {
    /// Notes a problem.
    pub(super) fn add(&mut self, at: &At, path: String, wrong: Wrong) {
        self.problems.push((at.clone(), path, wrong));
    }

    /// Notes what is allowed, but worth a look.
    pub(super) fn warn(&mut self, path: &str, what: impl fmt::Display) {
        self.warnings.push(format!("{path}: {what}"));
    }

    /// The problems in the order of the file, those of variables last; more than are listed are counted.
    pub(super) fn problems(self, text: &str, origin: &Path) -> Vec<Problem> {
        let mut noted = self.problems;
        noted.sort_by_key(|(at, _, _)| match at {
            At::File(number) => *number,
            At::Variable(_) => u32::MAX,
        });
        let more = noted.len().saturating_sub(LISTED_MAX);
        let mut problems: Vec<Problem> = noted.into_iter().take(LISTED_MAX).map(|noted| located(noted, text, origin)).collect();
        if more > 0 {
            let what = format!("and {more} problems more");
            problems.push(Problem { file: Some(origin.to_owned()), line: 0, column: 0, path: String::new(), what, allowed: String::new() });
        }
        problems
    }
}

fn located((at, path, Wrong { what, allowed }): (At, String, Wrong), text: &str, origin: &Path) -> Problem {
    match at {
        At::Variable(name) => Problem { file: None, line: 0, column: 0, path: name.to_string(), what, allowed },
        At::File(number) => {
            let Place { line, column } = file::place(text, number).unwrap_or(Place { line: 0, column: 0 });
            Problem { file: Some(origin.to_owned()), line, column, path, what, allowed }
        }
    }
}
