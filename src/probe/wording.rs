//! What people read of a live check.

use super::redact::redact;
use crate::catalogue::Provider;
use crate::catalogue::answer::Answer;
use crate::catalogue::shape;
use crate::protocol::reply::KeyVerdict;
use crate::secret::Secret;

/// Of a key that is taken.
pub(super) const VALID: &str = "Key is valid and active";

/// What people read of a verdict.
pub(super) fn message(kind: &Provider, verdict: KeyVerdict, answer: &Answer, secret: &Secret) -> String {
    let said = said(answer, secret);
    match verdict {
        KeyVerdict::Valid => VALID.to_owned(),
        KeyVerdict::ValidRestricted => format!("Key is valid, but restricted: {said}"),
        KeyVerdict::NoQuota => format!("Key is valid, but its account has no credit or quota left: {said}"),
        KeyVerdict::Invalid => match shape::owner(secret).filter(|owner| *owner != kind.name) {
            Some(owner) => format!("{} does not accept the key, which begins as {owner} keys do: {said}", kind.name),
            None => format!("{} does not accept the key: {said}", kind.name),
        },
        KeyVerdict::Inconclusive if (300..400).contains(&answer.status()) => {
            format!("Key could not be checked: {} answered {said}, a redirect, which is not followed: look at its base_url", kind.name)
        }
        KeyVerdict::Inconclusive if answer.is_page() => {
            format!("Key could not be checked: a web page came instead of an answer of {} ({said})", kind.name)
        }
        KeyVerdict::Inconclusive => format!("Key could not be checked: {} answered {said}", kind.name),
    }
}

/// The status, and what the provider says beside it.
fn said(answer: &Answer, secret: &Secret) -> String {
    match answer.message() {
        Some(text) => format!("HTTP {}, \"{}\"", answer.status(), redact(text, secret)),
        None => format!("HTTP {}", answer.status()),
    }
}
