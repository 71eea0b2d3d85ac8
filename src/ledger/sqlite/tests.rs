//! The contract on a file, and what only a file can promise.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::clock::Clock;
use crate::event::Kind;
use crate::ledger::State;
use crate::ledger::contract::world::{HOUR, MINUTE, bare_notice, failure, notice, reply};
use crate::ledger::contract::{Place, World, contract};
use crate::ledger::flights::{Boarding, Flights};
use crate::ledger::sqlite::checkpointer::Checkpointer;
use crate::metrics::Telemetry;

struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data").join("ledger.db")
    }

    /// The ledger itself, for tests that reach into the writer.
    fn sqlite(&self) -> Sqlite {
        opened(|| Sqlite::open(&self.path(), OPTIONS, around()))
    }
}

/// A program that another test starts holds copies of all our files, and so of their locks, until it has begun to run.
fn opened(open: impl Fn() -> Result<Sqlite, OpenError>) -> Sqlite {
    for _ in 0..200 {
        match open() {
            Err(OpenError::InUse(_)) => std::thread::sleep(Duration::from_millis(10)),
            outcome => return outcome.unwrap(),
        }
    }
    panic!("the file is in use for two seconds");
}

impl Place for OnDisk {
    fn open(&self, around: Surroundings, bytes_max: u64) -> Box<dyn Ledger> {
        Box::new(opened(|| Sqlite::open(&self.path(), Options { bytes_max, ..OPTIONS }, around.clone())))
    }

    fn survives(&self) -> bool {
        true
    }
}

const OPTIONS: Options = Options { queue_max: 1_024, bytes_max: 1 << 30, checkpoints: Checkpoints::Aside };

contract!(OnDisk::new());

/// The contract without what stands in memory in front of the file.
mod from_the_file_alone {
    use super::*;

    struct Forgetful(OnDisk);

    impl Place for Forgetful {
        fn open(&self, around: Surroundings, bytes_max: u64) -> Box<dyn Ledger> {
            let mut ledger = opened(|| Sqlite::open(&self.0.path(), Options { bytes_max, ..OPTIONS }, around.clone()));
            ledger.recent = Recent::of_nothing();
            Box::new(ledger)
        }

        fn survives(&self) -> bool {
            true
        }
    }

    contract!(Forgetful(OnDisk::new()));
}

fn around() -> Surroundings {
    Surroundings { clock: Clock::system(), flights: Flights::default(), telemetry: Telemetry::new().unwrap() }
}

fn flight(ledger: &Sqlite, number: u8) -> (Arc<Notice>, Flight) {
    let notice = notice(Kind::Push, number);
    match ledger.around.flights.board(notice.identity.fingerprint, notice.identity.turn) {
        Boarding::First(flight) => (notice, flight),
        Boarding::Second(_) => panic!("it is in the air"),
    }
}

async fn admit(ledger: &Sqlite, number: u8) -> Result<Box<Claim>, LedgerError> {
    let (notice, flight) = flight(ledger, number);
    match ledger.admit(notice, flight).await {
        Ok(Admission::Fresh(claim)) => Ok(claim),
        Ok(other) => panic!("{other:?}"),
        Err((error, _)) => Err(error),
    }
}

/// Holds the writer up inside a group until the sender is dropped.
fn hold_up(ledger: &Sqlite) -> (mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (release, held) = mpsc::channel::<()>();
    let (reached, arrived) = mpsc::channel();
    let wait = move |_: &mut Group<'_>| {
        reached.send(()).unwrap();
        let _ = held.recv();
        Ok(())
    };
    assert!(poll_once(&mut pin!(ledger.writer.write(wait))).is_pending());
    (release, arrived)
}

/// A writer whose thread's work is done by hand.
fn by_hand(place: &OnDisk, options: Options) -> (Writer, writer::Bench, mpsc::Receiver<write::Message>) {
    let file = Arc::new(LedgerFile::take(&place.path(), Checkpoints::Aside).unwrap());
    let connection = file.open_writer().unwrap();
    let (checkpointer, _) = Checkpointer::by_hand(file.clone(), Telemetry::new().unwrap());
    Writer::with_bench((file, connection), checkpointer, options, &around())
}

/// Starts a future without waiting for it. What was sent to the writer goes on when the future is dropped.
fn poll_once<F: Future + ?Sized>(future: &mut std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// No test cuts the power. This is what the promise hangs on then.
#[test]
fn every_commit_and_every_checkpoint_is_synced() {
    let place = OnDisk::new();
    let file = LedgerFile::take(&place.path(), Checkpoints::Aside).unwrap();
    let writer = file.open_writer().unwrap().sql;
    let checkpointer = file.open_checkpointer().unwrap();
    for sql in [writer, checkpointer] {
        let synchronous: i64 = sql.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }
}

#[tokio::test]
async fn after_a_restart_everything_is_as_it_was_and_what_was_held_is_due_as_interrupted() {
    let place = OnDisk::new();
    let world = World::new(&place);
    let settled = world.fresh(&notice(Kind::Notification, 1)).await;
    world.settle(settled).await;
    let waiting = world.fresh(&notice(Kind::Authorization, 2)).await;
    world.ledger.answered(waiting.id).await.unwrap();
    world.postpone(waiting, MINUTE).await;
    let dead = world.fresh(&notice(Kind::Push, 3)).await;
    world.ledger.close(dead, End::Dead, failure()).await.unwrap();
    let held = world.fresh(&notice(Kind::Push, 4)).await;
    let before = world.ledger.counts().await.unwrap();
    drop(held);
    let world = world.restart();
    assert_eq!(world.ledger.counts().await.unwrap(), before);
    assert!(world.ledger.next_due().await.unwrap().is_some_and(|due_at| due_at <= world.clock.now()));
    let interrupted = world.lease_one().await;
    assert_eq!((interrupted.id, interrupted.attempt, interrupted.interrupted), (4, 2, true));
    world.pass(2 * MINUTE);
    let due = world.lease_one().await;
    assert_eq!((due.id, due.attempt, due.interrupted, due.answered), (2, 2, false, true));
    assert_eq!(world.replayed(&notice(Kind::Notification, 1)).await.body, "done");
    assert_eq!(world.record(3).await.unwrap().state, State::Dead);
    assert_eq!(world.fresh(&notice(Kind::Push, 5)).await.id, 5);
}

#[tokio::test]
async fn a_number_is_not_used_again_after_its_record_was_swept() {
    let place = OnDisk::new();
    let world = World::new(&place);
    let claim = world.fresh(&notice(Kind::Push, 1)).await;
    world.settle(claim).await;
    world.pass(100 * HOUR);
    assert_eq!(world.ledger.sweep(crate::ledger::contract::upkeep::RETENTION).await.unwrap().records, 1);
    let world = world.restart();
    assert_eq!(world.fresh(&notice(Kind::Push, 1)).await.id, 2);
}

#[tokio::test]
async fn a_second_opener_is_refused_by_the_name_of_the_file_and_let_in_later() {
    let place = OnDisk::new();
    let first = place.sqlite();
    let refused = Sqlite::open(&place.path(), OPTIONS, around()).unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)));
    assert!(refused.to_string().contains("data/ledger.db is in use"), "{refused}");
    first.shut_down().await.unwrap();
    assert!(!place.path().with_extension("db-wal").exists(), "everything is in the file itself");
    drop(place.sqlite());
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused_untouched() {
    let place = OnDisk::new();
    drop(place.sqlite());
    let file = rusqlite::Connection::open(place.path()).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let before = std::fs::read(place.path()).unwrap();
    let refused = Sqlite::open(&place.path(), OPTIONS, around()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 99, known: 1, .. }), "{refused}");
    assert!(refused.to_string().contains("format 99") && refused.to_string().contains("formats up to 1"));
    assert!(before == std::fs::read(place.path()).unwrap());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let place = OnDisk::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    std::fs::write(place.path(), vec![b'x'; 8_192]).unwrap();
    let refused = Sqlite::open(&place.path(), OPTIONS, around()).unwrap_err();
    assert!(matches!(refused, OpenError::Sqlite { .. }), "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_any_of_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let place = OnDisk::new();
    std::fs::create_dir_all(place.path().parent().unwrap()).unwrap();
    std::fs::write(place.path(), b"").unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let ledger = place.sqlite();
    let claim = admit(&ledger, 1).await.unwrap();
    ledger.settle(claim, Arc::new(reply("done"))).await.unwrap();
    let mut seen = Vec::new();
    for file in std::fs::read_dir(place.path().parent().unwrap()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        seen.push(file.file_name().into_string().unwrap());
    }
    seen.sort();
    assert_eq!(seen, ["ledger.db", "ledger.db-shm", "ledger.db-wal", "ledger.db.lock"]);
}

#[tokio::test]
async fn writes_that_wait_together_are_one_transaction_and_fail_together() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    let (release, arrived) = hold_up(&ledger);
    arrived.recv().unwrap();
    let mut admits = Vec::new();
    for number in 0..3 {
        let (notice, flight) = flight(&ledger, number);
        let mut admit = ledger.admit(notice, flight);
        assert!(poll_once(&mut admit.as_mut()).is_pending());
        admits.push(admit);
    }
    let mut failing = pin!(ledger.writer.write(|_| Err::<(), _>(rusqlite::Error::InvalidQuery)));
    assert!(poll_once(&mut failing).is_pending());
    drop(release);
    assert!(failing.await.is_err());
    for admit in admits {
        let (fault, flight) = admit.await.unwrap_err();
        assert!(matches!(fault, LedgerError::Unavailable(_)), "{fault}");
        drop(flight);
    }
    assert_eq!(ledger.counts().await.unwrap(), Counts::default());
    assert_eq!(admit(&ledger, 0).await.unwrap().id, 1, "the next group is not concerned");
}

#[tokio::test]
async fn a_group_that_changes_nothing_writes_nothing() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    let claim = admit(&ledger, 1).await.unwrap();
    ledger.settle(claim, Arc::new(reply("done"))).await.unwrap();
    let wal = || std::fs::read(place.path().with_extension("db-wal")).unwrap();
    let before = wal();
    // The file is to be asked.
    ledger.recent.clear();
    let (notice, flight) = flight(&ledger, 1);
    assert!(matches!(ledger.admit(notice, flight).await, Ok(Admission::Settled(_))));
    assert!(ledger.lease_due(9).await.unwrap().is_empty());
    assert_eq!(ledger.wake_later_than(UnixMillis(0)).await.unwrap(), 0);
    ledger.sweep(crate::ledger::contract::upkeep::RETENTION).await.unwrap();
    assert!(before == wal());
    drop(admit(&ledger, 2).await.unwrap());
    assert!(before != wal());
}

#[tokio::test]
async fn a_notice_that_settled_a_moment_ago_is_replayed_though_the_writer_is_busy() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    let claim = admit(&ledger, 1).await.unwrap();
    let id = claim.id;
    ledger.settle(claim, Arc::new(reply("done"))).await.unwrap();
    let (release, arrived) = hold_up(&ledger);
    arrived.recv().unwrap();
    let (notice, again) = flight(&ledger, 1);
    match ledger.admit(notice, again).await {
        Ok(Admission::Settled(reply)) => assert_eq!(reply.body, "done"),
        other => panic!("{other:?}"),
    }
    drop(release);
    ledger.replay(id).await.unwrap();
    let (notice, after_the_replay) = flight(&ledger, 1);
    assert!(matches!(ledger.admit(notice, after_the_replay).await, Ok(Admission::InFlight(_))));
}

#[test]
fn an_outcome_waits_for_the_claim_that_comes_after_it_and_a_claim_for_nothing() {
    let place = OnDisk::new();
    let (writer, mut bench, messages) = by_hand(&place, OPTIONS);
    let mut outcome = pin!(writer.write_soon(|_| Ok(())));
    let mut another = pin!(writer.write_soon(|_| Ok(())));
    let mut claim = pin!(writer.write_if_awaited(|_| Ok(())));
    assert!(poll_once(&mut outcome).is_pending() && poll_once(&mut another).is_pending());
    assert!(poll_once(&mut claim).is_pending());
    let gathered = bench.gather(messages.recv().unwrap(), &messages);
    let may_wait: Vec<_> = gathered.iter().map(write::Message::may_wait).collect();
    assert_eq!(may_wait, [true, false], "one wake-up for both outcomes, and one for the claim");
    assert!(bench.turn(gathered, &messages).is_none());
    assert!([poll_once(&mut outcome), poll_once(&mut another), poll_once(&mut claim)].iter().all(Poll::is_ready));

    let mut after_it = pin!(writer.write_soon(|_| Ok(())));
    assert!(poll_once(&mut after_it).is_pending());
    // Nothing comes any more: it does not wait for ever.
    let gathered = bench.gather(messages.recv().unwrap(), &messages);
    assert_eq!(gathered.len(), 1);
    bench.turn(gathered, &messages);
    assert!(poll_once(&mut after_it).is_ready());
}

#[test]
fn an_outcome_is_written_before_what_was_asked_after_it() {
    let place = OnDisk::new();
    let (writer, mut bench, messages) = by_hand(&place, OPTIONS);
    let (noted, notes) = mpsc::channel();
    let note = |what: &'static str| {
        let noted = noted.clone();
        move |_: &mut Group<'_>| {
            noted.send(what).unwrap();
            Ok(())
        }
    };
    let mut before = pin!(writer.write(note("before it")));
    let mut outcome = pin!(writer.write_soon(note("the outcome")));
    let mut after = pin!(writer.write(note("after it")));
    assert!(poll_once(&mut before).is_pending());
    bench.turn(vec![messages.recv().unwrap()], &messages);
    assert!(poll_once(&mut outcome).is_pending() && poll_once(&mut after).is_pending());
    bench.turn(vec![messages.recv().unwrap()], &messages);
    assert_eq!(notes.try_iter().collect::<Vec<_>>(), ["before it", "the outcome", "after it"]);
}

#[test]
fn beyond_its_bound_no_outcome_is_put_aside_and_none_waits_for_a_writer_that_is_gone() {
    let place = OnDisk::new();
    let (writer, bench, _messages) = by_hand(&place, Options { queue_max: 1, ..OPTIONS });
    let mut waits = pin!(writer.write_soon(|_| Ok(())));
    assert!(poll_once(&mut waits).is_pending());
    let too_many = poll_once(&mut pin!(writer.write_soon(|_| Ok(()))));
    assert!(matches!(too_many, Poll::Ready(Err(LedgerError::Overloaded))));
    drop(bench);
    for outcome in [poll_once(&mut waits), poll_once(&mut pin!(writer.write_soon(|_| Ok(()))))] {
        assert!(matches!(outcome, Poll::Ready(Err(LedgerError::Unavailable(_)))));
    }
}

/// Each on a runtime of its own, as the front door's workers are.
#[test]
fn all_callers_of_a_group_get_their_answers_wherever_they_wait() {
    let place = OnDisk::new();
    let ledger = Arc::new(place.sqlite());
    let (release, arrived) = hold_up(&ledger);
    arrived.recv().unwrap();
    let worker = |number: u8| {
        let ledger = ledger.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let ask = async || ledger.writer.write(move |_| Ok(number)).await.unwrap();
            runtime.block_on(async { tokio::join!(ask(), ask(), ask()) })
        })
    };
    let workers: Vec<_> = (0..3).map(worker).collect();
    drop(release);
    for (number, worker) in (0..3).zip(workers) {
        assert_eq!(worker.join().unwrap(), (number, number, number));
    }
}

#[tokio::test]
async fn a_full_disk_fails_calls_and_the_ledger_recovers_by_itself() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    let kept = admit(&ledger, 100).await.unwrap();
    let mut large = bare_notice(Kind::Push, 1);
    large.request.body = vec![7; 500_000].into();
    let large = Arc::new(large);
    let no_more_pages = |group: &mut Group<'_>| {
        let pages: i64 = group.sql().pragma_query_value(None, "page_count", |row| row.get(0))?;
        group.sql().pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    };
    ledger.writer.write(no_more_pages).await.unwrap();
    let (_, flight) = flight(&ledger, 1);
    let (fault, flight) = ledger.admit(large.clone(), flight).await.unwrap_err();
    assert!(matches!(&fault, LedgerError::Unavailable(why) if why.contains("full")), "{fault}");
    // The new connection has no such limit, like a disk where somebody made room.
    let admission = ledger.admit(large, flight).await;
    assert!(matches!(admission, Ok(Admission::Fresh(_))), "{admission:?}");
    ledger.settle(kept, Arc::new(reply("done"))).await.unwrap();
    let counts = ledger.counts().await.unwrap();
    assert_eq!((counts.accepted, counts.pending, counts.settled), (2, 1, 1));
}

#[tokio::test]
async fn a_failed_write_gives_the_claim_back_and_a_second_try_settles_it() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    let claim = admit(&ledger, 1).await.unwrap();
    ledger.writer.write(|group| group.sql().pragma_update(None, "query_only", true)).await.unwrap();
    let (fault, claim) = ledger.settle(claim, Arc::new(reply("done"))).await.unwrap_err();
    let text = fault.to_string();
    assert!(matches!(fault, LedgerError::Unavailable(_)), "{fault}");
    assert!(text.contains("readonly") && !text.contains("order-1") && !text.contains("kco-action"), "{text}");
    assert!(!ledger.around.flights.is_empty(), "further calls go on joining it");
    ledger.settle(claim, Arc::new(reply("done"))).await.unwrap();
    assert!(ledger.around.flights.is_empty());
    assert_eq!(ledger.counts().await.unwrap().settled, 1);
}

#[tokio::test]
async fn a_write_that_succeeded_though_it_was_reported_as_failed_is_not_counted_twice() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    let claim = admit(&ledger, 1).await.unwrap();
    let (id, epoch) = (claim.id, claim.epoch);
    let done = Settlement::new(&claim, &reply("done"), UnixMillis(1));
    ledger.writer.write(move |group| done.write(group, b"done")).await.unwrap().unwrap();
    ledger.settle(claim, Arc::new(reply("done"))).await.unwrap();
    let counts = ledger.counts().await.unwrap();
    assert_eq!((counts.accepted, counts.settled, counts.pending), (1, 1, 0));
    assert_eq!((id, epoch), (1, 1));
}

#[tokio::test]
async fn after_a_failure_nothing_is_held_by_nobody() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    // As if a lease had been committed, but reported as failed.
    let claim = admit(&ledger, 1).await.unwrap();
    ledger.postpone(claim, UnixMillis(0), failure()).await.unwrap();
    let orphan = |group: &mut Group<'_>| group.sql().execute("update notice set due_at = null", []);
    ledger.writer.write(orphan).await.unwrap();
    assert!(ledger.lease_due(9).await.unwrap().is_empty());
    let failing = |_: &mut Group<'_>| Err::<(), _>(rusqlite::Error::InvalidQuery);
    assert!(ledger.writer.write(failing).await.is_err());
    let claims = ledger.lease_due(9).await.unwrap();
    assert!(claims.iter().all(|claim| claim.interrupted));
    assert_eq!(claims.len(), 1);
}

#[tokio::test]
async fn a_call_that_gave_up_before_its_turn_is_not_stored() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    let (release, arrived) = hold_up(&ledger);
    arrived.recv().unwrap();
    let (notice, flight) = flight(&ledger, 1);
    let mut gives_up = ledger.admit(notice, flight);
    assert!(poll_once(&mut gives_up.as_mut()).is_pending());
    drop(gives_up);
    drop(release);
    assert_eq!(admit(&ledger, 2).await.unwrap().id, 1);
}

#[tokio::test]
async fn a_record_that_came_too_late_for_its_caller_is_left_to_the_sender() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    let (release, arrived) = hold_up(&ledger);
    arrived.recv().unwrap();
    let (notice, flight) = flight(&ledger, 1);
    let mut too_late = ledger.admit(notice, flight);
    assert!(poll_once(&mut too_late.as_mut()).is_pending());
    // Behind it in the same group, so that it is stored, but not yet committed, when its caller goes away.
    let (release_group, arrived_behind_it) = hold_up(&ledger);
    drop(release);
    arrived_behind_it.recv().unwrap();
    drop(too_late);
    drop(release_group);
    drop(admit(&ledger, 2).await.unwrap());
    let first = async || {
        let first = Filter { before: Some(2), limit: 1, ..Filter::default() };
        ledger.list(first).await.unwrap().remove(0)
    };
    // It is known to come too late once its answer finds nobody.
    while first().await.state == State::Pending {
        tokio::task::yield_now().await;
    }
    assert_eq!(first().await.note.as_deref(), Some(rules::WITHDRAWN));
    let counts = ledger.counts().await.unwrap();
    assert_eq!((counts.accepted, counts.left, counts.pending), (2, 1, 1));
    assert_eq!(admit(&ledger, 1).await.unwrap().repeats, 0, "the shop never said that it has it");
}

#[tokio::test]
async fn beyond_its_bound_the_queue_takes_nothing() {
    let place = OnDisk::new();
    let ledger = Sqlite::open(&place.path(), Options { queue_max: 1, ..OPTIONS }, around()).unwrap();
    let (release, arrived) = hold_up(&ledger);
    arrived.recv().unwrap();
    let mut waits = pin!(ledger.writer.write(|_| Ok(())));
    assert!(poll_once(&mut waits).is_pending());
    let fault = admit(&ledger, 1).await.unwrap_err();
    assert!(matches!(fault, LedgerError::Overloaded), "{fault}");
    drop(release);
    waits.await.unwrap();
}

#[tokio::test]
async fn what_no_version_can_read_is_dead_and_holds_nothing_up() {
    let place = OnDisk::new();
    let ledger = place.sqlite();
    for number in [1, 2] {
        let claim = admit(&ledger, number).await.unwrap();
        ledger.postpone(claim, UnixMillis(0), failure()).await.unwrap();
    }
    let spoil = |group: &mut Group<'_>| group.sql().execute("update notice set policy = 'never' where id = 1", []);
    ledger.writer.write(spoil).await.unwrap();
    let claims = ledger.lease_due(9).await.unwrap();
    assert_eq!(claims.iter().map(|claim| claim.id).collect::<Vec<_>>(), [2]);
    let counts = ledger.counts().await.unwrap();
    assert_eq!((counts.dead, counts.pending), (1, 1));
}

#[tokio::test]
async fn the_file_gives_room_back() {
    let place = OnDisk::new();
    let world = World::new(&place);
    for number in 0..100 {
        let mut large = bare_notice(Kind::Push, number);
        large.request.body = vec![number; 100_000].into();
        let claim = world.fresh(&Arc::new(large)).await;
        world.settle(claim).await;
    }
    world.pass(100 * HOUR);
    let retention = Retention { slice: 10_000, ..crate::ledger::contract::upkeep::RETENTION };
    assert_eq!(world.ledger.sweep(retention).await.unwrap().records, 100);
    world.ledger.shut_down().await.unwrap();
    let bytes = std::fs::metadata(place.path()).unwrap().len();
    assert!(bytes < 5_000_000, "{bytes}");
}
