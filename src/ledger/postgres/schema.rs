//! The tables of the shared ledger, and how those of an older version become those of this version.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::ledger::postgres::OpenError;
use crate::ledger::postgres::fault::refusal;

/// One step per version, as in the file's ledger. A step that was released is never changed.
pub(super) const STEPS: &[&str] = &[VERSION_1];

/// Takes the steps that the database has not taken yet, all in one transaction. Safe however many start at once: an
/// advisory lock lets one after the other, and a database that has none (or only pretends to) fails all but one, who
/// look again.
pub(super) async fn bring_up_to_date(client: &Client, steps: &[&str]) -> Result<(), OpenError> {
    let mut tries = 0;
    loop {
        let found = version(client).await?;
        let known = known(steps);
        if found > known {
            return Err(OpenError::Newer { found, known });
        }
        let missing = steps.get(usize::try_from(found).unwrap_or(0)..).unwrap_or_default();
        if missing.is_empty() {
            return Ok(());
        }
        match take(client, steps).await {
            Ok(()) => {}
            Err(error) if tries == TRIES_MAX || error.as_db_error().is_none() => return Err(refusal(&error)),
            Err(_) => tokio::time::sleep(BETWEEN_TRIES).await,
        }
        tries += 1;
    }
}

/// 0: there are no tables.
async fn version(client: &Client) -> Result<i64, OpenError> {
    match client.query_opt("select version from kallback_format", &[]).await {
        Ok(row) => row.map_or(Ok(0), |row| row.try_get(0).map_err(|error| refusal(&error))),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(0),
        Err(error) => Err(refusal(&error)),
    }
}

async fn take(client: &Client, steps: &[&str]) -> Result<(), Error> {
    client.batch_execute("begin; set local statement_timeout = 60000; set local lock_timeout = 60000").await?;
    let outcome = take_inside(client, steps).await;
    let end = if outcome.is_ok() { "commit" } else { "rollback" };
    client.batch_execute(end).await?;
    outcome
}

async fn take_inside(client: &Client, steps: &[&str]) -> Result<(), Error> {
    client.query("select pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    // Somebody else may have been here while this one waited for the lock.
    let is_there = client.query_one("select to_regclass('kallback_format') is not null", &[]).await?.try_get(0)?;
    let found = if is_there {
        client.query_one("select version from kallback_format", &[]).await?.try_get::<_, i64>(0)?
    } else {
        0
    };
    for step in steps.get(usize::try_from(found).unwrap_or(0)..).unwrap_or_default() {
        client.batch_execute(step).await?;
    }
    client.execute("update kallback_format set version = $1", &[&known(steps)]).await.map(drop)
}

fn known(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// "KLBKFRMT".
const LOCK: i64 = 0x4b4c_424b_4652_4d54;
const TRIES_MAX: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);

/// Only what PostgreSQL 13 has, and where there is a choice, what CockroachDB and YugabyteDB have, too. No statement
/// changes one table twice, which CockroachDB does not allow.
///
/// `kallback_claim` is what makes claims exclusive: one row per fingerprint, with its newest record. The counters are
/// spread over rows, one of which every connection adds to, so that claims do not wait for each other's commits.
const VERSION_1: &str = "
create table kallback_format (version bigint not null);
insert into kallback_format values (0);

create sequence kallback_number;

create table kallback_notice (
  id            bigint  primary key,         -- the order of admission; never used twice
  fingerprint   bytea   not null,
  turn          bytea   not null,            -- records with the same one go to the shop one by one
  state         bigint  not null,            -- 0 pending, 1 settled, 2 dead, 3 left
  held          boolean not null,            -- pending and at the shop: by the holder of the ticket
  free_at       bigint,                      -- pending: when it goes to the shop; held: when the lease runs out
  ticket        bigint  not null,            -- which process took it last, and in which call
  epoch         bigint  not null,            -- one more with every lease: who holds an older one lost it
  kind          text    not null,
  route         text    not null,
  subject       text,                        -- session or order id
  accepted_at   bigint  not null,            -- times in milliseconds since 1970, UTC
  expires_at    bigint  not null,            -- dead from then on
  ended_at      bigint,
  replay_until  bigint,                      -- settled: until then the reply is replayed
  attempts      bigint  not null,
  repeats       bigint  not null,            -- earlier settled records of the same fingerprint
  interrupted   boolean not null,            -- the holder of the last attempt vanished
  answered      boolean not null,            -- kallback itself answered a sender 2xx
  followed      boolean not null,            -- a sender at another process waits for it, or was answered 2xx there
  stripped      boolean not null,            -- the request was swept
  status        bigint,                      -- the shop's last one
  note          text,                        -- what became of the last attempt
  policy        text    not null,
  failure_texts text,                        -- JSON
  request_head  bytea,
  request_body  bytea,
  reply_head    bytea,
  reply_body    bytea
);
create index kallback_notice_pending on kallback_notice (id) where state = 0;
create index kallback_notice_free    on kallback_notice (free_at) where state = 0;
create index kallback_notice_turn    on kallback_notice (turn) where state = 0;
create index kallback_notice_ended   on kallback_notice (state, stripped, ended_at) where ended_at is not null;
create index kallback_notice_subject on kallback_notice (subject) where ended_at is not null;

create table kallback_claim (
  fingerprint bytea  primary key,
  id          bigint not null
);

-- Their sums count, swept records included.
create table kallback_counts (
  slot     bigint primary key,
  accepted bigint not null default 0,
  pending  bigint not null default 0,
  settled  bigint not null default 0,
  dead     bigint not null default 0,
  gone     bigint not null default 0,        -- left to the sender
  bytes    bigint not null default 0         -- of requests and replies, and something for every record
);
insert into kallback_counts (slot) values
  (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15);

-- Subjects stand here as the first 16 bytes of their SHA-256.
create table kallback_binding (
  nonce   bytea  not null,
  place   bigint not null,                   -- two at once cannot both take the last one
  subject bytea  not null,
  at      bigint not null,
  primary key (nonce, place),
  unique (nonce, subject)
);
create index kallback_binding_at on kallback_binding (at);
create table kallback_acknowledged (
  subject bytea  primary key,
  at      bigint not null
);
create index kallback_acknowledged_at on kallback_acknowledged (at);

create view kallback_notices as
select id, kind, route, subject,
  case state when 0 then 'pending' when 1 then 'settled' when 2 then 'dead' else 'left' end as state,
  to_timestamp(accepted_at / 1000.0) as accepted,
  to_timestamp(ended_at / 1000.0) as ended,
  case when state = 0 and not held then to_timestamp(free_at / 1000.0) end as due,
  case when state = 0 and held then to_timestamp(free_at / 1000.0) end as held_until,
  attempts, repeats, status, note, encode(fingerprint, 'hex') as fingerprint
from kallback_notice;
";

/// As many rows as the counters are spread over.
pub(super) const SLOTS: i64 = 16;
