//! The durable record of notices: who claimed one, the stored copy, its attempts, its end.
//!
//! One write does claim and copy: once [`Ledger::admit`] says [`Admission::Fresh`], the notice is on disk and only
//! the holder of the [`Claim`] may bring it to the shop. A claim is used up by exactly one of
//! [`settle`](Ledger::settle), [`postpone`](Ledger::postpone) and [`close`](Ledger::close); a claim that is dropped
//! instead (a panic, a stop) is found again by [`lease_due`](Ledger::lease_due), marked as interrupted.
//!
//! In front of every backend stand the [`flights`]: what this process is delivering right now, in memory. A second
//! call joins there without touching the store, also while the store is broken.
//!
//! The trait is made for ledgers that several processes share: a second call that meets a claim gets a
//! [`Joined`] to wait on, and where the first call's outcome comes from (this process, or a notification of the
//! database) is the backend's business; claims carry an epoch, so that a holder whose lease was taken over cannot
//! settle what it lost. Only `app` names a backend. Every backend passes the same contract suite
//! (`ledger/contract.rs`).

pub mod flights;
pub mod memory;
pub mod postgres;
mod records;
mod rules;
pub mod sqlite;
pub mod stored;

#[cfg(test)]
pub(crate) mod contract;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::clock::{Clock, UnixMillis};
use crate::event::{Class, Identity, Kind, Mode, Policy, Proof, Redelivery, TokenUse};
use crate::ledger::flights::{Flight, Flights, Joined};
use crate::message::{Reply, ShopRequest};
use crate::metrics::Telemetry;
use crate::token::Authentic;

pub use crate::ledger::postgres::{Address, AddressFault};
pub use crate::ledger::records::{Counts, Filter, LISTED_RECORDS_MAX, Obstacle, Record, Retention, State, Swept};

/// Where notices are kept, and for how long.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The backend.
    pub backend: Backend,
    /// A claim that is not on disk within this time is given up: the callback is passed straight through.
    pub admit_within: Duration,
    /// Writes that wait for the writer at most; beyond, a call fails as overloaded.
    pub queue_max: usize,
    /// Largest size of the store in bytes; beyond, new claims fail as unavailable until a sweep made room.
    pub bytes_max: u64,
    /// How long records are kept.
    pub retention: Retention,
    /// How often old records are swept out.
    pub sweep_every: Duration,
}

/// Which backend keeps the notices.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Backend {
    /// A SQLite file.
    File(PathBuf),
    /// A database that several processes share, and how many connections claims and ends get.
    Postgres(Box<Address>, usize),
    /// Memory only: for trials. Nothing survives a stop.
    Memory,
}

/// What every backend is handed.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Reads the time.
    pub clock: Clock,
    /// What this process delivers right now: the same board on which calls join.
    pub flights: Flights,
    /// Told of commits and failures.
    pub telemetry: Telemetry,
}

/// A future of a ledger call. Boxed, because the backend is chosen at start-up.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

/// A future of an admission; a failure gives the flight back.
pub type PendingAdmission<'a> = Pin<Box<dyn Future<Output = Result<Admission, (LedgerError, Flight)>> + Send + 'a>>;

/// A future that uses up a claim; a failure gives it back, and the holder tries again.
pub type PendingEnd<'a, T = ()> = Pin<Box<dyn Future<Output = Result<T, (LedgerError, Box<Claim>)>> + Send + 'a>>;

/// A notice that proved itself, ready to be admitted.
#[derive(Clone, Debug)]
pub struct Notice {
    pub(crate) kind: Kind,
    pub(crate) route: String,
    pub(crate) policy: Policy,
    pub(crate) identity: Identity,
    pub(crate) token: Option<TokenUse>,
    pub(crate) observes: bool,
    pub(crate) failure_texts: Vec<String>,
    pub(crate) request: ShopRequest,
}

impl Notice {
    /// Only a verified call becomes a notice. A question is given back: it cannot be stored.
    pub fn from_authentic(call: Authentic) -> Result<Self, Box<Authentic>> {
        match call.kind().class() {
            Class::Question => Err(Box::new(call)),
            Class::Notice => {
                let parts = call.into_parts();
                Ok(Self {
                    kind: parts.route.kind,
                    route: parts.route.name.clone(),
                    policy: parts.route.policy,
                    identity: parts.identity,
                    token: parts.token,
                    observes: parts.route.proof == Proof::Token(Mode::Observe),
                    failure_texts: parts.route.failure_texts.clone(),
                    request: parts.request,
                })
            }
        }
    }

    /// The callback's kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The rules it was accepted under.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Who it is about.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Name of the route it came in on.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// What the shop gets.
    pub fn request(&self) -> &ShopRequest {
        &self.request
    }

    /// Bodies that mean failure although the status says 2xx.
    pub fn failure_texts(&self) -> &[String] {
        &self.failure_texts
    }

    /// Whether its route only observes: an overused token is let pass.
    pub fn observes_token(&self) -> bool {
        self.observes
    }

    /// The same notice as one that came without a token.
    #[must_use]
    pub fn without_token(mut self) -> Self {
        self.token = None;
        self
    }

    /// Whether kallback itself brings it again after a failure of which this much is known.
    pub fn redelivers(&self, certainly_not_reached: bool) -> bool {
        match self.policy.redelivery {
            Redelivery::AnyFailure => true,
            Redelivery::OnlyUnreached => certainly_not_reached,
            Redelivery::Never => false,
        }
    }
}

/// The number of a record, for people: `kallback callbacks show 17`.
pub type NoticeId = i64;

/// The right to bring one notice to the shop. Made by ledgers only; not `Clone`, so that there is one.
#[derive(Debug)]
pub struct Claim {
    /// The record.
    pub id: NoticeId,
    /// The stored notice.
    pub notice: Arc<Notice>,
    /// Which attempt this is to be: 1 for the sender's first call.
    pub attempt: u32,
    /// When the notice was admitted.
    pub accepted_at: UnixMillis,
    /// From then on it is too old: the kind's oldest age after it was admitted, or after a person replayed it.
    pub expires_at: UnixMillis,
    /// How many earlier records of the same fingerprint the shop answered 2xx (a push repeated for want of an
    /// acknowledgement).
    pub repeats: u32,
    /// The attempt before this one was under way when its process died or its task was dropped: nobody knows
    /// whether the shop saw it.
    pub interrupted: bool,
    /// The sender was answered 2xx for it by kallback itself; then nobody else will bring it again.
    pub answered: bool,
    pub(crate) epoch: i64,
    /// Where other processes share the ledger.
    pub(crate) lease: Option<Lease>,
    pub(crate) flight: Flight,
}

/// How long a claim is its holder's, where other processes share the ledger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    /// Then another process may take it.
    pub(crate) until: Instant,
    /// Another process had a notice of the same turn at the shop when this one was claimed.
    pub(crate) behind_another: bool,
}

impl Claim {
    /// Waits until no earlier notice of the same turn is at the shop.
    pub async fn my_turn(&self) {
        self.flight.my_turn().await;
    }

    /// A place to wait for this delivery's outcome.
    pub fn joined(&self) -> Joined {
        self.flight.joined()
    }

    /// The shop is done with it: nobody answers in its place any more. Says whether the sender was told, now or
    /// before, that the notice arrived.
    pub fn conclude(&self) -> bool {
        // A second attempt means that the first sender was told so; after an interruption nobody knows.
        self.flight.conclude() || self.attempt > 1 || self.interrupted
    }

    /// Tells everybody who waits how the notice stands.
    pub fn resolve(&self, standing: Standing) {
        self.flight.resolve(standing);
    }

    /// Somebody else holds it now; its loss is not to be noticed.
    pub fn forget(mut self) {
        self.flight.land();
    }
}

/// What the ledger says to a notice that arrives.
#[derive(Debug)]
pub enum Admission {
    /// Never seen, or its window is over: stored now, and the caller delivers it.
    Fresh(Box<Claim>),
    /// Stored and not settled yet: another process holds it, or it waits for its next attempt.
    InFlight(Joined),
    /// The shop answered 2xx and the replay window is open.
    Settled(Arc<Reply>),
    /// The token came with more different session or order ids than it may.
    TokenOverused,
}

/// How a stored notice stands after an attempt, as those who joined it learn it.
#[derive(Clone, Debug)]
pub enum Standing {
    /// The shop answered 2xx.
    Settled(Arc<Reply>),
    /// kallback will bring it again; the sender may be told that it was received.
    WillRedeliver,
    /// kallback will not bring it again. The sender gets the shop's own failing reply, if there was one.
    GivenUp(Option<Arc<Reply>>, GaveUp),
}

/// Which failure of kallback's own stands for a shop that did not reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GaveUp {
    /// The shop was not reached, or broke the connection.
    NoReply,
    /// The shop did not reply in time.
    TooSlow,
}

/// How a record ends other than by a 2xx of the shop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Too old, or refused for good: kept, counted, alarmed; a person may replay it.
    Dead,
    /// Left to the sender's own repeat.
    Left,
}

impl End {
    /// The end's name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Left => "left",
        }
    }
}

/// Why a ledger call failed. None of the texts holds anything of a callback.
#[derive(Debug, Error, Clone)]
pub enum LedgerError {
    /// The store cannot be written or read: disk full, I/O error, database away.
    #[error("the ledger cannot be used: {0}")]
    Unavailable(String),
    /// More calls wait for the writer than the bound allows.
    #[error("the ledger's queue is full")]
    Overloaded,
    /// Somebody else took the claim over since.
    #[error("record {0} was taken over by another holder")]
    Lost(NoticeId),
    /// No such record, or not in a state that allows the call.
    #[error("there is no record {0} that can be replayed")]
    NotReplayable(NoticeId),
}

/// Where notices are kept.
pub trait Ledger: Send + Sync + 'static {
    /// Claims and stores a notice, durably before it returns `Fresh`. Also binds the notice's token to its
    /// subject, when there are both. `flight` is the notice's place in the air, taken before; it goes into the
    /// claim, and is resolved with what the ledger knows where there is no claim. On an error it is given back
    /// unresolved, so that the call can go on without a record. A caller that stops waiting before it has its answer
    /// leaves no pending record behind: what was not written yet is not written, and what was is closed as left.
    fn admit(&self, notice: Arc<Notice>, flight: Flight) -> PendingAdmission<'_>;

    /// Remembers that a token came with this subject. `false`: it already came with `sessions_max` others.
    /// For questions, which are not admitted.
    fn bind(&self, token: TokenUse, subject: String) -> Pending<'_, bool>;

    /// Records that kallback itself answered the sender 2xx for a claim still under way. Not durable on its own:
    /// it rides on the next write. Losing it in a crash makes a later end `left` where `dead` would be right.
    fn answered(&self, id: NoticeId) -> Pending<'_, ()>;

    /// Makes sure that the claim stays its holder's for this long, and waits until no other process has an earlier
    /// notice of its turn at the shop. To be asked before every attempt. Where no other process shares the ledger,
    /// there is nothing to make sure of.
    fn hold<'a>(&'a self, _claim: &'a Claim, _for_at_least: Duration) -> Pending<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// The shop answered 2xx. `stored` is what replays will send. Those who joined learn it first, so that a slow
    /// disk does not make them late; after an error the caller keeps the claim and tries again, and further calls
    /// go on joining it.
    fn settle(&self, claim: Box<Claim>, stored: Arc<Reply>) -> PendingEnd<'_>;

    /// The attempt failed and kallback tries again at `due_at`.
    fn postpone(&self, claim: Box<Claim>, due_at: UnixMillis, failure: Failure) -> PendingEnd<'_>;

    /// The attempt failed and kallback will not try again. Says how it ended: dead instead of left, where a sender at
    /// another process was told meanwhile that it arrived.
    fn close(&self, claim: Box<Claim>, end: End, failure: Failure) -> PendingEnd<'_, End>;

    /// Takes at most `limit` claims whose time has come, oldest first; also those whose holder vanished. Leaves out
    /// what is in the air, and what would go to the shop together with another notice of its turn.
    fn lease_due(&self, limit: usize) -> Pending<'_, Vec<Box<Claim>>>;

    /// When the next claim is due that nothing in the air holds up. One that is held up can be taken after
    /// [`Flights::until_one_ended`].
    fn next_due(&self) -> Pending<'_, Option<UnixMillis>>;

    /// Everything that waits for a time later than `at` is due now. Says how many.
    fn wake_later_than(&self, at: UnixMillis) -> Pending<'_, u64>;

    /// The order was seen to be acknowledged: its settled pushes are replayed for `replay_acknowledged_for`.
    /// Says how many records that concerned. Remembered for two days, for pushes that settle later.
    fn acknowledge(&self, order_id: String) -> Pending<'_, u64>;

    /// A person wants a dead, left or settled notice brought to the shop again: it becomes pending and due now.
    /// Refused when there is a newer record of the same fingerprint, or its request was swept.
    fn replay(&self, id: NoticeId) -> Pending<'_, ()>;

    /// Records for people.
    fn list(&self, filter: Filter) -> Pending<'_, Vec<Record>>;

    /// How many records there are.
    fn counts(&self) -> Pending<'_, Counts>;

    /// Drops what is older than the retention allows, in one slice. Call again while it says it dropped a full one.
    fn sweep(&self, retention: Retention) -> Pending<'_, Swept>;

    /// Writes what waits and closes the store. Later calls fail as unavailable.
    fn shut_down(&self) -> Pending<'_, ()>;
}

/// What is remembered of a failed attempt.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which failure of kallback's own stands for a shop that did not reply.
    pub why: GaveUp,
    /// The shop's failing reply, if there was one; those who joined get it.
    pub reply: Option<Arc<Reply>>,
    /// In words, without anything of the callback: `connection refused`, `blocked by wordfence-waf`.
    pub note: String,
}
