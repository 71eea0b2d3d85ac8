//! A notice arrives: one look at its fingerprint, and one row if it is new.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::clock::UnixMillis;
use crate::event::{Fingerprint, TokenUse};
use crate::ledger::rules::{self, Newest, Verdict};
use crate::ledger::sqlite::group::{Group, Riders, Unclaimed};
use crate::ledger::sqlite::row::{millis, state_column};
use crate::ledger::stored::policy_text;
use crate::ledger::{Notice, NoticeId};
use crate::message::Reply;

/// A notice made ready by its caller's thread, so that the writer has little to do.
pub(super) struct Candidate {
    notice: Arc<Notice>,
    now: UnixMillis,
    head: Vec<u8>,
    policy: String,
    failure_texts: Option<String>,
    binding: Option<Binding>,
}

/// What the ledger says to it.
pub(super) enum Ruling {
    Fresh(Opened),
    Waits,
    Replays(Box<Reply>),
    TokenOverused,
    Full { bytes_max: u64 },
}

/// A new record.
pub(super) struct Opened {
    pub(super) record: Unclaimed,
    pub(super) repeats: u32,
    pub(super) accepted_at: UnixMillis,
    pub(super) expires_at: UnixMillis,
}

/// A token and what it came with.
#[derive(Clone, Copy)]
pub(super) struct Binding {
    token: TokenUse,
    subject: [u8; 16],
    at: UnixMillis,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bound {
    Already,
    Allowed,
    Overused,
}

impl Candidate {
    pub(super) fn new(notice: Arc<Notice>, now: UnixMillis) -> Self {
        let subject = notice.identity.subject.as_deref();
        Self {
            head: notice.request.head_bytes(),
            policy: policy_text(&notice.policy),
            failure_texts: match notice.failure_texts.as_slice() {
                [] => None,
                texts => serde_json::to_string(texts).ok(),
            },
            binding: notice.token.zip(subject).map(|(token, subject)| Binding::new(token, subject, now)),
            notice,
            now,
        }
    }

    /// Claims and stores the notice, or says why not. Reads first and writes last, so that nothing is written for
    /// a notice that is turned down.
    pub(super) fn rule(&self, group: &mut Group<'_>, riders: &Riders) -> rusqlite::Result<Ruling> {
        let bound = self.binding.map_or(Ok(Bound::Already), |binding| binding.look_up(group.sql()))?;
        if bound == Bound::Overused {
            return Ok(Ruling::TokenOverused);
        }
        let verdict = rules::judge(newest(group.sql(), self.notice.identity.fingerprint)?, self.now);
        let grows = bound == Bound::Allowed || matches!(verdict, Verdict::Opens { .. });
        if grows && !group.has_room()? {
            return Ok(Ruling::Full { bytes_max: group.bytes_max() });
        }
        if let (Bound::Allowed, Some(binding)) = (bound, self.binding) {
            binding.insert(group.sql())?;
        }
        match verdict {
            Verdict::Waits(id) => promise(group.sql(), id, self.now).map(|()| Ruling::Waits),
            Verdict::Replays(id) => recorded_reply(group.sql(), id).map(|reply| Ruling::Replays(Box::new(reply))),
            Verdict::Opens { repeats, supersedes } => {
                if let Some(older) = supersedes {
                    group.sql().prepare_cached("update notice set newest = 0 where id = ?1")?.execute([older])?;
                }
                let id = group.accept();
                let record = riders.unclaimed(id, self.now);
                let expires_at = self.now + self.notice.policy.oldest;
                self.insert(group.sql(), id, repeats)?;
                Ok(Ruling::Fresh(Opened { record, repeats, accepted_at: self.now, expires_at }))
            }
        }
    }

    fn insert(&self, sql: &Connection, id: NoticeId, repeats: u32) -> rusqlite::Result<()> {
        let notice = &self.notice;
        let mut insert = sql.prepare_cached(
            "insert into notice (id, fingerprint, turn, newest, state, kind, route, subject, accepted_at, expires_at,
               attempts, repeats, epoch, policy, failure_texts, request_head, request_body)
             values (?1, ?2, ?3, 1, 0, ?4, ?5, ?6, ?7, ?8, 1, ?9, 1, ?10, ?11, ?12, ?13)",
        )?;
        let inserted = insert.execute(params![
            id,
            notice.identity.fingerprint.0,
            notice.identity.turn.0,
            notice.kind.name(),
            notice.route,
            notice.identity.subject,
            self.now.0,
            (self.now + notice.policy.oldest).0,
            repeats,
            self.policy,
            self.failure_texts,
            self.head,
            &notice.request.body[..],
        ]);
        inserted.map(drop)
    }
}

impl Binding {
    pub(super) fn new(token: TokenUse, subject: &str, at: UnixMillis) -> Self {
        Self { token, subject: rules::subject_key(subject), at }
    }

    /// Binds token and subject. `None`: there is no room. `Some(false)`: the token came with too many others.
    pub(super) fn bind(self, group: &mut Group<'_>) -> rusqlite::Result<Option<bool>> {
        match self.look_up(group.sql())? {
            Bound::Already => Ok(Some(true)),
            Bound::Overused => Ok(Some(false)),
            Bound::Allowed if !group.has_room()? => Ok(None),
            Bound::Allowed => self.insert(group.sql()).map(|()| Some(true)),
        }
    }

    fn look_up(self, sql: &Connection) -> rusqlite::Result<Bound> {
        let mut known = sql.prepare_cached("select subject from binding where nonce = ?1")?;
        let mut subjects = known.query([self.token.nonce])?;
        let mut others = 0;
        while let Some(row) = subjects.next()? {
            if row.get_ref(0)?.as_blob()? == self.subject {
                return Ok(Bound::Already);
            }
            others += 1;
        }
        Ok(if others < self.token.sessions_max { Bound::Allowed } else { Bound::Overused })
    }

    fn insert(self, sql: &Connection) -> rusqlite::Result<()> {
        let mut insert = sql.prepare_cached("insert into binding (nonce, subject, at) values (?1, ?2, ?3)")?;
        insert.execute(params![self.token.nonce, self.subject, self.at.0]).map(drop)
    }
}

fn newest(sql: &Connection, fingerprint: Fingerprint) -> rusqlite::Result<Option<Newest>> {
    let mut newest = sql
        .prepare_cached("select id, state, repeats, replay_until from notice where fingerprint = ?1 and newest = 1")?;
    let read = |row: &Row<'_>| {
        Ok(Newest {
            id: row.get(0)?,
            state: state_column(row, 1)?,
            repeats: row.get(2)?,
            replay_until: millis(row, 3)?,
        })
    };
    newest.query_row([fingerprint.0], read).optional()
}

/// The caller is told that kallback brings it, so kallback has to: also if its holder is gone, which is so when it
/// has no time and no flight.
fn promise(sql: &Connection, id: NoticeId, now: UnixMillis) -> rusqlite::Result<()> {
    let mut promise = sql.prepare_cached(
        "update notice set answered = 1, interrupted = iif(due_at is null, 1, interrupted),
           due_at = ifnull(due_at, min(accepted_at, ?2))
         where id = ?1 and (answered = 0 or due_at is null)",
    )?;
    promise.execute([id, now.0]).map(drop)
}

fn recorded_reply(sql: &Connection, id: NoticeId) -> rusqlite::Result<Reply> {
    let mut reply = sql.prepare_cached("select reply_head, reply_body from notice where id = ?1")?;
    reply.query_row([id], |row| {
        let head = row.get_ref(0)?.as_blob_or_null()?.unwrap_or_default();
        let body = row.get_ref(1)?.as_blob_or_null()?.unwrap_or_default();
        Ok(Reply::from_stored(head, Bytes::copy_from_slice(body)).unwrap_or_else(|_| rules::bare_receipt()))
    })
}
