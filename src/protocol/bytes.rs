//! Bytes in messages and files: as they are in binary, in hexadecimal as text.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A piece of a file on its way through the socket.
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.serialize_str(&hex(&self.0)) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Vec::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        unhex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("write bytes in hexadecimal, two digits each"))
    }
}

/// Two lower-case digits a byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes that [`hex`] wrote, or nothing for any other text.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}

/// Exactly `N` bytes that [`hex`] wrote.
#[cfg(feature = "daemon")]
pub(crate) fn unhex_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    unhex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_spellings_are_no_value() {
        for wrong in ["0", "+1", "0g", "é"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(unhex(&hex(&bytes)).unwrap(), bytes);
        }
    }
}
