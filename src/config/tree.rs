//! The config as a tree of values, each with the place where it was set. File, environment and flags are laid over
//! one another here, before anybody asks what the values mean.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::place::Place;

/// Syntax errors that are shown at most: what follows the first few is often their consequence.
const SYNTAX_ERRORS_MAX: usize = 5;

/// A section: its options and sections by name.
pub(super) type Table = BTreeMap<String, Entry>;

/// One option or section.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    /// Where its name stands.
    pub(super) name_at: Place,
    /// What it is set to.
    pub(super) node: Node,
}

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Place,
}

/// A value, before it is known what it should be.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Table(Table),
    List(Vec<Node>),
    Text(String),
    /// Digits and radix: the number may be too large for any integer.
    Integer(String, u32),
    Float(String),
    Boolean(bool),
    Date,
    /// From environment or flag: may be a number, a text, a list with commas …
    Raw(String),
}

impl Value {
    /// What it is, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Table(_) => "a section",
            Self::List(_) => "a list",
            Self::Text(_) | Self::Raw(_) => "text",
            Self::Integer(..) | Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Date => "a date",
        }
    }
}

/// A syntax error of the file: where, and what the parser says.
pub(super) type SyntaxError = (Place, String);

/// The tree of a file's text.
pub(super) fn parse(text: &str) -> Result<Table, Vec<SyntaxError>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(table(document.get_ref(), &Place::File));
    }
    let place = |span: Option<Range<usize>>| span.map_or(Place::Default, Place::File);
    Err(errors.iter().take(SYNTAX_ERRORS_MAX).map(|error| (place(error.span()), error.message().to_owned())).collect())
}

/// Lays one option of the environment or of a flag over the tree. Fails with the name of the option that stands in
/// the way when `path` goes through something that is no section.
pub(super) fn overlay(tree: &mut Table, path: &[&str], text: &str, at: &Place) -> Result<(), String> {
    let Some((last, parents)) = path.split_last() else { return Ok(()) };
    let mut section = tree;
    for (depth, name) in parents.iter().enumerate() {
        let empty = || Entry { name_at: at.clone(), node: Node { value: Value::Table(Table::new()), at: at.clone() } };
        match &mut section.entry((*name).to_owned()).or_insert_with(empty).node.value {
            Value::Table(inner) => section = inner,
            _ => return Err(path[..=depth].join(".")),
        }
    }
    let entry = Entry { name_at: at.clone(), node: Node { value: raw_value(text, at), at: at.clone() } };
    merge(section, (*last).to_owned(), entry);
    Ok(())
}

fn merge(section: &mut Table, name: String, over: Entry) {
    match (section.get_mut(&name), over) {
        (
            Some(Entry { node: Node { value: Value::Table(below), .. }, .. }),
            Entry { node: Node { value: Value::Table(above), .. }, .. },
        ) => above.into_iter().for_each(|(name, entry)| merge(below, name, entry)),
        (_, over) => {
            section.insert(name, over);
        }
    }
}

/// Lists and sections may be written as in TOML; whatever does not parse as such stays text (`[::1]:443`).
fn raw_value(text: &str, at: &Place) -> Value {
    if text.trim_start().starts_with(['[', '{'])
        && let Ok(parsed) = DeValue::parse(text.trim())
    {
        return node(&parsed, &|_| at.clone()).value;
    }
    Value::Raw(text.to_owned())
}

fn node(parsed: &Spanned<DeValue<'_>>, place: &dyn Fn(Range<usize>) -> Place) -> Node {
    let value = match parsed.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => Value::Integer(integer.as_str().to_owned(), integer.radix()),
        DeValue::Float(float) => Value::Float(float.as_str().to_owned()),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item, place)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, place)),
    };
    Node { value, at: place(parsed.span()) }
}

fn table(parsed: &DeTable<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Table {
    let entry = |name: &Spanned<_>, value| Entry { name_at: place(name.span()), node: node(value, place) };
    parsed.iter().map(|(name, value)| (name.get_ref().to_string(), entry(name, value))).collect()
}

/// The name of the environment variable that sets the option `path`.
pub(super) fn variable_of(path: &str) -> String {
    format!("{}{}", super::environment::PREFIX, path.replace('.', "__").to_ascii_uppercase())
}
