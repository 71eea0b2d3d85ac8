//! Orders that were seen to be acknowledged.

use rusqlite::{Connection, params};

use crate::clock::UnixMillis;
use crate::ledger::NoticeId;
use crate::ledger::rules;
use crate::ledger::sqlite::group::Group;
use crate::ledger::stored::policy_of;

/// Remembers the order, lengthens the replay windows of its settled pushes, and says how many these are.
pub(super) fn acknowledge(group: &Group<'_>, order: &str, now: UnixMillis) -> rusqlite::Result<u64> {
    let mut remember =
        group.sql().prepare_cached("insert into acknowledged (subject, at) values (?1, ?2) on conflict do nothing")?;
    remember.execute(params![rules::subject_key(order), now.0])?;
    let pushes = settled_pushes(group.sql(), order)?;
    let mut lengthen =
        group.sql().prepare_cached("update notice set acknowledged = 1, replay_until = ?2 where id = ?1")?;
    for push in &pushes {
        let window_end = policy_of(&push.policy).map(|policy| rules::replay_until(&policy, push.settled_at, true));
        lengthen.execute(params![push.id, window_end.map(|end| end.0)])?;
    }
    Ok(pushes.len() as u64)
}

struct SettledPush {
    id: NoticeId,
    settled_at: UnixMillis,
    policy: String,
}

fn settled_pushes(sql: &Connection, order: &str) -> rusqlite::Result<Vec<SettledPush>> {
    let mut settled = sql.prepare_cached(
        "select id, ended_at, policy from notice
         where subject = ?1 and ended_at is not null and kind = 'push' and state = 1 and newest = 1",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(SettledPush { id: row.get(0)?, settled_at: UnixMillis(row.get(1)?), policy: row.get(2)? })
    };
    settled.query_map([order], read)?.collect()
}
