//! Columns as kallback's types.

use bytes::Bytes;
use rusqlite::Row;
use rusqlite::types::{FromSqlError, Type};

use crate::clock::UnixMillis;
use crate::event::{Fingerprint, Identity, Kind};
use crate::ledger::stored::{policy_of, state_of};
use crate::ledger::{Notice, State};
use crate::message::ShopRequest;

pub(super) fn millis(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<UnixMillis>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(UnixMillis))
}

pub(super) fn state_column(row: &Row<'_>, column: usize) -> rusqlite::Result<State> {
    let number: i64 = row.get(column)?;
    state_of(number).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

pub(super) fn fingerprint_column(row: &Row<'_>, column: usize) -> rusqlite::Result<Fingerprint> {
    row.get(column).map(Fingerprint)
}

pub(super) fn kind_column(row: &Row<'_>, column: usize) -> rusqlite::Result<Kind> {
    Kind::named(row.get_ref(column)?.as_str()?).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(FromSqlError::InvalidType))
    })
}

/// The notice in the columns kind, route, policy, failure_texts, fingerprint, turn, subject, request_head and
/// request_body, from `first` on. `None` if this version cannot read it.
pub(super) fn stored_notice(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Notice>> {
    let kind = Kind::named(row.get_ref(first)?.as_str()?);
    let policy = policy_of(row.get_ref(first + 2)?.as_str()?);
    let failure_texts = match row.get_ref(first + 3)?.as_str_or_null()? {
        Some(json) => serde_json::from_str(json).ok(),
        None => Some(Vec::new()),
    };
    let head = row.get_ref(first + 7)?.as_blob_or_null()?;
    let body = row.get_ref(first + 8)?.as_blob_or_null()?.unwrap_or_default();
    let request = head.and_then(|head| ShopRequest::from_stored(head, Bytes::copy_from_slice(body)).ok());
    let (Some(kind), Some(policy), Some(failure_texts), Some(request)) = (kind, policy, failure_texts, request) else {
        return Ok(None);
    };
    Ok(Some(Notice {
        kind,
        route: row.get(first + 1)?,
        policy,
        identity: Identity {
            fingerprint: fingerprint_column(row, first + 4)?,
            turn: fingerprint_column(row, first + 5)?,
            subject: row.get(first + 6)?,
        },
        token: None,
        observes: false,
        failure_texts,
        request,
    }))
}
