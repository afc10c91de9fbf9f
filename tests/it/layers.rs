//! The order of the modules in `lib.rs` holds: a module uses only modules above it, and each outside package has its place.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Packages that only these files may name: replacing one is the work of one place.
const PLACES: [(&str, &[&str]); 26] = [
    ("aes_gcm", &["vault"]),
    ("argon2", &["vault"]),
    (
        "bincode",
        &[
            "audit.rs",
            "broker/records.rs",
            "daemon/journal.rs",
            "daemon/leasing.rs",
            "daemon/safe.rs",
            "daemon/rebuild.rs",
            "event.rs",
            "protocol/frame.rs",
        ],
    ),
    ("clap", &["ctl", "daemon/arguments.rs"]),
    ("daemonize", &["daemon/background.rs"]),
    ("dbus_secret_service", &["vault/keyring.rs"]),
    ("getrandom", &["vault"]),
    ("hkdf", &["vault"]),
    ("hmac", &["vault"]),
    ("http_body_util", &["daemon/metrics"]),
    ("hyper", &["daemon/metrics"]),
    ("hyper_util", &["daemon/metrics"]),
    ("interprocess", &["endpoint"]),
    ("keyring", &["vault"]),
    ("libc", &["endpoint/listen/unix/peer.rs"]),
    ("nix", &["ctl/users.rs", "platform/unix/names.rs"]),
    ("prometheus_client", &["daemon/metrics"]),
    ("ratatui", &["ctl/top.rs", "ctl/top"]),
    ("region", &["vault/locked.rs"]),
    ("reqwest", &["http.rs", "probe"]),
    ("rpassword", &["typed.rs"]),
    ("rustls", &["http.rs"]),
    ("sd_notify", &["platform/unix.rs", "platform/unix/handed.rs"]),
    ("serde_yaml", &["config/file.rs"]),
    ("sha2", &["vault"]),
    ("sled", &["store/sled.rs"]),
];

/// A file of `src`, without comments and tests.
struct Source {
    /// Below `src`.
    path: String,
    code: String,
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every file that is part of the programs.
fn sources() -> Vec<Source> {
    let (mut found, mut tests) = (Vec::new(), BTreeSet::new());
    let mut left = vec![src()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(src()).unwrap().to_str().unwrap().to_owned();
                tests.extend(modules_of_tests(&text).map(|module| format!("{}/{module}", name.trim_end_matches(".rs"))));
                found.push(Source { path: name, code: code(&text) });
            }
        }
    }
    found.retain(|source| !tests.iter().any(|test| source.path == format!("{test}.rs") || source.path.starts_with(&format!("{test}/"))));
    found
}

/// The modules of a file that are there for tests alone and have files of their own.
fn modules_of_tests(text: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let declared = |line: &&str| line.strip_suffix(';').and_then(|line| line.split_once("mod ")).map(|(_, name)| name.to_owned());
    let named: Vec<String> =
        lines.windows(2).filter(|pair| pair[0].starts_with("#[cfg(") && pair[0].contains("test")).filter_map(|pair| declared(&pair[1])).collect();
    text.split_whitespace().filter_map(move |word| word.strip_suffix(';').filter(|name| named.iter().any(|known| known == name)))
}

/// The text without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").or_else(|| text.find("#[cfg(test)]\n#[cfg(unix)]\nmod tests {")).unwrap_or(text.len());
    text[..end].lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// The modules of `lib.rs` in their order.
fn order() -> Vec<String> {
    let text = std::fs::read_to_string(src().join("lib.rs")).unwrap();
    let lines = text.lines().map(|line| line.trim().trim_start_matches("pub "));
    lines.filter_map(|line| Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())).collect()
}

/// The names that stand behind `crate::`, also in a group.
fn names_of_crate(code: &str) -> Vec<String> {
    let word = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(word(rest));
            continue;
        };
        let mut depth = 1;
        let mut start = true;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if start && !c.is_whitespace() {
                names.push(word(&group[at..]));
                start = false;
            }
            start = start || (depth == 1 && c == ',');
        }
    }
    names
}

/// The module of a file: its first folder, or its own name.
fn module(path: &str) -> &str {
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

#[test]
fn a_module_uses_only_modules_above_it() {
    let order = order();
    assert!(order.len() > 20, "{order:?}");
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path != "lib.rs") {
        let own = module(&source.path);
        let names = names_of_crate(&source.code);
        if own == "bin" {
            assert!(names.is_empty(), "{}: a program uses the library by its name", source.path);
            continue;
        }
        let here = place(own).unwrap_or_else(|| panic!("{} is no module of lib.rs", source.path));
        for name in names.iter().filter(|name| *name != own) {
            match place(name) {
                Some(there) if there < here => {}
                Some(_) => wrong.push(format!("{}: uses `{name}`, which stands below `{own}`", source.path)),
                None => wrong.push(format!("{}: `crate::{name}` is no module: name the place itself", source.path)),
            }
        }
        if !source.path.contains('/') && source.code.contains("super::") {
            wrong.push(format!("{}: `super::` reaches the root: write `crate::`", source.path));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_outside_package_is_named_in_its_place_alone() {
    let own_module =
        |source: &Source, package: &str| source.code.contains(&format!("super::{package}::")) || source.code.contains(&format!("::{package}::"));
    let mut wrong = Vec::new();
    for source in sources() {
        for (package, places) in PLACES {
            let here = places
                .iter()
                .any(|place| source.path == *place || source.path == format!("{place}.rs") || source.path.starts_with(&format!("{place}/")));
            let named = source.code.match_indices(&format!("{package}::")).any(|(at, _)| {
                let before = source.code[..at].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
            });
            if named && !here && !own_module(&source, package) {
                wrong.push(format!("{}: names `{package}`, whose place is {places:?}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_sources_sees_what_it_must() {
    assert_eq!(names_of_crate("use crate::{a::b, c::{d, e}, self};\ncrate::f::g()"), ["a", "c", "self", "f"]);
    assert_eq!(code("use crate::a;\n// crate::b\n#[cfg(test)]\nmod tests {\nuse crate::c;"), "use crate::a;\n");
    assert_eq!(modules_of_tests("mod a;\n#[cfg(test)]\nmod fake;\nmod b;").collect::<Vec<_>>(), ["fake"]);
    assert!(sources().iter().any(|source| source.path == "store/sled.rs" && source.code.contains("sled::")));
}
