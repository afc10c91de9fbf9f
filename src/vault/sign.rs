//! Signatures of what is sent to others who know the same secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::protocol::bytes::hex;
use crate::secret::Secret;

/// HMAC-SHA256 (RFC 2104) of the parts, one after the other, in hexadecimal.
#[must_use]
pub fn signature(secret: &Secret, parts: &[&[u8]]) -> String {
    // Any length of key is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) else { return String::new() };
    parts.iter().for_each(|part| mac.update(part));
    hex(&mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn a_signature_is_hmac_sha256_in_hexadecimal() {
        let secret = Secret::new("Jefe".to_owned()).unwrap();
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature(&secret, &[b"what do ya want ", b"for nothing?"]), expected);
    }
}
