//! Everything that is no callback: passed through, streaming both ways.
//!
//! The target goes to the shop byte for byte. A few bytes never get here, because hyper and `http::Uri` refuse them
//! with `400`: raw blanks and control bytes anywhere, `<`, `>` and the backtick in the path, `<`, `>` and `"` in the
//! query, and bytes above 0x7f that are no UTF-8. Browsers write all of these with `%`. A fragment (`#…`) belongs to
//! no request and is dropped.

mod upgrade;

use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode, Version, request};
use hyper::upgrade::OnUpgrade;
use thiserror::Error;
use tokio_util::task::TaskTracker;

use self::upgrade::Asked;
use crate::caller_body::CallerBody;
use crate::limits::{NoSeat, Seat, Seats};
use crate::metrics::ShopClass;
use crate::network::Network;
use crate::upstream::answer::ReplyBody;
use crate::upstream::headers::{self, BadHead};
use crate::upstream::sender::Sender;
use crate::upstream::{
    BodyGuard, ConnectionChoice, How, Reached, RequestFault, SendCause, SendError, ShopBody, ShopReply, StreamLimits,
    Upstream, on_informational,
};
use crate::{limits, upstream};

/// How traffic is passed on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// A request body may pause for this long before `408`.
    pub request_body_idle_at_most: Duration,
    /// A tunnel (WebSocket) without a byte in either direction is closed after this time.
    pub tunnel_idle_at_most: Duration,
    /// Look into form bodies for parameters that reach a callback (WordPress reads `wc-api` from there).
    pub scan_forms: bool,
    /// The public https port, for `X-Forwarded-Port`.
    pub public_port: u16,
}

/// Passes traffic on to the shop. Cheap to clone; one for each worker.
#[derive(Clone, Debug)]
pub struct Forwarder {
    upstream: Upstream,
    seats: Seats,
    tunnels: TaskTracker,
    limits: Limits,
}

/// The limits on one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest request body in bytes; 0 for no limit.
    pub request_body_bytes_max: u64,
    /// A request body may pause for this long.
    pub request_body_idle_at_most: Duration,
    /// The reply's head must come within this time once the request's body is through.
    pub reply_within: Duration,
    /// A tunnel without a byte in either direction is closed after this time.
    pub tunnel_idle_at_most: Duration,
}

impl Limits {
    /// The limits as the parts' settings say.
    pub fn new(settings: &Settings, limits: &limits::Settings, upstream: &upstream::Settings) -> Self {
        Self {
            request_body_bytes_max: limits.traffic_body_bytes_max,
            request_body_idle_at_most: settings.request_body_idle_at_most,
            reply_within: upstream.reply_within,
            tunnel_idle_at_most: settings.tunnel_idle_at_most,
        }
    }
}

/// What belongs to one request beside its head and body.
pub struct Context<'a, I> {
    /// The other end of the connection.
    pub sender: &'a Sender,
    /// Looks at the body on its way, if there is something to look for.
    pub guard: Option<Box<dyn BodyGuard>>,
    /// Is told of informational replies (103 Early Hints), if the caller understands them.
    pub informational: Option<I>,
}

/// Why traffic got no reply from the shop. Each names the status that fits.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// `400`, or `405` for [`BadHead::Connect`].
    #[error(transparent)]
    BadHead(#[from] BadHead),
    /// `503` with `Retry-After`: the shop is full.
    #[error(transparent)]
    NoSeat(#[from] NoSeat),
    /// `413`.
    #[error("the request's body is too large")]
    BodyTooLarge,
    /// `408`.
    #[error("the request's body came too slowly")]
    BodyTooSlow,
    /// `403`: the body holds what reaches a callback without a token.
    #[error("the request's body reaches a callback")]
    FormBypass,
    /// Nobody is left to answer; `400` for form's sake.
    #[error("the caller broke off its request")]
    CallerGone,
    /// `502`: the shop cannot be reached.
    #[error("the shop was not reached")]
    NotReached(#[source] SendError),
    /// `504`: the shop did not reply in time.
    #[error("the shop did not reply in time")]
    TooSlow(#[source] SendError),
    /// `502`: the connection broke, or the reply is no HTTP.
    #[error("the shop gave no proper reply")]
    Broken(#[source] SendError),
}

impl ForwardError {
    /// Short name for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BadHead(_) => "framing",
            Self::NoSeat(_) => "seats",
            Self::BodyTooLarge => RequestFault::TooLarge.name(),
            Self::BodyTooSlow => RequestFault::TooSlow.name(),
            Self::FormBypass => RequestFault::Refused.name(),
            Self::CallerGone => RequestFault::Broken.name(),
            Self::NotReached(error) | Self::TooSlow(error) | Self::Broken(error) => error.cause.name(),
        }
    }
}

impl From<RequestFault> for ForwardError {
    fn from(fault: RequestFault) -> Self {
        match fault {
            RequestFault::TooLarge => Self::BodyTooLarge,
            RequestFault::TooSlow => Self::BodyTooSlow,
            RequestFault::Refused => Self::FormBypass,
            RequestFault::Broken => Self::CallerGone,
        }
    }
}

impl From<SendError> for ForwardError {
    fn from(error: SendError) -> Self {
        match (error.cause, error.reached) {
            (SendCause::RequestBody(fault), _) => fault.into(),
            (SendCause::ReplyTimeout, _) => Self::TooSlow(error),
            (_, Reached::No) => Self::NotReached(error),
            (_, Reached::Unknown) => Self::Broken(error),
        }
    }
}

impl Forwarder {
    /// Passes traffic to `upstream`, within `limits` and when `seats` has room. Tunnels run as tasks of `tunnels`.
    pub fn new(upstream: Upstream, seats: Seats, tunnels: TaskTracker, limits: Limits) -> Self {
        Self { upstream, seats, tunnels, limits }
    }

    /// Sends one request to the shop and gives back its reply, whose body comes as it comes.
    ///
    /// # Errors
    /// [`ForwardError`] names the answer that fits. A request is never sent twice.
    pub async fn forward<I>(
        &self,
        mut request: Request<CallerBody>,
        context: Context<'_, I>,
    ) -> Result<Response<ReplyBody>, ForwardError>
    where
        I: Fn(StatusCode, &HeaderMap) + Send + Sync + 'static,
    {
        let asked = Asked::by(&mut request);
        let (mut head, body) = request.into_parts();
        headers::for_shop(&mut head, context.sender)?;
        if asked.is_some() {
            upgrade::mark(&mut head.headers);
        }
        let body = ShopBody::stream(body, self.stream_limits(context.guard))?;
        let seat = self.seats.for_traffic().await?;
        let reply = self.send(head, body, context.informational).await?;
        self.answer(reply, seat, asked)
    }

    fn send<I>(
        &self,
        head: request::Parts,
        body: ShopBody,
        informational: Option<I>,
    ) -> impl Future<Output = Result<ShopReply, SendError>>
    where
        I: Fn(StatusCode, &HeaderMap) + Send + Sync + 'static,
    {
        let mut request = Request::from_parts(head, body);
        if let Some(tell) = informational {
            on_informational(&mut request, tell);
        }
        let how = How {
            connection: ConnectionChoice::Pooled,
            reply_within: Some(self.limits.reply_within),
            class: ShopClass::Traffic,
            traced: true,
        };
        self.upstream.send(request, how)
    }

    fn answer(&self, reply: ShopReply, seat: Seat, asked: Option<Asked>) -> Result<Response<ReplyBody>, ForwardError> {
        let (mut head, body) = reply.into_parts();
        headers::for_caller(&mut head.headers);
        // The shop may speak 1.0; the caller's connection speaks what it speaks.
        head.version = Version::HTTP_11;
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Response::from_parts(head, ReplyBody::Shop(body, Some(seat))));
        }
        let (Some(asked), Some(shop)) = (asked, head.extensions.remove::<OnUpgrade>()) else {
            // A switch that nobody asked for leaves a connection that nobody understands.
            let cause = SendCause::BadReply;
            return Err(ForwardError::Broken(SendError { reached: Reached::Unknown, cause, source: None }));
        };
        // A tunnel takes no worker of a shop the way a page does, and may last for hours.
        drop(seat);
        upgrade::mark(&mut head.headers);
        self.tunnels.spawn(asked.tunnel(shop, self.limits.tunnel_idle_at_most));
        Ok(Response::from_parts(head, ReplyBody::Empty))
    }

    fn stream_limits(&self, guard: Option<Box<dyn BodyGuard>>) -> StreamLimits {
        let bytes_max = match self.limits.request_body_bytes_max {
            0 => u64::MAX,
            bytes_max => bytes_max,
        };
        StreamLimits { idle_at_most: self.limits.request_body_idle_at_most, bytes_max, guard }
    }
}

impl<I> std::fmt::Debug for Context<'_, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("sender", &self.sender).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_at_the_shop_says_which_answer_fits() {
        let answer = |reached, cause| ForwardError::from(SendError { reached, cause, source: None });
        assert!(matches!(answer(Reached::No, SendCause::Refused), ForwardError::NotReached(_)));
        assert!(matches!(answer(Reached::Unknown, SendCause::ConnectionBroken), ForwardError::Broken(_)));
        assert!(matches!(answer(Reached::Unknown, SendCause::ReplyTimeout), ForwardError::TooSlow(_)));
        for (fault, name) in [
            (RequestFault::TooLarge, "body_size"),
            (RequestFault::TooSlow, "slow_body"),
            (RequestFault::Refused, "form_bypass"),
        ] {
            let error = answer(Reached::Unknown, SendCause::RequestBody(fault));
            assert!(!matches!(error, ForwardError::Broken(_)), "{error:?}");
            assert_eq!(error.name(), name);
        }
    }
}
