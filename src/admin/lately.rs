//! What happened lately, as JSON: the moments of a callback, and the day's shape by kind.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Admin;
use super::routes::{Fault, Reply, json_reply};
use crate::ledger::Record;
use crate::metrics::{AnsweredBy, Happened, KindOfDay, Moment};

impl Admin {
    /// The last 24 hours, and whether anything happened since somebody last looked.
    pub(super) fn day(&self) -> Result<Reply, Fault> {
        let not_kept = Fault::Status(StatusCode::NOT_FOUND, "no history is kept");
        let history = self.telemetry.history().ok_or(not_kept)?;
        let kinds: Vec<Value> = history.day().iter().map(kind_of_day).collect();
        let told = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "now": self.clock.now().to_string(),
            "since": history.since().to_string(),
            "changes": history.changes(),
            "kinds": kinds,
        });
        Ok(json_reply(StatusCode::OK, &told))
    }

    /// What happened to a record, the oldest first.
    pub(super) fn moments(&self, record: &Record) -> Vec<Moment> {
        let history = self.telemetry.history();
        history.map_or_else(Vec::new, |history| history.of(record.fingerprint, record.id, record.accepted_at))
    }
}

/// The first answer that a sender got for it, and how many joined it.
pub(super) fn summary(moments: &[Moment]) -> Value {
    let answer = moments.iter().find_map(|moment| match &moment.what {
        Happened::Answered { by, status, took } => Some((by.name(), *status, millis(*took))),
        _ => None,
    });
    let count = |is: fn(&Happened) -> bool| moments.iter().filter(|moment| is(&moment.what)).count();
    json!({
        "answered_by": answer.map(|(by, ..)| by),
        "answered_status": answer.map(|(_, status, _)| status),
        "answered_ms": answer.map(|(.., took)| took),
        "joins": count(|what| matches!(what, Happened::Joined)),
        "replays": count(|what| matches!(what, Happened::Answered { by: AnsweredBy::Replay, .. })),
    })
}

pub(super) fn moment(moment: &Moment) -> Value {
    let mut told = match &moment.what {
        Happened::Attempt { attempt, outcome, status, took, note, .. } => json!({
            "what": "attempt", "attempt": attempt, "outcome": outcome, "status": status, "took_ms": millis(*took),
            "note": note,
        }),
        Happened::Joined => json!({ "what": "joined" }),
        Happened::Answered { by, status, took } => {
            json!({ "what": "answered", "by": by.name(), "status": status, "took_ms": millis(*took) })
        }
        Happened::ReplayOrdered { .. } => json!({ "what": "replay_ordered" }),
    };
    told["began_at"] = moment.began_at().to_string().into();
    told["at"] = moment.at.to_string().into();
    told
}

fn kind_of_day(kind: &KindOfDay) -> Value {
    let by: Map<String, Value> =
        AnsweredBy::ALL.iter().zip(kind.by).map(|(by, answers)| (by.name().to_owned(), answers.into())).collect();
    let percentile = |place: usize| kind.percentiles.map(|within| millis(within[place]));
    json!({
        "kind": kind.kind.name(),
        "budget_ms": millis(kind.budget),
        "answered": kind.by.iter().sum::<u32>(),
        "by": by,
        "late": kind.late,
        "p50_ms": percentile(0),
        "p95_ms": percentile(1),
        "p99_ms": percentile(2),
        "hours": kind.hours,
    })
}

fn millis(took: std::time::Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
