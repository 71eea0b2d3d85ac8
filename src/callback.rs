//! One callback's way: verify → read → question: ask live; notice: admit → deliver → answer in time.
//!
//! The two halves differ in what they hang on. A question hangs on its caller: nobody else can use the shop's
//! reply. A notice, once its body is here, hangs on nobody: it runs in a task of its own that a hang-up of the
//! caller does not end and that shutdown waits for.

mod admit;
mod prove;
mod question;
mod wait;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::caller_body::CallerBody;
use crate::clock::Clock;
use crate::delivery::attempt::Tried;
use crate::delivery::{Delivery, standing_unrecorded};
use crate::event::{Identity, Kind};
use crate::ledger::flights::{Boarding, Course, Flights};
use crate::ledger::{Admission, GaveUp, Ledger, Notice, PendingAdmission};
use crate::limits::{BodyFault, Rates, Seat, Seats};
use crate::message::Reply;
use crate::metrics::{Event, Telemetry};
use crate::recognise::Recognised;
use crate::token::{Guard, Refusal};
use crate::upstream::headers::BadHead;
use crate::upstream::sender::Sender;
use crate::upstream::{BodyGuard, ShopReply, Upstream};

use self::admit::Said;
use self::wait::{Waiting, outcome_of, wait};

/// How a callback was answered: `answer` turns it into a reply.
#[derive(Debug)]
pub enum Outcome {
    /// The shop's live reply to a question, and its seat.
    Live(Box<ShopReply>, Seat),
    /// The shop's reply to a notice, success or not.
    Shop(Arc<Reply>),
    /// The recorded reply of an earlier delivery.
    Replay(Arc<Reply>),
    /// The deadline came first; the shop's call goes on.
    Deadline,
    /// Stored; kallback brings it to the shop later.
    Accepted,
    /// Not proven.
    Refused(Refusal),
    /// The body is a form that reaches another callback than the URL, whose token does not stand for it.
    FormBypass,
    /// Too many.
    RateLimited,
    /// The head cannot be passed on.
    BadHead(BadHead),
    /// The body is too large, too slow or broken off.
    BadBody(BodyFault),
    /// No reply of the shop, and kallback will not bring it again.
    Failed(GaveUp),
    /// No seat at the shop came free in time.
    NoSeat,
}

impl Outcome {
    /// The limit or fault for which the call was turned away, as metrics name it. Proofs that failed have a metric of
    /// their own.
    pub fn turned_away_for(&self) -> Option<&'static str> {
        match self {
            Self::RateLimited => Some("rate"),
            Self::FormBypass => Some("form_bypass"),
            Self::BadHead(_) => Some("framing"),
            Self::BadBody(fault) => Some(fault.name()),
            Self::NoSeat => Some("seats"),
            _ => None,
        }
    }
}

/// A request that was recognised.
pub struct Call {
    /// Where it arrived.
    pub recognised: Recognised,
    /// The request as it came.
    pub request: Request<CallerBody>,
    /// Who sent it: what the shop is told of it.
    pub sender: Sender,
    /// Who sent it, for limits and logs.
    pub client: IpAddr,
    /// Looks at the body, if the shop may read it as a form.
    pub guard: Option<Box<dyn BodyGuard>>,
    /// When the sender's clock started.
    pub arrived: Instant,
}

/// The flow of callbacks, with everything it stands on.
pub struct Callbacks {
    /// Proves callers.
    pub guard: Arc<Guard>,
    /// Turns callers away.
    pub rates: Rates,
    /// Largest body in bytes.
    pub body_bytes_max: u64,
    /// The whole body must be there within this time.
    pub body_within: Duration,
    /// What is in the air.
    pub flights: Flights,
    /// What is stored.
    pub ledger: Arc<dyn Ledger>,
    /// A claim that is not on disk within this time is given up.
    pub admit_within: Duration,
    /// Brings notices.
    pub delivery: Arc<Delivery>,
    /// Asks questions.
    pub upstream: Upstream,
    /// Seats at the shop.
    pub seats: Seats,
    /// The tasks that shutdown waits for.
    pub tasks: TaskTracker,
    /// Holds a token for every callback until nothing of it runs: the ledger is not handed on before.
    pub under_way: TaskTracker,
    /// Time.
    pub clock: Clock,
    /// Events.
    pub telemetry: Telemetry,
}

impl Callbacks {
    /// Answers one callback. Says who it was about, once the caller proved itself.
    pub async fn answer(self: &Arc<Self>, call: Call) -> (Outcome, Option<Identity>) {
        let _under_way = self.under_way.token();
        let (arrived, client) = (call.arrived, call.client);
        let authentic = match self.prove(call).await {
            Ok(authentic) => authentic,
            Err(outcome) => return (outcome, None),
        };
        let identity = authentic.identity().clone();
        let outcome = match Notice::from_authentic(authentic) {
            Err(question) => self.ask(*question, client, arrived).await,
            Ok(notice) => {
                let waiting = Waiting::for_notice(&notice, client, arrived);
                self.detached(Arc::new(notice), waiting).await
            }
        };
        (outcome, Some(identity))
    }

    /// From here on the caller may hang up.
    async fn detached(self: &Arc<Self>, notice: Arc<Notice>, waiting: Waiting) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let (flow, under_way) = (self.clone(), self.under_way.token());
        self.tasks.spawn(async move {
            flow.take(notice, waiting, answer).await;
            drop(under_way);
        });
        answered.await.unwrap_or(Outcome::Failed(GaveUp::NoReply))
    }

    /// Joins who delivers the notice already, or admits it. The answer goes out through `answer` as soon as it is
    /// known; nobody may be there any more to hear it.
    async fn take(&self, notice: Arc<Notice>, waiting: Waiting, answer: oneshot::Sender<Outcome>) {
        let identity = notice.identity();
        let flight = match self.flights.board(identity.fingerprint, identity.turn) {
            Boarding::First(flight) => flight,
            Boarding::Second(joined) => {
                self.telemetry.emit(Event::Duplicate {
                    kind: notice.kind(),
                    state: "in_flight",
                    fingerprint: identity.fingerprint,
                });
                return tell(answer, wait(joined, waiting).await);
            }
        };
        let course = flight.course();
        match self.admit(&notice, flight).await {
            Said::Yes(Admission::TokenOverused) if notice.observes_token() => {
                self.report_overuse(notice.kind(), true, waiting.client);
                let unbound = Arc::new(Notice::clone(&notice).without_token());
                Box::pin(self.take(unbound, waiting, answer)).await;
            }
            Said::Yes(admission) => tell(answer, self.admitted(&notice, admission, waiting).await),
            Said::No(flight) => {
                self.straight_through(&notice, &course, answer).await;
                drop(flight);
            }
            Said::NotYet(admission) => {
                let tried = self.straight_through(&notice, &course, answer).await;
                self.record_late(admission, tried).await;
            }
        }
    }

    async fn admitted(&self, notice: &Notice, admission: Admission, waiting: Waiting) -> Outcome {
        let (kind, fingerprint) = (notice.kind(), notice.identity().fingerprint);
        match admission {
            Admission::Fresh(claim) => {
                if kind == Kind::Push && claim.repeats > 0 {
                    let subject = notice.identity().subject.as_deref();
                    self.telemetry.emit(Event::UnacknowledgedPush { subject, repeats: claim.repeats });
                }
                let joined = claim.joined();
                let (delivery, under_way) = (self.delivery.clone(), self.under_way.token());
                self.tasks.spawn(async move {
                    delivery.bring(claim, ()).await;
                    drop(under_way);
                });
                wait(joined, waiting).await
            }
            Admission::InFlight(joined) => {
                self.telemetry.emit(Event::Duplicate { kind, state: "in_flight", fingerprint });
                wait(joined, waiting).await
            }
            Admission::Settled(reply) => {
                self.telemetry.emit(Event::Duplicate { kind, state: "settled", fingerprint });
                Outcome::Replay(reply)
            }
            Admission::TokenOverused => {
                self.report_overuse(kind, false, waiting.client);
                Outcome::Refused(Refusal::Overused)
            }
        }
    }

    /// Without the ledger: the sender and whoever joined wait for the shop, and nobody answers in its place.
    async fn straight_through(&self, notice: &Notice, course: &Course, answer: oneshot::Sender<Outcome>) -> Tried {
        let tried = self.delivery.bring_unrecorded(notice).await;
        let standing = standing_unrecorded(&tried);
        course.resolve(standing.clone());
        tell(answer, outcome_of(standing));
        tried
    }

    /// The ledger was too slow, and the sender did not pay for it. The claim may still reach the disk; then what
    /// became of the notice is recorded there, so that nobody brings it again if the shop has it.
    async fn record_late(&self, admission: PendingAdmission<'_>, tried: Tried) {
        if let Ok(Admission::Fresh(claim)) = admission.await {
            self.delivery.record_late(claim, tried).await;
        }
    }

    fn report_overuse(&self, kind: Kind, observed: bool, client: IpAddr) {
        self.telemetry.emit(Event::TokenChecked { kind, result: Refusal::Overused.name(), observed, client });
    }
}

/// The caller may have hung up; the work was done all the same.
fn tell(answer: oneshot::Sender<Outcome>, outcome: Outcome) {
    drop(answer.send(outcome));
}
