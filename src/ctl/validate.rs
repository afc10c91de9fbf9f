//! `gollmctl validate`: are keys well-formed, and do their providers take them?

use std::io::{self, IsTerminal as _, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::ctl::args::key_id;
use crate::ctl::console::{Console, Form};
use crate::ctl::daemon::Link;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, clean};
use crate::id::{KeyId, KeyName, ProviderName};
use crate::money::Usd;
use crate::protocol::reply::{KeyVerdict, Reply, Validation};
use crate::protocol::request::{self, Op};

/// Keys that are asked about at once.
const AT_ONCE: usize = 4;

const HELP: &str = "\
A live check uses an endpoint of the provider that costs nothing. The exit status
is 1 if any key is invalid or out of quota; a key of which nothing can be said,
as without a network, is no failure.

Some failures show only in real use: no credit, a model that the key may not use, a
provider without a free endpoint. --spend asks each key that the live check does not
refuse for the smallest completion: of the cheapest model that the configuration
names, else of a cheap one that gollm knows. It says what that cost, and books it as
the key's use; a key that is disabled or has its cost limit spent is not asked.";

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
    /// Also ask for the smallest completion, which costs money
    #[arg(long, conflicts_with = "format_only")]
    spend: bool,
}

/// How far to go.
#[derive(Clone, Copy)]
struct Depth {
    format_only: bool,
    spend: bool,
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
        let depth = Depth { format_only: self.format_only, spend: self.spend };
        let link = console.connect()?;
        let validations = match self.target {
            Some(Target { provider, key: Some(key) }) => vec![ask(&link, &KeyId { provider, key }, depth)?],
            target => {
                let keys = keys_of(&link, target.map(|target| target.provider))?;
                let links = (0..AT_ONCE.min(keys.len())).map(|_| console.connect()).collect::<Result<Vec<_>, _>>()?;
                let shows = console.form == Form::Text && !self.format_only && io::stderr().is_terminal();
                ask_all(&links, &keys, depth, Progress { out: io::stderr(), shows })?
            }
        };
        console.show(validations.as_slice(), render)?;
        if validations.iter().any(|validation| matches!(validation.verdict, KeyVerdict::Invalid | KeyVerdict::NoQuota)) {
            return Err(Failure::Negative);
        }
        Ok(())
    }
}

fn keys_of(link: &Link, provider: Option<ProviderName>) -> Result<Vec<KeyId>, Failure> {
    let Reply::Keys(rows) = link.call(Op::Keys(request::Keys { provider }))? else {
        return Err(Failure::unexpected("keys"));
    };
    Ok(rows.into_iter().map(|row| KeyId { provider: row.provider, key: row.key_name }).collect())
}

fn ask(link: &Link, id: &KeyId, depth: Depth) -> Result<Validation, Failure> {
    let request = request::Validate {
        provider: Some(id.provider.clone()),
        key_name: Some(id.key.clone()),
        format_only: depth.format_only.then_some(true),
        spend: depth.spend.then_some(true),
    };
    match link.call(Op::Validate(request))? {
        Reply::Validations(mut validations) if validations.len() == 1 => validations.pop().ok_or_else(|| Failure::unexpected("validate")),
        _ => Err(Failure::unexpected("validate")),
    }
}

/// Asks about each key, on each link one at a time; the answers stand in the order of the keys.
fn ask_all<W: Write>(links: &[Link], keys: &[KeyId], depth: Depth, mut progress: Progress<W>) -> Result<Vec<Validation>, Failure> {
    let next = AtomicUsize::new(0);
    let mut answers = std::thread::scope(|scope| {
        let (sender, answers) = mpsc::channel();
        for link in links {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                while let Some((number, id)) = take(keys, next) {
                    if sender.send(ask(link, id, depth).map(|answer| (number, answer))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut done = Vec::with_capacity(keys.len());
        progress.show(0, keys.len());
        for answer in answers {
            done.push(answer.inspect_err(|_| next.store(keys.len(), Ordering::Relaxed))?);
            progress.show(done.len(), keys.len());
        }
        Ok(done)
    });
    progress.clear();
    if let Ok(answers) = &mut answers {
        answers.sort_by_key(|(number, _)| *number);
    }
    answers.map(|answers| answers.into_iter().map(|(_, answer)| answer).collect())
}

/// The next key that nobody has taken.
fn take<'a>(keys: &'a [KeyId], next: &AtomicUsize) -> Option<(usize, &'a KeyId)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    keys.get(number).map(|id| (number, id))
}

/// How far a long validation is, on a line that it takes back.
struct Progress<W> {
    out: W,
    shows: bool,
}

impl<W: Write> Progress<W> {
    // What can't be shown is no reason to stop.
    fn show(&mut self, done: usize, of: usize) {
        if self.shows {
            drop(write!(self.out, "\r{done} of {of} keys validated …").and_then(|()| self.out.flush()));
        }
    }

    fn clear(&mut self) {
        if self.shows {
            drop(write!(self.out, "\r\x1b[K").and_then(|()| self.out.flush()));
        }
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
    let costs: Vec<Usd> = validations.iter().filter_map(|validation| validation.cost_usd).collect();
    if !costs.is_empty() {
        let sum = costs.iter().fold(Usd::ZERO, |sum, cost| sum.saturating_add(*cost));
        let what = if costs.len() == 1 { "completion" } else { "completions" };
        writeln!(out, "{} {what}, {sum} in all", costs.len())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validation(provider: &str, key: &str, verdict: KeyVerdict, message: &str) -> Validation {
        let valid = matches!(verdict, KeyVerdict::Valid | KeyVerdict::ValidRestricted);
        Validation {
            provider: provider.parse().unwrap(),
            key_name: key.parse().unwrap(),
            valid,
            verdict,
            message: message.to_owned(),
            cost_usd: None,
        }
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
    fn progress_stays_on_its_line_and_is_taken_back() {
        let shown = |shows| {
            let mut progress = Progress { out: Vec::new(), shows };
            progress.show(0, 2);
            progress.show(1, 2);
            progress.clear();
            String::from_utf8(progress.out).unwrap()
        };
        assert_eq!(shown(true), "\r0 of 2 keys validated …\r1 of 2 keys validated …\r\x1b[K");
        assert_eq!(shown(false), "");
    }

    #[test]
    fn a_target_is_a_provider_or_one_of_its_keys() {
        assert_eq!(target("openai").unwrap().key, None);
        assert_eq!(target("openai/primary").unwrap().key.unwrap().as_str(), "primary");
        assert!(target("OpenAI").is_err());
        assert!(target("openai/").is_err());
    }
}
