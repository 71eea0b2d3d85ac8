//! A notice arrives: one statement that claims and stores it, or says what it meets.

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::clock::UnixMillis;
use crate::event::TokenUse;
use crate::ledger::postgres::fault::Fault;
use crate::ledger::postgres::lanes::{Call, Lanes, Use};
use crate::ledger::postgres::row::{get, millis, number, reply, state, storable};
use crate::ledger::rules::{self, Newest, Verdict};
use crate::ledger::stored::policy_text;
use crate::ledger::{LedgerError, Notice, NoticeId};
use crate::message::Reply;

/// A notice made ready for the database.
pub(super) struct Candidate {
    notice: Arc<Notice>,
    pub(super) now: UnixMillis,
    lease_until: UnixMillis,
    ticket: i64,
    bytes_max: i64,
    subject: Option<String>,
    head: Vec<u8>,
    policy: String,
    failure_texts: Option<String>,
    binding: Option<Binding>,
}

/// What goes into a record and is not kept ready in the candidate.
struct Columns<'a> {
    fingerprint: &'a [u8],
    turn: &'a [u8],
    kind: &'static str,
    expires_at: i64,
    body: &'a [u8],
    slot: i64,
    bytes: i64,
}

type Value<'a> = &'a (dyn ToSql + Sync);

/// What the ledger says to it.
pub(super) enum Ruling {
    Fresh {
        id: NoticeId,
        repeats: u32,
        behind_another: bool,
    },
    /// It is pending. `Some`: another process has it at the shop.
    Waits(Option<NoticeId>),
    Replays(Box<Reply>),
    TokenOverused,
    Full,
}

/// Which call it is, and how long a claim is good for.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) now: UnixMillis,
    pub(super) lease_until: UnixMillis,
    pub(super) ticket: i64,
    pub(super) bytes_max: i64,
}

/// A token and what it came with.
#[derive(Clone, Copy)]
pub(super) struct Binding {
    token: TokenUse,
    subject: [u8; 16],
}

impl Candidate {
    pub(super) fn new(notice: Arc<Notice>, terms: Terms) -> Self {
        let subject = notice.identity.subject.as_deref();
        Self {
            now: terms.now,
            lease_until: terms.lease_until,
            ticket: terms.ticket,
            bytes_max: terms.bytes_max,
            subject: subject.map(storable),
            head: notice.request.head_bytes(),
            policy: policy_text(&notice.policy),
            failure_texts: match notice.failure_texts.as_slice() {
                [] => None,
                texts => serde_json::to_string(texts).ok(),
            },
            binding: notice.token.zip(subject).map(|(token, subject)| Binding::new(token, subject)),
            notice,
        }
    }

    /// Claims and stores the notice, or says why not. Looks again when somebody else changed what it saw.
    pub(super) async fn rule(&self, lanes: &Lanes) -> Result<Ruling, Fault> {
        let call = lanes.call(Use::Claim).await?;
        for _ in 0..LOOKS_MAX {
            let rows = self.take(&call).await?;
            let Some(row) = rows.first() else { continue };
            if let Some(ruling) = self.ruling_of(&call, row).await? {
                return Ok(ruling);
            }
        }
        Err(Fault::before(LedgerError::Unavailable("the record changed under every look at it".to_owned())))
    }

    /// `None`: somebody else was quicker.
    async fn ruling_of(&self, call: &Call, row: &Row) -> Result<Option<Ruling>, Fault> {
        let (is_bound, may_bind, has_room): (bool, bool, bool) = (get(row, 1)?, get(row, 2)?, get(row, 3)?);
        let behind_another = get(row, 4)?;
        if let Some(id) = get::<Option<i64>>(row, 0)? {
            return Ok(Some(Ruling::Fresh { id, repeats: 0, behind_another }));
        }
        if !is_bound {
            return Ok(match (may_bind, has_room) {
                (false, _) => Some(Ruling::TokenOverused),
                (true, false) => Some(Ruling::Full),
                (true, true) => None,
            });
        }
        match rules::judge(newest(row)?, self.now) {
            Verdict::Waits(id) => self.promise(call, id).await,
            Verdict::Replays(_) => Ok(Some(Ruling::Replays(Box::new(reply(row, 9)?)))),
            Verdict::Opens { .. } if !has_room => Ok(Some(Ruling::Full)),
            Verdict::Opens { supersedes: None, .. } => Ok(None),
            Verdict::Opens { repeats, supersedes: Some(older) } => {
                let opened = self.supersede(call, older, repeats).await?;
                Ok(opened.map(|id| Ruling::Fresh { id, repeats, behind_another }))
            }
        }
    }

    async fn take(&self, call: &Call) -> Result<Vec<Row>, Fault> {
        let token = self.binding.map(|binding| binding.token);
        let nonce = token.map(|token| token.nonce.to_vec());
        let subject_key = self.binding.map(|binding| binding.subject.to_vec());
        let sessions_max = i64::from(token.map_or(0, |token| token.sessions_max));
        let columns = self.columns(call);
        let limits: [Value<'_>; 4] = [&self.bytes_max, &nonce, &subject_key, &sessions_max];
        call.rows(TAKE, &[&self.values(&columns)[..], &limits].concat()).await
    }

    async fn supersede(&self, call: &Call, older: NoticeId, repeats: u32) -> Result<Option<NoticeId>, Fault> {
        let repeats = i64::from(repeats);
        let columns = self.columns(call);
        let before: [Value<'_>; 2] = [&older, &repeats];
        let rows = call.rows(SUPERSEDE, &[&self.values(&columns)[..], &before].concat()).await?;
        rows.first().map(|row| get(row, 0)).transpose()
    }

    fn columns<'a>(&'a self, call: &Call) -> Columns<'a> {
        let Notice { identity, policy, kind, request, .. } = &*self.notice;
        Columns {
            fingerprint: &identity.fingerprint.0,
            turn: &identity.turn.0,
            kind: kind.name(),
            expires_at: (self.now + policy.oldest).0,
            body: &request.body,
            slot: call.wire.slot,
            bytes: self.bytes(),
        }
    }

    /// `$1` to `$15` of both statements that make a record.
    fn values<'a>(&'a self, columns: &'a Columns<'_>) -> [Value<'a>; 15] {
        let Columns { fingerprint, turn, kind, expires_at, body, slot, bytes } = columns;
        [
            fingerprint,
            turn,
            &self.now.0,
            &self.lease_until.0,
            &self.ticket,
            kind,
            &self.notice.route,
            &self.subject,
            expires_at,
            &self.policy,
            &self.failure_texts,
            &self.head,
            body,
            slot,
            bytes,
        ]
    }

    /// The caller is told that kallback brings it, so kallback has to: also if its holder is gone, which is so when
    /// this process held it, because the caller has the only flight here. `None`: it is not pending any more.
    async fn promise(&self, call: &Call, id: NoticeId) -> Result<Option<Ruling>, Fault> {
        let rows = call.rows(PROMISE, &[&id, &self.now.0, &process_of(self.ticket)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let is_away: bool = get(row, 0)?;
        Ok(Some(Ruling::Waits(is_away.then_some(id))))
    }

    fn bytes(&self) -> i64 {
        i64::try_from(self.head.len() + self.notice.request.body.len()).unwrap_or(i64::MAX).saturating_add(RECORD_BYTES)
    }
}

impl Binding {
    pub(super) fn new(token: TokenUse, subject: &str) -> Self {
        Self { token, subject: rules::subject_key(subject) }
    }

    /// Binds token and subject. `Some(false)`: the token came with too many others. `None`: there is no room.
    pub(super) async fn bind(self, lanes: &Lanes, now: UnixMillis, bytes_max: i64) -> Result<Option<bool>, Fault> {
        let call = lanes.call(Use::Claim).await?;
        for _ in 0..LOOKS_MAX {
            let sessions_max = i64::from(self.token.sessions_max);
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&&self.token.nonce[..], &&self.subject[..], &sessions_max, &now.0, &bytes_max];
            let rows = call.rows(BIND, &values).await?;
            let Some(row) = rows.first() else { continue };
            match (get(row, 0)?, get(row, 1)?, get(row, 2)?) {
                (true, _, _) => return Ok(Some(true)),
                (false, false, _) => return Ok(Some(false)),
                (false, true, false) => return Ok(None),
                (false, true, true) => {}
            }
        }
        Err(Fault::before(LedgerError::Unavailable("the token's record changed under every look at it".to_owned())))
    }
}

fn newest(row: &Row) -> Result<Option<Newest>, Fault> {
    if get::<Option<i64>>(row, 5)?.is_none() {
        return Ok(None);
    }
    Ok(Some(Newest {
        id: get(row, 5)?,
        state: state(row, 6)?,
        repeats: number(row, 7)?,
        replay_until: millis(row, 8)?,
    }))
}

/// The process that took a ticket.
pub(super) fn process_of(ticket: i64) -> i64 {
    ticket >> 32
}

/// A look that finds the record changed is taken again, at most so often.
const LOOKS_MAX: u32 = 8;

/// What a record takes besides its request and reply, indexes included.
pub(super) const RECORD_BYTES: i64 = 1_000;

/// Looks first and writes last, so that nothing is written for a notice that is turned down. A conflict of two claims
/// shows as no claim and no record: the next look finds the other's.
const TAKE: &str = "
with token as (
  select subject, place from kallback_binding where nonce = $17::bytea
), standing as (
  select $17::bytea is null or exists (select 1 from token where subject = $18::bytea) as is_bound,
    (select count(*) from token) < $19::bigint as may_bind,
    (select sum(bytes) from kallback_counts) < $16::bigint as has_room
), newest as (
  select n.id, n.state, n.repeats, n.replay_until, n.reply_head, n.reply_body
  from kallback_claim c join kallback_notice n on n.id = c.id where c.fingerprint = $1
), bound as (
  insert into kallback_binding (nonce, place, subject, at)
  select $17, 1 + coalesce((select max(place) from token), 0), $18, $3
  from standing where not is_bound and may_bind and has_room
  on conflict do nothing returning nonce
), taken as (
  insert into kallback_claim (fingerprint, id)
  select $1, nextval('kallback_number') from standing
  where has_room and (is_bound or exists (select 1 from bound))
    and not exists (select 1 from kallback_claim where fingerprint = $1)
  on conflict do nothing returning id
), stored as (
  insert into kallback_notice (id, fingerprint, turn, state, held, free_at, ticket, epoch, kind, route, subject,
    accepted_at, expires_at, attempts, repeats, interrupted, answered, followed, stripped, policy, failure_texts,
    request_head, request_body)
  select id, $1, $2, 0, true, $4, $5, 1, $6, $7, $8, $3, $9, 1, 0, false, false, false, false, $10, $11, $12, $13
  from taken
), counted as (
  update kallback_counts set accepted = accepted + 1, pending = pending + 1, bytes = bytes + $15
  where slot = $14 and exists (select 1 from taken)
)
select (select id from taken), is_bound or exists (select 1 from bound), may_bind, has_room,
  exists (select 1 from kallback_notice where turn = $2 and state = 0 and held and free_at > $3 and fingerprint <> $1),
  newest.id, newest.state, newest.repeats, newest.replay_until, newest.reply_head, newest.reply_body
from standing left join newest on true";

/// The same after a record that ended, if it still is the newest.
const SUPERSEDE: &str = "
with taken as (
  update kallback_claim set id = nextval('kallback_number') where fingerprint = $1 and id = $16 returning id
), stored as (
  insert into kallback_notice (id, fingerprint, turn, state, held, free_at, ticket, epoch, kind, route, subject,
    accepted_at, expires_at, attempts, repeats, interrupted, answered, followed, stripped, policy, failure_texts,
    request_head, request_body)
  select id, $1, $2, 0, true, $4, $5, 1, $6, $7, $8, $3, $9, 1, $17, false, false, false, false, $10, $11, $12, $13
  from taken
), counted as (
  update kallback_counts set accepted = accepted + 1, pending = pending + 1, bytes = bytes + $15
  where slot = $14 and exists (select 1 from taken)
)
select id from taken";

const PROMISE: &str = "
update kallback_notice set answered = true,
  followed = followed or (held and free_at > $2 and ticket >> 32 <> $3),
  interrupted = interrupted or (held and ticket >> 32 = $3),
  free_at = case when held and ticket >> 32 = $3 then least(accepted_at, $2) else free_at end,
  held = held and ticket >> 32 <> $3
where id = $1 and state = 0
returning held and free_at > $2";

const BIND: &str = "
with token as (
  select subject, place from kallback_binding where nonce = $1
), standing as (
  select exists (select 1 from token where subject = $2) as is_bound,
    (select count(*) from token) < $3::bigint as may_bind,
    (select sum(bytes) from kallback_counts) < $5::bigint as has_room
), bound as (
  insert into kallback_binding (nonce, place, subject, at)
  select $1, 1 + coalesce((select max(place) from token), 0), $2, $4
  from standing where not is_bound and may_bind and has_room
  on conflict do nothing returning nonce
)
select is_bound or exists (select 1 from bound), may_bind, has_room from standing";
