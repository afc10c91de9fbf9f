//! Recovery codes: master secrets to be written on paper. 160 random bits in an alphabet without look-alikes.

use zeroize::Zeroizing;

use super::VaultError;
use super::cipher;

/// Crockford's base32: no I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A new code: eight groups of four characters.
pub(super) fn fresh() -> Result<Zeroizing<String>, VaultError> {
    let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(cipher::random()?);
    let mut code = Zeroizing::new(String::with_capacity(40));
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 && at % 4 == 0 {
            code.push('-');
        }
        code.extend(ALPHABET.get(usize::from(byte % 32)).map(|letter| char::from(*letter)));
    }
    Ok(code)
}

/// The same code however it was typed: any case, any grouping, O for 0, I and L for 1.
pub(super) fn normal(typed: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut code = Zeroizing::new(Vec::with_capacity(typed.len()));
    code.extend(typed.iter().filter(|byte| !matches!(byte, b'-' | b' ')).map(|byte| match byte.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    }));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        let code = fresh().unwrap();
        assert_eq!((code.len(), code.matches('-').count()), (39, 7));
        let typed = code.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
        assert_eq!(normal(code.as_bytes()), normal(typed.as_bytes()));
        assert_ne!(normal(code.as_bytes()), normal(fresh().unwrap().as_bytes()));
    }
}
