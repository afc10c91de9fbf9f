//! The screen: a picture of the model, at 80 by 24 and wider, readable without colour.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::ctl::events::{alert_words, words};
use crate::ctl::print::{self, Tone, clean, moment, span_words, until};
use crate::ctl::top::control::{Control, Page};
use crate::ctl::top::model::Model;
use crate::ctl::top::page;
use crate::money::Usd;
use crate::protocol::reply::{KeyRow, KeyState, ProviderStatus};
use crate::time::Timestamp;

/// A smaller window shows nothing that would help.
const WIDTH_MIN: u16 = 60;
const HEIGHT_MIN: u16 = 10;

/// Lines of what went wrong last.
const TROUBLES: u16 = 6;

/// Cells of a bar.
const BAR: usize = 5;

const HELP: [&str; 12] = [
    "q, Ctrl-C     quit",
    "arrows, j k   select a key",
    "Enter         the key's own page; Esc goes back",
    "s             sort: by name, cost, requests, state",
    "/             filter by a part of provider/key or state; Enter keeps it, Esc drops it",
    "?             this page",
    "",
    "LAST HOUR     leases in the last 60 minutes against rate_limit",
    "TODAY         cost settled today (UTC) against cost_limit",
    "LEASES/S      over the last minute; $/MIN the cost of the last minute",
    "",
    "Everything is live: it comes from the daemon's events, not from asking again and again.",
];

/// How the screen is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// With colour, or by words and marks alone.
    pub(super) colour: bool,
}

impl Look {
    pub(super) fn of(self, tone: Tone) -> Style {
        let plain = Style::new();
        match tone {
            Tone::Normal => plain,
            Tone::Heading => plain.add_modifier(Modifier::BOLD),
            Tone::Faint => plain.add_modifier(Modifier::DIM),
            Tone::Good if self.colour => plain.fg(Color::Green),
            Tone::Warning if self.colour => plain.fg(Color::Yellow),
            Tone::Bad if self.colour => plain.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Bad => plain.add_modifier(Modifier::BOLD),
            Tone::Good | Tone::Warning => plain,
        }
    }
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, control: &Control, hours: &[(Timestamp, Usd)], look: Look, now: Timestamp) {
    let area = frame.area();
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let text = format!("the window is too small: {WIDTH_MIN} by {HEIGHT_MIN} at least");
        return frame.render_widget(Paragraph::new(text), area);
    }
    let [head, body, foot] = Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(Paragraph::new(heading(model, look, now, usize::from(area.width))), head);
    match &control.page {
        Page::All => all(frame, body, model, control, look, now),
        Page::Key(key) => {
            let lines = page::lines(model, key, hours, look, now, body);
            frame.render_widget(Paragraph::new(lines), body);
        }
        Page::Help => frame.render_widget(Paragraph::new(HELP.map(Line::from).to_vec()), body),
    }
    frame.render_widget(Paragraph::new(footer(control, look)), foot);
}

fn heading(model: &Model, look: Look, now: Timestamp, width: usize) -> Vec<Line<'static>> {
    let status = &model.status;
    let up = span_words(std::time::Duration::from_secs(now.since(status.started).as_secs()));
    let rates = format!("{:.1} leases/s  {}/min", model.rates.leases_a_second(now), model.rates.cost_a_minute(now));
    let today = print::against(status.global.cost_today_usd, status.global.cost_limit);
    let left = format!("gollmd {} up {up}", clean(&status.version));
    let right = format!("{rates}  today {today}  {}", clock(now));
    let room = width.saturating_sub(left.chars().count() + right.chars().count()).max(2);
    let first = Line::from(vec![Span::styled(left, look.of(Tone::Heading)), Span::raw(" ".repeat(room)), Span::raw(right)]);
    let second = if let Some(why) = &model.lost {
        Line::styled(format!("gollmd is not heard: {}; trying again", clean(why)), look.of(Tone::Bad))
    } else if status.locked {
        Line::styled("LOCKED: no key can be opened; `gollmctl unlock`", look.of(Tone::Bad))
    } else {
        let counts = &status.counts;
        let global = &status.global;
        let requests = print::against(global.requests_last_hour, global.rate_limit);
        Line::styled(
            format!("{} open  {requests} last hour  {}/{} keys healthy", counts.leases_open, global.keys_healthy, global.keys_total),
            look.of(Tone::Faint),
        )
    };
    vec![first, second]
}

fn all(frame: &mut Frame<'_>, area: Rect, model: &Model, control: &Control, look: Look, now: Timestamp) {
    let wanted = u16::try_from(model.alerts.len() + model.status.warnings.len() + model.troubles.len() + 1)
        .unwrap_or(u16::MAX)
        .min(TROUBLES + 1)
        .min(area.height / 2);
    let [table, below] = Layout::vertical([Constraint::Min(1), Constraint::Length(wanted)]).areas(area);
    let (lines, at) = rows(model, control, look, now, usize::from(area.width));
    // The headings stay; the rest moves so that the selected key is seen.
    let height = usize::from(table.height.saturating_sub(1));
    let skipped = (at + 1).saturating_sub(height.max(1)).min(lines.len().saturating_sub(height));
    let shown = std::iter::once(titles(look, usize::from(area.width))).chain(lines.into_iter().skip(skipped).take(height));
    frame.render_widget(Paragraph::new(shown.collect::<Vec<_>>()), table);
    frame.render_widget(Paragraph::new(troubles(model, look, now, usize::from(wanted))), below);
}

/// How wide the name of a key may be.
fn name_width(width: usize) -> usize {
    width.saturating_sub(62).clamp(14, 30)
}

fn titles(look: Look, width: usize) -> Line<'static> {
    let name = name_width(width);
    Line::styled(format!("{:<name$} {:<13}{:>15} {:>20}", "KEY", "STATE", "LAST HOUR", "TODAY"), look.of(Tone::Heading))
}

/// The lines of providers and keys, and the place of the selected one.
fn rows(model: &Model, control: &Control, look: Look, now: Timestamp, width: usize) -> (Vec<Line<'static>>, usize) {
    let shown = control.shown(model);
    let (mut lines, mut at, selected) = (Vec::new(), 0, control.place(&shown));
    let mut provider = None;
    for (place, row) in shown.iter().enumerate() {
        if provider != Some(&row.provider) {
            provider = Some(&row.provider);
            let found = model.status.providers.iter().find(|status| status.provider == row.provider);
            lines.extend(found.map(|status| provider_line(status, look, now, width)));
        }
        if place == selected {
            at = lines.len();
        }
        lines.push(key_line(row, model, place == selected, look, now, width));
    }
    if shown.is_empty() {
        lines.push(Line::styled(if control.filter.is_empty() { "no key is configured" } else { "no key fits the filter" }, look.of(Tone::Faint)));
    }
    (lines, at)
}

fn provider_line(status: &ProviderStatus, look: Look, now: Timestamp, width: usize) -> Line<'static> {
    let name = name_width(width);
    let (tone, state) = match (status.reachable, status.next_free) {
        (false, _) => (Tone::Bad, "unreachable".to_owned()),
        (true, Some(free)) => (Tone::Warning, format!("free in {}", until(free, now))),
        (true, None) if status.keys_healthy == 0 => (Tone::Bad, "no usable key".to_owned()),
        (true, None) => (Tone::Good, format!("{}/{} healthy", status.keys_healthy, status.keys_total)),
    };
    let waiting = if status.waiting > 0 { format!("  {} wait", status.waiting) } else { String::new() };
    let requests = print::against(status.requests_last_hour, status.rate_limit);
    let cost = print::against(status.cost_today_usd, status.cost_limit);
    Line::from(vec![
        Span::styled(format!("{:<name$} ", cut(status.provider.as_str(), name)), look.of(Tone::Heading)),
        Span::styled(format!("{:<13}", cut(&state, 13)), look.of(tone)),
        Span::raw(format!("{requests:>15} {cost:>20}{waiting}")),
    ])
}

fn key_line(row: &KeyRow, model: &Model, selected: bool, look: Look, now: Timestamp, width: usize) -> Line<'static> {
    let name = name_width(width);
    let mark = if selected { '>' } else { ' ' };
    let requests = format!("{} {}", bar(share(row.requests_last_hour, row.rate_limit)), print::against(row.requests_last_hour, row.rate_limit));
    let cost_share = row.cost_limit.map(|limit| if limit > Usd::ZERO { row.cost_today_usd.dollars() / limit.dollars() } else { 1.0 });
    let cost = format!("{} {}", bar(cost_share), print::against(row.cost_today_usd, row.cost_limit));
    let full = |share: Option<f64>| if share.is_some_and(|share| share >= 1.0) { Tone::Bad } else { Tone::Normal };
    let line = Line::from(vec![
        Span::raw(format!("{mark} {:<1$} ", cut(row.key_name.as_str(), name - 2), name - 2)),
        Span::styled(format!("{:<13}", row.state.name()), look.of(tone_of(row.state))),
        Span::styled(format!("{requests:>15}"), look.of(full(share(row.requests_last_hour, row.rate_limit)))),
        Span::styled(format!(" {cost:>20}"), look.of(full(cost_share))),
        Span::styled(format!("  {}", note(row, model, now)), look.of(Tone::Faint)),
    ]);
    if selected { line.patch_style(Style::new().add_modifier(Modifier::REVERSED)) } else { line }
}

fn note(row: &KeyRow, model: &Model, now: Timestamp) -> String {
    let end = row.until.map(|end| format!("for {}", until(end, now)));
    let last = model.last_outcome(&row.id()).map(|outcome| outcome.name().to_owned());
    let reason = row.reason.as_deref().map(|reason| clean(reason).into_owned());
    [end, reason, last].into_iter().flatten().next().unwrap_or_default()
}

fn troubles(model: &Model, look: Look, now: Timestamp, height: usize) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled("RECENT", look.of(Tone::Heading))];
    for alert in &model.alerts {
        let (tone, text) = alert_words(alert);
        lines.push(Line::styled(format!("! {}", clean(&text)), look.of(tone)));
    }
    // What went wrong last has half of the room at least.
    let most = height.saturating_sub(model.troubles.len().min(height / 2)).max(lines.len());
    for warning in &model.status.warnings {
        lines.push(Line::styled(format!("  {}", clean(warning)), look.of(Tone::Warning)));
    }
    lines.truncate(most);
    let room = height.saturating_sub(lines.len());
    for event in model.troubles.iter().rev().take(room) {
        let (tone, text) = words(event, now);
        let time = event.time().map_or_else(String::new, clock);
        lines.push(Line::from(vec![Span::styled(format!("{time} "), look.of(Tone::Faint)), Span::styled(clean(&text).into_owned(), look.of(tone))]));
    }
    if lines.len() == 1 {
        lines.push(Line::styled("nothing went wrong", look.of(Tone::Faint)));
    }
    lines.truncate(height);
    lines
}

fn footer(control: &Control, look: Look) -> Line<'static> {
    if control.writes {
        return Line::from(format!("filter: {}_   Enter keeps it, Esc drops it", clean(&control.filter)));
    }
    let filter = if control.filter.is_empty() { String::new() } else { format!(" ({})", clean(&control.filter)) };
    Line::styled(format!("q quit  s sort: {}  / filter{filter}  Enter key's page  Esc back  ? help", control.sort.name()), look.of(Tone::Faint))
}

pub(super) const fn tone_of(state: KeyState) -> Tone {
    match state {
        KeyState::Healthy => Tone::Good,
        KeyState::Unknown => Tone::Normal,
        KeyState::CoolingDown | KeyState::Disabled => Tone::Warning,
        KeyState::Exhausted | KeyState::Invalid | KeyState::Sealed => Tone::Bad,
    }
}

fn share(used: u64, limit: Option<u64>) -> Option<f64> {
    let [used, limit] = [Some(used), limit].map(|count| count.map(|count| f64::from(u32::try_from(count).unwrap_or(u32::MAX))));
    Some(used? / limit?.max(1.0))
}

/// A bar that is as full as a limit is spent; nothing where there is none.
fn bar(share: Option<f64>) -> String {
    let Some(share) = share else { return String::new() };
    let eighths = (share.clamp(0.0, 1.0) * f64::from(u32::try_from(BAR).unwrap_or(0))).ceil();
    let full = (0..BAR).take_while(|cell| f64::from(u32::try_from(*cell).unwrap_or(0)) < eighths).count();
    format!("{}{}", "█".repeat(full), "·".repeat(BAR - full))
}

/// The first characters of a text.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width { text.to_owned() } else { text.chars().take(width.saturating_sub(1)).chain(['…']).collect() }
}

/// `12:34:56`
pub(super) fn clock(at: Timestamp) -> String {
    let text = moment(at).to_string();
    text.get(11..19).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::ctl::top::model::tests::{answers, at, settled};
    use crate::protocol::live::Event;
    use crate::protocol::outcome::Outcome;

    fn screen(model: &Model, control: &Control, (width, height): (u16, u16), colour: bool) -> (String, bool) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let hours = [(at(0), Usd::from_dollars(1.0).unwrap())];
        terminal.draw(|frame| draw(frame, model, control, &hours, Look { colour }, at(12))).unwrap();
        let buffer = terminal.backend().buffer();
        let lines = (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned());
        let text = lines.collect::<Vec<_>>().join("\n");
        let coloured = buffer.content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        (text, coloured)
    }

    #[test]
    fn everything_that_counts_fits_80_by_24_and_needs_no_colour() {
        let mut model = Model::new(answers());
        model.hear(&settled(at(5), Outcome::Timeout, 25));
        let (text, coloured) = screen(&model, &Control::default(), (80, 24), false);
        let expected = "\
gollmd 0.1.0 up 2h 5m    0.0 leases/s  $0.25/min  today $63.00/$100.00  12:00:12
2 open  480 last hour  1/4 keys healthy
KEY                STATE              LAST HOUR                TODAY
openai             1/2 healthy         240/2000               $13.00
> backup           cooling_down  █···· 120/1000   █···· $0.25/$50.00  for 29s
  primary          healthy       █···· 120/1000  ██··· $12.75/$50.00  timeout";
        let first: Vec<&str> = text.lines().take(6).map(|line| line.trim_end()).collect();
        for (line, wanted) in first.iter().zip(expected.lines()) {
            assert_eq!(*line, wanted, "{text}");
        }
        assert!(text.contains("anthropic          no usable key") && text.contains("  main             invalid"), "{text}");
        assert!(text.contains("RECENT") && text.contains("12:00:05 openai/primary by uid 1000: timeout"), "{text}");
        assert!(text.ends_with("q quit  s sort: name  / filter  Enter key's page  Esc back  ? help"), "{text}");
        assert!(!coloured && screen(&model, &Control::default(), (80, 24), true).1);
    }

    #[test]
    fn a_key_has_a_page_with_its_history() {
        let mut model = Model::new(answers());
        model.hear(&settled(at(5), Outcome::Ok, 25));
        let control = Control { page: Page::Key("openai/primary".parse().unwrap()), ..Control::default() };
        let (text, _) = screen(&model, &control, (80, 24), false);
        assert!(text.contains("openai/primary") && text.contains("$12.75/$50.00") && text.contains("12:00:05"), "{text}");
        assert!(text.contains("HISTORY") && text.contains("ok, 10 + 5 tokens, $0.25"), "{text}");
    }

    #[test]
    fn a_daemon_that_is_gone_a_small_window_and_many_keys_are_told() {
        let mut model = Model::new(answers());
        model.lose("connection refused\u{1b}[2J".to_owned());
        let (text, _) = screen(&model, &Control::default(), (80, 24), false);
        assert!(text.contains("gollmd is not heard: connection refused?[2J; trying again"), "{text}");
        assert!(screen(&model, &Control::default(), (50, 24), false).0.starts_with("the window is too small"));
        let mut many = answers();
        many.keys = (0..100).map(|number| crate::ctl::top::model::tests::key("openai", &format!("k{number:03}"), KeyState::Healthy, 0.0)).collect();
        let mut model = Model::new(many);
        model.hear(&Arc::new(Event::Lagged { missed: 3 }));
        let (text, _) = screen(&model, &Control { selected: Some("openai/k099".parse().unwrap()), ..Control::default() }, (80, 24), false);
        assert!(text.contains("> k099") && text.contains("3 events were missed"), "{text}");
    }
}
