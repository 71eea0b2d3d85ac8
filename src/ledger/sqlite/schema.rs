//! The tables of the ledger file, and how a file of an older version becomes one of this version.

use rusqlite::{Connection, TransactionBehavior};
use thiserror::Error;

use crate::ledger::sqlite::reason;

/// "KLBK": what `file(1)` and kallback know a ledger by.
const APPLICATION_ID: i32 = 0x4b4c_424b;

/// One step per version: the first makes version 1 of an empty file, the next makes version 2 of version 1, and so
/// on. A step that was released is never changed.
pub(super) const STEPS: &[&str] = &[VERSION_1];

/// Why a file cannot be used as a ledger.
#[derive(Debug, Error)]
pub(super) enum SchemaFault {
    /// Some other program's database.
    #[error("it is no kallback ledger")]
    Foreign,
    /// Written by a newer kallback.
    #[error("version {found}, known up to {known}")]
    Newer { found: i64, known: i64 },
    /// It cannot be read or written.
    #[error("{}", reason(.0))]
    Sqlite(#[from] rusqlite::Error),
}

/// Looks at a file without changing it: is it empty, or a ledger that `steps` lead to?
pub(super) fn check(connection: &Connection, steps: &[&str]) -> Result<(), SchemaFault> {
    let found = version(connection)?;
    let known = known(steps);
    let tables: i64 = connection.query_row("select count(*) from sqlite_schema", [], |row| row.get(0))?;
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let empty = application == 0 && found == 0 && tables == 0;
    match (empty, application == APPLICATION_ID) {
        (false, false) => Err(SchemaFault::Foreign),
        (_, true) if found > known => Err(SchemaFault::Newer { found, known }),
        _ => Ok(()),
    }
}

/// Takes the steps that the file has not taken yet, all in one transaction: a crash leaves the old version.
pub(super) fn bring_up_to_date(connection: &mut Connection, steps: &[&str]) -> Result<(), SchemaFault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    let missing = steps.get(usize::try_from(found).unwrap_or(0)..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", known(steps))?;
    Ok(transaction.commit()?)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn known(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// Few indexes, because every one with keys in random order costs each claim a page: `newest` is what makes claims
/// exclusive; `pending` and `waiting` hold only what is under way; `ended` grows at one end; `subject` is for people
/// and acknowledgements, and leaves pending records out, so that a claim does not pay for it.
const VERSION_1: &str = "
create table notice (
  id            integer primary key,         -- the order of admission; never used twice
  fingerprint   blob    not null,
  turn          blob    not null,            -- records with the same one go to the shop one by one
  newest        integer not null,            -- 1: the newest record of its fingerprint
  state         integer not null,            -- 0 pending, 1 settled, 2 dead, 3 left
  kind          text    not null,
  route         text    not null,
  subject       text,                        -- session or order id
  accepted_at   integer not null,            -- times in milliseconds since 1970, UTC
  expires_at    integer not null,            -- dead from then on
  due_at        integer,                     -- pending and not at the shop: when it goes there
  ended_at      integer,
  replay_until  integer,                     -- settled: until then the reply is replayed
  acknowledged  integer not null default 0,  -- 1: a push whose order is acknowledged
  attempts      integer not null,
  repeats       integer not null,            -- earlier settled records of the same fingerprint
  epoch         integer not null,            -- one more with every lease: who holds an older one lost it
  interrupted   integer not null default 0,  -- 1: the holder of the last attempt vanished
  answered      integer not null default 0,  -- 1: kallback itself answered the sender 2xx
  stripped      integer not null default 0,  -- 1: the request was swept
  status        integer,                     -- the shop's last one
  note          text,                        -- what became of the last attempt
  policy        text    not null,
  failure_texts text,                        -- JSON
  request_head  blob,
  request_body  blob,
  reply_head    blob,
  reply_body    blob
) strict;
create unique index newest  on notice (fingerprint) where newest = 1;
create        index pending on notice (id) where state = 0;
create        index waiting on notice (due_at) where due_at is not null;
create        index ended   on notice (state, stripped, ended_at) where ended_at is not null;
create        index subject on notice (subject) where ended_at is not null;

create table counts (
  accepted integer not null,
  pending  integer not null,
  settled  integer not null,
  dead     integer not null,
  left     integer not null
) strict;
insert into counts values (0, 0, 0, 0, 0);

-- Subjects stand here as the first 16 bytes of their SHA-256.
create table binding (
  id      integer primary key,
  nonce   blob    not null,
  subject blob    not null,
  at      integer not null,
  unique (nonce, subject)
) strict;
create table acknowledged (
  id      integer primary key,
  subject blob    not null unique,
  at      integer not null
) strict;

create view notices as
select id, kind, route, subject,
  case state when 0 then 'pending' when 1 then 'settled' when 2 then 'dead' else 'left' end as state,
  strftime('%Y-%m-%dT%H:%M:%fZ', accepted_at / 1000.0, 'unixepoch') as accepted,
  strftime('%Y-%m-%dT%H:%M:%fZ', ended_at    / 1000.0, 'unixepoch') as ended,
  strftime('%Y-%m-%dT%H:%M:%fZ', due_at      / 1000.0, 'unixepoch') as due,
  attempts, repeats, status, note, lower(hex(fingerprint)) as fingerprint
from notice;
";

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "create table a (x integer); insert into a values (7);";
    const TWO: &str = "alter table a add column y integer; update a set y = x + 1;";

    fn empty() -> Connection {
        Connection::open_in_memory().unwrap()
    }

    #[test]
    fn an_older_file_keeps_its_rows_and_gets_the_newer_tables() {
        let mut connection = empty();
        bring_up_to_date(&mut connection, &[ONE]).unwrap();
        check(&connection, &[ONE, TWO]).unwrap();
        bring_up_to_date(&mut connection, &[ONE, TWO]).unwrap();
        let row = connection.query_row("select x, y from a", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (7, 8));
        assert_eq!(version(&connection).unwrap(), 2);
        bring_up_to_date(&mut connection, &[ONE, TWO]).unwrap();
    }

    #[test]
    fn a_step_that_fails_leaves_the_old_version_whole() {
        let mut connection = empty();
        bring_up_to_date(&mut connection, &[ONE]).unwrap();
        let fault = bring_up_to_date(&mut connection, &[ONE, "update a set x = 9; insert into nowhere values (1);"]);
        assert!(matches!(fault, Err(SchemaFault::Sqlite(_))));
        assert_eq!(version(&connection).unwrap(), 1);
        assert_eq!(connection.query_row("select x from a", [], |row| row.get::<_, i64>(0)).unwrap(), 7);
    }

    #[test]
    fn a_newer_file_is_refused_with_both_versions() {
        let mut connection = empty();
        bring_up_to_date(&mut connection, &[ONE, TWO]).unwrap();
        let fault = check(&connection, &[ONE]).unwrap_err();
        assert!(matches!(fault, SchemaFault::Newer { found: 2, known: 1 }), "{fault}");
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let connection = empty();
        connection.execute_batch("create table customers (name text)").unwrap();
        assert!(matches!(check(&connection, STEPS), Err(SchemaFault::Foreign)));
    }
}
