//! What the secrets themselves show: missing ones, the same one twice, one that looks like another provider's.

use super::Settings;
use crate::catalogue::shape::{self, Fit};
use crate::id::KeyId;
use crate::secret::Secret;

/// Adds a warning for each secret that is not as it should be. None of them keeps a configuration from loading: the other keys can
/// work. One that begins as another provider's keys do stands in `misplaced` besides.
pub(super) fn look_at_secrets(settings: &mut Settings) {
    let mut seen: Vec<(&Secret, &KeyId)> = Vec::new();
    let mut warnings = Vec::new();
    for (id, fetched) in settings.fetched.iter() {
        let secret = match fetched {
            Ok(secret) => secret,
            Err(why) => {
                warnings.push(format!("key {id}: {why}"));
                continue;
            }
        };
        let (kind, base_url) = settings.policy.provider(&id.provider).map_or(("", ""), |provider| (provider.kind, provider.base_url.as_str()));
        let fit = shape::check(kind, base_url, secret);
        if settings.key_validation && matches!(fit, Fit::Unusual | Fit::Foreign(_)) {
            warnings.push(format!("key {id}: {}", shape::message(kind, fit)));
        }
        if settings.key_validation && matches!(fit, Fit::Foreign(_)) {
            settings.misplaced.push(id.clone());
        }
        match seen.iter().find(|(other, _)| other.expose() == secret.expose()) {
            Some((_, first)) => warnings.push(format!("key {id} has the same secret as key {first}: they share its provider's limits")),
            None => seen.push((secret, id)),
        }
    }
    settings.warnings.extend(warnings);
}
