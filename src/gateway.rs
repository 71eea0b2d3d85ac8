//! The one branch: a request is a callback, or it is traffic.

mod form_guard;

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};

use crate::answer;
use crate::callback::{Call, Callbacks};
use crate::caller_body::CallerBody;
use crate::clock::Clock;
use crate::forward::{Context, Forwarder};
use crate::metrics::{Event, Telemetry};
use crate::network::Network;
use crate::recognise::{Recognised, Recogniser};
use crate::server::{Caller, Handler};
use crate::trace::Span;
use crate::upstream::BodyGuard;
use crate::upstream::answer::ReplyBody;
use crate::upstream::sender::Sender;

/// What holds now for one worker: swapped as a whole when the config is read again.
pub struct Rules {
    /// Which requests are callbacks.
    pub recogniser: Arc<Recogniser>,
    /// The flow of callbacks.
    pub callbacks: Arc<Callbacks>,
    /// The flow of everything else.
    pub forwarder: Forwarder,
    /// Proxies that are believed when they name another client.
    pub trusted_proxies: Vec<Network>,
    /// The public https port, as a header writes it.
    pub public_port: HeaderValue,
    /// Look into forms for parameters that reach a callback.
    pub scan_forms: bool,
}

/// Takes every request of one worker.
#[derive(Clone)]
pub struct Gateway {
    rules: Arc<ArcSwap<Rules>>,
    clock: Clock,
    telemetry: Telemetry,
}

impl Gateway {
    /// A gateway that follows these rules, whichever they are at the time.
    pub fn new(rules: Arc<ArcSwap<Rules>>, clock: Clock, telemetry: Telemetry) -> Self {
        Self { rules, clock, telemetry }
    }
}

impl Handler for Gateway {
    type Body = ReplyBody;

    async fn handle(&self, request: Request<CallerBody>, caller: Caller) -> Response<ReplyBody> {
        let rules = self.rules.load_full();
        if !caller.encrypted && !rules.vouched_for(&caller, request.headers()) {
            self.telemetry.emit(Event::RequestRefused { why: "plain_http", client: caller.peer.address() });
            return answer::to_plain_http();
        }
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        match rules.recogniser.recognise(target) {
            // Boxed, since it is larger by far than the way of traffic, which hardly any request leaves.
            Some(recognised) => Box::pin(self.callback(&rules, recognised, request, caller)).await,
            None => self.traffic(&rules, request, caller).await,
        }
    }
}

impl Gateway {
    async fn callback(
        &self,
        rules: &Rules,
        recognised: Recognised,
        mut request: Request<CallerBody>,
        caller: Caller,
    ) -> Response<ReplyBody> {
        let span = self.span(rules, &mut request, &caller);
        let route = recognised.route.clone();
        let sender = rules.sender(&caller);
        let client = sender.client(request.headers(), &rules.trusted_proxies);
        let call = Call { guard: rules.guard(&request), recognised, request, sender, client, arrived: caller.arrived };
        let (outcome, identity) = rules.callbacks.answer(call).await;
        if let Some(why) = outcome.turned_away_for() {
            self.telemetry.emit(Event::RequestRefused { why, client });
        }
        let (answered_by, response) = answer::to_callback(outcome);
        self.telemetry.emit(Event::CallbackAnswered {
            kind: route.kind,
            route: &route.name,
            answered_by,
            status: response.status().as_u16(),
            took: self.clock.instant().saturating_duration_since(caller.arrived),
            budget: route.policy.budget,
            client,
            subject: identity.as_ref().and_then(|identity| identity.subject.as_deref()),
            fingerprint: identity.as_ref().map(|identity| identity.fingerprint),
            span: span.as_ref(),
        });
        response
    }

    async fn traffic(&self, rules: &Rules, mut request: Request<CallerBody>, caller: Caller) -> Response<ReplyBody> {
        let span = self.span(rules, &mut request, &caller);
        let sender = rules.sender(&caller);
        let client = sender.client(request.headers(), &rules.trusted_proxies);
        let method = request.method().clone();
        let interim = (caller.version == Version::HTTP_11).then_some(caller.interim);
        let context = Context {
            sender: &sender,
            guard: rules.guard(&request),
            informational: interim
                .map(|interim| move |status: StatusCode, headers: &HeaderMap| interim.send(status, headers)),
        };
        let outcome = rules.forwarder.forward(request, context).await;
        if let Err(fault) = &outcome {
            self.telemetry.emit(Event::RequestRefused { why: fault.name(), client });
        }
        let response = answer::to_traffic(outcome);
        self.telemetry.emit(Event::TrafficAnswered {
            method: method.as_str(),
            status: response.status().as_u16(),
            took: self.clock.instant().saturating_duration_since(caller.arrived),
            client,
            span: span.as_ref(),
        });
        response
    }

    /// The request's place in a trace, which its headers name from now on. Nothing is done while there are no traces.
    fn span(&self, rules: &Rules, request: &mut Request<CallerBody>, caller: &Caller) -> Option<Span> {
        let tracer = self.telemetry.tracer()?;
        let method = request.method().clone();
        Some(tracer.answering(request.headers_mut(), &method, rules.lists(caller)))
    }
}

impl Rules {
    /// A proxy that is listed says that the request came to it over TLS. One line and one word, so that nothing which
    /// a caller wrote before it counts.
    fn vouched_for(&self, caller: &Caller, headers: &HeaderMap) -> bool {
        let mut said = headers.get_all("x-forwarded-proto").iter();
        let is_https = said.next().is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
        is_https && said.next().is_none() && self.lists(caller)
    }

    /// Whether it is a trusted proxy.
    fn lists(&self, caller: &Caller) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(caller.peer.address()))
    }

    fn sender(&self, caller: &Caller) -> Sender {
        Sender::new(caller.peer.clone(), true, self.public_port.clone(), &self.trusted_proxies)
    }

    fn guard(&self, request: &Request<CallerBody>) -> Option<Box<dyn BodyGuard>> {
        if self.scan_forms { form_guard::guard(&self.recogniser, request) } else { None }
    }
}
