//! `gollm-prices.yaml` beside the configuration: a price list that replaces the built-in one.

use std::fs;
use std::io;
use std::path::Path;

use super::fields::{self, Fields, PRICE};
use super::problem::{ConfigError, Findings, Problem};
use super::suggest::suggestion;
use super::tree::Entry;
use super::value::{Wrong, quoted};
use super::{file, provider};
use crate::catalogue;
use crate::catalogue::prices::{Listed, PriceList};

/// Its name.
pub const FILE_NAME: &str = "gollm-prices.yaml";

/// The list that stands beside the configuration `config`, else the built-in one.
///
/// # Errors
/// It can't be read, or says something wrong.
pub(super) fn beside(config: &Path) -> Result<PriceList, ConfigError> {
    let path = config.with_file_name(FILE_NAME);
    match fs::read_to_string(&path) {
        Ok(text) => read(&text, &path).map(PriceList::from),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(PriceList::default()),
        Err(source) => Err(ConfigError::Unreadable { path, source }),
    }
}

fn read(text: &str, path: &Path) -> Result<Listed, ConfigError> {
    let root = file::read(text).map_err(|why| ConfigError::Invalid(vec![Problem::broken(why, path)]))?;
    let mut findings = Findings::default();
    let mut listed = Listed::default();
    for entry in fields::entries(&root, "", &mut findings) {
        if entry.name == "date" {
            listed.date = entry.node.as_text().map(str::to_owned);
        } else {
            of_kind(entry, &mut listed, &mut findings);
        }
    }
    let problems = findings.problems(text, path);
    if problems.is_empty() { Ok(listed) } else { Err(ConfigError::Invalid(problems)) }
}

fn of_kind(entry: &Entry, listed: &mut Listed, findings: &mut Findings) {
    if catalogue::find(&entry.name).is_none() {
        let names: Vec<&str> = catalogue::all().iter().map(|known| known.name).collect();
        let wrong = Wrong::new(format!("there is no provider {} in the catalogue", quoted(&entry.name)), suggestion(&entry.name, &names));
        findings.add(&entry.at, fields::join("", &entry.name), wrong);
        return;
    }
    let models = listed.prices.entry(entry.name.clone()).or_default();
    for model in fields::entries(&entry.node, &entry.name, findings) {
        let path = fields::join(&entry.name, &model.name);
        let fields = Fields::open(&model.node, &path, &PRICE, findings);
        let price = provider::price(&fields, findings);
        models.extend(price.map(|price| (model.name.clone(), price)));
        if fields::entries(&model.node, &path, &mut Findings::default()).is_empty() {
            findings.add(&model.at, path, Wrong::new("it has no price", "write `input_cost_per_1k_tokens: …` and `output_cost_per_1k_tokens: …`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::usage::Usage;

    #[test]
    fn a_file_of_prices_is_read_with_its_date() {
        let text = "date: \"2027-01-01\"\nopenai:\n  gpt-9: {input_cost_per_1k_tokens: 0.002, output_cost_per_1k_tokens: 0.008}\nollama:\n  \"*\": {input_cost_per_1k_tokens: 0, output_cost_per_1k_tokens: 0}\n";
        let list = PriceList::from(read(text, Path::new("p.yaml")).unwrap());
        assert_eq!(list.date(), Some("2027-01-01"));
        let used = Usage { input: 1000, output: 1000, ..Usage::default() };
        assert_eq!(list.lookup("openai", "gpt-9").map(|price| price.cost(&used).dollars()), Some(0.01));
        assert!(list.lookup("openai", "gpt-4o").is_none() && list.lookup("ollama", "anything").is_some());
    }

    #[test]
    fn a_long_prompt_has_prices_of_its_own() {
        let text = "openai:\n  a: {input_cost_per_1k_tokens: 1, output_cost_per_1k_tokens: 2, cache_write_cost_per_1k_tokens: 3, long_context: {above_input_tokens: 1000, input_cost_per_1k_tokens: 10, output_cost_per_1k_tokens: 20}}\n";
        let price = PriceList::from(read(text, Path::new("p.yaml")).unwrap()).lookup("openai", "a").unwrap();
        let cost = |input, written| price.cost(&Usage { input, written, output: 1000, ..Usage::default() }).dollars();
        assert_eq!([cost(1000, 0), cost(1000, 500), cost(2000, 0)], [3.0, 4.0, 40.0]);
        for (text, part) in [
            (
                "openai: {a: {input_cost_per_1k_tokens: 1, output_cost_per_1k_tokens: 2, long_context: {input_cost_per_1k_tokens: 10, output_cost_per_1k_tokens: 20}}}",
                "long_context.above_input_tokens",
            ),
            ("openai: {a: {long_context: {above_input_tokens: 5}}}", "openai.a.input_cost_per_1k_tokens"),
            ("openai: {a: {input_cost_per_1k_tokens: 1, output_cost_per_1k_tokens: 2, long_context: {above: 5}}}", "long_context.above"),
        ] {
            let why = read(text, Path::new("p.yaml")).unwrap_err().to_string();
            assert!(why.contains(part), "{part}: {why}");
        }
    }

    #[test]
    fn every_mistake_in_it_has_its_place() {
        let text = "openay: {}\nopenai:\n  a: {input_cost_per_1k_tokens: -1, output_cost_per_1k_tokens: 1}\n  b: {input: 1}\n";
        let why = read(text, Path::new("p.yaml")).unwrap_err().to_string();
        for part in ["p.yaml:1:1: openay", "did you mean `openai`", "p.yaml:3:33: openai.a.input_cost_per_1k_tokens", "p.yaml:4:7: openai.b.input"] {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert!(read("openai: {a: {}}", Path::new("p.yaml")).unwrap_err().to_string().contains("it has no price"));
    }
}
