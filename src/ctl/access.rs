//! `gollmctl access`: what a user may do, and by which rule.

use std::io::{self, Write};

use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, clean};
use crate::protocol::reply::{Access as Allowed, Reply, Role};
use crate::protocol::request::{self, Op};

const HELP: &str = "\
Shown is what a new process of that user would be let do. A process that runs already
keeps the groups that it was started with; `gollmctl whoami` shows what it is taken for.

Examples:
  gollmctl access alice
  gollmctl access www-data --unit app.service";

/// Show what a user may do, and by which rule
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Access {
    /// The user's name or number
    #[arg(value_name = "USER")]
    user: String,
    /// As if it ran in this system unit, or in the control group of this path
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
}

impl Access {
    pub(crate) fn run(self, console: &mut Console<'_>) -> Result<(), Failure> {
        match console.ask(Op::Access(request::Access { user: self.user, unit: self.unit }))? {
            Reply::Access(allowed) => console.show(&allowed, render),
            _ => Err(Failure::unexpected("access")),
        }
    }
}

fn render(allowed: &Allowed, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let (tone, role) = match allowed.role {
        Role::Admin => (Tone::Good, "admin: everything is allowed"),
        Role::Client => (Tone::Good, "client: may lease and report"),
        Role::None => (Tone::Bad, "none: nothing is allowed"),
    };
    writeln!(out, "role        {}", style.paint(tone, role))?;
    writeln!(out, "rule        {}", clean(&allowed.rule))?;
    let groups: Vec<String> = allowed.groups.iter().map(u32::to_string).collect();
    writeln!(out, "uid         {}", allowed.uid)?;
    writeln!(out, "groups      {}", groups.join(", "))?;
    if allowed.role != Role::Client {
        return Ok(());
    }
    let providers =
        allowed.providers.as_ref().map_or_else(|| "all".to_owned(), |names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    writeln!(out, "providers   {}", if providers.is_empty() { "none" } else { &providers })?;
    let limit = |limit: Option<String>, unit: &str| limit.map_or_else(|| "no limit".to_owned(), |limit| format!("{limit} {unit}"));
    writeln!(out, "rate_limit  {}", limit(allowed.rate_limit.map(|limit| limit.to_string()), "requests an hour"))?;
    writeln!(out, "cost_limit  {}", limit(allowed.cost_limit.map(|limit| limit.to_string()), "a day"))?;
    writeln!(out, "keys        {}", if allowed.reveal { "may be seen" } else { "may not be seen" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Uid;

    #[test]
    fn what_a_client_may_do_is_told_with_its_limits() {
        let allowed = Allowed {
            uid: Uid(1000),
            groups: vec![100, 27],
            role: Role::Client,
            rule: "access.clients[0], group users".to_owned(),
            providers: Some(vec!["openai".parse().unwrap()]),
            rate_limit: Some(10),
            cost_limit: None,
            reveal: true,
        };
        let text = |allowed: &Allowed| {
            let mut out = Vec::new();
            render(allowed, Style::Plain, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let expected = "\
role        client: may lease and report
rule        access.clients[0], group users
uid         1000
groups      100, 27
providers   openai
rate_limit  10 requests an hour
cost_limit  no limit
keys        may be seen
";
        assert_eq!(text(&allowed), expected);
        let nobody = Allowed { role: Role::None, rule: "no rule".to_owned(), ..allowed };
        assert!(text(&nobody).starts_with("role        none: nothing is allowed\nrule        no rule\n") && !text(&nobody).contains("providers"));
    }
}
