//! One try at the shop, and what is known after it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::ext::ReasonPhrase;
use tokio::time::timeout;

use crate::delivery::Delivery;
use crate::delivery::blockers::{self, Blocker};
use crate::delivery::disguise::is_disguised_failure;
use crate::event::Redelivery;
use crate::ledger::{GaveUp, Notice};
use crate::limits::{NoSeat, Seat};
use crate::message::Reply;
use crate::metrics::{Event, ShopClass};
use crate::trace::Span;
use crate::upstream::{ConnectionChoice, How, Reached, SendCause, SendError, ShopBody, ShopReply, headers};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const ATTEMPT: HeaderName = HeaderName::from_static("kallback-attempt");
const REDELIVERY: HeaderName = HeaderName::from_static("kallback-redelivery");
const UNRECORDED: HeaderName = HeaderName::from_static("kallback-unrecorded");

/// How one attempt ended.
#[derive(Debug)]
pub enum Tried {
    /// The shop answered 2xx.
    Delivered(Arc<Reply>),
    /// The shop itself answered something else, or a failure in the guise of a 2xx.
    Failed(Arc<Reply>, Option<Blocker>),
    /// A front server or firewall answered in the shop's place: certainly not reached.
    TurnedAway(Arc<Reply>, Option<Blocker>),
    /// Certainly not reached, and no reply.
    Unreached(&'static str),
    /// The request was on its way and no whole reply came: nobody knows.
    Unknown(&'static str, GaveUp),
}

/// Whether an attempt is the sender's own call or one of kallback's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Number {
    /// 1 for the first.
    pub attempt: u32,
    /// The sender is not waiting for this one.
    pub redelivery: bool,
    /// The ledger could not take it: nobody but this process knows of it.
    pub unrecorded: bool,
}

impl Tried {
    /// Certainly the shop did not act on it.
    pub fn certainly_not_reached(&self) -> bool {
        matches!(self, Self::TurnedAway(..) | Self::Unreached(_))
    }

    /// The reply, if there was a whole one.
    pub fn reply(&self) -> Option<&Arc<Reply>> {
        match self {
            Self::Delivered(reply) | Self::Failed(reply, _) | Self::TurnedAway(reply, _) => Some(reply),
            Self::Unreached(_) | Self::Unknown(..) => None,
        }
    }

    /// Label `outcome` of `kallback_delivery_attempts_total`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered(_) => "delivered",
            Self::Failed(..) => "failed",
            Self::TurnedAway(..) | Self::Unreached(_) => "unreached",
            Self::Unknown(..) => "unknown",
        }
    }

    /// In words, for the record and the log.
    pub fn note(&self) -> String {
        match self {
            Self::Delivered(_) => "delivered".to_owned(),
            Self::TurnedAway(_, Some(blocker)) => format!("blocked by {}", blocker.label),
            Self::Failed(reply, Some(found)) => {
                format!("the shop answered {} ({})", reply.status.as_u16(), found.label)
            }
            Self::Failed(reply, None) => format!("the shop answered {}", reply.status.as_u16()),
            Self::TurnedAway(reply, None) => format!("turned away with {}", reply.status.as_u16()),
            Self::Unreached(cause) | Self::Unknown(cause, _) => (*cause).to_owned(),
        }
    }
}

/// Whom a record's [`note`](Tried::note) names as the one who answered in the shop's place, if it names somebody.
pub fn blamed_by(note: &str) -> Option<Blocker> {
    let in_brackets = || note.rsplit_once(" (")?.1.strip_suffix(')');
    blockers::named(note.strip_prefix("blocked by ").or_else(in_brackets)?)
}

impl Delivery {
    /// A callback's seat at the shop. The wait for it is no part of the attempt's time: a call that begins late is
    /// not cut early.
    pub(super) async fn seat(&self) -> Result<Seat, NoSeat> {
        self.seats.for_callback(self.clock.instant() + self.settings.attempt_timeout).await
    }

    /// Brings the notice to the shop once, if there is a seat, and keeps the seat for as long as the shop works.
    pub(super) async fn attempt(
        &self,
        notice: &Notice,
        number: Number,
        record: Option<i64>,
        seat: Result<Seat, NoSeat>,
    ) -> Tried {
        let started = self.clock.instant();
        let stored = notice.request();
        let span = self.telemetry.tracer().map(|tracer| tracer.attempting(&stored.headers, &stored.method));
        let exchange = self.exchange(notice, number, span.as_ref());
        let tried = match seat {
            Err(_) => Tried::Unreached("no seat at the shop came free in time"),
            Ok(_seat) => match timeout(self.settings.attempt_timeout, exchange).await {
                Ok(tried) => tried,
                Err(_) => Tried::Unknown("the shop did not reply within the attempt's time", GaveUp::TooSlow),
            },
        };
        self.report(notice, &tried);
        self.telemetry.emit(Event::Attempt {
            kind: notice.kind(),
            outcome: tried.name(),
            record,
            attempt: number.attempt,
            status: tried.reply().map(|reply| reply.status.as_u16()),
            took: self.clock.instant().saturating_duration_since(started),
            note: &tried.note(),
            fingerprint: notice.identity().fingerprint,
            span: span.as_ref(),
        });
        tried
    }

    async fn exchange(&self, notice: &Notice, number: Number, span: Option<&Span>) -> Tried {
        let Some(mut request) = request(notice, number) else {
            return Tried::Unreached("its target cannot be sent");
        };
        if let Some(span) = span {
            span.write_to(request.headers_mut());
        }
        let how = How {
            connection: connection_for(notice, number),
            reply_within: None,
            class: ShopClass::Callback,
            // An attempt has a span of its own.
            traced: false,
        };
        match self.upstream.send(request, how).await {
            Ok(reply) => self.judge(notice, reply).await,
            Err(error) => no_reply(&error),
        }
    }

    async fn judge(&self, notice: &Notice, reply: ShopReply) -> Tried {
        let Some(reply) = read_whole(reply, self.settings.reply_body_bytes_max).await else {
            return Tried::Unknown("the shop's reply broke off", GaveUp::NoReply);
        };
        let reply = Arc::new(reply);
        if reply.status.is_success() {
            let failed = is_disguised_failure(&reply.body, notice.failure_texts());
            return if failed { Tried::Failed(reply, None) } else { Tried::Delivered(reply) };
        }
        let reason = reply.reason.as_ref().map(ReasonPhrase::as_bytes);
        match blockers::identify(reply.status, reason, &reply.headers, &reply.body) {
            Some(blocker) if !blocker.reached_shop => Tried::TurnedAway(reply, Some(blocker)),
            Some(blocker) => Tried::Failed(reply, Some(blocker)),
            None if blockers::says_not_reached(reply.status) => Tried::TurnedAway(reply, None),
            None => Tried::Failed(reply, None),
        }
    }
}

/// The shop's reply as it is recorded: without what only the first answer may carry, and as a bare `204` where the
/// body is too large to keep.
pub(super) fn for_replay(reply: &Arc<Reply>, body_bytes_max: usize) -> Arc<Reply> {
    if reply.body.len() <= body_bytes_max {
        return reply.clone();
    }
    Arc::new(Reply { status: StatusCode::NO_CONTENT, reason: None, headers: HeaderMap::new(), body: Bytes::new() })
}

fn request(notice: &Notice, number: Number) -> Option<Request<ShopBody>> {
    let stored = notice.request();
    let mut request = Request::new(ShopBody::Full(stored.body.clone()));
    *request.method_mut() = stored.method.clone();
    *request.uri_mut() = stored.target.parse().ok()?;
    *request.headers_mut() = stored.headers.clone();
    let headers = request.headers_mut();
    let fingerprint = notice.identity().fingerprint.to_string();
    headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(fingerprint).ok()?);
    headers.insert(ATTEMPT, HeaderValue::from(number.attempt));
    if number.redelivery {
        headers.insert(REDELIVERY, HeaderValue::from_static("true"));
    }
    if number.unrecorded {
        headers.insert(UNRECORDED, HeaderValue::from_static("true"));
    }
    Some(request)
}

/// On an idle connection that dies at that moment, nobody knows whether the shop had the notice. Where it comes again
/// then, marked, and has all its life before it, that is no harm; and a connection that the shop answered on a moment ago
/// hardly ever dies. Everything else has one of its own.
fn connection_for(notice: &Notice, number: Number) -> ConnectionChoice {
    let comes_again = notice.policy().redelivery == Redelivery::AnyFailure && !number.unrecorded;
    if comes_again && !number.redelivery { ConnectionChoice::JustUsed } else { ConnectionChoice::Fresh }
}

fn no_reply(error: &SendError) -> Tried {
    let why = if error.cause == SendCause::ReplyTimeout { GaveUp::TooSlow } else { GaveUp::NoReply };
    match error.reached {
        Reached::No => Tried::Unreached(error.cause.name()),
        Reached::Unknown => Tried::Unknown(error.cause.name(), why),
    }
}

/// Reads a reply to its end. Of a body above the bound nothing is kept, but it is read all the same: a shop that is
/// cut off in the middle of its page may stop in the middle of its order. `None`: it broke off.
async fn read_whole(reply: ShopReply, body_bytes_max: usize) -> Option<Reply> {
    let (head, mut stream) = reply.into_parts();
    let mut headers = head.headers;
    headers::for_caller(&mut headers);
    let mut body = BytesMut::new();
    let mut too_large = false;
    while let Some(frame) = stream.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        too_large |= body.len() + data.len() > body_bytes_max;
        if too_large {
            body.clear();
        } else {
            body.extend_from_slice(&data);
        }
    }
    if too_large {
        headers.remove(CONTENT_LENGTH);
    }
    let reason = head.extensions.get::<ReasonPhrase>().cloned();
    Some(Reply { status: head.status, reason, headers, body: body.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Class, Kind};
    use crate::ledger::contract::world::bare_notice;

    #[test]
    fn an_idle_connection_is_only_for_the_senders_own_call_that_would_come_again() {
        let first = Number { attempt: 1, redelivery: false, unrecorded: false };
        let others = [
            Number { attempt: 2, redelivery: true, ..first },
            // Nobody brings it again.
            Number { unrecorded: true, ..first },
        ];
        for kind in Kind::ALL.into_iter().filter(|kind| kind.class() == Class::Notice) {
            let notice = bare_notice(kind, 1);
            let comes_again = notice.policy().redelivery == Redelivery::AnyFailure;
            assert_eq!(comes_again, !matches!(kind, Kind::Push | Kind::Webhook), "{kind}");
            let expected = if comes_again { ConnectionChoice::JustUsed } else { ConnectionChoice::Fresh };
            assert_eq!(connection_for(&notice, first), expected, "{kind}");
            for other in others {
                assert_eq!(connection_for(&notice, other), ConnectionChoice::Fresh, "{kind}, {other:?}");
            }
        }
    }
}
