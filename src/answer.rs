//! Outcome → status, headers, body: the only table.
//!
//! | outcome | status | why |
//! |---|---|---|
//! | the shop's reply, live or to a notice | the shop's | with everything the shop said |
//! | replay | the recorded 2xx | with `kallback-replayed: true` |
//! | deadline, accepted | 204 | it is on disk |
//! | not proven | 403, empty | a 3xx would be a refused purchase to Kustom, a 2xx a swallowed callback |
//! | too many | 429 | with `retry-after` |
//! | head ambiguous, CONNECT | 400, 405 | refused, not repaired |
//! | body too large, too slow, broken off | 413, 408, 400 | |
//! | in the clear, and no listed proxy vouches | 403, empty | it has shown its token to everybody on the way |
//! | form that reaches a callback | 403 | it would pass the token by |
//! | shop not reached, or broke off | 502 | |
//! | shop too slow | 504 | |
//! | no seat at the shop | 503 | with `retry-after` |

use http::header::{CONTENT_LENGTH, RETRY_AFTER, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::callback::Outcome;
use crate::forward::ForwardError;
use crate::ledger::GaveUp;
use crate::limits::BodyFault;
use crate::message::Reply;
use crate::metrics::AnsweredBy;
use crate::upstream::answer::ReplyBody;
use crate::upstream::headers::BadHead;

const REPLAYED: HeaderName = HeaderName::from_static("kallback-replayed");
/// When a caller that was turned away may come again: within Klarna's own distance between attempts.
const COME_AGAIN_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// The reply to a callback, and what it counts as.
pub fn to_callback(outcome: Outcome) -> (AnsweredBy, Response<ReplyBody>) {
    match outcome {
        Outcome::Live(reply, seat) => (AnsweredBy::Shop, reply.map(|body| ReplyBody::Shop(body, Some(seat)))),
        Outcome::Shop(reply) => (AnsweredBy::Shop, recorded(&reply)),
        Outcome::Replay(reply) => {
            let mut response = recorded(&reply);
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            (AnsweredBy::Replay, response)
        }
        Outcome::Deadline => (AnsweredBy::Deadline, empty(StatusCode::NO_CONTENT)),
        Outcome::Accepted => (AnsweredBy::Accepted, empty(StatusCode::NO_CONTENT)),
        Outcome::Refused(_) | Outcome::FormBypass => (AnsweredBy::Refused, empty(StatusCode::FORBIDDEN)),
        Outcome::RateLimited => (AnsweredBy::Refused, come_again(StatusCode::TOO_MANY_REQUESTS)),
        Outcome::BadHead(fault) => (AnsweredBy::Refused, empty(bad_head(fault))),
        Outcome::BadBody(fault) => (AnsweredBy::Refused, empty(bad_body(fault))),
        Outcome::Failed(GaveUp::NoReply) => (AnsweredBy::Failed, empty(StatusCode::BAD_GATEWAY)),
        Outcome::Failed(GaveUp::TooSlow) => (AnsweredBy::Failed, empty(StatusCode::GATEWAY_TIMEOUT)),
        Outcome::NoSeat => (AnsweredBy::Failed, come_again(StatusCode::SERVICE_UNAVAILABLE)),
    }
}

/// The reply to traffic.
pub fn to_traffic(outcome: Result<Response<ReplyBody>, ForwardError>) -> Response<ReplyBody> {
    match outcome {
        Ok(response) => response,
        Err(ForwardError::BadHead(fault)) => empty(bad_head(fault)),
        Err(ForwardError::NoSeat(_)) => come_again(StatusCode::SERVICE_UNAVAILABLE),
        Err(ForwardError::BodyTooLarge) => empty(StatusCode::PAYLOAD_TOO_LARGE),
        Err(ForwardError::BodyTooSlow) => empty(StatusCode::REQUEST_TIMEOUT),
        Err(ForwardError::FormBypass) => empty(StatusCode::FORBIDDEN),
        Err(ForwardError::CallerGone) => empty(StatusCode::BAD_REQUEST),
        Err(ForwardError::NotReached(_) | ForwardError::Broken(_)) => empty(StatusCode::BAD_GATEWAY),
        Err(ForwardError::TooSlow(_)) => empty(StatusCode::GATEWAY_TIMEOUT),
    }
}

/// The reply to a request that came in the clear, and for which no listed proxy vouches.
pub fn to_plain_http() -> Response<ReplyBody> {
    empty(StatusCode::FORBIDDEN)
}

/// The reply to a request that cannot even be looked at.
pub fn to_bad_head(fault: BadHead) -> Response<ReplyBody> {
    empty(bad_head(fault))
}

fn bad_head(fault: BadHead) -> StatusCode {
    match fault {
        BadHead::Host | BadHead::Framing => StatusCode::BAD_REQUEST,
        BadHead::Connect => StatusCode::METHOD_NOT_ALLOWED,
    }
}

fn bad_body(fault: BodyFault) -> StatusCode {
    match fault {
        BodyFault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BodyFault::TooSlow => StatusCode::REQUEST_TIMEOUT,
        BodyFault::Broken => StatusCode::BAD_REQUEST,
    }
}

/// A reply as the shop gave it; only its framing is ours.
fn recorded(reply: &Reply) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Full(reply.body.clone()));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers.clone();
    let headers = response.headers_mut();
    headers.remove(TRANSFER_ENCODING);
    if reply.status != StatusCode::NO_CONTENT {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    }
    if let Some(reason) = &reply.reason {
        response.extensions_mut().insert(reason.clone());
    }
    response
}

fn empty(status: StatusCode) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::Empty);
    *response.status_mut() = status;
    response
}

fn come_again(status: StatusCode) -> Response<ReplyBody> {
    let mut response = empty(status);
    response.headers_mut().insert(RETRY_AFTER, COME_AGAIN_AFTER_SECONDS);
    response
}
