//! Asks the tree for options by name and type. Whatever is asked for is thereby known, with its default: so the
//! list of all options, the check for unknown ones and the reference all come from the code that reads them.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::config::place::Place;
use crate::config::readable::{Bytes, Complaint, Read, Readable};
use crate::config::reader::{Known, Reader, Unknown};
use crate::config::tree::{Entry, Node, Table, Value};

/// The section of an option that is not there.
static EMPTY: Table = Table::new();

/// What of a section's options becomes known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Recording {
    Whole,
    /// Its defaults depend on other options.
    WithoutDefaults,
    Nothing,
}

/// One section of the config.
#[derive(Debug)]
pub(super) struct Section<'a> {
    reader: &'a Reader,
    path: String,
    table: &'a Table,
    at: Place,
    recording: Recording,
    asked: RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    /// The outermost section.
    pub(super) fn root(reader: &'a Reader, tree: &'a Table) -> Self {
        let (at, recording) = (Place::Default, Recording::Whole);
        Self { reader, path: String::new(), table: tree, at, recording, asked: RefCell::default() }
    }

    /// An option without a default.
    pub(super) fn optional<T: Readable>(&self, name: &str) -> Option<T> {
        let value = self.read(name);
        self.record(name, None, value.as_ref());
        value
    }

    /// An option with a default.
    pub(super) fn option<T: Readable>(&self, name: &str, default: T) -> T {
        let value = self.read(name);
        self.record(name, Some(&default), value.as_ref());
        value.unwrap_or(default)
    }

    /// An option that must be set.
    pub(super) fn required<T: Readable>(&self, name: &str, hint: &str) -> Option<T> {
        if !self.is_set(name) {
            self.fault_at(&self.at, name, format!("`{}` is missing", self.path_of(name)), hint);
        }
        self.optional(name)
    }

    /// An option with a default and bounds.
    pub(super) fn bounded<T: Readable + PartialOrd>(&self, name: &str, default: T, bounds: RangeInclusive<T>) -> T {
        let value = self.read_bounded(name, &bounds);
        self.record(name, Some(&default), value.as_ref());
        value.unwrap_or(default)
    }

    /// A size in bytes that fits into memory.
    pub(super) fn bytes(&self, name: &str, default: u64, bounds: RangeInclusive<u64>) -> usize {
        let read = self.bounded(name, Bytes(default), Bytes(*bounds.start())..=Bytes(*bounds.end()));
        usize::try_from(read.0).unwrap_or(usize::MAX)
    }

    /// A path. Relative to the folder of the config file if it stands there, else to the working directory.
    pub(super) fn optional_path(&self, name: &str) -> Option<PathBuf> {
        let text: String = self.optional(name)?;
        if text.trim().is_empty() {
            self.fault(name, "this names no file", "");
            return None;
        }
        Some(self.resolve(name, &text))
    }

    /// A path with a default.
    pub(super) fn path(&self, name: &str, default: &str) -> PathBuf {
        let text = self.option(name, default.to_owned());
        self.resolve(name, &text)
    }

    /// The section inside this one. Empty if it is not there.
    pub(super) fn section(&self, name: &str) -> Section<'a> {
        self.asked.borrow_mut().push(name.to_owned());
        let (table, at) = match self.table.get(name) {
            Some(Entry { node: Node { value: Value::Table(inner), .. }, name_at }) => (inner, name_at.clone()),
            Some(Entry { node, .. }) => {
                let message = format!("`{}` is a section, but this is {}", self.path_of(name), node.value.name());
                self.fault_at(&node.at, name, message, &format!("write [{}]", self.path_of(name)));
                (&EMPTY, Place::Default)
            }
            None => (&EMPTY, Place::Default),
        };
        self.inner(self.path_of(name), table, at)
    }

    /// The list of sections of that name.
    pub(super) fn sections(&self, name: &str) -> Vec<Section<'a>> {
        self.asked.borrow_mut().push(name.to_owned());
        let path = format!("{}[]", self.path_of(name));
        let Some(entry) = self.table.get(name) else { return Vec::new() };
        let items = match &entry.node.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.node),
        };
        let section = |item: &'a Node| {
            if let Value::Table(inner) = &item.value {
                return Some(self.inner(path.clone(), inner, item.at.clone()));
            }
            let hint = format!("write [[{}]]", self.path_of(name));
            let message = format!("wanted is a list of sections, but this is {}", item.value.name());
            self.fault_at(&item.at, name, message, &hint);
            None
        };
        items.iter().filter_map(section).collect()
    }

    /// An empty section of the list of that name: asking it for options makes them known although none is set.
    pub(super) fn blank(&self, name: &str) -> Section<'a> {
        self.inner(format!("{}[]", self.path_of(name)), &EMPTY, Place::Default)
    }

    /// The section, without adding its options to the list of known ones.
    pub(super) fn unrecorded(self) -> Self {
        Self { recording: Recording::Nothing, ..self }
    }

    /// The section; what its options default to depends on other options.
    pub(super) fn without_defaults(self) -> Self {
        Self { recording: Recording::WithoutDefaults, ..self }
    }

    /// All names of this section with a text each, as they are: for options that are named by the operator.
    pub(super) fn texts(&self) -> Vec<(String, String)> {
        let text = |(name, entry): (&String, &'a Entry)| {
            self.asked.borrow_mut().push(name.clone());
            match String::read(&entry.node) {
                Ok(value) => Some((name.clone(), value)),
                Err(complaints) => {
                    self.reader.note_faults(&entry.node.at, &self.path_of(name), complaints);
                    None
                }
            }
        };
        self.table.iter().filter_map(text).collect()
    }

    /// Ends the reading: every name that nobody asked for is a fault.
    pub(super) fn end(self) {
        let siblings = self.asked.into_inner();
        let unknown = self.table.iter().filter(|(name, _)| !siblings.contains(name)).map(|(name, entry)| Unknown {
            at: entry.name_at.clone(),
            section: self.path.clone(),
            name: name.clone(),
            siblings: siblings.clone(),
        });
        self.reader.note_unknown(unknown);
    }

    /// Whether the option is set. The name may lead through sections: `tls.certificates`.
    pub(super) fn is_set(&self, name: &str) -> bool {
        let mut table = self.table;
        let mut names = name.split('.').peekable();
        while let Some(name) = names.next() {
            match (table.get(name).map(|entry| &entry.node.value), names.peek()) {
                (None, _) => return false,
                (Some(Value::Table(inner)), Some(_)) => table = inner,
                (Some(_), rest) => return rest.is_none(),
            }
        }
        false
    }

    /// Whether the section itself is there.
    pub(super) fn is_present(&self) -> bool {
        !self.table.is_empty()
    }

    /// The place of the option; where it is not set, that of the innermost section that is there. The name may lead
    /// through sections: `tls.certificates`.
    pub(super) fn place(&self, name: &str) -> Place {
        let (mut table, mut at) = (self.table, &self.at);
        for name in name.split('.') {
            match table.get(name) {
                Some(Entry { node: Node { value: Value::Table(inner), .. }, name_at }) => {
                    (table, at) = (inner, name_at);
                }
                Some(entry) => return entry.node.at.clone(),
                None => break,
            }
        }
        at.clone()
    }

    /// The option's full name.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Notes that the option does not do.
    pub(super) fn fault(&self, name: &str, message: impl Into<String>, hint: &str) {
        self.fault_at(&self.place(name), name, message, hint);
    }

    /// Notes something about the option that an operator should know.
    pub(super) fn warn(&self, name: &str, message: impl Into<String>, hint: &str) {
        self.reader.note_warnings(&self.place(name), &self.path_of(name), Complaint::new(message, hint));
    }

    /// Notes that a part of the option does not do.
    pub(super) fn fault_at(&self, at: &Place, name: &str, message: impl Into<String>, hint: &str) {
        self.reader.note_faults(at, &self.path_of(name), Complaint::new(message, hint));
    }

    fn inner(&self, path: String, table: &'a Table, at: Place) -> Section<'a> {
        Section { reader: self.reader, path, table, at, recording: self.recording, asked: RefCell::default() }
    }

    fn read<T: Readable>(&self, name: &str) -> Option<T> {
        self.read_with(name, T::read)
    }

    fn read_bounded<T: Readable + PartialOrd>(&self, name: &str, bounds: &RangeInclusive<T>) -> Option<T> {
        self.read_with(name, |node| {
            let value = T::read(node)?;
            if bounds.contains(&value) {
                return Ok(value);
            }
            let (least, most) = (bounds.start().show(), bounds.end().show());
            Err(Complaint::new(format!("{} is out of bounds", value.show()), &format!("from {least} to {most}")))
        })
    }

    fn read_with<T>(&self, name: &str, read: impl FnOnce(&Node) -> Read<T>) -> Option<T> {
        self.asked.borrow_mut().push(name.to_owned());
        let node = &self.table.get(name)?.node;
        match read(node) {
            Ok(value) => Some(value),
            Err(complaints) => {
                self.reader.note_faults(&node.at, &self.path_of(name), complaints);
                None
            }
        }
    }

    fn resolve(&self, name: &str, text: &str) -> PathBuf {
        match self.table.get(name).map(|entry| &entry.node.at) {
            Some(Place::File(_)) => self.reader.folder().join(text),
            _ => PathBuf::from(text),
        }
    }

    fn record<T: Readable>(&self, name: &str, default: Option<&T>, value: Option<&T>) {
        let default = match self.recording {
            Recording::Whole => default.map(Readable::show),
            Recording::WithoutDefaults => None,
            Recording::Nothing => return,
        };
        let value = value.map(Readable::show).or_else(|| default.clone());
        self.reader.note_known(Known { path: self.path_of(name), default, value });
    }
}
