//! What one reading of the config finds out: faults, warnings, and which options there are.
//!
//! A fault never stops the reading. The option's default stands in, and the fault is noted: so all faults are found
//! in one go, and whoever reads a section need not care.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use crate::config::fault::Finding;
use crate::config::place::{Place, Source};
use crate::config::readable::{Complaint, quoted};
use crate::config::suggest::nearest;
use crate::config::tree::variable_of;

/// What is known about one option, after the config was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Known {
    /// `section.option`; items of a list of sections are `section[].option`.
    pub(super) path: String,
    /// Its default as TOML; `None` if it has none.
    pub(super) default: Option<String>,
    /// Its value as TOML; `None` if it is not set and has no default.
    pub(super) value: Option<String>,
}

/// Everything that one reading finds out.
#[derive(Debug)]
pub(super) struct Reader {
    /// Relative paths of the file start here.
    folder: PathBuf,
    notes: RefCell<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    faults: Vec<Note>,
    warnings: Vec<Note>,
    known: Vec<Known>,
    unknown: Vec<Unknown>,
}

/// A finding whose place is not looked up yet.
#[derive(Clone, Debug)]
struct Note {
    at: Place,
    option: String,
    complaint: Complaint,
}

/// A name that nobody asked for.
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) at: Place,
    /// Full name of the section where it stands; empty for the outermost.
    pub(super) section: String,
    pub(super) name: String,
    /// The names that were asked for there.
    pub(super) siblings: Vec<String>,
}

/// The result of a reading.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) faults: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests keep example and reference in step with it"))]
    pub(super) known: Vec<Known>,
}

impl Reader {
    /// A reader; relative paths in the file start at `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), notes: RefCell::default() }
    }

    /// Notes a fault that belongs to no section.
    pub(super) fn fault(&self, at: &Place, message: impl Into<String>, hint: &str) {
        self.note_faults(at, "", Complaint::new(message, hint));
    }

    /// Whether a fault was noted so far.
    pub(super) fn has_faults(&self) -> bool {
        !self.notes.borrow().faults.is_empty()
    }

    /// All that was found; `file` and `text` are what places of the file refer to.
    pub(super) fn finish(self, file: &str, text: &str) -> Findings {
        let notes = self.notes.into_inner();
        let finding = |note: Note| Finding {
            source: Source::of(&note.at, file, text),
            option: note.option,
            message: note.complaint.message,
            hint: note.complaint.hint,
        };
        let known = notes.known;
        let unknown = notes.unknown.iter().map(|one| one.finding(&known, file, text));
        let mut faults: Vec<Finding> = notes.faults.into_iter().map(finding).collect();
        faults.extend(unknown);
        Findings { faults, warnings: notes.warnings.into_iter().map(finding).collect(), known }
    }

    /// Notes what is wrong with an option.
    pub(super) fn note_faults(&self, at: &Place, option: &str, complaints: Vec<Complaint>) {
        self.notes.borrow_mut().faults.extend(notes_of(at, option, complaints));
    }

    /// Notes what an operator should know about an option.
    pub(super) fn note_warnings(&self, at: &Place, option: &str, complaints: Vec<Complaint>) {
        self.notes.borrow_mut().warnings.extend(notes_of(at, option, complaints));
    }

    /// Notes that an option was asked for.
    pub(super) fn note_known(&self, known: Known) {
        self.notes.borrow_mut().known.push(known);
    }

    /// Notes names that nobody asked for.
    pub(super) fn note_unknown(&self, unknown: impl Iterator<Item = Unknown>) {
        self.notes.borrow_mut().unknown.extend(unknown);
    }

    /// Where relative paths of the file start.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

fn notes_of(at: &Place, option: &str, complaints: Vec<Complaint>) -> impl Iterator<Item = Note> {
    complaints.into_iter().map(move |complaint| Note {
        at: complaint.at.clone().unwrap_or_else(|| at.clone()),
        option: option.to_owned(),
        complaint,
    })
}

impl Unknown {
    fn finding(&self, known: &[Known], file: &str, text: &str) -> Finding {
        let option =
            if self.section.is_empty() { self.name.clone() } else { format!("{}.{}", self.section, self.name) };
        let mut source = Source::of(&self.at, file, text);
        // The value may be a secret under a misspelt name.
        if let Source::File { column, excerpt, width, .. } = &mut source {
            *excerpt = excerpt.chars().take(*column - 1 + *width).collect();
        }
        Finding { hint: Some(self.hint(known)), source, message: self.message(), option }
    }

    fn message(&self) -> String {
        let name = quoted(&self.name);
        match (&self.at, self.section.as_str()) {
            (Place::Environment(_) | Place::Flag(_), _) => "there is no such option".to_owned(),
            (_, "") => format!("there is no section {name}"),
            (_, section) => format!("there is no option {name} in [{section}]"),
        }
    }

    fn hint(&self, known: &[Known]) -> String {
        let siblings: Vec<&str> = self.siblings.iter().map(String::as_str).collect();
        let path =
            |name: &str| if self.section.is_empty() { name.to_owned() } else { format!("{}.{name}", self.section) };
        if let Some(near) = nearest(&self.name, &siblings) {
            return format!("did you mean `{}`?", self.as_written(&path(near), near));
        }
        let elsewhere = known.iter().find(|one| one.path.rsplit('.').next() == Some(self.name.as_str()));
        if let Some(elsewhere) = elsewhere {
            return format!("did you mean `{}`?", self.as_written(&elsewhere.path, &elsewhere.path));
        }
        let mut names: Vec<String> = siblings.iter().map(|name| self.as_written(&path(name), name)).collect();
        names.sort();
        names.dedup();
        format!("known here: {}", names.join(", "))
    }

    /// An option's name as it is written where the unknown one stands.
    fn as_written(&self, path: &str, name: &str) -> String {
        match self.at {
            Place::Environment(_) => variable_of(path),
            Place::Flag(_) => path.to_owned(),
            Place::File(_) | Place::Default => name.to_owned(),
        }
    }
}
