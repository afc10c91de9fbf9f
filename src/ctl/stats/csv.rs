//! Usage as comma-separated values (RFC 4180), for spreadsheets and scripts.

use std::io::{self, Write};

use crate::id::ProviderName;
use crate::protocol::outcome::Outcome;
use crate::protocol::reply::Statistics;

/// Every column, whatever was split by, so that what reads the file need not guess; a column for each outcome but `ok`.
pub(super) fn write(statistics: &Statistics, out: &mut dyn Write) -> io::Result<()> {
    let outcomes: Vec<(&str, Outcome)> = Outcome::ALL.into_iter().filter(|(_, outcome)| *outcome != Outcome::Ok).collect();
    write!(out, "bucket,provider,key_name,model,caller,unit,requests,input_tokens,output_tokens,cached_tokens,cost_usd,unpriced")?;
    for (name, _) in &outcomes {
        write!(out, ",{name}")?;
    }
    write!(out, "\r\n")?;
    for row in &statistics.rows {
        let text = |value: Option<&str>| value.map(field).unwrap_or_default();
        let bucket = row.bucket.map(|start| start.to_string()).unwrap_or_default();
        let provider = text(row.provider.as_ref().map(ProviderName::as_str));
        let key = text(row.key_name.as_ref().map(|key| key.as_str()));
        let model = text(row.model.as_ref().map(|model| model.as_str()));
        let caller = row.caller.map(|caller| caller.to_string()).unwrap_or_default();
        let unit = text(row.unit.as_ref().map(|unit| unit.as_str()));
        write!(out, "{bucket},{provider},{key},{model},{caller},{unit},{},{},{},", row.requests, row.input_tokens, row.output_tokens)?;
        write!(out, "{},{},{}", row.cached_tokens, row.cost_usd.dollars(), row.unpriced)?;
        for (_, outcome) in &outcomes {
            write!(out, ",{}", row.errors.get(outcome).copied().unwrap_or(0))?;
        }
        write!(out, "\r\n")?;
    }
    Ok(())
}

/// A text as a CSV field. A spreadsheet takes one that begins like a formula for a formula: an apostrophe keeps it text
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn field(text: &str) -> String {
    let guarded = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if guarded.contains([',', '"']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::stats::tests::row;
    use crate::protocol::reply::UsageRow;

    #[test]
    fn csv_has_every_column_and_no_formula() {
        let statistics = Statistics { rows: vec![row("primary", "gpt-4"), row("primary", "=cmd,\"x\"")], total: UsageRow::default() };
        let mut out = Vec::new();
        write(&statistics, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert!(lines[0].starts_with("bucket,provider,key_name,model,caller,unit,requests,") && lines[0].ends_with(",cancelled"), "{}", lines[0]);
        assert_eq!(lines[1], "2026-01-31T13:00:00Z,openai,primary,gpt-4,1000,app.service,120,123456,5000,100000,1.5,1,2,0,0,0,0,0,1,0,0");
        assert!(lines[2].contains(",primary,\"'=cmd,\"\"x\"\"\",1000,app.service,120,"), "{}", lines[2]);
    }
}
