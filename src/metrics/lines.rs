//! The log line of every event.
//!
//! Which line at which level is decided here and nowhere else. Words from the outside world (ids, methods) are
//! fields, never part of the message, and are cut off at a length: a field is escaped, a message is not.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tracing::field::{DisplayValue, display};
use tracing::{debug, error, info, warn};

use super::{Event, REPEATS_THAT_ALARM};
use crate::trace::{Span, TraceId};

/// Writes the event's line, if anybody listens at its level.
pub(super) fn write(event: &Event<'_>) {
    match event {
        Event::CallbackAnswered { .. }
        | Event::TokenChecked { .. }
        | Event::Duplicate { .. }
        | Event::UnacknowledgedPush { .. } => write_callback(event),
        Event::Attempt { .. }
        | Event::ReplayOrdered { .. }
        | Event::Blocked { .. }
        | Event::Suspicious { .. }
        | Event::Ended { .. } => write_delivery(event),
        Event::TrafficAnswered { .. }
        | Event::ShopReplied { .. }
        | Event::ShopAsked { .. }
        | Event::SeatWaited { .. }
        | Event::SeatsInUse { .. }
        | Event::Handshake { .. }
        | Event::ConnectionRefused { .. }
        | Event::RequestRefused { .. } => write_traffic(event),
        Event::LedgerCommitted { .. }
        | Event::LedgerFailed { .. }
        | Event::Reloaded { .. }
        | Event::Certificate { .. }
        | Event::SpansLost { .. }
        | Event::Life { .. }
        | Event::Warning { .. } => write_process(event),
    }
}

fn write_callback(event: &Event<'_>) {
    match *event {
        Event::CallbackAnswered { kind, route, answered_by, status, took, budget, client, subject, span, .. } => info!(
            target: TARGET, kind = kind.name(), route, answered_by = answered_by.name(), status,
            took_ms = millis(took), budget_ms = millis(budget), %client, subject = subject.map(clipped),
            trace_id = trace_id(span), "callback answered"
        ),
        Event::TokenChecked { kind, result, observed: true, client } => {
            warn!(target: TARGET, kind = kind.name(), result, %client, "token would be refused");
        }
        Event::TokenChecked { kind, result: result @ ("valid" | "off"), client, .. } => {
            debug!(target: TARGET, kind = kind.name(), result, %client, "token checked");
        }
        Event::TokenChecked { kind, result, client, .. } => {
            warn!(target: TARGET, kind = kind.name(), result, %client, "token refused");
        }
        Event::Duplicate { kind, state, .. } => debug!(target: TARGET, kind = kind.name(), state, "duplicate callback"),
        Event::UnacknowledgedPush { subject, repeats } if repeats >= REPEATS_THAT_ALARM => warn!(
            target: TARGET, subject = subject.map(clipped), repeats,
            "the shop answers this push with 2xx but never acknowledges the order"
        ),
        Event::UnacknowledgedPush { subject, repeats } => {
            info!(target: TARGET, subject = subject.map(clipped), repeats, "push repeated");
        }
        _ => {}
    }
}

fn write_delivery(event: &Event<'_>) {
    match *event {
        // The first attempt is the sender's own call, whose line says all; the later ones have no other line.
        Event::Attempt { kind, outcome: "delivered", attempt: 0..=1, record, took, span, .. } => {
            let trace_id = trace_id(span);
            debug!(target: TARGET, kind = kind.name(), record, took_ms = millis(took), trace_id, "delivered");
        }
        Event::Attempt { kind, outcome: "delivered", attempt, record, status, took, span, .. } => info!(
            target: TARGET, kind = kind.name(), record, attempt, status, took_ms = millis(took),
            trace_id = trace_id(span),
            "delivered at a later attempt"
        ),
        Event::Attempt { kind, outcome, record, attempt, status, took, note, span, .. } => warn!(
            target: TARGET, kind = kind.name(), outcome, record, attempt, status, took_ms = millis(took),
            note = clipped(note), trace_id = trace_id(span), "attempt failed"
        ),
        Event::ReplayOrdered { kind, record, .. } => {
            info!(target: TARGET, kind = kind.name(), record, "a person has it brought to the shop again");
        }
        Event::Blocked { by, advice } => warn!(target: TARGET, by, advice, "the shop was not reached or failed"),
        Event::Suspicious { kind, warning } => {
            warn!(target: TARGET, kind = kind.name(), warning, "suspicious reply of the shop");
        }
        Event::Ended { kind, record, end: "dead", note } => error!(
            target: TARGET, kind = kind.name(), record, note = clipped(note),
            "notice given up; it is kept and can be replayed"
        ),
        Event::Ended { kind, record, note, .. } => info!(
            target: TARGET, kind = kind.name(), record, note = clipped(note), "left to the sender's own repeat"
        ),
        _ => {}
    }
}

fn write_traffic(event: &Event<'_>) {
    match *event {
        Event::TrafficAnswered { method, status, took, client, span } => debug!(
            target: TARGET, method = clipped(method), status, took_ms = millis(took), %client,
            trace_id = trace_id(span), "traffic answered"
        ),
        Event::ShopReplied { class, took } => {
            debug!(target: TARGET, class = class.name(), took_ms = millis(took), "shop replied");
        }
        Event::ShopAsked { class, status, took, span } => debug!(
            target: TARGET, class = class.name(), status = status.ok(), error = status.err(), took_ms = millis(took),
            trace_id = trace_id(Some(span)), "asked the shop"
        ),
        Event::SeatWaited { class, took } => {
            debug!(target: TARGET, class = class.name(), took_ms = millis(took), "waited for a seat");
        }
        Event::SeatsInUse { class, seats } => debug!(target: TARGET, class = class.name(), seats, "seats in use"),
        Event::Handshake { result, took } => {
            debug!(target: TARGET, result, took_ms = millis(took), "TLS handshake");
        }
        Event::ConnectionRefused { why, client } => debug!(target: TARGET, why, %client, "connection refused"),
        Event::RequestRefused { why, client } => debug!(target: TARGET, why, %client, "request refused"),
        _ => {}
    }
}

fn write_process(event: &Event<'_>) {
    match *event {
        Event::LedgerCommitted { took } => debug!(target: TARGET, took_ms = millis(took), "ledger committed"),
        Event::LedgerFailed { call, error } => error!(
            target: TARGET, call, error = %Causes(error),
            "the ledger failed; callbacks are passed straight through and are not stored"
        ),
        Event::Reloaded { what, fault: None } => info!(target: TARGET, what, "read again"),
        Event::Reloaded { what, fault: Some(fault) } => error!(
            target: TARGET, what, error = %Causes(fault), "cannot be used; the last good one stays"
        ),
        Event::Certificate { name, not_after } => {
            let not_after = crate::clock::UnixMillis(not_after.saturating_mul(1000));
            info!(target: TARGET, name = clipped(name), %not_after, "certificate in use");
        }
        Event::SpansLost { spans, why } => warn!(target: TARGET, spans, why, "spans were lost"),
        Event::Life { what } => info!(target: TARGET, "{what}"),
        Event::Warning { what } => warn!(target: TARGET, "{what}"),
        _ => {}
    }
}

/// An error with everything that caused it; causes that the message names already are not told twice.
pub struct Causes<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !told.contains(&text) {
                told = format!("{told}: {text}");
            }
            cause = error.source();
        }
        f.write_str(&told)
    }
}

/// By which a line is found from its trace.
fn trace_id(span: Option<&Span>) -> Option<DisplayValue<TraceId>> {
    span.map(|span| display(span.trace))
}

/// To a tenth of a millisecond: enough for people, and short.
fn millis(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}

/// The beginning of a word from outside. Ids are 36 characters long; a body may claim one of a megabyte.
fn clipped(word: &str) -> &str {
    word.get(..word.floor_char_boundary(FIELD_BYTES_MAX)).unwrap_or_default()
}

/// All lines go out under this name, so that a filter needs to know nothing of our modules.
pub(super) const TARGET: &str = "kallback";

/// Longest word from outside in a line.
const FIELD_BYTES_MAX: usize = 200;
