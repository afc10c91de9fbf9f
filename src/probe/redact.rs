//! Takes keys out of text that came from outside.

use std::collections::HashSet;

use crate::secret::Secret;

/// Stands where a key was.
const GONE: &str = "[redacted]";

/// Characters of a text that are shown.
const SHOWN_MAX: usize = 200;

/// Beginnings of keys.
const BEGINNINGS: [&str; 14] = ["sk-", "sk_", "AIza", "AQ.", "gsk_", "gsk-", "xai-", "pplx-", "nvapi-", "csk-", "hf_", "api_org_", "fw_", "fpk_"];

/// Bytes of a text that are looked at, long before it is cut to what is shown.
const READ_MAX: usize = 4096;

/// As many characters of the key in a row are a piece of it.
const PIECE: usize = 8;

/// A text for people without the key `secret`, without pieces of it, and without what looks like any other key; on one line,
/// and cut to 200 characters, after that.
#[must_use]
pub fn redact(text: &str, secret: &Secret) -> String {
    let text = text.replace(secret.expose(), GONE);
    let mut rest = beginning(&text);
    let mut marks = pieces_of(secret.expose(), rest).into_iter();
    let mut shown = String::new();
    while let Some(first) = rest.chars().next() {
        let run = rest.find(|c| !is_of_a_key(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let (part, tail) = rest.split_at(run);
        // All marks of the part are taken, not only those before the first that is set.
        let is_piece = marks.by_ref().take(run).filter(|mark| *mark).count() > 0;
        if !is_piece && !looks_like_a_key(part) {
            shown.extend(part.chars().map(|c| if c.is_control() { ' ' } else { c }));
        } else if !shown.ends_with(GONE) {
            shown.push_str(GONE);
        }
        rest = tail;
    }
    let short: String = shown.trim().chars().take(SHOWN_MAX).collect();
    if short.len() < shown.trim().len() { format!("{short}…") } else { short }
}

/// The beginning of a long text, without the word at its end: that may be a piece of a key too short to be known.
fn beginning(text: &str) -> &str {
    match text.char_indices().find(|(at, _)| *at >= READ_MAX).and_then(|(at, _)| text.get(..at)) {
        Some(cut) => cut.trim_end_matches(is_of_a_key),
        None => text,
    }
}

/// For each byte of a text: does it stand in a piece of the key?
fn pieces_of(key: &str, text: &str) -> Vec<bool> {
    let pieces: HashSet<&[u8]> = key.as_bytes().windows(PIECE).collect();
    let mut marks = vec![false; text.len()];
    for (start, window) in text.as_bytes().windows(PIECE).enumerate() {
        if pieces.contains(window) {
            marks.iter_mut().skip(start).take(PIECE).for_each(|mark| *mark = true);
        }
    }
    marks
}

/// Stars stand where a provider hides the middle of a key.
fn is_of_a_key(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*' | '.')
}

fn looks_like_a_key(word: &str) -> bool {
    let word = word.trim_end_matches('.');
    let begins = BEGINNINGS.iter().any(|beginning| word.len() > beginning.len() + 3 && word.starts_with(beginning));
    let is_long = word.len() >= 20 && word.bytes().any(|b| b.is_ascii_digit()) || word.len() >= 40;
    begins || is_long || word.contains("**")
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
    fn a_key_of_uncommon_characters_leaves_in_pieces_too() {
        let secret = Secret::new("ab/cd+ef=gh/ij+kl=".to_owned()).unwrap();
        assert_eq!(redact("got 'cd+ef=gh/ij' instead", &secret), "got '[redacted]' instead");
    }

    #[test]
    fn a_long_text_is_no_long_work() {
        let key = "ab".repeat(4000);
        let text = redact(&"abababa ".repeat(8000), &Secret::new(key).unwrap());
        assert!(text.chars().count() <= SHOWN_MAX + 1);
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
