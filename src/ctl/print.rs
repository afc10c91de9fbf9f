//! How text is laid out: colour where a person looks, tables that align, spans of time in words.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::AnsiColor;

use crate::environment::Environment;
use crate::time::Timestamp;

/// With colour or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// For a pipe, a file, or who asked for it by `NO_COLOR`.
    Plain,
    /// For a terminal.
    Colour,
}

/// What a piece of text tells, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Normal,
    Heading,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Style {
    /// Colour on a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or the terminal is `dumb`.
    pub(crate) fn of(terminal: bool, environment: &Environment) -> Self {
        let unwanted = environment.value("NO_COLOR").is_some() || environment.value("TERM") == Some("dumb");
        if terminal && !unwanted { Style::Colour } else { Style::Plain }
    }

    /// `text` in its tone.
    pub(crate) fn paint<T: fmt::Display>(self, tone: Tone, text: T) -> Painted<T> {
        let plain = anstyle::Style::new();
        let style = match (self, tone) {
            (Style::Plain, _) | (_, Tone::Normal) => plain,
            (_, Tone::Heading) => plain.bold(),
            (_, Tone::Faint) => plain.dimmed(),
            (_, Tone::Good) => AnsiColor::Green.on_default(),
            (_, Tone::Warning) => AnsiColor::Yellow.on_default(),
            (_, Tone::Bad) => AnsiColor::Red.on_default().bold(),
        };
        Painted { style, text }
    }
}

/// A text with its colour round it.
pub(crate) struct Painted<T> {
    style: anstyle::Style,
    text: T,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:#}", self.style, self.text, self.style)
    }
}

/// On which side of its column a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

/// One field of a table.
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text in a tone.
    pub(crate) fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell::new(Tone::Normal, text)
    }
}

/// Rows under headings, in columns as wide as their widest text.
pub(crate) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: a cell a column.
    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Writes the headings and the rows, with no space at the end of a line.
    pub(crate) fn write(&self, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let headings: Vec<Cell> = self.columns.iter().map(|(heading, _)| Cell::new(Tone::Heading, *heading)).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                std::iter::once(&headings).chain(&self.rows).filter_map(|row| row.get(column)).map(|cell| width(&cell.text)).max().unwrap_or(0)
            })
            .collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let mut owed = 0;
            for ((cell, (_, side)), wide) in row.iter().zip(&self.columns).zip(&widths) {
                let room = wide.saturating_sub(width(&cell.text));
                let before = if *side == Side::Right { room } else { 0 };
                if !cell.text.is_empty() {
                    write!(out, "{:1$}{2}", "", owed + before, style.paint(cell.tone, &cell.text))?;
                    owed = 0;
                } else {
                    owed += before;
                }
                owed += room - before + 2;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A text of somebody else's of one or more lines, each [`clean`] and those after the first indented.
pub(crate) fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n  ")
}

/// A line of somebody else's, without the control characters that a terminal would obey.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) { text.replace(char::is_control, "?").into() } else { text.into() }
}

/// A span of time in its two largest units: `3d 4h`, `12m 5s`, `41s`; part of a second counts as one.
pub(crate) fn span_words(span: Duration) -> String {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    let (large, large_unit, small, small_unit) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => (seconds / 60, 'm', seconds % 60, 's'),
        3_600..86_400 => (seconds / 3_600, 'h', seconds % 3_600 / 60, 'm'),
        _ => (seconds / 86_400, 'd', seconds % 86_400 / 3_600, 'h'),
    };
    if small == 0 { format!("{large}{large_unit}") } else { format!("{large}{large_unit} {small}{small_unit}") }
}

/// How long ago `moment` was: `3m ago`, to the larger unit.
pub(crate) fn ago(moment: Timestamp, now: Timestamp) -> String {
    let span = now.since(moment);
    if span < Duration::from_secs(1) { "just now".to_owned() } else { format!("{} ago", first_word(&span_words(whole_seconds(span)))) }
}

/// How long until `moment`: `12m 5s`, or `now` where it has come.
pub(crate) fn until(moment: Timestamp, now: Timestamp) -> String {
    let span = moment.since(now);
    if span.is_zero() { "now".to_owned() } else { span_words(span) }
}

/// A moment to the second, in UTC.
pub(crate) fn moment(at: Timestamp) -> Timestamp {
    Timestamp::from_unix_millis(at.unix_millis().div_euclid(1000).saturating_mul(1000))
}

/// `used/limit`, or what is used alone where there is no limit.
pub(crate) fn against<U: fmt::Display, L: fmt::Display>(used: U, limit: Option<L>) -> String {
    limit.map_or_else(|| used.to_string(), |limit| format!("{used}/{limit}"))
}

/// `1 key`, `2 keys`.
pub(crate) fn counted<N: fmt::Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    if count == N::from(1) { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn whole_seconds(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs())
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &Table, style: Style) -> String {
        let mut out = Vec::new();
        table.write(style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_align_and_lines_end_without_spaces() {
        let mut table = Table::new(&[("NAME", Side::Left), ("COUNT", Side::Right), ("NOTE", Side::Left)]);
        table.push(vec!["a-long-name".into(), "7".into(), "".into()]);
        table.push(vec!["b".into(), "1234567".into(), Cell::new(Tone::Bad, "späť")]);
        table.push(vec!["c".into(), "".into(), "x".into()]);
        let text = "NAME           COUNT  NOTE\na-long-name        7\nb            1234567  späť\nc                     x\n";
        assert_eq!(written(&table, Style::Plain), text);
        assert_eq!(strip(&written(&table, Style::Colour)), text);
        assert!(written(&table, Style::Colour).contains("\u{1b}["));
    }

    #[test]
    fn colour_is_for_terminals_whose_user_wants_it() {
        let none = Environment::default();
        let no_colour: Environment = [("NO_COLOR", "1")].into_iter().collect();
        let dumb: Environment = [("TERM", "dumb")].into_iter().collect();
        assert_eq!(Style::of(true, &none), Style::Colour);
        assert_eq!(Style::of(false, &none), Style::Plain);
        assert_eq!(Style::of(true, &no_colour), Style::Plain);
        assert_eq!(Style::of(true, &dumb), Style::Plain);
    }

    #[test]
    fn a_text_of_several_lines_keeps_them() {
        assert_eq!(clean_lines("it does not load:\na:1:2: x\u{1b}[2J\nb"), "it does not load:\n  a:1:2: x?[2J\n  b");
        assert_eq!(clean("a\nb"), "a?b");
    }

    #[test]
    fn spans_are_told_in_two_units() {
        let words = |seconds: f64| span_words(Duration::from_secs_f64(seconds));
        assert_eq!(words(0.0), "0s");
        assert_eq!(words(0.2), "1s");
        assert_eq!(words(59.0), "59s");
        assert_eq!(words(60.0), "1m");
        assert_eq!(words(725.0), "12m 5s");
        assert_eq!(words(7_500.0), "2h 5m");
        assert_eq!(words(187_200.0), "2d 4h");
        let (early, late) = (Timestamp::from_unix_millis(0), Timestamp::from_unix_millis(7_500_999));
        assert_eq!(ago(early, late), "2h ago");
        assert_eq!(ago(late, early), "just now");
        assert_eq!(until(late, early), "2h 5m");
        assert_eq!(until(early, late), "now");
        assert_eq!(moment(late).to_string(), "1970-01-01T02:05:00Z");
    }

    /// The text without its colours.
    fn strip(text: &str) -> String {
        let mut parts = text.split('\u{1b}');
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |kept, part| kept + part.split_once('m').unwrap().1)
    }
}
