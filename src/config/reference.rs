//! Keeps `config.example.toml` and `docs/config.md` in step with the code that reads options.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::config::reader::Known;

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// In `docs/config.md`, everything below this line is made from the example.
const MARKER: &str =
    "<!-- Made from config.example.toml; to make it again: cargo test --lib write_the_reference -- --ignored -->";

/// A part of the example.
#[derive(Debug)]
enum Part {
    Prose(Vec<String>),
    Section { header: String, prose: Vec<String> },
    Option(Documented),
}

/// An option as the example documents it.
#[derive(Clone, Debug)]
struct Documented {
    /// Name of the section as in the schema: `tls.certificates[]`.
    section: String,
    name: String,
    value: String,
    is_comment: bool,
    /// Of an option that is set: its default, as the comment says.
    default: Option<String>,
    prose: Vec<String>,
}

impl Documented {
    fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The default, as the example says.
    fn said_default(&self) -> Option<&str> {
        if self.is_comment { Some(&self.value) } else { self.default.as_deref() }
    }

    /// A config in which nothing but this option is set.
    fn alone(&self, value: &str) -> String {
        let header = match self.section.strip_suffix("[]") {
            Some(list) => format!("[[{list}]]"),
            None => format!("[{}]", self.section),
        };
        format!("{header}\n{} = {value}\n", self.name)
    }
}

fn parts() -> Vec<Part> {
    let mut parts = Vec::new();
    let mut prose: Vec<String> = Vec::new();
    let mut section = String::new();
    for line in EXAMPLE.lines() {
        let (content, is_comment) = line.strip_prefix("# ").map_or((line, line.starts_with('#')), |rest| (rest, true));
        if line.is_empty() {
            if !prose.is_empty() {
                parts.push(Part::Prose(std::mem::take(&mut prose)));
            }
        } else if let Some(header) = header_in(content) {
            let list = if header.starts_with("[[") { "[]" } else { "" };
            section = header.trim_matches(['[', ']']).to_owned() + list;
            parts.push(Part::Section { header: header.to_owned(), prose: std::mem::take(&mut prose) });
        } else if let Some((name, value)) = option_in(content) {
            let default = prose.last().and_then(|line| line.strip_prefix("Default: ")).map(str::to_owned);
            if default.is_some() {
                prose.pop();
            }
            let (name, value) = (name.to_owned(), value.to_owned());
            let prose = std::mem::take(&mut prose);
            parts.push(Part::Option(Documented { section: section.clone(), name, value, is_comment, default, prose }));
        } else {
            prose.push(content.trim_start_matches('#').to_owned());
        }
    }
    parts
}

fn header_in(content: &str) -> Option<&str> {
    (content.starts_with('[') && content.ends_with(']')).then_some(content)
}

fn option_in(content: &str) -> Option<(&str, &str)> {
    let (name, value) = content.split_once(" = ")?;
    let is_name = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_';
    name.chars().all(is_name).then_some((name, value))
}

fn options() -> Vec<Documented> {
    let option = |part| match part {
        Part::Option(option) => Some(option),
        _ => None,
    };
    parts().into_iter().filter_map(option).collect()
}

/// Every option that the code asks for, by path.
fn schema() -> BTreeMap<String, Known> {
    // The first one of a path is that of the blank section, with the default.
    let known = read(&Sources::default()).findings.known;
    known.into_iter().rev().map(|one| (one.path.clone(), one)).collect()
}

fn of_text(text: &str) -> Sources {
    let file = FileText { path: "kallback.toml".into(), text: text.to_owned() };
    Sources { file: Some(file), ..Sources::default() }
}

#[test]
fn the_example_starts_on_a_fresh_clone_with_no_warnings_but_those_about_development() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.example.toml");
    let sources = Sources { file: Some(FileText { path, text: EXAMPLE.to_owned() }), ..Sources::default() };
    let loaded = load(&sources).unwrap_or_else(|faults| panic!("{faults}"));
    let warned: Vec<&str> = loaded.warnings.iter().map(|warning| warning.option.as_str()).collect();
    assert_eq!(warned, ["tls.make_development_certificate", "token.make_development_key"]);
    assert_eq!(loaded.key_file_to_make, Some(folder.path().join("data/token.keys")));
    assert_eq!(loaded.settings.server.tls.certificates[0].key, folder.path().join("certs/dev.key"));
    assert_eq!(loaded.settings.server.listen, ["127.0.0.1:8443".parse().unwrap()]);
}

#[test]
fn the_example_shows_every_option_and_no_other() {
    let shown: BTreeSet<String> = options().iter().map(Documented::path).collect();
    let known: BTreeSet<String> = schema().into_keys().collect();
    let missing: Vec<_> = known.difference(&shown).collect();
    assert!(missing.is_empty(), "options that the example does not show: {missing:#?}");
    let is_special = |path: &&String| path.starts_with("callbacks.override.") || *path == "routes[].query";
    let surplus: Vec<_> = shown.difference(&known).filter(|path| !is_special(path)).collect();
    assert!(surplus.is_empty(), "options that do not exist: {surplus:#?}");
}

#[test]
fn every_default_in_the_example_is_the_real_one() {
    let schema = schema();
    let mut compared = 0;
    for option in options() {
        let Some(real) = schema.get(&option.path()).and_then(|known| known.default.as_ref()) else { continue };
        let said = option.said_default().unwrap_or_else(|| panic!("no default is given for {}", option.path()));
        let reading = read(&of_text(&option.alone(said)));
        let read_back = reading.findings.known.into_iter().rev().find(|known| known.path == option.path()).unwrap();
        assert_eq!(read_back.value.as_ref(), Some(real), "{}", option.path());
        let own_fault = |fault: &&Finding| fault.option == option.path();
        let faults: Vec<_> = reading.findings.faults.iter().filter(own_fault).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", option.path());
        compared += 1;
    }
    assert!(compared > 100, "only {compared} defaults were compared");
}

#[test]
fn every_section_reports_unknown_options() {
    let paths: BTreeSet<String> = options().into_iter().map(|option| option.section).collect();
    for section in paths {
        let unknown = Documented {
            section: section.clone(),
            name: "no_such_option".to_owned(),
            value: "1".to_owned(),
            is_comment: true,
            default: None,
            prose: Vec::new(),
        };
        let faults = read(&of_text(&unknown.alone("1"))).findings.faults;
        assert!(faults.iter().any(|fault| fault.option == unknown.path()), "{section} takes whatever comes");
    }
}

#[test]
fn every_preset_and_kind_takes_overrides() {
    for kind in crate::event::Kind::ALL {
        let text = format!("[callbacks.override.woocommerce.{kind}]\nmode = \"off\"\n");
        let faults = read(&of_text(&text)).findings.faults;
        assert!(!faults.iter().any(|fault| fault.option.contains("override")), "{kind}: {faults:?}");
    }
}

#[test]
fn the_reference_is_in_step_with_the_example() {
    let (head, body) = reference_file();
    assert!(!head.is_empty());
    assert!(body == rendered(), "docs/config.md is out of step with config.example.toml; see the comment in it");
}

#[test]
#[ignore = "writes docs/config.md"]
fn write_the_reference() {
    let (head, _) = reference_file();
    std::fs::write(reference_path(), format!("{head}{MARKER}\n\n{}", rendered())).unwrap();
}

fn reference_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md")
}

fn reference_file() -> (String, String) {
    let text = std::fs::read_to_string(reference_path()).unwrap();
    let (head, body) = text.split_once(MARKER).expect("docs/config.md has no marker");
    (head.to_owned(), body.trim_start_matches('\n').to_owned())
}

fn rendered() -> String {
    let schema = schema();
    let mut out = String::new();
    let mut after_first_header = false;
    for part in parts() {
        match part {
            Part::Prose(lines) if after_first_header => {
                let fence = if lines.iter().any(|line| line.contains("  ")) { "\n```text\n" } else { "\n" };
                let end = if fence.len() > 1 { "```\n" } else { "" };
                let _ = write!(out, "{fence}{}\n{end}", lines.join("\n").trim());
            }
            Part::Prose(_) => {}
            Part::Section { header, prose } => {
                after_first_header = true;
                let _ = write!(out, "\n## `{header}`\n\n{}\n", prose.join("\n"));
            }
            Part::Option(option) => render_option(&mut out, &option, schema.get(&option.path())),
        }
    }
    out.trim_start_matches('\n').to_owned()
}

fn render_option(out: &mut String, option: &Documented, known: Option<&Known>) {
    let Documented { name, value, .. } = option;
    let has_default = known.is_some_and(|known| known.default.is_some());
    let default = match option.said_default() {
        Some(default) if has_default => format!("default `{default}`"),
        _ => format!("for example `{value}`"),
    };
    let _ = write!(out, "\n- **`{name}`** · {default}\n");
    if !option.prose.is_empty() {
        let _ = write!(out, "\n  {}\n", option.prose.join("\n  "));
    }
}
