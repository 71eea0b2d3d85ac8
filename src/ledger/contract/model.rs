//! A ledger as simple as can be, and a test that puts any backend beside it.
//!
//! Times in the operations are chosen so that they never meet the end of a window to the second: the real clock
//! goes on while a test runs.

mod entries;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use self::entries::Model;
use super::upkeep::RETENTION;
use super::world::{HOUR, SECOND, World, bare_notice, failure, reply};
use crate::clock::UnixMillis;
use crate::event::{Fingerprint, Kind};
use crate::ledger::contract::Place;
use crate::ledger::flights::Boarding;
use crate::ledger::{Admission, Claim, Counts, End, Filter, LedgerError, Notice, NoticeId, State};

/// Runs sequences of operations on a ledger and on the model, and compares all they show after every one.
pub(crate) fn run_model(place: impl Fn() -> Box<dyn Place>) {
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let sequences = proptest::collection::vec(operation(), 1..60);
    let outcome = runner.run(&sequences, |operations| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let place = place();
        runtime.block_on(async {
            let mut pair = Pair::new(World::new(&*place));
            for operation in operations {
                pair = pair.perform(operation).await;
                pair.compare().await;
            }
        });
        Ok(())
    });
    outcome.unwrap();
}

#[derive(Clone, Debug)]
enum Operation {
    Arrive(u8),
    Answer(prop::sample::Index),
    Settle(prop::sample::Index),
    Postpone(prop::sample::Index, Duration),
    Close(prop::sample::Index, End),
    Abandon(prop::sample::Index),
    Lease(usize),
    Pass(Duration),
    Wake,
    Acknowledge(u8),
    Replay(NoticeId),
    Sweep,
    Restart,
}

fn operation() -> impl Strategy<Value = Operation> {
    let held = any::<prop::sample::Index>;
    let delay = prop::sample::select(vec![SECOND, 30 * SECOND, 2 * HOUR]);
    let step = prop::sample::select(vec![7 * SECOND, 70 * SECOND, 4_201 * SECOND, 50_001 * SECOND, 400_001 * SECOND]);
    prop_oneof![
        8 => (0..NOTICES).prop_map(Operation::Arrive),
        1 => held().prop_map(Operation::Answer),
        4 => held().prop_map(Operation::Settle),
        3 => (held(), delay).prop_map(|(claim, delay)| Operation::Postpone(claim, delay)),
        2 => (held(), prop::sample::select(vec![End::Dead, End::Left])).prop_map(|(claim, end)| Operation::Close(claim, end)),
        1 => held().prop_map(Operation::Abandon),
        4 => (1usize..4).prop_map(Operation::Lease),
        4 => step.prop_map(Operation::Pass),
        1 => Just(Operation::Wake),
        1 => (0..NOTICES).prop_map(Operation::Acknowledge),
        2 => (1..12i64).prop_map(Operation::Replay),
        1 => Just(Operation::Sweep),
        1 => Just(Operation::Restart),
    ]
}

/// How many different notices there are; two and two have one turn.
const NOTICES: u8 = 6;

fn numbered(number: u8) -> Arc<Notice> {
    let kind = match number {
        0 | 1 => Kind::Push,
        2 | 3 => Kind::Authorization,
        4 => Kind::Webhook,
        _ => Kind::Notification,
    };
    let mut notice = bare_notice(kind, number);
    notice.identity.turn = Fingerprint([0x80 + number / 2; 32]);
    Arc::new(notice)
}

/// A ledger, the model of it, and the claims that are held.
struct Pair<'p> {
    world: World<'p>,
    model: Model,
    held: Vec<Claim>,
}

impl<'p> Pair<'p> {
    fn new(world: World<'p>) -> Self {
        Self { world, model: Model::default(), held: Vec::new() }
    }

    async fn perform(mut self, operation: Operation) -> Self {
        let now = self.world.clock.now();
        match operation {
            Operation::Arrive(number) => self.arrive(number, now).await,
            Operation::Pass(time) => self.world.pass(time),
            Operation::Lease(limit) => self.lease(limit, now).await,
            Operation::Wake => {
                let woken = self.model.wake(now);
                assert_eq!(self.world.ledger.wake_later_than(now).await.unwrap(), woken);
            }
            Operation::Acknowledge(number) => {
                let concerned = self.model.acknowledge(number, now);
                let order = format!("order-{number}");
                assert_eq!(self.world.ledger.acknowledge(order).await.unwrap(), concerned);
            }
            Operation::Replay(id) => match (self.world.ledger.replay(id).await, self.model.replay(id, now)) {
                (Ok(()), true) | (Err(LedgerError::NotReplayable(_)), false) => {}
                (outcome, expected) => panic!("{outcome:?}, expected {expected}"),
            },
            Operation::Sweep => {
                let (bodies, records) = self.model.sweep(now);
                let swept = self.world.ledger.sweep(RETENTION).await.unwrap();
                assert_eq!((swept.bodies, swept.records), (bodies, records));
            }
            Operation::Restart => return self.restart(),
            Operation::Answer(_)
            | Operation::Settle(_)
            | Operation::Postpone(..)
            | Operation::Close(..)
            | Operation::Abandon(_) => self.end(operation, now).await,
        }
        self
    }

    async fn arrive(&mut self, number: u8, now: UnixMillis) {
        let notice = numbered(number);
        if self.held.iter().any(|claim| claim.notice.identity.fingerprint == notice.identity.fingerprint) {
            let boarding = self.world.flights.board(notice.identity.fingerprint, notice.identity.turn);
            assert!(matches!(boarding, Boarding::Second(_)));
            return;
        }
        let newest = self.model.entries.iter_mut().find(|(_, entry)| entry.number == number && entry.newest);
        match (self.world.admit(&notice).await, newest) {
            (Admission::InFlight(_), Some((_, entry))) if entry.state == State::Pending => {
                entry.answered = true;
                entry.reclaim();
            }
            (Admission::Settled(_), Some((_, entry))) => assert!(entry.replay_until.is_some_and(|until| now < until)),
            (Admission::Fresh(claim), newest) => {
                let mut repeats = 0;
                if let Some((_, entry)) = newest {
                    assert!(entry.state != State::Pending && entry.replay_until.is_none_or(|until| until <= now));
                    entry.newest = false;
                    repeats = entry.repeats + u32::from(entry.state == State::Settled);
                }
                assert_eq!((claim.attempt, claim.repeats), (1, repeats));
                self.model.open(claim.id, number, repeats, claim.accepted_at);
                self.held.push(*claim);
            }
            (admission, newest) => panic!("{admission:?} where there is {newest:?}"),
        }
    }

    async fn lease(&mut self, limit: usize, now: UnixMillis) {
        self.reclaim_abandoned();
        let busy: Vec<Fingerprint> = self.held.iter().map(|claim| claim.notice.identity.turn).collect();
        let expected = self.model.lease(busy, now, limit);
        let claims = self.world.lease(limit).await;
        let got: Vec<_> =
            claims.iter().map(|claim| (claim.id, claim.attempt, claim.interrupted, claim.answered)).collect();
        assert_eq!(got, expected);
        self.held.extend(claims.into_iter().map(|claim| *claim));
    }

    /// What nobody holds and what has no time was abandoned.
    fn reclaim_abandoned(&mut self) {
        for (id, entry) in &mut self.model.entries {
            if !self.held.iter().any(|claim| claim.id == *id) {
                entry.reclaim();
            }
        }
    }

    async fn end(&mut self, operation: Operation, now: UnixMillis) {
        let (Operation::Answer(index)
        | Operation::Settle(index)
        | Operation::Postpone(index, _)
        | Operation::Close(index, _)
        | Operation::Abandon(index)) = &operation
        else {
            return;
        };
        if self.held.is_empty() {
            return;
        }
        let position = index.index(self.held.len());
        if matches!(operation, Operation::Answer(_)) {
            let id = self.held[position].id;
            self.world.ledger.answered(id).await.unwrap();
            self.model.entries.get_mut(&id).unwrap().answered = true;
            return;
        }
        let claim = Box::new(self.held.swap_remove(position));
        let id = claim.id;
        match operation {
            Operation::Settle(_) => {
                self.world.ledger.settle(claim, Arc::new(reply("done"))).await.unwrap();
                self.model.settle(id, now);
            }
            Operation::Postpone(_, by) => {
                self.world.ledger.postpone(claim, now + by, failure()).await.unwrap();
                let entry = self.model.entries.get_mut(&id).unwrap();
                entry.due_at = Some(now + by);
                entry.interrupted = false;
            }
            Operation::Close(_, end) => {
                self.world.ledger.close(claim, end, failure()).await.unwrap();
                self.model.end(id, if end == End::Dead { State::Dead } else { State::Left }, now);
            }
            _ => drop(claim),
        }
    }

    fn restart(mut self) -> Self {
        self.held.clear();
        if self.world.survives() {
            self.reclaim_abandoned();
        } else {
            self.model = Model::default();
        }
        Self { world: self.world.restart(), ..self }
    }

    /// Everything that a ledger shows has to be what the model shows.
    async fn compare(&self) {
        let counts = self.world.ledger.counts().await.unwrap();
        assert_eq!(counts.accepted, counts.pending + counts.settled + counts.dead + counts.left);
        let oldest_pending = self.model.entries.values().find(|entry| entry.state == State::Pending);
        let expected = Counts { oldest_pending: oldest_pending.map(|entry| entry.accepted_at), ..self.model.counts };
        assert_eq!(counts.oldest_pending.is_some(), expected.oldest_pending.is_some());
        assert_eq!(Counts { oldest_pending: None, ..counts }, Counts { oldest_pending: None, ..expected });
        let records = self.world.ledger.list(Filter { limit: 1_000, ..Filter::default() }).await.unwrap();
        let shown: Vec<_> = records
            .iter()
            .rev()
            .map(|record| (record.id, record.fingerprint.0[0], record.state, record.attempts, record.repeats))
            .collect();
        let expected: Vec<_> = self
            .model
            .entries
            .iter()
            .map(|(id, entry)| (*id, entry.number, entry.state, entry.attempts, entry.repeats))
            .collect();
        assert_eq!(shown, expected);
    }
}
