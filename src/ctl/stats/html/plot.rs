//! A plot of stacked bars, one a day, as SVG.

use std::fmt::Write as _;

use super::escaped;

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 240.0;
/// Room for the numbers at the left, and for the days below.
const LEFT: f64 = 64.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;
/// Lines across, with their numbers.
const LINES: f64 = 4.0;
/// Days that are named below at most.
const NAMED: usize = 10;

/// Series that have a colour of their own; further ones share the last.
pub(super) const COLOURS: usize = 7;

/// A series: its name, and a value a day.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) values: Vec<f64>,
}

/// Draws days and their series. `title` says what it shows, for who does not see it; `number` writes a value.
pub(super) fn stacked(title: &str, days: &[String], series: &[Series], number: impl Fn(f64) -> String) -> String {
    let sum = |day: usize| series.iter().filter_map(|series| series.values.get(day)).sum::<f64>();
    let most = nice((0..days.len()).map(sum).fold(0.0, f64::max));
    let mut svg = format!("<figure>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\">\n<title>{0}</title>\n", escaped(title));
    let height = HEIGHT - TOP - BOTTOM;
    let y_of = |value: f64| TOP + height * (1.0 - value / most);
    for line in 0..=4 {
        let value = most * f64::from(line) / LINES;
        let y = y_of(value);
        put(&mut svg, format_args!("<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"));
        put(&mut svg, format_args!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", LEFT - 8.0, y + 4.0, escaped(&number(value))));
    }
    let step = (WIDTH - LEFT) / count(days.len()).max(1.0);
    let every = days.len().div_ceil(NAMED).max(1);
    for (place, day) in days.iter().enumerate() {
        let x = LEFT + step * count(place);
        bars(&mut svg, series, place, (x + step * 0.12, step * 0.76), &y_of, |name, value| format!("{day} {name}: {}", number(value)));
        if place % every == 0 {
            put(
                &mut svg,
                format_args!("<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", x + step / 2.0, HEIGHT - 6.0, escaped(short(day))),
            );
        }
    }
    svg.push_str("</svg>\n");
    if series.len() > 1 {
        legend(&mut svg, series);
    }
    svg.push_str("</figure>\n");
    svg
}

/// The bars of one day, one above the other; each says what it is where the pointer rests.
fn bars(svg: &mut String, series: &[Series], day: usize, (x, width): (f64, f64), y_of: &impl Fn(f64) -> f64, words: impl Fn(&str, f64) -> String) {
    let mut below = 0.0;
    for (place, series) in series.iter().enumerate() {
        let value = series.values.get(day).copied().unwrap_or(0.0);
        if value <= 0.0 {
            continue;
        }
        let (top, bottom) = (y_of(below + value), y_of(below));
        put(
            svg,
            format_args!(
                "<rect class=\"s{}\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\"><title>{}</title></rect>",
                place.min(COLOURS - 1),
                (bottom - top).max(0.5),
                escaped(&words(&series.name, value))
            ),
        );
        below += value;
    }
}

fn legend(svg: &mut String, series: &[Series]) {
    svg.push_str("<ul class=\"legend\">\n");
    for (place, series) in series.iter().enumerate() {
        put(svg, format_args!("<li><i class=\"s{}\"></i>{}</li>", place.min(COLOURS - 1), escaped(&series.name)));
    }
    svg.push_str("</ul>\n");
}

fn put(svg: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string never fails.
    writeln!(svg, "{line}").ok();
}

/// `01-31` of `2026-01-31`.
fn short(day: &str) -> &str {
    day.get(5..).unwrap_or(day)
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

/// The next number upwards of 1, 2, 4 or 5 times a power of ten, so that four lines have short numbers.
fn nice(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(most.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 10.0].into_iter().map(|step| step * power).find(|step| *step >= most).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_line_is_a_short_number_above_every_bar() {
        for (most, expected) in [(0.0, 1.0), (0.93, 1.0), (1.01, 2.0), (3.9, 4.0), (4.1, 5.0), (51.0, 100.0), (0.031, 0.04)] {
            assert!((nice(most) - expected).abs() < 1e-9, "{most}: {}", nice(most));
        }
    }

    #[test]
    fn bars_stand_on_each_other_and_stay_inside() {
        let days: Vec<String> = (1..=3).map(|day| format!("2026-01-{day:02}")).collect();
        let of = |name: &str, values: [f64; 3]| Series { name: name.to_owned(), values: values.to_vec() };
        let svg = stacked("Cost <b>", &days, &[of("a", [1.0, 0.0, 2.0]), of("b", [1.0, 3.0, 2.0])], |value| format!("${value:.2}"));
        assert_eq!(svg.matches("<rect").count(), 5);
        assert!(svg.contains("aria-label=\"Cost &lt;b&gt;\"") && svg.contains("2026-01-03 b: $2.00") && svg.contains(">01-02</text>"));
        let value =
            |line: &str, name: &str| -> f64 { line.split_once(&format!(" {name}=\"")).unwrap().1.split_once('"').unwrap().0.parse().unwrap() };
        let rects: Vec<&str> = svg.lines().filter(|line| line.starts_with("<rect")).collect();
        for rect in &rects {
            assert!(value(rect, "x") >= LEFT && value(rect, "x") + value(rect, "width") <= WIDTH, "{rect}");
            assert!(value(rect, "y") >= TOP - 0.1 && value(rect, "y") + value(rect, "height") <= HEIGHT - BOTTOM + 0.1, "{rect}");
        }
        // The second of the first day ends where the first begins.
        assert!((value(rects[1], "y") + value(rects[1], "height") - value(rects[0], "y")).abs() < 0.2);
    }

    #[test]
    fn nothing_is_a_plot_without_bars() {
        let svg = stacked("Cost", &[], &[], |value| value.to_string());
        assert!(!svg.contains("<rect") && svg.contains("</svg>"));
    }
}
