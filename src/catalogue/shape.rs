//! Does a key look like one of its provider's?

use super::{Characters, Provider, Shape, find};
use crate::secret::Secret;

/// What the shape of a key says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fit {
    /// It has a documented shape.
    Fits,
    /// It has none of the documented shapes: worth a warning, no more.
    Unusual,
    /// It begins as only the keys of this other provider do.
    Foreign(&'static str),
    /// No shape is documented for the provider.
    Undocumented,
}

/// Beginnings that belong to one provider alone.
const MARKS: [(&str, &str); 14] = [
    ("sk-ant-", "anthropic"),
    ("sk-or-", "openrouter"),
    ("sk-proj-", "openai"),
    ("sk-svcacct-", "openai"),
    ("sk-admin-", "openai"),
    ("AIza", "gemini"),
    ("gsk_", "groq"),
    ("xai-", "xai"),
    ("pplx-", "perplexity"),
    ("nvapi-", "nvidia_nim"),
    ("csk-", "cerebras"),
    ("hf_", "huggingface"),
    ("fw_", "fireworks"),
    ("fpk_", "fireworks"),
];

/// Compares a key for the API of the provider `kind` at `base_url` with the documented shapes.
pub fn check(kind: &str, base_url: &str, secret: &Secret) -> Fit {
    let text = secret.expose();
    let Some(provider) = find(kind) else {
        return Fit::Undocumented;
    };
    if provider.shapes.iter().any(|shape| shape.fits(text)) {
        return Fit::Fits;
    }
    // A host of one's own with the provider's API may ask for keys of its own, which are still no other provider's.
    let is_elsewhere = provider.base_url.is_some_and(|own| own != base_url);
    let is_the_owners = |owner: &str| find(owner).and_then(|owner| owner.base_url).is_some_and(|own| host(own) == host(base_url));
    match owner(secret) {
        Some(owner) if owner != kind && provider.base_url.is_some() && !is_the_owners(owner) => Fit::Foreign(owner),
        _ if is_elsewhere || provider.shapes.is_empty() => Fit::Undocumented,
        _ => Fit::Unusual,
    }
}

fn host(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    rest.split(['/', ':']).next().unwrap_or_default()
}

/// The provider whose keys alone begin as this one does.
#[must_use]
pub fn owner(secret: &Secret) -> Option<&'static str> {
    MARKS.iter().find(|(mark, _)| secret.expose().starts_with(mark)).map(|(_, owner)| *owner)
}

/// What people read of it. The key is not in it.
#[must_use]
pub fn message(kind: &str, fit: Fit) -> String {
    match fit {
        Fit::Fits | Fit::Undocumented => "Key format is valid".to_owned(),
        Fit::Unusual => {
            let documented = find(kind).map(documented).unwrap_or_default();
            format!("Key does not look like {} {kind} key ({documented})", article(kind))
        }
        Fit::Foreign(owner) => {
            format!("Key does not look like {} {kind} key (it begins as {} {owner} key does)", article(kind), article(owner))
        }
    }
}

/// The documented shapes in words: of several their beginnings, which tell most.
fn documented(provider: &Provider) -> String {
    let beginnings: Vec<String> =
        provider.shapes.iter().filter(|shape| !shape.prefix.is_empty()).map(|shape| format!("`{}`", shape.prefix)).collect();
    match (provider.shapes, beginnings.as_slice()) {
        ([only], _) => only.words(),
        (_, [others @ .., last]) if !others.is_empty() => {
            format!("documented: it begins with {} or {last}; `gollmctl providers {}` has the whole shapes", others.join(", "), provider.name)
        }
        (shapes, _) => shapes.iter().map(Shape::words).collect::<Vec<_>>().join("; or "),
    }
}

fn article(name: &str) -> &'static str {
    if name.starts_with(['a', 'e', 'i', 'o', 'u', 'x']) { "an" } else { "a" }
}

impl Shape {
    fn fits(&self, text: &str) -> bool {
        let Some(body) = text.strip_prefix(self.prefix) else {
            return false;
        };
        self.length.contains(&body.len())
            && body.bytes().all(|b| self.characters.contain(b))
            && self.marker.is_none_or(|marker| body.contains(marker))
    }

    fn words(&self) -> String {
        let (least, most) = (self.length.start(), self.length.end());
        let count = match (least, most) {
            (least, most) if least == most => format!("{least}"),
            (least, &usize::MAX) => format!("{least} or more"),
            (least, most) => format!("{least} to {most}"),
        };
        let marker = self.marker.map(|marker| format!(" with `{marker}` among them")).unwrap_or_default();
        let characters = self.characters.words();
        if self.prefix.is_empty() {
            format!("documented: {count} characters of {characters}{marker}")
        } else {
            format!("documented: `{}` and {count} characters of {characters}{marker}", self.prefix)
        }
    }
}

impl Characters {
    const fn contain(self, byte: u8) -> bool {
        match self {
            Characters::Hex => byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'),
            Characters::Lower => byte.is_ascii_digit() || byte.is_ascii_lowercase(),
            Characters::Alphanumeric => byte.is_ascii_alphanumeric(),
            Characters::Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Characters::WordDash => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Characters::WordDashDot => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Characters::Hex => "0-9a-f",
            Characters::Lower => "0-9a-z",
            Characters::Alphanumeric => "0-9A-Za-z",
            Characters::Word => "0-9A-Za-z_",
            Characters::WordDash => "0-9A-Za-z_-",
            Characters::WordDashDot => "0-9A-Za-z_.-",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(kind: &str, text: &str) -> Fit {
        check(kind, find(kind).and_then(|provider| provider.base_url).unwrap_or_default(), &Secret::new(text.to_owned()).unwrap())
    }

    #[test]
    fn a_key_of_the_documented_shape_fits() {
        assert_eq!(fit("openai", &format!("sk-proj-{}T3BlbkFJ{}", "a".repeat(74), "B".repeat(74))), Fit::Fits);
        assert_eq!(fit("openai", &format!("sk-{}T3BlbkFJ{}", "a".repeat(20), "B".repeat(20))), Fit::Fits);
        assert_eq!(fit("anthropic", &format!("sk-ant-api03-{}AA", "a-_".repeat(31))), Fit::Fits);
        assert_eq!(fit("gemini", &format!("AIza{}", "x".repeat(35))), Fit::Fits);
        assert_eq!(fit("gemini", &format!("AQ.{}", "x.-_1".repeat(8))), Fit::Fits);
        assert_eq!(fit("groq", &format!("gsk_{}", "a1".repeat(26))), Fit::Fits);
        assert_eq!(fit("azure_openai", &"0f".repeat(16)), Fit::Fits);
    }

    #[test]
    fn an_example_key_is_unusual_and_never_refused() {
        assert_eq!(fit("openai", "sk-proj-example1..."), Fit::Unusual);
        assert_eq!(fit("openai", "sk-proj-example1"), Fit::Unusual);
        assert_eq!(fit("anthropic", "sk-ant-example1..."), Fit::Unusual);
        assert_eq!(fit("groq", "gsk_short"), Fit::Unusual);
    }

    #[test]
    fn a_key_with_another_providers_beginning_is_foreign() {
        assert_eq!(fit("openai", "sk-ant-api03-abc"), Fit::Foreign("anthropic"));
        assert_eq!(fit("xai", "gsk_abcdefgh"), Fit::Foreign("groq"));
        assert_eq!(fit("mistral", "sk-or-v1-00"), Fit::Foreign("openrouter"));
    }

    #[test]
    fn a_host_of_ones_own_may_ask_for_any_key() {
        assert_eq!(fit("openai_compatible", "sk-ant-api03-abc"), Fit::Undocumented);
        assert_eq!(fit("mistral", "anything"), Fit::Undocumented);
        assert_eq!(fit("no-such-provider", "anything"), Fit::Undocumented);
        let elsewhere = |text: &str| check("openai", "http://127.0.0.1:4000/v1", &Secret::new(text.to_owned()).unwrap());
        assert_eq!(elsewhere("sk-1234"), Fit::Undocumented);
        assert_eq!(elsewhere("sk-or-v1-00"), Fit::Foreign("openrouter"));
        // A provider that speaks another one's API takes its own keys.
        let secret = Secret::new("sk-or-v1-00".to_owned()).unwrap();
        assert_eq!(check("openai", "https://openrouter.ai/api/v1", &secret), Fit::Undocumented);
    }

    #[test]
    fn the_message_says_whose_key_it_looks_like_and_never_the_key() {
        assert_eq!(message("openai", Fit::Fits), "Key format is valid");
        assert_eq!(message("mistral", Fit::Undocumented), "Key format is valid");
        assert_eq!(message("openai", Fit::Foreign("anthropic")), "Key does not look like an openai key (it begins as an anthropic key does)");
        assert!(message("groq", Fit::Unusual).starts_with("Key does not look like a groq key (documented: `gsk_` and 52 characters"));
    }
}
