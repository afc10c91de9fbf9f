//! `gollmctl validate`: are keys well-formed, and do their providers take them?

use std::io::{self, Write};

use crate::ctl::args::key_id;
use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, clean};
use crate::id::{KeyName, ProviderName};
use crate::protocol::reply::{KeyVerdict, Reply, Validation};
use crate::protocol::request::{self, Op};

const HELP: &str = "\
A live check uses an endpoint of the provider that costs nothing. The exit status
is 1 if any key is invalid or out of quota; a key of which nothing can be said,
as without a network, is no failure.";

/// Ask the providers whether they take their keys
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Validate {
    /// Keys of this provider, or this key, only
    #[arg(value_name = "PROVIDER[/KEY]", value_parser = target)]
    target: Option<Target>,
    /// Look at the shape of the keys alone, and ask no provider
    #[arg(long)]
    format_only: bool,
}

/// A provider, or one key of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    provider: ProviderName,
    key: Option<KeyName>,
}

fn target(text: &str) -> Result<Target, String> {
    if text.contains('/') {
        return key_id(text).map(|id| Target { provider: id.provider, key: Some(id.key) });
    }
    text.parse().map(|provider| Target { provider, key: None }).map_err(|why: crate::id::InvalidName| why.to_string())
}

impl Validate {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let Reply::Validations(validations) = console.ask(Op::Validate(self.into_request()))? else {
            return Err(Failure::unexpected("validate"));
        };
        console.show(validations.as_slice(), render)?;
        if validations.iter().any(|validation| matches!(validation.verdict, KeyVerdict::Invalid | KeyVerdict::NoQuota)) {
            return Err(Failure::Negative);
        }
        Ok(())
    }

    fn into_request(self) -> request::Validate {
        let (provider, key_name) = self.target.map_or((None, None), |target| (Some(target.provider), target.key));
        request::Validate { provider, key_name, format_only: self.format_only.then_some(true) }
    }
}

fn render(validations: &[Validation], style: Style, out: &mut dyn Write) -> io::Result<()> {
    if validations.is_empty() {
        return writeln!(out, "no keys to validate");
    }
    let mut provider = None;
    for validation in validations {
        if provider != Some(&validation.provider) {
            provider = Some(&validation.provider);
            writeln!(out, "Provider: {}", style.paint(Tone::Heading, &validation.provider))?;
        }
        let (tone, words) = match validation.verdict {
            KeyVerdict::Valid => (Tone::Good, "✓ Valid"),
            KeyVerdict::ValidRestricted => (Tone::Good, "✓ Valid (restricted)"),
            KeyVerdict::NoQuota => (Tone::Bad, "✗ No quota"),
            KeyVerdict::Invalid => (Tone::Bad, "✗ Invalid"),
            KeyVerdict::Inconclusive => (Tone::Warning, "? Inconclusive"),
        };
        writeln!(out, "  {}: {} - {}", validation.key_name, style.paint(tone, words), clean(&validation.message))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validation(provider: &str, key: &str, verdict: KeyVerdict, message: &str) -> Validation {
        let valid = matches!(verdict, KeyVerdict::Valid | KeyVerdict::ValidRestricted);
        Validation { provider: provider.parse().unwrap(), key_name: key.parse().unwrap(), valid, verdict, message: message.to_owned() }
    }

    #[test]
    fn verdicts_stand_under_their_provider() {
        let validations = [
            validation("openai", "primary", KeyVerdict::Valid, "Key is valid and active"),
            validation("openai", "secondary", KeyVerdict::Invalid, "OpenAI does not know this key"),
            validation("gemini", "primary", KeyVerdict::Inconclusive, "the provider was not reached"),
            validation("gemini", "b", KeyVerdict::NoQuota, "its credit is spent"),
        ];
        let mut out = Vec::new();
        render(&validations, Style::Plain, &mut out).unwrap();
        let expected = "\
Provider: openai
  primary: ✓ Valid - Key is valid and active
  secondary: ✗ Invalid - OpenAI does not know this key
Provider: gemini
  primary: ? Inconclusive - the provider was not reached
  b: ✗ No quota - its credit is spent
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_target_is_a_provider_or_one_of_its_keys() {
        assert_eq!(target("openai").unwrap().key, None);
        assert_eq!(target("openai/primary").unwrap().key.unwrap().as_str(), "primary");
        assert!(target("OpenAI").is_err());
        assert!(target("openai/").is_err());
    }
}
