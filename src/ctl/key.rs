//! `gollmctl key set|remove|enable|disable` and `reload`: acts that change something and answer that it is done.

use std::io::{self, Read};

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::ctl::args::key_id;
use crate::ctl::console::{Console, Form};
use crate::ctl::failure::Failure;
use crate::id::{AccountName, KeyId};
use crate::money::Usd;
use crate::protocol::reply::{KeyState, Reply};
use crate::protocol::request::{KeyDisable, KeyEnable, KeyRemove, KeySet, Keys, Op};
use crate::secret::{SECRET_MAX, Secret};
use crate::time::span::Span;
use crate::typed;

/// Add, remove, enable or disable a key
#[derive(Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    Set(Set),
    /// Retire a key that was added with `key set`: it is never selected again, its secret is erased, its history kept
    ///
    /// A key of the configuration file is removed by taking it out of the file and `gollmctl reload`.
    Remove(Which),
    /// Lift a disable, and whatever has set the key aside
    Enable(Which),
    Disable(Disable),
}

/// Names the key of an act.
#[derive(Args)]
struct Which {
    /// The key, as in openai/primary
    #[arg(value_name = "PROVIDER/KEY", value_parser = key_id)]
    key: KeyId,
}

const SET_HELP: &str = "\
The secret is asked for without being shown, or read from standard input when
that is no terminal. It is never an argument: every user of the machine can read
those, and the shell keeps them. Its provider is asked about it first, by a request
that costs nothing, and a secret that it refuses is not kept; one whose provider
can't be asked is. Settings are for keys that the configuration
file does not name.

Examples:
  gollmctl key set openai/primary
  gollmctl key set openai/primary --rate-limit 1000 --cost-limit 50 < secret.txt
  pass show openai | gollmctl key set openai/primary";

/// Add a key, or replace its secret
#[derive(Args)]
#[command(after_help = SET_HELP)]
struct Set {
    #[command(flatten)]
    which: Which,
    /// Leases in any 60 minutes
    #[arg(long, value_name = "N")]
    rate_limit: Option<u64>,
    /// Dollars in a UTC day
    #[arg(long, value_name = "USD")]
    cost_limit: Option<Usd>,
    /// Share in the strategies `random` and `round_robin`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    weight: Option<u32>,
    /// The account it belongs to: keys of one account share its set-asides
    #[arg(long, value_name = "NAME")]
    account: Option<AccountName>,
    /// Keep the key from being selected
    #[arg(long)]
    disabled: bool,
    /// Keep the secret without asking the provider about it first
    #[arg(long)]
    no_validate: bool,
    // Takes what must not be given, to refuse it with words that don't repeat it.
    #[arg(hide = true, value_hint = clap::ValueHint::Other)]
    misplaced: Vec<String>,
}

/// Keep a key from being selected, until it is enabled again
#[derive(Args)]
struct Disable {
    #[command(flatten)]
    which: Which,
    /// Enable it again by itself after this time, as in 30m or 2h
    #[arg(long = "for", value_name = "TIME")]
    span: Option<Span>,
}

impl Key {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self.act {
            Act::Set(set) => set.run(console),
            Act::Remove(Which { key }) => {
                let done = format!("{key} is removed");
                act(console, Op::KeyRemove(KeyRemove { provider: key.provider, key_name: key.key }), &done)
            }
            Act::Enable(Which { key }) => {
                let done = format!("{key} is enabled");
                act(console, Op::KeyEnable(KeyEnable { provider: key.provider, key_name: key.key }), &done)
            }
            Act::Disable(disable) => disable.run(console),
        }
    }
}

/// `gollmctl reload`.
pub(crate) fn reload(console: &mut Console<'_>) -> Result<(), Failure> {
    act(console, Op::Reload, "the configuration is read again")
}

impl Disable {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let key = self.which.key;
        let done =
            self.span.map_or_else(|| format!("{key} is disabled until `gollmctl key enable {key}`"), |span| format!("{key} is disabled for {span}"));
        let for_ms = self.span.map(|span| u64::try_from(span.duration().as_millis()).unwrap_or(u64::MAX));
        act(console, Op::KeyDisable(KeyDisable { provider: key.provider, key_name: key.key, for_ms }), &done)
    }
}

impl Set {
    fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        if !self.misplaced.is_empty() {
            return Err(Failure::Usage(
                "a secret is never given as an argument, where others can read it: leave it out and it is asked for, or pipe it in".to_owned(),
            ));
        }
        let secret = read_secret(&self.which.key)?;
        let key = self.which.key.clone();
        let set = Op::KeySet(self.into_request(secret));
        if console.form == Form::Json {
            return act(console, set, "");
        }
        let link = console.connect()?;
        let Reply::Done = link.call(set)? else { return Err(Failure::unexpected("key_set")) };
        let state = match link.call(Op::Keys(Keys { provider: Some(key.provider.clone()) }))? {
            Reply::Keys(rows) => rows.into_iter().find(|row| row.key_name == key.key).map(|row| row.state),
            _ => None,
        };
        let more = match state {
            Some(KeyState::Healthy) => ", and its provider takes it".to_owned(),
            Some(KeyState::Disabled) => format!(", and stays disabled until `gollmctl key enable {key}`"),
            Some(KeyState::Exhausted) => ", and its provider takes it, but its account's credit or quota is spent".to_owned(),
            _ => format!("; whether its provider takes it is not known, `gollmctl validate {key}` asks again"),
        };
        writeln!(console.out, "{key} is set{more}").map_err(Failure::Output)
    }

    fn into_request(self, secret: Secret) -> KeySet {
        KeySet {
            provider: self.which.key.provider,
            key_name: self.which.key.key,
            secret,
            rate_limit: self.rate_limit,
            cost_limit: self.cost_limit,
            enabled: self.disabled.then_some(false),
            weight: self.weight,
            account: self.account,
            validate: Some(!self.no_validate),
        }
    }
}

/// Asks for what is only to be done, and says `done` to a person.
fn act(console: &mut Console<'_>, op: Op, done: &str) -> Result<(), Failure> {
    let name = op.name();
    match console.ask(op)? {
        reply @ Reply::Done if console.form == Form::Json => console.write_json(&reply),
        Reply::Done => writeln!(console.out, "{done}").map_err(Failure::Output),
        _ => Err(Failure::unexpected(name)),
    }
}

fn read_secret(key: &KeyId) -> Result<Secret, Failure> {
    let mistake = |why: &dyn std::fmt::Display| Failure::Input { what: format!("the secret of {key} was not taken"), why: why.to_string() };
    let text = if typed::is_asked() {
        std::mem::take(&mut *typed::line(&format!("Secret of {key}"), SECRET_MAX).map_err(|error| mistake(&error))?)
    } else {
        read_piped(&mut io::stdin().lock()).map_err(|error| mistake(&error))?
    };
    Secret::new(text).map_err(|why| mistake(&why))
}

/// All of `input`, up to a bound that no secret reaches. The buffer never grows: growing would leave copies behind.
fn read_piped(input: &mut dyn Read) -> io::Result<String> {
    let bound = SECRET_MAX + 1024;
    let mut text = Zeroizing::new(String::with_capacity(bound));
    input.take(u64::try_from(bound).unwrap_or(u64::MAX)).read_to_string(&mut text)?;
    Ok(std::mem::take(&mut *text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::args::{Arguments, Command};
    use clap::Parser as _;

    fn parsed(line: &str) -> Act {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{error}"));
        match arguments.command {
            Command::Key(key) => key.act,
            _ => panic!("not `key`"),
        }
    }

    #[test]
    fn the_options_of_set_reach_the_request() {
        let Act::Set(set) = parsed("gollmctl key set openai/primary --rate-limit 1000 --cost-limit 12.5 --weight 3 --account org-1 --disabled")
        else {
            panic!("not `set`")
        };
        let request = set.into_request(Secret::new("sk-piped\n".to_owned()).unwrap());
        assert_eq!((request.provider.as_str(), request.key_name.as_str(), request.secret.expose()), ("openai", "primary", "sk-piped"));
        assert_eq!((request.rate_limit, request.weight, request.enabled), (Some(1000), Some(3), Some(false)));
        assert_eq!((request.cost_limit, request.account.unwrap().as_str()), (Some(Usd::from_nanos(12_500_000_000)), "org-1"));
    }

    #[test]
    fn without_options_a_replaced_secret_changes_no_setting() {
        let Act::Set(set) = parsed("gollmctl key set openai/primary") else { panic!("not `set`") };
        let request = set.into_request(Secret::new("sk-piped".to_owned()).unwrap());
        assert_eq!((request.rate_limit, request.cost_limit, request.enabled, request.weight, request.account), (None, None, None, None, None));
    }

    #[test]
    fn a_secret_as_an_argument_is_taken_only_to_be_refused() {
        let Act::Set(set) = parsed("gollmctl key set openai/primary sk-planted") else { panic!("not `set`") };
        assert_eq!(set.misplaced, ["sk-planted"]);
    }

    #[test]
    fn a_piped_secret_is_read_to_a_bound() {
        assert_eq!(read_piped(&mut "sk-a\n".as_bytes()).unwrap(), "sk-a\n");
        let endless = read_piped(&mut io::repeat(b'a')).unwrap();
        assert_eq!(Secret::new(endless).err(), Some(crate::secret::InvalidSecret::TooLong));
    }

    #[test]
    fn a_disable_may_end_by_itself() {
        let Act::Disable(disable) = parsed("gollmctl key disable openai/primary --for 2h") else { panic!("not `disable`") };
        assert_eq!(disable.span.map(|span| span.duration().as_secs()), Some(7200));
        assert!(Arguments::try_parse_from(["gollmctl", "key", "enable", "openai/primary", "--for", "2h"]).is_err());
    }
}
