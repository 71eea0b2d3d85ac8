//! One request on a connection: from hyper to the handler and back, counted on both ways.

use std::convert::Infallible;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::activity::Activity;
use super::conversation::Conversation;
use super::framing::{self, Fault};
use super::interim::Interim;
use super::{Caller, Front, Handler};
use crate::caller_body::CallerBody;
use crate::metrics::Event;
use crate::upstream::sender::Peer;

/// Answers the requests of one connection.
#[derive(Debug)]
pub(super) struct Service<H> {
    pub(super) front: Arc<Front>,
    pub(super) handler: H,
    pub(super) conversation: Conversation,
    pub(super) peer: Peer,
    pub(super) encrypted: bool,
}

impl<H: Handler> Service<H> {
    /// Answers one request.
    pub(super) async fn answer(
        self: Arc<Self>,
        mut request: Request<Incoming>,
    ) -> Result<Response<Reply<H::Body>>, Infallible> {
        let (arrived, turn, checked) = self.begin(&request);
        if let Err(fault) = checked {
            return Ok(self.refusal(fault, turn));
        }
        settle_host(&mut request);
        let version = request.version();
        let interim = match version {
            Version::HTTP_11 => Interim::new(&self.conversation),
            _ => Interim::none(),
        };
        let caller = Caller { peer: self.peer.clone(), arrived, encrypted: self.encrypted, interim, version };
        let response = self.handler.handle(request.map(CallerBody::from), caller).await;
        if version != Version::HTTP_2 {
            self.conversation.close_interim();
        }
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.conversation.upgraded();
        }
        Ok(response.map(|body| Reply::new(Some(body), turn)))
    }

    /// When it arrived, its turn, and what is wrong with it.
    fn begin(&self, request: &Request<Incoming>) -> (Instant, Turn, Result<(), Fault>) {
        let speaks_http2 = request.version() == Version::HTTP_2;
        let turn = Turn { conversation: self.conversation.clone(), speaks_http2, answered: false };
        if speaks_http2 {
            let arrived = self.conversation.stream_began();
            return (arrived, turn, framing::check_http2(request, self.front.settings.headers_max));
        }
        let arrival = self.conversation.next_arrival();
        (arrival.at, turn, arrival.refused.map_or(Ok(()), Err))
    }

    fn refusal(&self, fault: Fault, turn: Turn) -> Response<Reply<H::Body>> {
        self.front.telemetry.emit(Event::RequestRefused { why: fault.name(), client: self.peer.address() });
        let mut response = Response::new(Reply::new(None, turn));
        *response.status_mut() = fault.status();
        response
    }
}

/// The handler finds the host in `Host`, whichever version the caller speaks.
fn settle_host(request: &mut Request<Incoming>) {
    let Some(authority) = request.uri().authority() else { return };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(HOST, host);
    }
}

/// A request's turn: from its head to the end of its reply.
#[derive(Debug)]
struct Turn {
    conversation: Conversation,
    speaks_http2: bool,
    answered: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.conversation.request_ended(self.answered);
    }
}

/// A reply's body, which holds the turn until it is over.
#[derive(Debug)]
pub(super) struct Reply<B> {
    body: Option<B>,
    /// HTTP/2 keeps pieces back until the caller makes room for them on this stream; the socket below does not see that
    /// the caller is stuck. On HTTP/1.1 it does.
    counts_pieces: bool,
    /// A piece was handed over, and no room for the next one was asked for since.
    offered: bool,
    turn: Turn,
}

impl<B: Body> Reply<B> {
    fn new(body: Option<B>, mut turn: Turn) -> Self {
        turn.answered = true;
        let is_over = body.as_ref().is_none_or(Body::is_end_stream);
        let mut reply = Self { body, counts_pieces: turn.speaks_http2, offered: false, turn };
        if !is_over {
            reply.offer();
        }
        reply
    }
}

impl<B> Reply<B> {
    fn offer(&mut self) {
        if !self.counts_pieces {
            return;
        }
        self.offered = true;
        self.turn.conversation.note(Activity::piece_offered);
    }

    fn settle(&mut self) {
        if std::mem::take(&mut self.offered) {
            self.turn.conversation.note(Activity::piece_taken);
        }
    }
}

impl<B> Drop for Reply<B> {
    fn drop(&mut self) {
        self.settle();
    }
}

impl<B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> Body for Reply<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.settle();
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = &frame {
            self.offer();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
