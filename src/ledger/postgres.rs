//! The ledger that several processes share, in a database that speaks the PostgreSQL protocol: `docs/ledger.md` says
//! what it promises and what it asks of the database.
//!
//! Every call is one statement, and every statement a transaction of its own: no lock outlives a process that stands
//! still in the middle. A claim is a row that only one insert can make. It comes with a lease, longer than an attempt
//! can last, and an epoch: who lets the lease run out loses the record to another process, and cannot end it any more.

mod address;
mod admission;
mod chores;
mod ends;
mod fault;
mod lanes;
mod leases;
mod link;
mod lookout;
mod row;
mod schema;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock::UnixMillis;
use crate::event::TokenUse;
use crate::ledger::flights::{Flight, Joined};
use crate::ledger::postgres::admission::{Binding, Candidate, Ruling, Terms};
use crate::ledger::postgres::chores::Chores;
use crate::ledger::postgres::ends::{Ending, Written};
use crate::ledger::postgres::fault::Fault;
use crate::ledger::postgres::lanes::{Lanes, Use};
use crate::ledger::postgres::link::Link;
use crate::ledger::postgres::lookout::Lookout;
use crate::ledger::{
    Admission, Claim, Counts, End, Failure, Filter, Lease, Ledger, LedgerError, Notice, NoticeId, Pending,
    PendingAdmission, PendingEnd, Record, Retention, Settings, Standing, State, Surroundings, Swept, rules,
};
use crate::message::Reply;
use crate::metrics::Event;

pub use crate::ledger::postgres::address::{Address, AddressFault, TlsFault};
pub use crate::ledger::postgres::fault::OpenError;

/// How a database is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Connections for claims and ends; one more is for everything else.
    pub connections: usize,
    /// See [`Settings::queue_max`].
    pub queue_max: usize,
    /// See [`Settings::bytes_max`]: requests and replies, and something for every record.
    pub bytes_max: u64,
    /// A claim is its holder's for this long: longer than an attempt can last, by [`LEASE_MARGIN`].
    pub lease: Duration,
    /// A connection on which a statement waits for longer takes no new claims.
    pub stalled_after: Duration,
    /// After the database came back, leases that ran out meanwhile are left to their holders for this long, who may
    /// have an outcome to record.
    pub takes_over_after: Duration,
}

impl Options {
    /// With attempts that last for `attempt_timeout` at most.
    pub fn new(settings: &Settings, connections: usize, attempt_timeout: Duration) -> Self {
        Self {
            connections,
            queue_max: settings.queue_max,
            bytes_max: settings.bytes_max,
            lease: attempt_timeout + LEASE_MARGIN,
            stalled_after: settings.admit_within,
            takes_over_after: TAKES_OVER_AFTER,
        }
    }
}

/// How much longer a lease is than an attempt: for the wait before the attempt, and for clocks that differ.
pub const LEASE_MARGIN: Duration = Duration::from_secs(15);

/// Longer than the longest pause after which an outcome is written again.
const TAKES_OVER_AFTER: Duration = Duration::from_secs(12);

/// How often a delivery asks whether its turn has come at another process.
const TURN_EVERY: Duration = Duration::from_millis(250);

/// The shared ledger. Dropping it closes its connections.
#[derive(Debug)]
pub struct Postgres {
    around: Surroundings,
    options: Options,
    lanes: Lanes,
    lookout: Lookout,
    chores: Chores,
    tickets: Tickets,
    tasks: Vec<JoinHandle<()>>,
}

/// Numbers for calls that take something: the process in the upper half, the call in the lower one.
#[derive(Debug)]
struct Tickets {
    process: u32,
    next: AtomicU32,
}

impl Tickets {
    fn next(&self) -> i64 {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        (i64::from(self.process) << 32) | i64::from(call)
    }
}

impl Postgres {
    /// Begins to connect, and goes on doing so for as long as it lives. Call it inside a runtime.
    ///
    /// # Errors
    /// The certificate authority cannot be read.
    pub fn open(address: &Address, options: Options, around: Surroundings) -> Result<Self, OpenError> {
        address.tls()?;
        let lanes = Lanes::new(options.connections, options.queue_max, options.stalled_after);
        let (lookout, chores) = (Lookout::default(), Chores::default());
        let mut tasks = vec![
            tokio::spawn(lookout.clone().keep(lanes.clone(), around.clock.clone())),
            tokio::spawn(chores.clone().keep(lanes.clone(), around.clock.clone())),
        ];
        for place in 0..=options.connections {
            let (address, lanes, around) = (address.clone(), lanes.clone(), around.clone());
            let link = Link { place, address, lanes, around, told: lookout.bell.clone() };
            tasks.push(tokio::spawn(link.keep()));
        }
        let tickets = Tickets { process: rand::random_range(1..1 << 31), next: AtomicU32::new(0) };
        Ok(Self { around, options, lanes, lookout, chores, tickets, tasks })
    }

    /// Waits until the database answered for the first time, or did not.
    ///
    /// # Errors
    /// [`OpenError`]. Unless it [is lasting](OpenError::is_lasting), the ledger goes on trying.
    pub async fn first_contact(&self) -> Result<(), Arc<OpenError>> {
        self.lanes.first_contact().await
    }

    fn now(&self) -> UnixMillis {
        self.around.clock.now()
    }

    /// The terms of a claim that is taken now, and the lease as its holder sees it.
    fn terms(&self, behind_another: bool) -> (Terms, Lease) {
        let until = self.around.clock.instant() + self.options.lease;
        let now = self.now();
        let terms = Terms {
            now,
            lease_until: now + self.options.lease,
            ticket: self.tickets.next(),
            bytes_max: self.bytes_max(),
        };
        (terms, Lease { until, behind_another })
    }

    fn bytes_max(&self) -> i64 {
        i64::try_from(self.options.bytes_max).unwrap_or(i64::MAX)
    }

    async fn take_in(&self, notice: Arc<Notice>, flight: Flight) -> Result<Admission, (LedgerError, Flight)> {
        let (terms, lease) = self.terms(false);
        let underway = self.chores.admitting(notice.identity.fingerprint, terms.ticket);
        let began = self.around.clock.instant();
        let ruling = match Candidate::new(notice.clone(), terms).rule(&self.lanes).await {
            Ok(ruling) => ruling,
            Err(Fault { error, is_unsure, .. }) => {
                // Dropped, it sees to a record that is there all the same.
                if !is_unsure {
                    underway.arrived();
                }
                return Err((error, flight));
            }
        };
        underway.arrived();
        Ok(match ruling {
            Ruling::Fresh { id, repeats, behind_another } => {
                let took = self.around.clock.instant().saturating_duration_since(began);
                self.around.telemetry.emit(Event::LedgerCommitted { took });
                let lease = Lease { behind_another, ..lease };
                Admission::Fresh(Box::new(first_claim((id, repeats, terms.now), lease, notice, flight)))
            }
            Ruling::Waits(Some(id)) => Admission::InFlight(self.lookout.follow(id, flight, lease.until)),
            Ruling::Waits(None) => {
                flight.resolve(Standing::WillRedeliver);
                Admission::InFlight(Joined::resolved(Standing::WillRedeliver))
            }
            Ruling::Replays(reply) => {
                let reply = Arc::new(*reply);
                flight.resolve(Standing::Settled(reply.clone()));
                Admission::Settled(reply)
            }
            Ruling::TokenOverused => Admission::TokenOverused,
            Ruling::Full => return Err((rules::full(self.options.bytes_max), flight)),
        })
    }

    /// Uses a claim up and says in which state its record is then, or gives it back.
    async fn end(&self, mut claim: Box<Claim>, ending: Ending) -> Result<State, (LedgerError, Box<Claim>)> {
        let began = self.around.clock.instant();
        match ending.write(&self.lanes).await {
            Ok(outcome) => {
                // Recorded, or somebody else's by now: in both cases nobody has to look for it.
                claim.flight.land();
                let took = self.around.clock.instant().saturating_duration_since(began);
                let Written { is_news, state } = match outcome {
                    Ok(written) => written,
                    Err(lost) => return Err((lost, claim)),
                };
                if is_news {
                    self.tell_others(claim.id).await;
                }
                self.around.telemetry.emit(Event::LedgerCommitted { took });
                Ok(state)
            }
            Err(Fault { error, .. }) => {
                self.around.telemetry.emit(Event::LedgerFailed { call: "commit", error: &error });
                Err((error, claim))
            }
        }
    }

    /// A loss is none: the others look by themselves.
    async fn tell_others(&self, id: NoticeId) {
        if let Ok(call) = self.lanes.call(Use::Upkeep).await {
            let _ = call.rows("select pg_notify('kallback', $1)", &[&id.to_string()]).await;
        }
    }

    async fn lease(&self, limit: usize) -> Result<Vec<Box<Claim>>, Fault> {
        let (terms, lease) = self.terms(false);
        let call = self.lanes.call(Use::Upkeep).await?;
        let abandoned = self.around.flights.take_abandoned();
        if let Err(fault) = leases::reclaim(&call, &abandoned, terms.now, terms.ticket).await {
            // Their leases run out some time; sooner is better.
            self.around.flights.put_back_abandoned(abandoned);
            return Err(fault);
        }
        let up_for = self.around.clock.instant().saturating_duration_since(call.wire.since);
        let takes_over = up_for >= self.options.takes_over_after;
        let underway = self.chores.leasing(terms.ticket);
        let claims = leases::lease_due(&call, &self.around.flights, terms, (limit, takes_over), lease).await?;
        underway.arrived();
        Ok(claims.into_iter().map(Box::new).collect())
    }

    async fn keep_hold(&self, claim: &Claim, for_at_least: Duration) -> Result<(), LedgerError> {
        let Some(Lease { mut until, mut behind_another }) = claim.lease else { return Ok(()) };
        loop {
            let began = self.around.clock.instant();
            if until.saturating_duration_since(began) < for_at_least {
                let wanted = for_at_least + LEASE_MARGIN;
                if !leases::prolong(&self.lanes, claim, self.now() + wanted).await? {
                    return Err(LedgerError::Lost(claim.id));
                }
                until = began + wanted;
            }
            // While the database is away, nobody can say; the lease holds all the same.
            behind_another =
                behind_another && leases::is_behind(&self.lanes, claim, self.now()).await.unwrap_or_default();
            if !behind_another {
                return Ok(());
            }
            tokio::time::sleep(TURN_EVERY).await;
        }
    }

    async fn close_down(&self) {
        let abandoned = self.around.flights.take_abandoned();
        if let Ok(call) = self.lanes.call(Use::Upkeep).await {
            // What is not told here is found when the leases run out.
            let _ = leases::reclaim(&call, &abandoned, self.now(), self.tickets.next()).await;
        }
        self.lanes.close();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.lanes.close();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Ledger for Postgres {
    fn admit(&self, notice: Arc<Notice>, flight: Flight) -> PendingAdmission<'_> {
        Box::pin(self.take_in(notice, flight))
    }

    fn bind(&self, token: TokenUse, subject: String) -> Pending<'_, bool> {
        Box::pin(async move {
            let bound = Binding::new(token, &subject).bind(&self.lanes, self.now(), self.bytes_max()).await?;
            bound.ok_or_else(|| rules::full(self.options.bytes_max))
        })
    }

    fn answered(&self, id: NoticeId) -> Pending<'_, ()> {
        Box::pin(async move {
            let mark = "update kallback_notice set answered = true where id = $1 and state = 0";
            Ok(self.lanes.call(Use::End).await?.rows(mark, &[&id]).await.map(drop)?)
        })
    }

    fn hold<'a>(&'a self, claim: &'a Claim, for_at_least: Duration) -> Pending<'a, ()> {
        Box::pin(self.keep_hold(claim, for_at_least))
    }

    fn settle(&self, claim: Box<Claim>, stored: Arc<Reply>) -> PendingEnd<'_> {
        claim.flight.resolve(Standing::Settled(stored.clone()));
        let ending = Ending::settled(&claim, &stored, self.now());
        Box::pin(async move { self.end(claim, ending).await.map(drop) })
    }

    fn postpone(&self, claim: Box<Claim>, due_at: UnixMillis, failure: Failure) -> PendingEnd<'_> {
        claim.flight.resolve(Standing::WillRedeliver);
        let ending = Ending::postponed(&claim, due_at, &failure);
        Box::pin(async move { self.end(claim, ending).await.map(drop) })
    }

    fn close(&self, claim: Box<Claim>, end: End, failure: Failure) -> PendingEnd<'_, End> {
        let ending = Ending::closed(&claim, end, &failure, self.now());
        claim.flight.resolve(Standing::GivenUp(failure.reply, failure.why));
        Box::pin(async move {
            let state = self.end(claim, ending).await?;
            Ok(if state == State::Left { End::Left } else { End::Dead })
        })
    }

    fn lease_due(&self, limit: usize) -> Pending<'_, Vec<Box<Claim>>> {
        Box::pin(async move { Ok(self.lease(limit).await?) })
    }

    fn next_due(&self) -> Pending<'_, Option<UnixMillis>> {
        Box::pin(async move {
            if self.around.flights.has_abandoned() {
                return Ok(Some(self.now()));
            }
            Ok(leases::next_due(&self.lanes, &self.around.flights, self.now()).await?)
        })
    }

    fn wake_later_than(&self, at: UnixMillis) -> Pending<'_, u64> {
        Box::pin(async move { Ok(leases::wake(&self.lanes, self.now(), at).await?) })
    }

    fn acknowledge(&self, order_id: String) -> Pending<'_, u64> {
        Box::pin(async move { Ok(upkeep::acknowledge(&self.lanes, &row::storable(&order_id), self.now()).await?) })
    }

    fn replay(&self, id: NoticeId) -> Pending<'_, ()> {
        Box::pin(async move {
            let replayed = leases::replay(&self.lanes, id, self.now()).await?;
            replayed.then_some(()).ok_or(LedgerError::NotReplayable(id))
        })
    }

    fn list(&self, filter: Filter) -> Pending<'_, Vec<Record>> {
        Box::pin(async move { Ok(upkeep::list(&self.lanes, &filter).await?) })
    }

    fn counts(&self) -> Pending<'_, Counts> {
        Box::pin(async move { Ok(upkeep::counts(&self.lanes).await?) })
    }

    fn sweep(&self, retention: Retention) -> Pending<'_, Swept> {
        Box::pin(async move {
            let swept = upkeep::sweep(&self.lanes, &retention, self.now()).await;
            swept.map_err(|Fault { error, .. }| {
                self.around.telemetry.emit(Event::LedgerFailed { call: "sweep", error: &error });
                error
            })
        })
    }

    fn shut_down(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.close_down().await;
            Ok(())
        })
    }
}

fn first_claim(
    (id, repeats, accepted_at): (NoticeId, u32, UnixMillis),
    lease: Lease,
    notice: Arc<Notice>,
    mut flight: Flight,
) -> Claim {
    flight.carries(id);
    Claim {
        id,
        attempt: 1,
        accepted_at,
        expires_at: accepted_at + notice.policy.oldest,
        repeats,
        interrupted: false,
        answered: false,
        epoch: 1,
        lease: Some(lease),
        notice,
        flight,
    }
}

#[cfg(test)]
mod tests;
