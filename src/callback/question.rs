//! A question is put to the shop live. Nobody else answers it, and nobody asks it twice.

use std::net::IpAddr;

use http::Request;
use hyper::ext::ReasonPhrase;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Callbacks, Outcome};
use crate::delivery::{blockers, warnings};
use crate::event::{Kind, Mode, Proof};
use crate::ledger::GaveUp;
use crate::limits::Seat;
use crate::message::Reply;
use crate::metrics::{Event, ShopClass};
use crate::token::{Authentic, Refusal};
use crate::upstream::{ConnectionChoice, How, SendCause, ShopBody, ShopReply, headers};

impl Callbacks {
    /// Asks the shop and passes its reply through. The connection stays open until the kind's hard limit.
    pub(super) async fn ask(&self, question: Authentic, client: IpAddr, arrived: Instant) -> Outcome {
        if self.overused(&question).await {
            let observed = question.route().proof == Proof::Token(Mode::Observe);
            self.report_overuse(question.kind(), observed, client);
            if !observed {
                return Outcome::Refused(Refusal::Overused);
            }
        }
        let give_up_at = arrived + question.route().policy.hard_limit;
        match timeout_at(give_up_at, self.exchange(question, give_up_at)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Failed(GaveUp::TooSlow),
        }
    }

    async fn exchange(&self, question: Authentic, give_up_at: Instant) -> Outcome {
        let Ok(seat) = self.seats.for_callback(give_up_at).await else { return Outcome::NoSeat };
        let kind = question.kind();
        let asked = question.into_parts().request;
        let mut request = Request::new(ShopBody::Full(asked.body));
        match asked.target.parse() {
            Ok(target) => *request.uri_mut() = target,
            Err(_) => return Outcome::Failed(GaveUp::NoReply),
        }
        *request.method_mut() = asked.method;
        *request.headers_mut() = asked.headers;
        let how =
            How { connection: ConnectionChoice::Fresh, reply_within: None, class: ShopClass::Callback, traced: true };
        match self.upstream.send(request, how).await {
            Ok(reply) => self.live(kind, &asked.target, reply, seat).await,
            Err(error) => {
                Outcome::Failed(if error.cause == SendCause::ReplyTimeout { GaveUp::TooSlow } else { GaveUp::NoReply })
            }
        }
    }

    /// Names who blocked and what is going to cause trouble, and passes the reply on as it is.
    async fn live(&self, kind: Kind, target: &str, mut reply: ShopReply, seat: Seat) -> Outcome {
        headers::for_caller(reply.headers_mut());
        let seen = Reply {
            status: reply.status(),
            reason: reply.extensions().get::<ReasonPhrase>().cloned(),
            headers: reply.headers().clone(),
            body: reply.body_mut().start().await,
        };
        for warning in warnings::warnings(kind, target, &seen) {
            self.telemetry.emit(Event::Suspicious { kind, warning });
        }
        let reason = seen.reason.as_ref().map(ReasonPhrase::as_bytes);
        if let Some(blocker) = blockers::identify(seen.status, reason, &seen.headers, &seen.body) {
            self.telemetry.emit(Event::Blocked { by: blocker.label, advice: blocker.advice });
        }
        Outcome::Live(Box::new(reply), seat)
    }

    /// A ledger that cannot say counts as a no: a broken disk must not refuse purchases.
    async fn overused(&self, question: &Authentic) -> bool {
        let (Some(token), Some(subject)) = (question.token(), question.identity().subject.clone()) else {
            return false;
        };
        match timeout(self.admit_within, self.ledger.bind(token, subject)).await {
            Ok(Ok(within)) => !within,
            Ok(Err(error)) => {
                self.telemetry.emit(Event::LedgerFailed { call: "bind", error: &error });
                false
            }
            Err(_) => false,
        }
    }
}
