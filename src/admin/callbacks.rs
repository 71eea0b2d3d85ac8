//! Records for people: listings, one record, and bringing one to the shop again.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::lately::{moment, summary};
use super::routes::{Fault, Reply, json_reply};
use crate::clock::UnixMillis;
use crate::delivery::attempt::blamed_by;
use crate::event::Kind;
use crate::ledger::{Filter, LISTED_RECORDS_MAX, NoticeId, Obstacle, Record, State};
use crate::metrics::Event;

/// What a replay may be told. `{}` is a replay that refuses what is too old.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReplayOrder {
    /// Say what would happen, and change nothing.
    dry_run: bool,
    /// Bring it also if it is older than its kind may become.
    even_if_old: bool,
}

impl Admin {
    pub(super) async fn list(&self, query: &str) -> Result<Reply, Fault> {
        let records_max = self.settings.page_records_max.min(LISTED_RECORDS_MAX);
        let filter = filter(query, records_max, self.clock.now())?;
        let limit = filter.limit as usize;
        let records = self.ledger.list(filter).await?;
        let next = if records.len() < limit { None } else { records.last().map(|record| record.id) };
        let callbacks: Vec<Value> = records.iter().map(|record| self.record(record)).collect();
        Ok(json_reply(StatusCode::OK, &json!({ "callbacks": callbacks, "next": next })))
    }

    pub(super) async fn show(&self, id: NoticeId) -> Result<Reply, Fault> {
        let record = self.find(id).await?;
        let mut told = self.record(&record);
        told["history"] = self.moments(&record).iter().map(moment).collect();
        Ok(json_reply(StatusCode::OK, &told))
    }

    pub(super) async fn replay(&self, id: NoticeId, order: ReplayOrder) -> Result<Reply, Fault> {
        let record = self.find(id).await?;
        match replay_standing(&record, self.clock.now()) {
            Standing::Ready => {}
            Standing::Old if order.even_if_old => {}
            Standing::Old => return Err(Fault::Obstacle(StatusCode::CONFLICT, Standing::Old.name(), TOO_OLD)),
            barred @ Standing::Barred(obstacle) => {
                return Err(Fault::Obstacle(StatusCode::NOT_FOUND, barred.name(), reason(obstacle)));
            }
        }
        if order.dry_run {
            let told = json!({ "id": id, "state": record.state.name(), "dry_run": true });
            return Ok(json_reply(StatusCode::OK, &told));
        }
        self.ledger.replay(id).await?;
        let Record { kind, fingerprint, .. } = record;
        self.telemetry.emit(Event::ReplayOrdered { kind, record: id, fingerprint });
        (self.wake)();
        Ok(json_reply(StatusCode::ACCEPTED, &json!({ "id": id, "state": State::Pending.name() })))
    }

    async fn find(&self, id: NoticeId) -> Result<Record, Fault> {
        let filter = Filter { before: id.checked_add(1), limit: 1, ..Filter::default() };
        let newest = self.ledger.list(filter).await?.into_iter().next();
        let found = newest.filter(|record| record.id == id);
        found.ok_or(Fault::Status(StatusCode::NOT_FOUND, "there is no such callback (any more)"))
    }

    fn record(&self, record: &Record) -> Value {
        let now = self.clock.now();
        let blamed = record.note.as_deref().and_then(blamed_by);
        json!({
            "id": record.id,
            "kind": record.kind.name(),
            "route": record.route,
            "state": record.state.name(),
            "subject": record.subject,
            "fingerprint": record.fingerprint.to_string(),
            "accepted_at": record.accepted_at.to_string(),
            "age_seconds": now.since(record.accepted_at).as_secs(),
            "ended_at": record.ended_at.map(|at| at.to_string()),
            "due_at": record.due_at.map(|at| at.to_string()),
            "due_in_seconds": record.due_at.map(|at| at.since(now).as_secs()),
            "expires_at": record.expires_at.to_string(),
            "took_ms": record.ended_at.map(|at| at.since(record.accepted_at).as_millis()),
            "budget_ms": record.budget.as_millis(),
            "attempts": record.attempts,
            "repeats": record.repeats,
            "status": record.status,
            "note": record.note,
            "blocked_by": blamed.map(|blocker| blocker.label),
            "advice": blamed.map(|blocker| blocker.advice),
            "replay": replay_standing(record, now).name(),
            "seen": summary(&self.moments(record)),
        })
    }
}

/// What a replay of a record would meet now.
enum Standing {
    Ready,
    Old,
    Barred(Obstacle),
}

impl Standing {
    fn name(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Old => "old",
            Self::Barred(obstacle) => obstacle.name(),
        }
    }
}

fn replay_standing(record: &Record, now: UnixMillis) -> Standing {
    match record.obstacle() {
        Some(obstacle) => Standing::Barred(obstacle),
        None if record.expires_at <= now => Standing::Old,
        None => Standing::Ready,
    }
}

/// An authorization token of Klarna's is void by then, and a late push can undo what people did by hand.
const TOO_OLD: &str =
    "it is older than callbacks of its kind may become; say `\"even_if_old\":true` to bring it all the same";

fn reason(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Pending => "it is pending: it is at the shop, or is brought there when it is due",
        Obstacle::Superseded => "the same callback came again later: there is a newer record of it",
        Obstacle::Swept => "its request is not stored any more; see `ledger.keep_bodies_for`",
    }
}

pub(super) fn number(text: &str) -> Result<NoticeId, Fault> {
    text.parse().map_err(|_| Fault::Status(StatusCode::BAD_REQUEST, "the id of a callback is a number"))
}

fn filter(query: &str, records_max: u32, now: UnixMillis) -> Result<Filter, Fault> {
    let fault = |what| Fault::Status(StatusCode::BAD_REQUEST, what);
    let mut filter = Filter { limit: records_max, ..Filter::default() };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
        match name {
            "state" => {
                let state = State::ALL.into_iter().find(|state| state.name() == value);
                filter.state = Some(state.ok_or(fault("`state` is pending, settled, dead or left"))?);
            }
            "kind" => filter.kind = Some(Kind::named(&value).ok_or(fault("`kind` names no callback"))?),
            "subject" => filter.subject = Some(value.into_owned()),
            "undelivered" => {
                filter.undelivered = value.parse().map_err(|_| fault("`undelivered` is true or false"))?;
            }
            // Ages rather than moments: the gateway's clock counts, and not the caller's.
            "younger_than_seconds" => filter.accepted_from = Some(now - age(&value)?),
            "older_than_seconds" => filter.accepted_before = Some(now - age(&value)?),
            "before" => filter.before = Some(number(&value)?),
            "limit" => {
                let wish: u32 = value.parse().map_err(|_| fault("`limit` is a number"))?;
                filter.limit = wish.clamp(1, records_max);
            }
            _ => return Err(fault(PARAMETERS)),
        }
    }
    Ok(filter)
}

const PARAMETERS: &str =
    "takes state, kind, subject, undelivered, younger_than_seconds, older_than_seconds, before and limit";

fn age(text: &str) -> Result<Duration, Fault> {
    let seconds = text.parse().ok().filter(|seconds| *seconds <= AGE_SECONDS_MAX);
    let what = "an age is a number of seconds, of ten years at most";
    seconds.map(Duration::from_secs).ok_or(Fault::Status(StatusCode::BAD_REQUEST, what))
}

const AGE_SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;
