//! What goes wrong between kallback and its database.

use std::io;

use thiserror::Error;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::ledger::LedgerError;
use crate::ledger::postgres::address::TlsFault;

/// Why a database cannot be used as a ledger.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A newer kallback made its tables.
    #[error(
        "the tables in the database were made by a newer kallback: they have format {found}, this kallback knows \
         formats up to {known}; start the newer version again, or name another database"
    )]
    Newer {
        /// Their format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
    /// It is there, and will not do what kallback needs: wrong password, no such database, no right to make tables.
    #[error("the database refuses: {0}")]
    Refused(String),
    /// Nobody answers, or nobody who can write.
    #[error("the database cannot be reached: {0}")]
    Away(String),
    /// See [`TlsFault`].
    #[error(transparent)]
    Tls(#[from] TlsFault),
}

impl OpenError {
    /// Whether waiting does not help: a person has to change something.
    pub fn is_lasting(&self) -> bool {
        !matches!(self, Self::Away(_))
    }
}

/// Why a statement failed.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: LedgerError,
    /// It may have been carried out all the same.
    pub(super) is_unsure: bool,
    /// The connection is not worth keeping.
    pub(super) ends_connection: bool,
}

impl From<Fault> for LedgerError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

impl Fault {
    /// Nothing was sent.
    pub(super) fn before(error: LedgerError) -> Self {
        Self { error, is_unsure: false, ends_connection: false }
    }

    /// No answer came in time.
    pub(super) fn silence() -> Self {
        let error = LedgerError::Unavailable("the database did not answer in time".to_owned());
        Self { error, is_unsure: true, ends_connection: true }
    }

    /// A statement's fault. Only the code: the server's texts could quote what was to be stored.
    pub(super) fn of_statement(error: &Error) -> Self {
        match error.code() {
            Some(code) => Self {
                error: LedgerError::Unavailable(format!("{} (SQLSTATE {})", in_words(code), code.code())),
                is_unsure: *code == SqlState::TRANSACTION_RESOLUTION_UNKNOWN
                    || *code == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
                ends_connection: !is_passing(code),
            },
            None => Self { error: LedgerError::Unavailable(reason(error)), is_unsure: true, ends_connection: true },
        }
    }
}

/// What a caller is told of something that was read and is not what was written.
pub(super) fn unreadable(_: tokio_postgres::Error) -> Fault {
    Fault::before(LedgerError::Unavailable("something stored there cannot be understood".to_owned()))
}

/// A fault while a connection is made. The server's own words are about the connection here, not about callbacks.
pub(super) fn refusal(error: &Error) -> OpenError {
    match error.as_db_error() {
        Some(found) if is_for_a_person(found.code()) => {
            OpenError::Refused(format!("{} (SQLSTATE {})", found.message(), found.code().code()))
        }
        Some(found) => OpenError::Away(format!("{} (SQLSTATE {})", found.message(), found.code().code())),
        None => OpenError::Away(reason(error)),
    }
}

fn is_for_a_person(code: &SqlState) -> bool {
    // Invalid authorization, no such database, no right, and anything wrong with a statement of ours.
    let class = code.code().get(..2).unwrap_or_default();
    matches!(class, "28" | "3D" | "3F" | "42")
}

/// The next statement on the same connection may well succeed.
fn is_passing(code: &SqlState) -> bool {
    let class = code.code().get(..2).unwrap_or_default();
    // Rolled back for another's sake; a timeout of the server's; a lock. A read-only server (25) is none to stay with.
    matches!(class, "22" | "23" | "40" | "55")
        || [SqlState::QUERY_CANCELED, SqlState::UNDEFINED_FUNCTION].contains(code)
}

fn in_words(code: &SqlState) -> &'static str {
    match code.code().get(..2).unwrap_or_default() {
        "25" => "the database takes no writes",
        "28" => "the database refuses the user",
        "40" => "the database gave the write up for another",
        "42" => "the database lacks what kallback made there, or the right to it",
        "53" => "the database is out of room or connections",
        "55" | "57" => "the database gave the statement up",
        _ => "the database failed",
    }
}

/// The innermost reason, which is the one that says something: `connection refused`.
fn reason(error: &Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    match inner.downcast_ref::<io::Error>() {
        Some(io) if io.kind() == io::ErrorKind::UnexpectedEof => "the connection broke".to_owned(),
        _ => inner.to_string(),
    }
}
