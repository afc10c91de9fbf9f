//! `gollmctl whoami`: who the daemon takes the caller for.

use std::io::{self, Write};

use crate::ctl::console::Console;
use crate::ctl::failure::Failure;
use crate::ctl::print::{Style, Tone, clean};
use crate::protocol::reply::{Reply, Role, You};
use crate::protocol::request::Op;

pub(crate) fn run(console: &mut Console<'_>) -> Result<(), Failure> {
    match console.ask(Op::Whoami)? {
        Reply::You(you) => console.show(&you, render),
        _ => Err(Failure::unexpected("whoami")),
    }
}

fn render(you: &You, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let (tone, role) = match you.role {
        Role::Admin => (Tone::Good, "admin: everything is allowed"),
        Role::Client => (Tone::Good, "client: may lease and report"),
        Role::None => (Tone::Bad, "none: nothing is allowed"),
    };
    writeln!(out, "role    {}", style.paint(tone, role))?;
    writeln!(out, "rule    {}", clean(&you.rule))?;
    writeln!(out, "uid     {}", you.uid)?;
    writeln!(out, "gid     {}", you.gid)?;
    if let Some(pid) = you.pid {
        writeln!(out, "pid     {pid}")?;
    }
    if let Some(unit) = &you.unit {
        writeln!(out, "unit    {}", clean(unit))?;
    }
    writeln!(out, "daemon  gollmd {}", clean(&you.version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Uid;

    #[test]
    fn the_role_stands_first() {
        let you = You {
            uid: Uid(1000),
            gid: 100,
            pid: Some(77),
            unit: None,
            role: Role::Client,
            rule: "member of the socket's group".to_owned(),
            version: "0.1.0".to_owned(),
        };
        let mut out = Vec::new();
        render(&you, Style::Plain, &mut out).unwrap();
        let expected = "\
role    client: may lease and report
rule    member of the socket's group
uid     1000
gid     100
pid     77
daemon  gollmd 0.1.0
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
