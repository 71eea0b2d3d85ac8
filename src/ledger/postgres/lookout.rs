//! Watches the records that other processes have at the shop and that a sender waits for here.
//!
//! A holder that ends a followed record tells so with `NOTIFY`; beneath it lies a poll, for what gets lost and for
//! databases that cannot notify. However many records are followed, one query asks for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::Row;

use crate::clock::Clock;
use crate::ledger::flights::{Flight, Joined};
use crate::ledger::postgres::fault::Fault;
use crate::ledger::postgres::lanes::{Lanes, Use};
use crate::ledger::postgres::row::{get, reply, state};
use crate::ledger::{GaveUp, NoticeId, Standing, State};
use crate::message::Reply;

/// What is followed. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Lookout {
    followed: Arc<Mutex<HashMap<NoticeId, Followed>>>,
    /// Rung when there is something new to look at.
    pub(super) bell: Arc<Notify>,
}

#[derive(Debug)]
struct Followed {
    /// It is in the air here, too, so that further calls join.
    flight: Flight,
    until: Instant,
}

impl Lookout {
    /// Follows a record until it ends, or its lease does, at `until` at the latest.
    pub(super) fn follow(&self, id: NoticeId, mut flight: Flight, until: Instant) -> Joined {
        flight.is_held_elsewhere();
        let joined = flight.joined();
        self.lock().insert(id, Followed { flight, until });
        self.bell.notify_one();
        joined
    }

    /// Looks until it is aborted.
    pub(super) async fn keep(self, lanes: Lanes, clock: Clock) {
        loop {
            let ids: Vec<NoticeId> = self.lock().keys().copied().collect();
            if ids.is_empty() {
                self.bell.notified().await;
                continue;
            }
            match look(&lanes, &ids, &clock).await {
                Ok(known) => known.into_iter().for_each(|(id, standing)| self.resolve(id, standing)),
                // The database is away: whoever waits has a deadline of its own.
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
            self.let_go(clock.instant());
            // A pause after every bell bounds what a storm of them costs.
            tokio::time::sleep(LOOK_AT_MOST_EVERY).await;
            let _ = tokio::time::timeout(LOOK_EVERY, self.bell.notified()).await;
        }
    }

    fn resolve(&self, id: NoticeId, standing: Standing) {
        if let Some(followed) = self.lock().remove(&id) {
            followed.flight.resolve(standing);
        }
    }

    /// What is on disk and has not ended is going to be brought, whoever does it.
    fn let_go(&self, now: Instant) {
        self.lock().retain(|_, followed| {
            let goes_on = now < followed.until;
            if !goes_on {
                followed.flight.resolve(Standing::WillRedeliver);
            }
            goes_on
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NoticeId, Followed>> {
        // Nothing panics while it is held.
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which of the records are no longer at the shop, and how they stand.
async fn look(lanes: &Lanes, ids: &[NoticeId], clock: &Clock) -> Result<Vec<(NoticeId, Standing)>, Fault> {
    let rows = lanes.call(Use::Upkeep).await?.rows(LOOK, &[&ids, &clock.now().0]).await?;
    rows.iter().map(|row| Ok((get(row, 0)?, standing(row)?))).collect()
}

fn standing(row: &Row) -> Result<Standing, Fault> {
    Ok(match state(row, 1)? {
        State::Pending => Standing::WillRedeliver,
        State::Settled => Standing::Settled(Arc::new(reply(row, 3)?)),
        State::Dead | State::Left => Standing::GivenUp(failing_reply(get(row, 2)?), GaveUp::NoReply),
    })
}

/// Of a failing reply only the status is recorded.
fn failing_reply(status: Option<i64>) -> Option<Arc<Reply>> {
    let status = u16::try_from(status?).ok().and_then(|status| StatusCode::from_u16(status).ok())?;
    let bare = Reply { status, reason: None, headers: HeaderMap::new(), body: Bytes::new() };
    (!status.is_success()).then(|| Arc::new(bare))
}

const LOOK: &str = "
select id, state, status, reply_head, reply_body from kallback_notice
where id = any($1) and (state <> 0 or not held or free_at <= $2)";

const LOOK_EVERY: Duration = Duration::from_millis(150);
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(5);
