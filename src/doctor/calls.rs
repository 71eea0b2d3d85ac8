//! The calls that the doctor makes, and all that they brought.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderName, HeaderValue, Method, Request};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::{Admin, Callers, Patient};
use crate::clock::UnixMillis;
use crate::message::Reply;
use crate::probe::{Answered, Origin, Probe, Unanswered};

/// How many addresses of a name are tried, each with a call of its own.
const ADDRESSES_MAX: usize = 8;

/// A page that every shop can answer without work, and that changes nothing.
const QUIET_PAGE: &str = "/robots.txt";

/// How one call ended.
pub(super) type Outcome = Result<Answered, Box<Unanswered>>;

/// All that the calls brought.
#[derive(Debug)]
pub(super) struct Facts {
    /// The callback, from outside.
    pub(super) outside: Outcome,
    /// This machine's clock when that answer was there.
    pub(super) answered_at: UnixMillis,
    /// Each address of the name, and why nobody can connect there, if so. Empty where there is nothing to look up.
    pub(super) addresses: Vec<(SocketAddr, Option<String>)>,
    /// TLS 1.2 alone and TLS 1.3 alone: why it was not agreed on. `None` where TLS was never reached.
    pub(super) versions: Option<[(&'static str, Option<String>); 2]>,
    /// The callback at the shop itself, twice: the first one may meet a shop that has slept.
    pub(super) behind: Option<[Outcome; 2]>,
    /// What the admin listener says.
    pub(super) admin: Option<Books>,
}

/// What the admin listener says.
#[derive(Debug)]
pub(super) struct Books {
    /// `/readyz`
    pub(super) ready: Outcome,
    /// `/counts`
    pub(super) counts: Outcome,
}

/// Makes all calls, one after the other.
pub(super) async fn make(patient: &Patient, callers: &Callers) -> Facts {
    let Callers { outside: caller, inside } = callers;
    // First of all: the shop may have slept, and every later call wakes it.
    let behind = match &patient.shop {
        Some(shop) => Some([at_shop(patient, shop, inside).await, at_shop(patient, shop, inside).await]),
        None => None,
    };
    let outside = caller.call(&patient.public, patient.callback.clone()).await;
    let answered_at = caller.clock.now();
    Facts {
        addresses: every_address(&patient.public, caller, &outside).await,
        versions: versions(&patient.public, caller, &outside).await,
        outside,
        answered_at,
        behind,
        admin: match &patient.admin {
            Some(admin) => Some(books(admin, inside).await),
            None => None,
        },
    }
}

/// As kallback brings it: under the public name, and said to have come over TLS.
async fn at_shop(patient: &Patient, shop: &Origin, inside: &Probe) -> Outcome {
    let mut request = patient.callback.clone();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&patient.public.authority()) {
        headers.insert(HOST, host.clone());
        headers.insert(HeaderName::from_static("x-forwarded-host"), host);
    }
    let scheme = if patient.public.is_tls { "https" } else { "http" };
    headers.insert(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(scheme));
    inside.call(shop, request).await
}

async fn every_address(public: &Origin, caller: &Probe, outside: &Outcome) -> Vec<(SocketAddr, Option<String>)> {
    let mut tried = Vec::new();
    if seen(outside).look_up.is_none() {
        return tried;
    }
    for address in seen(outside).addresses.iter().take(ADDRESSES_MAX) {
        let probe = Probe { connect_to: Some(*address), ..caller.clone() };
        let outcome = probe.call(public, quiet()).await;
        let fault = match &outcome {
            Err(unanswered) if unanswered.seen.connect.is_none() => Some(unanswered.to_string()),
            _ => None,
        };
        tried.push((*address, fault));
    }
    tried
}

async fn versions(public: &Origin, caller: &Probe, outside: &Outcome) -> Option<[(&'static str, Option<String>); 2]> {
    if !public.is_tls || seen(outside).connect.is_none() {
        return None;
    }
    const ONE: [(&str, &[&SupportedProtocolVersion]); 2] = [("1.2", &[&TLS12]), ("1.3", &[&TLS13])];
    let [older, newer] = ONE;
    Some([refusal(public, caller, older).await, refusal(public, caller, newer).await])
}

/// Why this version alone is not agreed on.
async fn refusal(
    public: &Origin,
    caller: &Probe,
    (name, versions): (&'static str, &'static [&'static SupportedProtocolVersion]),
) -> (&'static str, Option<String>) {
    let probe = Probe { trust: caller.trust.clone().speaking(versions), ..caller.clone() };
    let outcome = probe.call(public, quiet()).await;
    let fault = match &outcome {
        Err(unanswered) if unanswered.seen.handshake.is_none() => Some(unanswered.to_string()),
        _ => None,
    };
    (name, fault)
}

async fn books(admin: &Admin, inside: &Probe) -> Books {
    let page = |target: &'static str| {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = http::Uri::from_static(target);
        if let Some(authorization) = &admin.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        inside.call(&admin.origin, request)
    };
    Books { ready: page("/readyz").await, counts: page("/counts").await }
}

fn quiet() -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = Method::HEAD;
    *request.uri_mut() = http::Uri::from_static(QUIET_PAGE);
    request
}

/// What was learnt on the way, whatever the end.
pub(super) fn seen(outcome: &Outcome) -> &crate::probe::Seen {
    match outcome {
        Ok(answered) => &answered.seen,
        Err(unanswered) => &unanswered.seen,
    }
}

/// The reply, if there was one.
pub(super) fn reply(outcome: &Outcome) -> Option<&Reply> {
    outcome.as_ref().ok().map(|answered| &answered.reply)
}

impl Facts {
    /// Every reply to the callback, with where it came from: from outside, and from the shop itself.
    pub(super) fn replies(&self) -> impl Iterator<Item = (&'static str, &Reply)> {
        let outside = reply(&self.outside).map(|reply| ("from outside", reply));
        let shop =
            self.behind.as_ref().and_then(|[_, second]| reply(second)).map(|reply| ("at the shop itself", reply));
        outside.into_iter().chain(shop)
    }
}
