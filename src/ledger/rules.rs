//! The rules of admission and replay that every backend follows. Pure.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};

use crate::clock::UnixMillis;
use crate::event::{Kind, Policy};
use crate::ledger::{Claim, LedgerError, NoticeId, State};
use crate::message::Reply;

/// An acknowledgement is remembered this long: as long as Klarna repeats an unacknowledged push.
pub(crate) const ACKNOWLEDGEMENTS_KEPT_FOR: Duration = Duration::from_secs(48 * 3600);

/// What a token came with is remembered this long; no token lives longer than the sessions it is made for.
pub(crate) const BINDINGS_KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The note of a record whose claim was given up before it was on disk.
pub(crate) const WITHDRAWN: &str = "not on disk in time: passed on without a record";

/// The newest record of a fingerprint, as far as admission looks at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newest {
    pub(crate) id: NoticeId,
    pub(crate) state: State,
    pub(crate) repeats: u32,
    /// Until when a settled one's reply is replayed.
    pub(crate) replay_until: Option<UnixMillis>,
}

/// What follows from the newest record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It is pending: kallback brings it.
    Waits(NoticeId),
    /// It is settled and its reply is replayed.
    Replays(NoticeId),
    /// A new record has to be made; the shop said 2xx to so many before it.
    Opens { repeats: u32, supersedes: Option<NoticeId> },
}

/// What a notice that arrives at `now` meets. The caller has the only flight of the fingerprint, so a pending
/// record is not being delivered by this process.
pub(crate) fn judge(newest: Option<Newest>, now: UnixMillis) -> Verdict {
    match newest {
        None => Verdict::Opens { repeats: 0, supersedes: None },
        Some(record) => match record.state {
            State::Pending => Verdict::Waits(record.id),
            State::Settled if record.replay_until.is_some_and(|until| now < until) => Verdict::Replays(record.id),
            state @ (State::Settled | State::Dead | State::Left) => {
                let repeats = record.repeats.saturating_add(u32::from(state == State::Settled));
                Verdict::Opens { repeats, supersedes: Some(record.id) }
            }
        },
    }
}

/// Until when the reply of a notice that settled at `settled_at` is replayed.
pub(crate) fn replay_until(policy: &Policy, settled_at: UnixMillis, acknowledged: bool) -> UnixMillis {
    settled_at + if acknowledged { policy.replay_acknowledged_for } else { policy.replay_for }
}

/// The order whose acknowledgement lengthens the replay window of this claim: only pushes have one.
pub(crate) fn order_of(claim: &Claim) -> Option<&str> {
    match claim.notice.kind {
        Kind::Push => claim.notice.identity.subject.as_deref(),
        _ => None,
    }
}

/// A subject as it is remembered beside tokens and acknowledgements: of fixed size, whatever the caller sent, and
/// unreadable.
pub(crate) fn subject_key(subject: &str) -> [u8; 16] {
    let digest: [u8; 32] = Sha256::digest(subject.as_bytes()).into();
    let mut key = [0; 16];
    key.copy_from_slice(digest.split_at(16).0);
    key
}

/// What a replay sends when the recorded reply cannot be read back: received, and nothing else.
pub(crate) fn bare_receipt() -> Reply {
    Reply { status: StatusCode::NO_CONTENT, reason: None, headers: HeaderMap::new(), body: Bytes::new() }
}

/// The failure of a claim that would make the store larger than it may be.
pub(crate) fn full(bytes_max: u64) -> LedgerError {
    LedgerError::Unavailable(format!("the ledger is full ({bytes_max} bytes at most)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(state: State, replay_until: Option<i64>) -> Option<Newest> {
        Some(Newest { id: 7, state, repeats: 2, replay_until: replay_until.map(UnixMillis) })
    }

    #[test]
    fn the_newest_record_decides_what_a_call_meets() {
        let now = UnixMillis(1_000);
        let opens_with = |repeats| Verdict::Opens { repeats, supersedes: Some(7) };
        let table = [
            (None, Verdict::Opens { repeats: 0, supersedes: None }),
            (newest(State::Pending, None), Verdict::Waits(7)),
            (newest(State::Settled, Some(1_001)), Verdict::Replays(7)),
            (newest(State::Settled, Some(1_000)), opens_with(3)),
            (newest(State::Dead, None), opens_with(2)),
            (newest(State::Left, None), opens_with(2)),
        ];
        for (record, verdict) in table {
            assert_eq!(judge(record, now), verdict, "{record:?}");
        }
    }

    #[test]
    fn an_acknowledged_push_is_replayed_for_longer() {
        let policy = Kind::Push.defaults();
        let settled = UnixMillis(0);
        assert_eq!(replay_until(&policy, settled, false), UnixMillis(60_000));
        assert_eq!(replay_until(&policy, settled, true), UnixMillis(48 * 3_600_000));
    }
}
