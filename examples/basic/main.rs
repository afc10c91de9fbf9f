//! Rotation, validation and usage tracking, shown against a real gollmd.
//!
//! `cargo run --release --example basic` needs no set-up: a stand-in for OpenAI's API runs in this process, and gollmd as a
//! process of its own on a throw-away directory. Everything shown is what the daemon answers; it is compared with what it
//! should be, and the exit status is 1 when anything differs.
//!
//! With `--config FILE` it runs on your own configuration and keys: checks are made live, by requests that cost nothing,
//! and the usage that is recorded goes to the throw-away directory.

mod daemon;
mod stand_in;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use gollm::config::{MasterSetting, Settings};
use gollm::environment::Environment;
use gollm::id::{KeyName, ModelName, ProviderName};
use gollm::protocol::reply::{KeyVerdict, Validation};
use gollm::protocol::request::{Keys, Split, Statistics, Validate};
use gollm::time::Timestamp;
use gollm::{Client, Select, Usage};

use crate::daemon::{Daemon, Source};

/// What is shown of the example's own configuration, with `HH:MM:SS` for the times.
const EXPECTED: &str = "\
=== OpenAI Key Rotation Example ===
Provider: openai
  Iteration 1: Key=primary, Strategy=round_robin, LastUsed=HH:MM:SS
  Iteration 2: Key=secondary, Strategy=round_robin, LastUsed=HH:MM:SS
  Iteration 3: Key=primary, Strategy=round_robin, LastUsed=HH:MM:SS

=== Key Validation Example ===
Provider: openai
  primary: ✓ Valid - Key is valid and active
  secondary: ✓ Valid - Key is valid and active

=== Usage Tracking Example ===
Provider: openai, Key: primary
  Recorded: Small completion - 1500 tokens, $0.045
  Recorded: Medium completion - 3000 tokens, $0.090
  Recorded: Tiny completion - 500 tokens, $0.015
  Total usage: 3 requests, 5000 tokens, $0.150 cost
";

/// What each request of the last section used: tokens sent and answered.
const COMPLETIONS: [(&str, u64, u64); 3] = [("Small completion", 1000, 500), ("Medium completion", 2000, 1000), ("Tiny completion", 400, 100)];

/// Live checks of many keys take their time.
const VALIDATION_TIME: Duration = Duration::from_secs(120);

const HELP: &str = "usage: cargo run --release --example basic [-- --config FILE]";

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(ended) = daemon::run_if_asked(&arguments) {
        return ended;
    }
    let config = match arguments.as_slice() {
        [] => None,
        [option, file] if option == "--config" => Some(PathBuf::from(file)),
        _ => return complain(HELP, 2),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return complain(&format!("no runtime: {why}"), 1),
    };
    match runtime.block_on(until_done(config.as_deref())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => complain(&format!("the example failed: {why}"), 1),
    }
}

fn complain(why: &str, status: u8) -> ExitCode {
    // With nobody to hear it, the exit status says it.
    drop(writeln!(io::stderr(), "{why}"));
    ExitCode::from(status)
}

async fn until_done(config: Option<&Path>) -> Result<(), Failure> {
    tokio::select! {
        done = run(config) => done,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    }
}

async fn run(config: Option<&Path>) -> Result<(), Failure> {
    let settings = config.map(|file| gollm::config::load(Some(file), &Environment::of_process())).transpose()?;
    if settings.as_ref().is_some_and(|settings| settings.master == MasterSetting::Keyring) {
        return Err("with `master: {source: keyring}` the example would leave an entry in your keyring: run it on a copy without that line".into());
    }
    let own = own_configuration(&stand_in::start().await?);
    let daemon = Daemon::start(config.map_or(Source::Own(&own), Source::File)).await?;
    let client = daemon.client().await?;
    let shown = show_all(&client, settings.as_ref()).await?;
    if config.is_none() {
        compare(&shown)?;
    }
    drop(client);
    Ok(daemon.end().await?)
}

/// The quick start's configuration, with the stand-in as OpenAI.
fn own_configuration(base_url: &str) -> String {
    let keys: String = stand_in::KEYS.iter().map(|(name, secret)| format!("      - {{name: {name}, key: {secret}, rate_limit: 1000}}\n")).collect();
    format!(
        "providers:\n  openai:\n    base_url: {base_url}\n    api_keys:\n{keys}    models:\n      \
         - {{name: gpt-4, input_cost_per_1k_tokens: 0.03, output_cost_per_1k_tokens: 0.03}}\n    rotation: {{strategy: round_robin}}\n\
         global: {{daily_cost_limit: 500.0}}\n"
    )
}

/// Writes the three sections, each as soon as it is known, and answers with all of it.
async fn show_all(client: &Client, settings: Option<&Settings>) -> Result<String, Failure> {
    let (provider, key) = first_key(client).await?;
    let model = model(&provider, settings)?;
    let mut shown = String::new();
    for section in 0..3 {
        let text = match section {
            0 => rotation(client, &provider).await?,
            1 => validation(client).await?,
            _ => tracking(client, &provider, &key, &model).await?,
        };
        let gap = if section == 0 { "" } else { "\n" };
        write!(io::stdout(), "{gap}{text}")?;
        shown.push_str(gap);
        shown.push_str(&text);
    }
    Ok(shown)
}

/// The first key that can be leased, in configured order.
async fn first_key(client: &Client) -> Result<(ProviderName, KeyName), Failure> {
    let rows = client.keys(Keys::default()).await?;
    let first = rows.into_iter().find(|row| row.state.is_healthy());
    Ok(first.map(|row| (row.provider, row.key_name)).ok_or("no configured key can be used: give one its secret and enable it")?)
}

/// The first model that is configured for a provider, so that there is a price.
fn model(provider: &ProviderName, settings: Option<&Settings>) -> Result<ModelName, Failure> {
    let configured = settings.and_then(|settings| settings.policy.provider(provider)?.models.iter().find(|model| model.enabled));
    configured.map_or_else(|| Ok("gpt-4".parse()?), |model| Ok(model.name.clone()))
}

async fn rotation(client: &Client, provider: &ProviderName) -> Result<String, Failure> {
    let title = if provider.as_str() == "openai" { "OpenAI" } else { provider.as_str() };
    let mut text = format!("=== {title} Key Rotation Example ===\nProvider: {provider}\n");
    for iteration in 1..=3 {
        let lease = client.select(Select { fallback: Some(false), ..Select::any(provider.clone()) }).await?;
        let (key, strategy) = (lease.key_name(), lease.strategy());
        let used = match lease.last_used() {
            Some(before) => before,
            None => leased_at(client, provider, key).await?,
        };
        text.push_str(&format!("  Iteration {iteration}: Key={key}, Strategy={strategy}, LastUsed={}\n", time_of_day(used)));
        // No request was made with it.
        lease.cancel().await?;
    }
    Ok(text)
}

/// When a key was leased last: a key that had never been, with the lease in hand.
async fn leased_at(client: &Client, provider: &ProviderName, key: &KeyName) -> Result<Timestamp, Failure> {
    let rows = client.keys(Keys { provider: Some(provider.clone()) }).await?;
    let row = rows.into_iter().find(|row| row.key_name == *key).ok_or("the leased key is not among the keys")?;
    Ok(row.last_used.ok_or("the leased key was never used")?)
}

/// `14:30:15`, in UTC.
fn time_of_day(moment: Timestamp) -> String {
    let text = moment.to_string();
    text.get(11..19).unwrap_or(&text).to_owned()
}

async fn validation(client: &Client) -> Result<String, Failure> {
    let mut text = "=== Key Validation Example ===\n".to_owned();
    let mut provider = None;
    for checked in client.with_timeout(VALIDATION_TIME).validate(Validate::default()).await? {
        if provider.as_ref() != Some(&checked.provider) {
            text.push_str(&format!("Provider: {}\n", checked.provider));
        }
        text.push_str(&format!("  {}: {} - {}\n", checked.key_name, verdict(&checked), checked.message));
        provider = Some(checked.provider);
    }
    Ok(text)
}

const fn verdict(checked: &Validation) -> &'static str {
    match checked.verdict {
        KeyVerdict::Valid | KeyVerdict::ValidRestricted => "✓ Valid",
        KeyVerdict::NoQuota | KeyVerdict::Invalid => "✗ Invalid",
        KeyVerdict::Inconclusive => "? Inconclusive",
    }
}

async fn tracking(client: &Client, provider: &ProviderName, key: &KeyName, model: &ModelName) -> Result<String, Failure> {
    let mut text = format!("=== Usage Tracking Example ===\nProvider: {provider}, Key: {key}\n");
    for (what, input, output) in COMPLETIONS {
        let select = Select { key_name: Some(key.clone()), model: Some(model.clone()), fallback: Some(false), ..Select::any(provider.clone()) };
        let lease = client.select(select).await?;
        // Here a program asks the provider, with `lease.secret()` at `lease.base_url()`.
        let reported = lease.ok(Usage::tokens(input, output)).await?;
        text.push_str(&format!("  Recorded: {what} - {} tokens, ${:.3}\n", input + output, reported.cost_usd.dollars()));
    }
    let asked = Statistics { provider: Some(provider.clone()), by: Some(vec![Split::Key]), ..Statistics::default() };
    let rows = client.statistics(asked).await?.rows;
    let row = rows.into_iter().find(|row| row.key_name.as_ref() == Some(key)).ok_or("the statistics have no row for the key")?;
    let tokens = row.input_tokens + row.output_tokens;
    text.push_str(&format!("  Total usage: {} requests, {tokens} tokens, ${:.3} cost\n", row.requests, row.cost_usd.dollars()));
    Ok(text)
}

/// Does what was shown differ from what should be, but for the times?
fn compare(shown: &str) -> Result<(), Failure> {
    let mut lines = shown.lines();
    for expected in EXPECTED.lines() {
        let line = lines.next().unwrap_or_default();
        if without_time(line) != expected {
            return Err(format!("it shows\n  {line:?}\nand should show\n  {expected:?}").into());
        }
    }
    lines.next().map_or(Ok(()), |more| Err(format!("it shows a line too many: {more:?}").into()))
}

/// The same line, with the letters `HH:MM:SS` for a time at its end.
fn without_time(line: &str) -> String {
    match line.split_once("LastUsed=") {
        Some((start, time)) => {
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            format!("{start}LastUsed={}", if shape == "00:00:00" { "HH:MM:SS" } else { time })
        }
        None => line.to_owned(),
    }
}
