//! Takes keys out of text that came from outside.

use crate::secret::Secret;

/// Stands where a key was.
const GONE: &str = "[redacted]";

/// Characters of a text that are shown.
const SHOWN_MAX: usize = 200;

/// Beginnings of keys.
const BEGINNINGS: [&str; 14] = ["sk-", "sk_", "AIza", "AQ.", "gsk_", "gsk-", "xai-", "pplx-", "nvapi-", "csk-", "hf_", "api_org_", "fw_", "fpk_"];

/// A text for people without the key `secret`, without pieces of it, and without what looks like any other key; on one line,
/// and cut to 200 characters, after that.
#[must_use]
pub fn redact(text: &str, secret: &Secret) -> String {
    let text = text.replace(secret.expose(), GONE);
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_a_key(c)).unwrap_or(rest.len());
        let (run, tail) = rest.split_at(end);
        shown.push_str(if looks_like_a_key(run, secret) { GONE } else { run });
        let mut others = tail.chars();
        if let Some(other) = others.next() {
            shown.push(if other.is_control() { ' ' } else { other });
        }
        rest = others.as_str();
    }
    let short: String = shown.trim().chars().take(SHOWN_MAX).collect();
    if short.len() < shown.trim().len() { format!("{short}…") } else { short }
}

/// Stars stand where a provider hides the middle of a key.
fn is_of_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*' | '.')
}

fn looks_like_a_key(run: &str, secret: &Secret) -> bool {
    let run = run.trim_end_matches('.');
    let begins = BEGINNINGS.iter().any(|beginning| run.len() > beginning.len() + 3 && run.starts_with(beginning));
    let is_long = run.len() >= 20 && run.bytes().any(|b| b.is_ascii_digit()) || run.len() >= 40;
    begins || is_long || run.contains("**") || has_a_piece(run, secret.expose())
}

/// Eight characters of the key in a row are a piece of it.
fn has_a_piece(run: &str, key: &str) -> bool {
    const PIECE: usize = 8;
    run.as_bytes().windows(PIECE).any(|piece| key.as_bytes().windows(PIECE).any(|other| other == piece))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-proj-qwertyuiopASDFGHJKL-zxcv";

    fn redacted(text: &str) -> String {
        redact(text, &Secret::new(KEY.to_owned()).unwrap())
    }

    #[test]
    fn a_key_leaves_a_text_whole_or_in_pieces() {
        assert_eq!(redacted(&format!("Incorrect API key provided: {KEY}. Look it up.")), "Incorrect API key provided: [redacted]. Look it up.");
        assert_eq!(redacted("key 'uiopASDFGH' is wrong"), "key '[redacted]' is wrong");
        assert_eq!(redacted("Incorrect API key provided: sk-proj-********zxcv."), "Incorrect API key provided: [redacted]");
        assert_eq!(redacted("Your api key: ****zxcv is invalid"), "Your api key: [redacted] is invalid");
    }

    #[test]
    fn another_key_leaves_it_too() {
        assert_eq!(redacted("Consumer 'api_key:AIzaSyA-0123456789' has been suspended"), "Consumer 'api_key:[redacted]' has been suspended");
        assert_eq!(redacted("0123456789abcdef0123456789abcdef"), "[redacted]");
    }

    #[test]
    fn plain_words_stay_on_one_short_line() {
        assert_eq!(redacted("You exceeded your\nquota, see https://example.com/errors."), "You exceeded your quota, see https://example.com/errors.");
        assert_eq!(redacted(&"word ".repeat(100)).chars().count(), SHOWN_MAX + 1);
    }

    #[test]
    fn a_cut_never_lays_a_key_bare() {
        for before in 150..=SHOWN_MAX {
            let text = redacted(&format!("{}{KEY}", " x".repeat(before / 2)));
            assert!(!text.contains("sk-proj"), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_gives_the_key_away(before in ".{0,220}", after in ".{0,40}", key in "[!-~]{12,60}") {
            let secret = Secret::new(key.clone()).unwrap();
            let text = redact(&format!("{before}{key}{after}"), &secret);
            proptest::prop_assert!(!text.contains(&key));
            proptest::prop_assert!(text.chars().count() <= SHOWN_MAX + 1);
        }
    }
}
