//! `gollmctl select`: a lease, for scripts.

use std::io::{self, Write};

use clap::Args;

use crate::ctl::console::{Console, Form};
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone};
use crate::ctl::wanted::{Fallback, Patience, Wanted};
use crate::id::{ModelName, ProviderName};
use crate::protocol::reply::{Lease, Reply};
use crate::protocol::request::{self, Op};

const SELECT_HELP: &str = "\
The answer is a line `name=value` for each field of the lease, quoted for the
shell: lease, provider, key_name, secret, base_url, strategy, fallback_from,
model, last_used, expires. What is null is empty. On a terminal the secret is
left out without --reveal. Report every lease: one that is not reported runs out
after `lease_ttl` and is charged its estimate.

Examples:
  eval \"$(gollmctl select openai)\"
  curl -fH \"Authorization: Bearer $secret\" \"$base_url/models\" &&
    gollmctl report \"$lease\" --outcome ok
  gollmctl select openai --json | jq -r .base_url";

/// Lease a key
#[derive(Args)]
#[command(after_help = SELECT_HELP)]
pub(crate) struct Select {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    patience: Patience,
    /// Take no other provider's key when this one has none
    #[arg(long)]
    no_fallback: bool,
    /// Write the secret and nothing else; the lease can then only run out
    #[arg(long, conflicts_with = "json")]
    secret_only: bool,
    /// Show the secret even on a terminal
    #[arg(long)]
    reveal: bool,
}

/// Is a secret written out?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    Hidden,
    Shown,
}

impl Select {
    pub(crate) fn into_request(self) -> request::Select {
        self.patience.of(self.wanted.into_request(Fallback::unless(self.no_fallback)))
    }

    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let sight = if console.terminal && !self.reveal { Sight::Hidden } else { Sight::Shown };
        // Refused before a lease is taken: one that nobody can use would cost a place.
        if sight == Sight::Hidden && (self.secret_only || console.form == Form::Json) {
            return Err(Failure::Usage("a secret is not written to a terminal: add --reveal, or read it through a pipe".to_owned()));
        }
        let secret_only = self.secret_only;
        let Reply::Lease(lease) = console.ask(Op::Select(self.into_request()))? else {
            return Err(Failure::unexpected("select"));
        };
        if secret_only {
            return writeln!(console.out, "{}", lease.secret.expose()).map_err(Failure::Output);
        }
        console.show(&lease, |lease, style, out| render_lease(lease, sight, style, out))
    }
}

fn render_lease(lease: &Lease, sight: Sight, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name}={}", quoted(value));
    line("lease", lease.lease.as_str())?;
    line("provider", lease.provider.as_str())?;
    line("key_name", lease.key_name.as_str())?;
    if sight == Sight::Shown {
        line("secret", lease.secret.expose())?;
    }
    line("base_url", &lease.base_url)?;
    line("strategy", lease.strategy.name())?;
    line("fallback_from", lease.fallback_from.as_ref().map_or("", ProviderName::as_str))?;
    line("model", lease.model.as_ref().map_or("", ModelName::as_str))?;
    line("last_used", &lease.last_used.map(|used| used.to_string()).unwrap_or_default())?;
    line("expires", &lease.expires.to_string())?;
    if sight == Sight::Hidden {
        let note = format!("# the secret, …{}, is hidden on a terminal: add --reveal, or read it through a pipe", lease.secret.last_four());
        writeln!(out, "{}", style.paint(Tone::Faint, note))?;
    }
    Ok(())
}

/// `text` as a shell reads it back unchanged (POSIX.1-2017, XCU 2.2.2).
fn quoted(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '+' | '@' | '%' | ',' | '=');
    if text.chars().all(bare) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::strategy::Strategy;
    use crate::secret::Secret;

    fn lease() -> Lease {
        Lease {
            lease: "gl_abc".parse().unwrap(),
            provider: "openai".parse().unwrap(),
            key_name: "primary".parse().unwrap(),
            secret: Secret::new("sk-it's$0123456789abcdefWXYZ".to_owned()).unwrap(),
            base_url: "https://api.openai.com/v1".to_owned(),
            strategy: Strategy::RoundRobin,
            fallback_from: None,
            model: None,
            last_used: None,
            expires: "2026-01-01T00:10:00Z".parse().unwrap(),
        }
    }

    fn rendered(sight: Sight) -> String {
        let mut out = Vec::new();
        render_lease(&lease(), sight, Style::Plain, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_lease_can_be_read_by_a_shell() {
        let expected = r"lease=gl_abc
provider=openai
key_name=primary
secret='sk-it'\''s$0123456789abcdefWXYZ'
base_url=https://api.openai.com/v1
strategy=round_robin
fallback_from=
model=
last_used=
expires=2026-01-01T00:10:00Z
";
        assert_eq!(rendered(Sight::Shown), expected);
    }

    #[test]
    fn on_a_terminal_the_secret_stays_hidden() {
        let text = rendered(Sight::Hidden);
        assert!(!text.contains("secret=") && !text.contains("0123"), "{text}");
        assert!(text.ends_with("# the secret, …WXYZ, is hidden on a terminal: add --reveal, or read it through a pipe\n"), "{text}");
    }
}
