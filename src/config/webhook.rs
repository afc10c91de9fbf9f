//! `webhooks`: who is told of alerts, over HTTP.

use std::path::Path;

use super::fields::{self, Fields, WEBHOOK};
use super::problem::Findings;
use super::secrets::{SecretSource, SecretUnavailable, source};
use super::tree::Node;
use super::value::{Wrong, word};
use crate::environment::Environment;
use crate::policy::is_here;
use crate::protocol::alert::AlertKind;
use crate::secret::Secret;

/// Webhooks that a configuration may have.
const WEBHOOKS_MAX: usize = 16;

/// A place that is told of alerts.
#[derive(Debug)]
pub struct Webhook {
    /// Where its URL comes from, which may hold a token.
    pub url: SecretSource,
    /// Where the secret comes from that its messages are signed with; none: they are not.
    pub secret: Option<SecretSource>,
    /// What it is told of; none: of everything.
    pub kinds: Option<Vec<AlertKind>>,
    /// How a message is written.
    pub format: WebhookFormat,
}

/// How a message to a webhook is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WebhookFormat {
    /// The alert's fields.
    #[default]
    Json,
    /// A line of text, as Slack, Mattermost, Rocket.Chat and Discord (under `/slack`) take it.
    Slack,
}

impl WebhookFormat {
    /// Both, with their names.
    pub const ALL: [(&'static str, Self); 2] = [("json", Self::Json), ("slack", Self::Slack)];

    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
        }
    }
}

/// A webhook's URL and secret, fetched.
pub struct Address {
    /// The URL.
    pub url: Secret,
    /// What messages are signed with.
    pub secret: Option<Secret>,
}

impl Webhook {
    /// Fetches its URL and its secret.
    ///
    /// # Errors
    /// A source is not there, can't be read, or holds what can't be a secret.
    pub fn fetch(&self, env: &Environment) -> Result<Address, SecretUnavailable> {
        Ok(Address { url: self.url.read(env)?, secret: self.secret.as_ref().map(|secret| secret.read(env)).transpose()? })
    }

    /// Do its URL or its secret stand in the file, and are not to be read by others?
    pub(super) fn holds_secret(node: &Node) -> bool {
        let is_text = |field: &str| {
            node.child(field)
                .and_then(Node::as_text)
                .is_some_and(|text| !["env:", "file:", "credential:"].iter().any(|prefix| text.starts_with(prefix)))
        };
        let is_slack = node.child("format").and_then(Node::as_text) == Some("slack");
        is_text("secret") || (is_slack && is_text("url"))
    }
}

/// Reads the list.
pub(super) fn read(node: &Node, base: &Path, findings: &mut Findings) -> Vec<Webhook> {
    let items = fields::items(Some(node), "webhooks", findings);
    if let Some((path, item)) = items.get(WEBHOOKS_MAX) {
        findings.add(&item.at, path.clone(), Wrong::new(format!("there are more than {WEBHOOKS_MAX}"), "leave some out"));
    }
    items.into_iter().filter_map(|(path, item)| webhook(item, &path, base, findings)).collect()
}

fn webhook(node: &Node, path: &str, base: &Path, findings: &mut Findings) -> Option<Webhook> {
    let fields = Fields::open(node, path, &WEBHOOK, findings);
    let url = fields.require("url", |node| url(node, base), findings);
    let secret = fields.read("secret", |node| source(node, base), findings);
    let format = fields.read("format", word(&WebhookFormat::ALL), findings).unwrap_or_default();
    let listed = fields.child("kinds").is_some();
    // A test is for all of them.
    let causes: Vec<_> = AlertKind::ALL.into_iter().filter(|(_, kind)| *kind != AlertKind::Test).collect();
    let mut kinds = Vec::new();
    for (path, item) in fields::items(fields.child("kinds"), &fields.path("kinds"), findings) {
        match word(&causes)(item) {
            Ok(kind) => kinds.push(kind),
            Err(wrong) => findings.add(&item.at, path, wrong),
        }
    }
    if let Some(SecretSource::File(url)) = &url
        && is_open(url.expose())
    {
        findings.warn(&fields.path("url"), "alerts go to another machine without TLS and can be read and made up on the way; write `https://`");
    }
    Some(Webhook { url: url?, secret, kinds: listed.then_some(kinds), format })
}

/// A URL, or where it comes from. Nothing of what stands there is repeated: it may hold a token.
fn url(node: &Node, base: &Path) -> Result<SecretSource, Wrong> {
    let found = source(node, base)?;
    match &found {
        SecretSource::File(url) if !is_address(url.expose()) => {
            Err(Wrong::new("this is no URL", "write `https://HOST[:PORT]/PATH`, or `env:NAME`, `file:PATH` or `credential:NAME`"))
        }
        _ => Ok(found),
    }
}

/// Is it a URL with a host that messages can be sent to?
#[must_use]
pub fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    host.is_some_and(|host| !host.is_empty() && !host.contains('@') && !host.starts_with(':'))
}

/// Can what is sent there be read on the way?
fn is_open(url: &str) -> bool {
    url.starts_with("http://") && !is_here(url)
}
