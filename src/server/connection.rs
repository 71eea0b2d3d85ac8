//! One connection: from accept to close.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::activity::{Activity, Look, Patience};
use super::connection_limit::Place;
use super::conversation::Conversation;
use super::doorbell::WhenItRings;
use super::drain::{Drain, Stage};
use super::framing::HeadLimits;
use super::guarded_io::GuardedIo;
use super::outbox::{InTurns, Outbox};
use super::proxy_protocol::{self, Origin};
use super::service::Service;
use super::tls::HTTP2;
use super::wire::Wire;
use super::{Front, Handler};
use crate::metrics::Event;

/// HTTP/1.1 cannot say that a connection ends but in a reply: one that is closed while the caller sends its next request
/// fails that request. So when everything stops, an open connection has this long to bring one more, whose reply says it.
const LAST_REQUEST_WITHIN: Duration = Duration::from_millis(300);

/// How a connection ends while its caller may be about to ask again.
struct Farewell {
    /// Before it is told to end, it may bring a request within this time.
    waits: Duration,
    /// After that, what was on its way is here within this time.
    hears: Duration,
    /// Dropped when it can bring no more requests.
    asking: Option<TaskTrackerToken>,
}

impl Farewell {
    fn http1(asking: TaskTrackerToken) -> Self {
        Self { waits: LAST_REQUEST_WITHIN, hears: Duration::ZERO, asking: Some(asking) }
    }

    /// GOAWAY asks for no more, and what is on its way is answered all the same.
    fn http2(asking: TaskTrackerToken) -> Self {
        Self { waits: Duration::ZERO, hears: LAST_REQUEST_WITHIN, asking: Some(asking) }
    }
}

/// What every connection of one listener meets.
#[derive(Clone, Debug)]
pub(super) struct Doorway<H> {
    pub(super) front: Arc<Front>,
    pub(super) handler: H,
    pub(super) drain: Drain,
    pub(super) speaks_tls: bool,
    /// What is said here stayed between caller and kallback.
    pub(super) encrypted: bool,
}

/// What a caller is connected by: a TCP socket, TLS on it, or a simulated one.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for S {}

/// A connection that was accepted.
#[derive(Debug)]
pub(super) struct Visitor<S> {
    pub(super) socket: S,
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
    pub(super) accepted: Instant,
}

/// A connection whose client is known, ready to speak HTTP.
struct Guest<S> {
    stream: S,
    conversation: Conversation,
    client: IpAddr,
}

impl<H: Handler> Doorway<H> {
    /// Takes one connection to its end.
    pub(super) async fn receive<S: Socket>(self, visitor: Visitor<S>, asking: TaskTrackerToken) {
        let deadline = visitor.accepted + self.front.settings.handshake_within;
        let Some(guest) = self.identify(visitor, deadline).await else { return };
        if !self.speaks_tls {
            return self.speak_http1(guest, asking).await;
        }
        let Some(guest) = self.shake_hands(guest, deadline).await else { return };
        if guest.stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
            self.speak_http2(guest, asking).await;
        } else {
            self.speak_http1(guest, asking).await;
        }
    }

    /// Finds out who the client is, and whether it has too many connections.
    async fn identify<S: Socket>(&self, visitor: Visitor<S>, deadline: Instant) -> Option<Guest<Wire<S>>> {
        let Visitor { mut socket, peer, place, accepted } = visitor;
        let settings = &self.front.settings;
        let mut client = peer.ip().to_canonical();
        let refused = |why, client| self.front.telemetry.emit(Event::ConnectionRefused { why, client });
        if settings.proxy_protocol_from.iter().any(|network| network.contains(client)) {
            match timeout_at(deadline, proxy_protocol::read(&mut socket)).await {
                Ok(Ok(Origin::Client(address))) => client = address.ip(),
                Ok(Ok(Origin::Itself)) => {}
                Ok(Err(_)) | Err(_) => {
                    refused("bad_proxy_header", client);
                    return None;
                }
            }
        }
        let place = place.belongs_to(client).inspect_err(|full| refused(full.name(), client)).ok()?;
        let conversation = Conversation::new(self.front.clock.clone(), accepted, settings.h2_resets_max);
        let stream = Wire::new(socket, conversation.clone(), (place, self.drain.token()));
        Some(Guest { stream, conversation, client })
    }

    async fn shake_hands<S: Socket>(
        &self,
        guest: Guest<Wire<S>>,
        deadline: Instant,
    ) -> Option<Guest<TlsStream<Wire<S>>>> {
        let Guest { stream, conversation, client } = guest;
        let began = self.front.clock.instant();
        let outcome = timeout_at(deadline, TlsAcceptor::from(Arc::clone(&self.front.tls)).accept(stream)).await;
        let result = match &outcome {
            Ok(Ok(_)) => "ok",
            Ok(Err(_)) => "failed",
            Err(_) => "timeout",
        };
        self.front.telemetry.emit(Event::Handshake { result, took: self.front.clock.instant() - began });
        Some(Guest { stream: outcome.ok()?.ok()?, conversation, client })
    }

    async fn speak_http1<S: Socket>(self, guest: Guest<S>, asking: TaskTrackerToken) {
        let settings = &self.front.settings;
        let limits = HeadLimits { bytes_max: settings.head_bytes_max, lines_max: settings.headers_max };
        let (stream, service, attendant) = self.split(guest);
        attendant.conversation.begin(false);
        let io = TokioIo::new(GuardedIo::framed(stream, attendant.conversation.clone(), limits));
        // In a box of its own, because hyper keeps room for it as long as the connection is open: without the box, 9 of
        // the 37 kB of an idle connection.
        let service = service_fn(move |request| Box::pin(Arc::clone(&service).answer(request)));
        let talk = attendant.front.http1.serve_connection(io, service).with_upgrades();
        attendant.attend(pin!(talk), http1::UpgradeableConnection::graceful_shutdown, Farewell::http1(asking)).await;
    }

    async fn speak_http2<S: Socket>(self, guest: Guest<S>, asking: TaskTrackerToken) {
        let (stream, service, attendant) = self.split(guest);
        attendant.conversation.begin(true);
        let outbox = Outbox::new(stream);
        let io = TokioIo::new(GuardedIo::http2(outbox.hand(), attendant.conversation.clone()));
        // In a box, because hyper's task for each request is moved about several times.
        let service = service_fn(move |request| Box::pin(Arc::clone(&service).answer(request)));
        let talk = outbox.empties_after(attendant.front.http2.serve_connection(io, service));
        let wind_down = |mut turns: Pin<&mut InTurns<http2::Connection<_, _, _>, _>>| {
            turns.talk.as_mut().graceful_shutdown();
        };
        attendant.attend(pin!(talk), wind_down, Farewell::http2(asking)).await;
    }

    fn split<S>(self, guest: Guest<S>) -> (S, Arc<Service<H>>, Attendant) {
        let Guest { stream, conversation, client } = guest;
        let (front, encrypted) = (Arc::clone(&self.front), self.encrypted);
        let attendant = Attendant { front, conversation: conversation.clone(), drain: self.drain };
        let service =
            Service { front: self.front, handler: self.handler, conversation, peer: client.into(), encrypted };
        (stream, Arc::new(service), attendant)
    }
}

/// Drives a connection and looks at the clock.
struct Attendant {
    front: Arc<Front>,
    conversation: Conversation,
    drain: Drain,
}

impl Attendant {
    /// Drives it to its end. Returning closes it, whatever state it is in.
    async fn attend<T: Future>(&self, mut talk: Pin<&mut T>, wind_down: impl Fn(Pin<&mut T>), mut farewell: Farewell) {
        let patience = self.patience();
        // Not at once: a timer that rings before all others wakes its own thread by a call to the system.
        let timer = pin!(sleep_until(self.conversation.now() + patience.shortest()));
        let mut timer = WhenItRings::new(timer);
        let (mut stages, mut last_stage) = (self.drain.watch(), self.drain.watch());
        let mut draining = pin!(async {
            WhenItRings::new(pin!(stages.reached(Stage::Paused))).await;
            self.one_more_request(farewell.waits).await;
        });
        let ended = pin!(last_stage.reached(Stage::Ended));
        let mut ended = WhenItRings::new(ended);
        let mut said_it_all = pin!(sleep_until(self.conversation.now()));
        let mut is_closing = false;
        loop {
            let wants_close = tokio::select! {
                biased;
                () = self.flooded() => return,
                _ = talk.as_mut() => return,
                () = &mut ended => return,
                () = draining.as_mut(), if !is_closing => true,
                () = said_it_all.as_mut(), if is_closing && farewell.asking.is_some() => {
                    farewell.asking = None;
                    false
                }
                () = &mut timer => {
                    let look = self.conversation.look(&patience);
                    let again = match look {
                        Look::Stuck => return,
                        Look::Fine { again } => again,
                        Look::SlowHead | Look::Idle => self.conversation.now() + patience.shortest(),
                    };
                    timer.change().as_mut().reset(again);
                    if look == Look::SlowHead {
                        self.conversation.give_up_head();
                    }
                    look == Look::Idle
                }
            };
            if wants_close && !is_closing {
                is_closing = true;
                said_it_all.as_mut().reset(self.conversation.now() + farewell.hears);
                wind_down(talk.as_mut());
                self.conversation.note(Activity::closing);
            }
        }
    }

    /// Ends when a request is here, or none began for that time. Whatever comes wakes the connection, and so asks again.
    async fn one_more_request(&self, within: Duration) {
        let is_here = || poll_fn(|_| if self.conversation.has_request() { Poll::Ready(()) } else { Poll::Pending });
        if timeout(within, is_here()).await.is_err() && self.conversation.reads_head() {
            is_here().await;
        }
    }

    fn patience(&self) -> Patience {
        let settings = &self.front.settings;
        Patience {
            head_within: settings.head_within,
            idle_for_at_most: settings.idle_for_at_most,
            write_stall_at_most: settings.write_stall_at_most,
        }
    }

    /// Ends when the caller takes back too many requests. Every one of them wakes the connection, and so asks again.
    async fn flooded(&self) {
        poll_fn(|_| if self.conversation.resets_too_much() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

#[cfg(test)]
pub(super) mod tests;
