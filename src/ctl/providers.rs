//! `gollmctl providers`: the providers that gollm knows, as its catalogue has them; needs no daemon.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use crate::catalogue::{self, Auth, Method, Probe, Provider, Shape, Target};
use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Side, Style, Table, Tone};

const HELP: &str = "\
Any of these can be a provider of the configuration by its name, or the `kind` of
one with a name and address of your own.

Examples:
  gollmctl providers
  gollmctl providers anthropic";

/// Show the providers that gollm knows; needs no daemon
#[derive(Args)]
#[command(after_help = HELP)]
pub(crate) struct Providers {
    /// This one, with all that is known of it
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
}

/// A provider as it is shown.
#[derive(Serialize)]
struct Shown {
    provider: &'static str,
    base_url: Option<&'static str>,
    variables: &'static [&'static str],
    /// How a request carries the key.
    key_goes: String,
    /// The documented shapes of keys.
    shapes: Vec<String>,
    /// The free request that checks a key.
    free_check: Option<String>,
    /// The request of `validate --spend`.
    completion: String,
    /// What the free check tells is left of the key's money.
    balance: Option<String>,
    /// How answers count tokens.
    usage: Vec<Counts>,
    /// How it says what, where the status alone does not; the first that fits counts.
    errors: Vec<String>,
    /// Headers that say what is left of its limits.
    limit_headers: Vec<&'static str>,
    account_headers: &'static [&'static str],
    limits: &'static str,
    source: &'static str,
}

/// Where answers of one form count tokens, as JSON pointers.
#[derive(Serialize)]
struct Counts {
    form: &'static str,
    input: &'static [&'static str],
    cached: &'static [&'static str],
    output: &'static [&'static str],
}

impl Providers {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        let Some(name) = self.provider else {
            let all: Vec<Shown> = catalogue::all().iter().map(Shown::of).collect();
            return console.show(all.as_slice(), render_all);
        };
        let known = catalogue::find(&name).ok_or_else(|| unknown(&name))?;
        console.show(&Shown::of(known), render_one)
    }
}

fn unknown(name: &str) -> Failure {
    let names: Vec<&str> = catalogue::all().iter().map(|known| known.name).collect();
    // What is no name may be a secret in the wrong place.
    let named = if name.len() <= 24 { format!("`{name}` is not in the catalogue") } else { "this is not in the catalogue".to_owned() };
    Failure::Usage(format!("{named}; known are {}", names.join(", ")))
}

impl Shown {
    fn of(known: &'static Provider) -> Self {
        Self {
            provider: known.name,
            base_url: known.base_url,
            variables: known.variables,
            key_goes: match known.auth {
                Auth::Bearer => "Authorization: Bearer KEY".to_owned(),
                Auth::Header(name) => format!("{name}: KEY"),
            },
            shapes: known.shapes.iter().map(shape).collect(),
            free_check: known.probe.map(free_check),
            completion: format!("POST {} of {}", known.completion.path, known.completion.model.unwrap_or("a model of yours")),
            balance: known.balance.map(|at| at.left.to_owned()),
            usage: known.usage.iter().map(|form| Counts { form: form.name, input: form.input, cached: form.cached, output: form.output }).collect(),
            errors: known.errors().collect(),
            limit_headers: known.limit_headers.iter().copied().flatten().map(|limit| limit.remaining).collect(),
            account_headers: known.account_headers,
            limits: known.limits,
            source: known.source,
        }
    }
}

fn shape(shape: &Shape) -> String {
    let (least, most) = (shape.length.start(), shape.length.end());
    let count = if least == most {
        format!("{least}")
    } else if *most == usize::MAX {
        format!("{least} or more")
    } else {
        format!("{least} to {most}")
    };
    format!("{}… and {count} characters", shape.prefix)
}

fn free_check(probe: Probe) -> String {
    let method = match probe.method {
        Method::Get => "GET",
        Method::Post => "POST",
    };
    match probe.target {
        Target::Path(place) | Target::Elsewhere(place) => format!("{method} {place}"),
    }
}

fn render_all(all: &[Shown], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&[("PROVIDER", Side::Left), ("BASE URL", Side::Left), ("VARIABLE", Side::Left), ("FREE CHECK", Side::Left)]);
    for known in all {
        table.push(vec![
            known.provider.into(),
            known.base_url.unwrap_or("(yours)").into(),
            known.variables.first().copied().unwrap_or_default().into(),
            if known.free_check.is_some() { "yes" } else { "none" }.into(),
        ]);
    }
    table.write(style, out)
}

fn render_one(known: &Shown, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", style.paint(Tone::Heading, known.provider))?;
    let mut line = |name: &str, value: &str| if value.is_empty() { Ok(()) } else { writeln!(out, "  {name:<16} {value}") };
    line("base_url", known.base_url.unwrap_or("none: the configuration says it"))?;
    line("variables", &known.variables.join(", "))?;
    line("key is sent as", &known.key_goes)?;
    line("shapes of keys", if known.shapes.is_empty() { "none documented" } else { "" })?;
    for shape in &known.shapes {
        line("shape of keys", shape)?;
    }
    line("free check", known.free_check.as_deref().unwrap_or("none: keys are judged by use"))?;
    line("spending check", &known.completion)?;
    line("balance at", known.balance.as_deref().unwrap_or_default())?;
    for counts in &known.usage {
        line("tokens", &format!("{}: {}, answered {}", counts.form, counts.input.join(" + "), counts.output.join(" + ")))?;
    }
    for error in &known.errors {
        line("error", error)?;
    }
    line("limits left in", &known.limit_headers.join(", "))?;
    line("account from", &known.account_headers.join(", "))?;
    line("limits hang on", known.limits)?;
    line("source", known.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_can_be_shown() {
        let all: Vec<Shown> = catalogue::all().iter().map(Shown::of).collect();
        let mut out = Vec::new();
        render_all(&all, Style::Plain, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), all.len() + 1);
        assert!(text.contains("anthropic"), "{text}");
        let mut out = Vec::new();
        render_one(&Shown::of(catalogue::find("anthropic").unwrap()), Style::Plain, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in ["x-api-key: KEY", "ANTHROPIC_API_KEY", "GET /v1/models", "sk-ant-api03-… and 95 characters", "https://"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn an_unknown_one_is_told_what_is_known() {
        let text = unknown("openay").to_string();
        assert!(text.contains("`openay`") && text.contains("openai, "), "{text}");
        assert!(!unknown("sk-planted-0123456789abcdefgh").to_string().contains("planted"));
    }
}
