//! The page of one key: all that is known of it, what its last hours cost, and its last events.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::ctl::events::words;
use crate::ctl::print::{Tone, against, ago, clean, until};
use crate::ctl::stats::trend::blocks;
use crate::ctl::top::model::Model;
use crate::ctl::top::view::{Look, clock, tone_of};
use crate::id::KeyId;
use crate::money::Usd;
use crate::protocol::reply::KeyRow;
use crate::time::Timestamp;

/// The lines of the page.
pub(super) fn lines(model: &Model, key: &KeyId, hours: &[(Timestamp, Usd)], look: Look, now: Timestamp, area: Rect) -> Vec<Line<'static>> {
    let Some(row) = model.keys.iter().find(|row| row.id() == *key) else {
        return vec![Line::from(format!("{key} is not configured any more"))];
    };
    let mut lines = vec![Line::styled(key.to_string(), look.of(Tone::Heading))];
    lines.extend(fields(row, now).into_iter().map(|(name, value)| {
        let tone = if name == "state" { tone_of(row.state) } else { Tone::Normal };
        Line::from(vec![Span::styled(format!("  {name:<10}"), look.of(Tone::Faint)), Span::styled(value, look.of(tone))])
    }));
    let costs: Vec<Usd> = hours.iter().map(|(_, cost)| *cost).collect();
    let sum: Usd = costs.iter().copied().sum();
    let line = if costs.is_empty() { "nothing".to_owned() } else { format!("{}  {sum}", blocks(&costs)) };
    lines.push(Line::from(vec![Span::styled(format!("  {:<10}", "24 hours"), look.of(Tone::Faint)), Span::raw(line)]));
    lines.push(Line::default());
    lines.push(Line::styled("HISTORY", look.of(Tone::Heading)));
    let room = usize::from(area.height).saturating_sub(lines.len());
    let before = lines.len();
    for event in model.history(key).rev().take(room) {
        let (tone, text) = words(event, now);
        let time = event.time().map_or_else(String::new, clock);
        lines.push(Line::from(vec![Span::styled(format!("{time} "), look.of(Tone::Faint)), Span::styled(clean(&text).into_owned(), look.of(tone))]));
    }
    if lines.len() == before {
        lines.push(Line::styled("nothing since this was opened", look.of(Tone::Faint)));
    }
    lines
}

fn fields(row: &KeyRow, now: Timestamp) -> Vec<(&'static str, String)> {
    let end = row.until.map_or_else(String::new, |end| format!(" for {}", until(end, now)));
    let reason = row.reason.as_deref().map_or_else(String::new, |reason| format!(": {}", clean(reason)));
    let secret = match (&row.last_four, &row.fingerprint) {
        (Some(last), Some(print)) => format!("…{}, fingerprint {}", clean(last), clean(print)),
        (None, Some(print)) => format!("fingerprint {}", clean(print)),
        _ => "not shown".to_owned(),
    };
    let reserved = if row.reserved_usd > Usd::ZERO { format!(", {} reserved", row.reserved_usd) } else { String::new() };
    vec![
        ("state", format!("{}{end}{reason}", row.state)),
        ("last hour", format!("{} leases; {} in its lifetime", against(row.requests_last_hour, row.rate_limit), row.requests_total)),
        ("today", format!("{}{reserved}", against(row.cost_today_usd, row.cost_limit))),
        ("last used", row.last_used.map_or_else(|| "never".to_owned(), |used| ago(used, now))),
        ("account", row.account.as_ref().map_or_else(|| "not known".to_owned(), ToString::to_string)),
        ("weight", row.weight.to_string()),
        ("secret", secret),
    ]
}
