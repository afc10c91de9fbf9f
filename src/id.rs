//! Names and ids: parsed once at the edge, then trusted.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest name of a provider, key or account, in bytes.
pub const NAME_MAX: usize = 64;

/// Longest name of a model, account or session, in bytes.
pub const MODEL_MAX: usize = 256;

/// Longest text of a lease id, in bytes.
pub const LEASE_ID_MAX: usize = 1024;

/// Why a text is no name or id. The text itself is not repeated: it may be a secret in the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text is longer than `max` bytes.
    #[error("it is longer than {max} bytes")]
    TooLong {
        /// The longest that is allowed, in bytes.
        max: usize,
    },
    /// A name must begin with a lower-case letter or a digit.
    #[error("a name begins with a lower-case letter or a digit")]
    FirstCharacter,
    /// The character at byte `at` is not allowed.
    #[error("the character at position {} is not allowed: {allowed}", at + 1)]
    Character {
        /// Byte offset of the character.
        at: usize,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// A lease id begins with `gl_`.
    #[error("a lease id begins with `gl_`")]
    NotALease,
    /// What is written in two parts has a slash between them.
    #[error("it has two parts with a `/` between them")]
    NoSlash,
}

fn parse_name(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty);
    }
    if text.len() > NAME_MAX {
        return Err(InvalidName::TooLong { max: NAME_MAX });
    }
    let first_fits = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !first_fits {
        return Err(InvalidName::FirstCharacter);
    }
    let misfit = text.bytes().position(|b| !(b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-')));
    match misfit {
        Some(at) => Err(InvalidName::Character { at, allowed: "use a-z, 0-9, `_`, `.` and `-`" }),
        None => Ok(()),
    }
}

fn parse_visible(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(InvalidName::Empty);
    }
    if text.len() > MODEL_MAX {
        return Err(InvalidName::TooLong { max: MODEL_MAX });
    }
    match text.bytes().position(|b| !b.is_ascii_graphic()) {
        Some(at) => Err(InvalidName::Character { at, allowed: "use visible ASCII characters without spaces" }),
        None => Ok(()),
    }
}

fn parse_lease(text: &str) -> Result<(), InvalidName> {
    let Some(body) = text.strip_prefix("gl_") else {
        return Err(InvalidName::NotALease);
    };
    if text.len() > LEASE_ID_MAX {
        return Err(InvalidName::TooLong { max: LEASE_ID_MAX });
    }
    match body.bytes().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))) {
        Some(at) => Err(InvalidName::Character { at: at + 3, allowed: "use A-Z, a-z, 0-9, `_` and `-`" }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $parse:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                $parse(text)?;
                Ok(Self(Arc::from(text)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(stringify!($name))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|why: InvalidName| E::custom(format_args!("not a {}: {why}", stringify!($name))))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

name! {
    /// The name of an LLM service: `[a-z0-9][a-z0-9_.-]{0,63}`.
    ProviderName, parse_name
}
name! {
    /// The name of one API key, unique in its provider: `[a-z0-9][a-z0-9_.-]{0,63}`.
    KeyName, parse_name
}
name! {
    /// An account at a provider, which several keys may share: 1 to 256 visible ASCII characters.
    AccountName, parse_visible
}
name! {
    /// The name of a model as its provider writes it: 1 to 256 visible ASCII characters.
    ModelName, parse_visible
}
name! {
    /// A conversation, as its program names it: 1 to 256 visible ASCII characters.
    SessionName, parse_visible
}
name! {
    /// The name of a systemd unit: 1 to 256 visible ASCII characters.
    UnitName, parse_visible
}
name! {
    /// The token of a lease: `gl_` and base64url text; only its daemon can read what it seals.
    LeaseId, parse_lease
}

impl LeaseId {
    /// The id of a lease whose token this store has sealed.
    #[cfg(feature = "daemon")]
    pub(crate) fn of_token(token: &str) -> Self {
        debug_assert!(parse_lease(&format!("gl_{token}")).is_ok(), "a token is base64url text");
        let mut text = String::with_capacity(token.len() + 3);
        text.push_str("gl_");
        text.push_str(token);
        Self(Arc::from(text))
    }
}

/// A key: its provider and its name. Never its place in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId {
    /// The provider that issued the key.
    pub provider: ProviderName,
    /// The key's name.
    pub key: KeyName,
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.key)
    }
}

impl FromStr for KeyId {
    type Err = InvalidName;
    /// Reads `provider/key`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (provider, key) = text.split_once('/').ok_or(InvalidName::NoSlash)?;
        Ok(Self { provider: provider.parse()?, key: key.parse()? })
    }
}

/// A caller: the user id that the kernel gives for the peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(pub u32);

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Whose process makes a request: its user, and the systemd unit that it is in, by the number that the store gives units; 0
/// stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The user.
    pub uid: Uid,
    /// The number of the unit.
    pub unit: u32,
}

impl From<Uid> for Origin {
    fn from(uid: Uid) -> Self {
        Self { uid, unit: 0 }
    }
}

/// As one number, so that one without a unit is stored as a user id is.
impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::from(self.unit) << 32 | u64::from(self.uid.0))
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let packed = u64::deserialize(deserializer)?;
        let [low, high] = [packed & u64::from(u32::MAX), packed >> 32].map(|half| u32::try_from(half).unwrap_or(0));
        Ok(Self { uid: Uid(low), unit: high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_lower_case_and_bounded() {
        assert!("openai".parse::<ProviderName>().is_ok());
        assert!("0-a_b.c".parse::<KeyName>().is_ok());
        assert_eq!("".parse::<KeyName>(), Err(InvalidName::Empty));
        assert_eq!("Primary".parse::<KeyName>(), Err(InvalidName::FirstCharacter));
        assert_eq!("_a".parse::<KeyName>(), Err(InvalidName::FirstCharacter));
        assert!(matches!("a/b".parse::<KeyName>(), Err(InvalidName::Character { at: 1, .. })));
        assert!("a".repeat(64).parse::<KeyName>().is_ok());
        assert_eq!("a".repeat(65).parse::<KeyName>(), Err(InvalidName::TooLong { max: 64 }));
    }

    #[test]
    fn a_lease_id_has_its_prefix() {
        assert!("gl_Ab-9_".parse::<LeaseId>().is_ok());
        assert_eq!("sk-abc".parse::<LeaseId>(), Err(InvalidName::NotALease));
        assert!("gl_a b".parse::<LeaseId>().is_err());
    }

    #[test]
    fn an_origin_without_a_unit_is_stored_as_its_user_id() {
        let standard = bincode::config::standard();
        for uid in [0, 250, 1000, 70_000, u32::MAX] {
            let bytes = bincode::serde::encode_to_vec(Uid(uid), standard).unwrap();
            let (read, _): (Origin, usize) = bincode::serde::decode_from_slice(&bytes, standard).unwrap();
            assert_eq!(read, Origin::from(Uid(uid)));
            let whole = Origin { uid: Uid(uid), unit: 7 };
            let bytes = bincode::serde::encode_to_vec(whole, standard).unwrap();
            assert_eq!(bincode::serde::decode_from_slice::<Origin, _>(&bytes, standard).unwrap().0, whole);
        }
    }

    #[test]
    fn a_key_id_is_provider_and_name() {
        let id: KeyId = "openai/primary".parse().unwrap();
        assert_eq!(id.to_string(), "openai/primary");
        assert!("openai".parse::<KeyId>().is_err());
        assert!("openai/a/b".parse::<KeyId>().is_err());
    }
}
