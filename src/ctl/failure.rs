//! Why a command failed: its exit status, its line for people, and the hint that mends it.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::ctl::console::Form;
use crate::ctl::print::{clean_lines, span_words};
use crate::protocol::error::{ErrorCode, ErrorReply};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was asked for can't be.
    #[error("{0}")]
    Usage(String),
    /// No socket that was tried has a daemon behind it.
    #[error("no daemon answers: tried {tried}; start it with `systemctl start gollmd`, or with `gollmd` in a terminal")]
    NoDaemon {
        /// Where it was looked for, and why not there.
        tried: String,
    },
    /// The daemon said no.
    #[error("{op} failed: {}", clean_lines(&.reply.message))]
    Refused {
        /// What was asked.
        op: &'static str,
        /// The daemon's answer.
        reply: ErrorReply,
    },
    /// The daemon was reached, and then no usable answer came.
    #[error("{op} failed: {why}")]
    NoAnswer {
        /// What was asked.
        op: &'static str,
        /// What happened instead.
        why: String,
    },
    /// A configuration that does not load: its own text.
    #[error("{0}")]
    Configuration(String),
    /// A file, a prompt or a secret that could not be used.
    #[error("{what}: {why}")]
    Input {
        /// What was being done.
        what: String,
        /// What stood against it.
        why: String,
    },
    /// The result itself is the bad news, and it has been written.
    #[error("")]
    Negative,
    /// A command that was run ended so; it has told why itself.
    #[error("")]
    Ended(u8),
    /// A command that can't be run.
    #[error("can't run {command}: {why}")]
    NotRun {
        /// What was to be run.
        command: String,
        /// Why not.
        why: io::Error,
    },
    /// Standard output can't be written to.
    #[error("the answer can't be written: {0}")]
    Output(#[source] io::Error),
}

impl Failure {
    /// A reply of a kind that does not answer the request.
    pub(crate) fn unexpected(op: &'static str) -> Self {
        Failure::NoAnswer { op, why: "the daemon's answer is of another kind; are gollmctl and gollmd of one version?".to_owned() }
    }

    /// The exit status, as the manual page lists them.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::NoDaemon { .. } => 3,
            Failure::Refused { reply, .. } => match reply.code {
                ErrorCode::Denied => 4,
                ErrorCode::NoKeyAvailable => 5,
                ErrorCode::Locked => 6,
                _ => 1,
            },
            // Whoever read the pipe has seen enough.
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Failure::Ended(status) => *status,
            // As shells say it (POSIX.1-2017, XCU 2.8.2).
            Failure::NotRun { why, .. } if why.kind() == io::ErrorKind::NotFound => 127,
            Failure::NotRun { .. } => 126,
            Failure::NoAnswer { .. } | Failure::Configuration(_) | Failure::Input { .. } | Failure::Negative | Failure::Output(_) => 1,
        }
    }

    /// Is it worth asking again, as after a restart of the daemon?
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Failure::NoDaemon { .. } | Failure::NoAnswer { .. } => true,
            Failure::Refused { reply, .. } => matches!(reply.code, ErrorCode::Overloaded | ErrorCode::Internal),
            _ => false,
        }
    }

    /// What mends it, where that can be known.
    fn hint(&self) -> Option<String> {
        let Failure::Refused { op, reply } = self else { return None };
        match reply.code {
            // What was typed was wrong, and not who typed it.
            ErrorCode::Denied if matches!(*op, "unlock" | "change_password" | "restore") && reply.message.contains("wrong") => None,
            ErrorCode::Denied => Some("run it as root or as the daemon's user; `gollmctl whoami` shows what you may do".to_owned()),
            ErrorCode::UnknownProvider | ErrorCode::UnknownKey => Some("`gollmctl keys` lists providers and keys".to_owned()),
            ErrorCode::UnsupportedVersion => Some("gollmctl and gollmd must be of one version; restart the daemon after an update".to_owned()),
            ErrorCode::Internal => Some("the daemon's log says more: `journalctl -u gollmd`".to_owned()),
            ErrorCode::NoKeyAvailable | ErrorCode::Overloaded => {
                reply.retry_after().map(|wait| format!("ask again in {}", span_words(wait))).or_else(|| match reply.code {
                    ErrorCode::NoKeyAvailable => Some("waiting won't mend this; `gollmctl keys` shows what is wrong with each key".to_owned()),
                    _ => None,
                })
            }
            ErrorCode::Locked | ErrorCode::BadRequest | ErrorCode::UnknownModel | ErrorCode::UnknownLease | ErrorCode::TooLarge => None,
        }
    }

    /// Writes the failure where people look, and under `--json` the daemon's error on standard output; answers with the exit status.
    pub(crate) fn tell(&self, form: Form, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
        let status = self.status();
        if status != 0 && !matches!(self, Failure::Negative | Failure::Ended(_)) {
            // With standard error gone too, the exit status is all that is left to say.
            drop(self.write(form, out, err));
        }
        ExitCode::from(status)
    }

    fn write(&self, form: Form, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        writeln!(err, "gollmctl: {self}")?;
        if let Failure::Refused { reply, .. } = self {
            for key in &reply.keys {
                let until = key.until.map(|until| format!(", until {until}")).unwrap_or_default();
                writeln!(err, "  {}/{}: {}{until}", key.provider, key.key_name, key.reason.words())?;
            }
            if form == Form::Json {
                serde_json::to_writer(&mut *out, reply)?;
                writeln!(out)?;
            }
        }
        self.hint().map_or(Ok(()), |hint| writeln!(err, "hint: {hint}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::{KeyRefusal, Reason};

    fn refused(code: ErrorCode) -> Failure {
        Failure::Refused { op: "select", reply: ErrorReply::new(code, "it is so") }
    }

    fn told(failure: &Failure, form: Form) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        failure.write(form, &mut out, &mut err).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn each_failure_has_its_exit_status() {
        assert_eq!(Failure::Usage(String::new()).status(), 2);
        assert_eq!(Failure::NoDaemon { tried: String::new() }.status(), 3);
        assert_eq!(refused(ErrorCode::Denied).status(), 4);
        assert_eq!(refused(ErrorCode::NoKeyAvailable).status(), 5);
        assert_eq!(refused(ErrorCode::Locked).status(), 6);
        assert_eq!(refused(ErrorCode::Internal).status(), 1);
        assert_eq!(Failure::Negative.status(), 1);
        assert_eq!(Failure::Output(io::ErrorKind::StorageFull.into()).status(), 1);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::Output(io::ErrorKind::BrokenPipe.into());
        assert_eq!(failure.status(), 0);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(failure.tell(Form::Text, &mut out, &mut err), ExitCode::SUCCESS);
        assert!(err.is_empty());
    }

    #[test]
    fn a_refused_select_names_each_key_and_when_to_ask_again() {
        let mut reply = ErrorReply::new(ErrorCode::NoKeyAvailable, "no key of openai can be leased now");
        reply.retry_after_ms = Some(41_000);
        let until = Some("2026-01-01T00:00:41Z".parse().unwrap());
        reply.keys = vec![
            KeyRefusal { provider: "openai".parse().unwrap(), key_name: "primary".parse().unwrap(), reason: Reason::RateLimited, until },
            KeyRefusal { provider: "openai".parse().unwrap(), key_name: "backup".parse().unwrap(), reason: Reason::Disabled, until: None },
        ];
        let failure = Failure::Refused { op: "select", reply };
        let text = "gollmctl: select failed: no key of openai can be leased now\n  \
                    openai/primary: rate_limit reached, until 2026-01-01T00:00:41Z\n  \
                    openai/backup: disabled\n\
                    hint: ask again in 41s\n";
        assert_eq!(told(&failure, Form::Text), (String::new(), text.to_owned()));
        let (json, _) = told(&failure, Form::Json);
        assert!(json.starts_with(r#"{"code":"no_key_available","message":"#) && json.ends_with("}\n"), "{json}");
    }

    #[test]
    fn control_characters_of_a_message_do_not_reach_the_terminal() {
        let failure = Failure::Refused { op: "status", reply: ErrorReply::new(ErrorCode::BadRequest, "a\u{1b}[2Jb") };
        assert_eq!(told(&failure, Form::Text).1, "gollmctl: status failed: a?[2Jb\n");
    }
}
