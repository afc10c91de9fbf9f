//! Usage as one page for a browser: it needs nothing from elsewhere, runs no script, and can be printed.

mod page;
mod plot;
pub(super) mod report;

use std::borrow::Cow;
use std::io::{self, Write};

use crate::ctl::stats::html::report::Report;

const STYLE: &str = include_str!("html/style.css");

/// Writes the page.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let body = page::body(report);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>gollm: {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
        escaped(&report.span_words())
    )
}

/// Text for a page: names of models, units and the like come from callers.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_would_obey_is_text() {
        assert_eq!(escaped("<script>alert('1')&\"</script>"), "&lt;script&gt;alert(&#39;1&#39;)&amp;&quot;&lt;/script&gt;");
        assert_eq!(escaped("gpt-4.1"), "gpt-4.1");
    }
}
