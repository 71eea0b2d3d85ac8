//! The house rules, as tests: who may import whom, how long a file may be, that every file says what it is for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers of `ARCHITECTURE.md`, from the ground up. A module may use those of lower rows, itself, and what its
/// exceptions name.
const LAYERS: &[(&str, usize, &[&str])] = &[
    ("caller_body", 0, &[]),
    ("clock", 0, &[]),
    ("network", 0, &[]),
    ("event", 0, &[]),
    ("trace", 0, &[]),
    ("message", 1, &[]),
    ("metrics", 1, &[]),
    ("recognise", 1, &[]),
    // A token is verified for a request that the shop is to get.
    ("token", 1, &["message"]),
    ("limits", 2, &[]),
    // A request takes its seat along.
    ("upstream", 2, &["limits"]),
    ("ledger", 2, &[]),
    // It has the same ways to a server.
    ("export", 2, &["upstream"]),
    ("probe", 2, &[]),
    ("delivery", 3, &[]),
    ("klarna", 3, &[]),
    ("callback", 4, &[]),
    ("forward", 4, &[]),
    ("doctor", 4, &[]),
    ("server", 5, &[]),
    ("answer", 5, &[]),
    ("admin", 5, &[]),
    ("gateway", 5, &["answer", "server"]),
    ("config", 6, &["app"]),
    ("app", 6, &[]),
    ("demo", 6, &["app", "config", "cli"]),
    ("cli", 6, &["app", "config", "demo"]),
    ("main", 6, &["cli"]),
    ("lib", 6, &[]),
];

const FILE_LINES_MAX: usize = 400;

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut faults = Vec::new();
    for file in sources() {
        let module = module_of(&file);
        let (own_layer, exceptions) = layer(&module).unwrap_or_else(|| panic!("{module} is in no layer"));
        for used in used_modules(&without_tests(&file)) {
            let Some((used_layer, _)) = layer(&used) else { continue };
            let allowed = used == module || used_layer < own_layer || exceptions.contains(&used.as_str());
            if !allowed {
                faults.push(format!("{} uses `{used}`", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_composition_root_names_a_ledger_backend() {
    for file in sources() {
        if matches!(module_of(&file).as_str(), "app" | "ledger") {
            continue;
        }
        let text = without_tests(&file);
        for backend in
            ["ledger::sqlite", "ledger::memory", "ledger::postgres", "Sqlite::", "Memory::", "Postgres::open"]
        {
            assert!(!text.contains(backend), "{} names {backend}", file.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for_and_is_no_longer_than_it_should_be() {
    let mut faults = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        if !text.starts_with("//! ") {
            faults.push(format!("{} does not start with `//! `", file.display()));
        }
        let lines = without_tests(&file).lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{} has {lines} lines without its tests", file.display()));
        }
        if file.file_name().is_some_and(|name| name == "mod.rs" || name == "utils.rs" || name == "common.rs") {
            faults.push(format!("{} should be named for what it holds", file.display()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_map_lists_every_module() {
    let map = fs::read_to_string("src/lib.rs").unwrap();
    let modules: BTreeSet<String> = sources().iter().map(|file| module_of(file)).collect();
    for module in modules.iter().filter(|module| !matches!(module.as_str(), "lib" | "main")) {
        assert!(map.contains(&format!("pub mod {module};")), "lib.rs does not list {module}");
    }
}

fn layer(module: &str) -> Option<(usize, &'static [&'static str])> {
    LAYERS.iter().find(|(name, ..)| *name == module).map(|(_, layer, exceptions)| (*layer, *exceptions))
}

/// `src/server/tls.rs` belongs to `server`.
fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix("src").unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn used_modules(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for after in text.split("crate::").skip(1) {
        if let Some(group) = after.strip_prefix('{') {
            let members = group.split('}').next().unwrap_or_default();
            used.extend(members.split(',').map(|member| first_word(member.trim())));
        } else {
            used.insert(first_word(after));
        }
    }
    used
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

fn without_tests(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// Unit tests that have a file, or a folder, of their own.
fn holds_tests(path: &Path) -> bool {
    path.iter().any(|part| matches!(part.to_str(), Some("tests" | "tests.rs" | "contract" | "contract.rs")))
}

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !holds_tests(&path) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("src"), &mut found);
    assert!(found.len() > 20, "the sources are looked for in the wrong place");
    found.sort();
    found
}
