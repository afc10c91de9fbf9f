//! The text of an API key: wiped when dropped, never shown.

use serde::{Deserialize, Deserializer, Serializer};
use zeroize::Zeroizing;

/// Longest secret that is kept, in bytes.
pub const SECRET_MAX: usize = 8192;

/// The text of a key. It has no `Debug`, `Display`, `Clone` or `Serialize`; [`Secret::expose`] is the only way to read it.
///
/// ```compile_fail
/// let secret = gollm::secret::Secret::new("sk-example".to_owned()).unwrap();
/// println!("{secret:?}");
/// ```
/// ```compile_fail
/// let secret = gollm::secret::Secret::new("sk-example".to_owned()).unwrap();
/// let copy = secret.clone();
/// ```
pub struct Secret(Zeroizing<String>);

/// Why a text can't be a key's secret. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Nothing but white space.
    #[error("the secret is empty")]
    Empty,
    /// Longer than [`SECRET_MAX`].
    #[error("the secret is longer than {SECRET_MAX} bytes")]
    TooLong,
    /// A character that no HTTP header can carry.
    #[error("the secret holds a control character, a space or a character outside ASCII")]
    Character,
}

impl Secret {
    /// Takes the text of a key. White space round it, as pasting leaves it, is cut off.
    ///
    /// # Errors
    /// It is empty, too long, or holds what no HTTP header can carry.
    pub fn new(text: String) -> Result<Self, InvalidSecret> {
        let text = Zeroizing::new(text);
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(InvalidSecret::Empty);
        }
        if trimmed.len() > SECRET_MAX {
            return Err(InvalidSecret::TooLong);
        }
        if !trimmed.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidSecret::Character);
        }
        if trimmed.len() == text.len() { Ok(Self(text)) } else { Ok(Self(Zeroizing::new(trimmed.to_owned()))) }
    }

    /// The text itself. Each use of this method is a place where a secret leaves its keeping.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last four characters, where they are less than a quarter of the secret; else nothing.
    #[must_use]
    pub fn last_four(&self) -> String {
        let start = self.0.len().saturating_sub(4);
        if self.0.len() < 20 { String::new() } else { self.0.get(start..).unwrap_or_default().to_owned() }
    }
}

/// Longest password, in bytes.
pub const PASSWORD_MAX: usize = 4096;

/// A master password, or a recovery code. It has no `Debug`, and is wiped when dropped.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes it as it was typed; the line end that `echo` and editors leave is cut off. None: it is empty or too long.
    #[must_use]
    pub fn new(text: String) -> Option<Self> {
        let text = Zeroizing::new(text);
        let bare = text.trim_end_matches(['\r', '\n']);
        (!bare.is_empty() && bare.len() <= PASSWORD_MAX).then(|| Self(Zeroizing::new(bare.to_owned())))
    }

    /// As it is.
    #[must_use]
    pub fn of_text(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text itself.
    #[must_use]
    pub fn into_text(self) -> Zeroizing<String> {
        self.0
    }
}

impl serde::Serialize for Password {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).ok_or_else(|| serde::de::Error::custom("the password is empty, or longer than 4096 bytes"))
    }
}

/// For `#[serde(serialize_with)]` on the few message fields that carry a secret over the socket.
///
/// # Errors
/// Those of the serializer.
pub fn to_wire<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasted_white_space_is_cut_off() {
        assert_eq!(Secret::new(" sk-abc\n".to_owned()).ok().map(|s| s.expose().to_owned()), Some("sk-abc".to_owned()));
    }

    #[test]
    fn what_no_header_can_carry_is_refused() {
        assert_eq!(Secret::new("  ".to_owned()).err(), Some(InvalidSecret::Empty));
        assert_eq!(Secret::new("sk-a\nb".to_owned()).err(), Some(InvalidSecret::Character));
        assert_eq!(Secret::new("sk-ä".to_owned()).err(), Some(InvalidSecret::Character));
        assert_eq!(Secret::new("x".repeat(SECRET_MAX + 1)).err(), Some(InvalidSecret::TooLong));
    }

    #[test]
    fn a_short_secret_shows_no_characters() {
        assert_eq!(Secret::new("sk-short".to_owned()).ok().map(|s| s.last_four()), Some(String::new()));
        assert_eq!(Secret::new("sk-0123456789abcdefWXYZ".to_owned()).ok().map(|s| s.last_four()), Some("WXYZ".to_owned()));
    }
}
