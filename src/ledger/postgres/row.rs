//! Columns as kallback's types.

use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::clock::UnixMillis;
use crate::event::{Fingerprint, Identity, Kind};
use crate::ledger::postgres::fault::{Fault, unreadable};
use crate::ledger::stored::{policy_of, state_of};
use crate::ledger::{LedgerError, Notice, State, rules};
use crate::message::{Reply, ShopRequest};

pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, Fault> {
    row.try_get(column).map_err(unreadable)
}

pub(super) fn number<T: TryFrom<i64>>(row: &Row, column: usize) -> Result<T, Fault> {
    T::try_from(get(row, column)?).map_err(|_| strange())
}

pub(super) fn millis(row: &Row, column: usize) -> Result<Option<UnixMillis>, Fault> {
    Ok(get::<Option<i64>>(row, column)?.map(UnixMillis))
}

pub(super) fn state(row: &Row, column: usize) -> Result<State, Fault> {
    state_of(get(row, column)?).ok_or_else(strange)
}

pub(super) fn kind(row: &Row, column: usize) -> Result<Kind, Fault> {
    Kind::named(get(row, column)?).ok_or_else(strange)
}

pub(super) fn fingerprint(row: &Row, column: usize) -> Result<Fingerprint, Fault> {
    get::<&[u8]>(row, column)?.try_into().map(Fingerprint).map_err(|_| strange())
}

/// A recorded reply in two columns; a bare receipt where this version cannot read it.
pub(super) fn reply(row: &Row, first: usize) -> Result<Reply, Fault> {
    let head: Option<&[u8]> = get(row, first)?;
    let body: Option<&[u8]> = get(row, first + 1)?;
    let body = Bytes::copy_from_slice(body.unwrap_or_default());
    Ok(Reply::from_stored(head.unwrap_or_default(), body).unwrap_or_else(|_| rules::bare_receipt()))
}

/// The notice in the columns kind, route, policy, failure_texts, fingerprint, turn, subject, request_head and
/// request_body, from `first` on. `None` if this version cannot read it.
pub(super) fn stored_notice(row: &Row, first: usize) -> Result<Option<Notice>, Fault> {
    let kind = Kind::named(get(row, first)?);
    let policy = policy_of(get(row, first + 2)?);
    let failure_texts = match get::<Option<&str>>(row, first + 3)? {
        Some(json) => serde_json::from_str(json).ok(),
        None => Some(Vec::new()),
    };
    let head: Option<&[u8]> = get(row, first + 7)?;
    let body: Option<&[u8]> = get(row, first + 8)?;
    let body = Bytes::copy_from_slice(body.unwrap_or_default());
    let request = head.and_then(|head| ShopRequest::from_stored(head, body).ok());
    let (Some(kind), Some(policy), Some(failure_texts), Some(request)) = (kind, policy, failure_texts, request) else {
        return Ok(None);
    };
    Ok(Some(Notice {
        kind,
        route: get(row, first + 1)?,
        policy,
        identity: Identity {
            fingerprint: fingerprint(row, first + 4)?,
            turn: fingerprint(row, first + 5)?,
            subject: get(row, first + 6)?,
        },
        token: None,
        observes: false,
        failure_texts,
        request,
    }))
}

/// A text as the database takes it: PostgreSQL has no NUL in texts.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn strange() -> Fault {
    Fault::before(LedgerError::Unavailable("something stored there cannot be understood".to_owned()))
}
