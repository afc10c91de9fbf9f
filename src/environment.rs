//! The variables that the process was started with: read once, passed as an argument from there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// A snapshot of environment variables. It may hold secrets: it has no `Debug`, and its values are wiped when dropped.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, Zeroizing<String>>,
}

impl Environment {
    /// The variables of this process; those that are not UTF-8 are left out.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the file that reads the environment")]
    pub fn of_process() -> Self {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
    }

    /// The value of a variable that is set and not empty.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(&*stored(name)).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The value of a variable as a path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    /// The same variables but one.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(&*stored(name));
        self
    }

    /// The same variables and one, which replaces another of that name.
    #[must_use]
    pub fn with(mut self, name: &str, value: Zeroizing<String>) -> Self {
        self.variables.insert(stored(name).into_owned(), value);
        self
    }

    /// All variables that are set and not empty, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).filter(|(_, value)| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variable = |(name, value): (N, V)| (stored(&name.into()).into_owned(), Zeroizing::new(value.into()));
        Self { variables: variables.into_iter().map(variable).collect() }
    }
}

/// The name that a variable is kept by: on Windows, capitals and small letters are the same.
fn stored(name: &str) -> Cow<'_, str> {
    if cfg!(windows) { Cow::Owned(name.to_ascii_uppercase()) } else { Cow::Borrowed(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_counts_as_unset() {
        let environment: Environment = [("A", ""), ("B", "b")].into_iter().collect();
        assert_eq!(environment.value("A"), None);
        assert_eq!(environment.value("B"), Some("b"));
        assert_eq!(environment.iter().count(), 1);
    }
}
