//! What is wrong with a config, told so that it can be put right.

use std::fmt;

use thiserror::Error;

use crate::config::place::Source;

/// One thing that is wrong, or that an operator should know.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// Where it was set.
    pub source: Source,
    /// The option, as `section.option`; empty for a fault of the file itself.
    pub option: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Everything that is wrong with a config, in the order of its sources.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub struct Faults(Vec<Finding>);

impl Faults {
    pub(super) fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort();
        findings.dedup();
        Self(findings)
    }

    /// The only fault, and one without a place.
    pub(super) fn of_nowhere(message: String) -> Self {
        Self(vec![Finding { source: Source::Nowhere, option: String::new(), message, hint: None }])
    }

    /// All of them in one line, for logs.
    pub fn in_one_line(&self) -> String {
        self.0.iter().map(Finding::in_one_line).collect::<Vec<_>>().join(" | ")
    }

    /// The faults, one by one.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }
}

impl Finding {
    /// All of it in one line, for logs.
    pub fn in_one_line(&self) -> String {
        let hint = self.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        match self.source {
            Source::Nowhere => format!("{}{hint}", self.message),
            _ => format!("{} ({}): {}{hint}", self.option, self.source, self.message),
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.0 {
            write!(f, "error: {finding}\n\n")?;
        }
        match self.0.len() {
            1 => write!(f, "1 fault in the config"),
            count => write!(f, "{count} faults in the config"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Source::Nowhere => {}
            Source::File { line, column, excerpt, width, .. } => {
                write!(f, "\n  --> {}", self.source)?;
                excerpt_with_caret(f, (*line, *column), excerpt, *width)?;
            }
            Source::Environment(_) | Source::Flag(_) => write!(f, "\n  --> {}", self.source)?,
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

fn excerpt_with_caret(
    f: &mut fmt::Formatter<'_>,
    (line, column): (usize, usize),
    excerpt: &str,
    width: usize,
) -> fmt::Result {
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    write!(f, "\n {margin} |\n {number} | {excerpt}")?;
    let shown = excerpt.chars().count();
    // What the caret should point at may be covered or cut off; then there is none.
    if column > shown + 1 {
        return Ok(());
    }
    let carets = width.min((shown + 1).saturating_sub(column)).max(1);
    write!(f, "\n {margin} | {}{}", " ".repeat(column - 1), "^".repeat(carets))
}
