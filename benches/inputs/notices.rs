//! Notices for a ledger, as they come over the wire, and what the shop says to them.

#[path = "routes.rs"]
mod routes;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use kallback::clock::UnixMillis;
use kallback::event::{Family, Route, UrlFacts};
use kallback::ledger::Notice;
use kallback::message::Reply;
use kallback::token::{Guard, Key, Received, Settings, Ticket};

/// Anything that goes wrong in a program that measures.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// So many notices of one caller: a token of their own each, the usual headers, a kilobyte of body.
pub(crate) fn made(caller: usize, notices: usize) -> Result<Vec<Arc<Notice>>, Fault> {
    let guard = Guard::new(Settings {
        parameter: "kallback".into(),
        keys: vec![Key { id: 1, secret: vec![1; 32].into() }],
        signing_keys: Vec::new(),
        sessions_per_token: 4,
    });
    let route = Arc::new(routes::authorization());
    (0..notices)
        .map(|number| notice(&guard, &route, &format!("{caller:08}-{number:08}-4333-8444")).map(Arc::new))
        .collect()
}

fn notice(guard: &Guard, route: &Arc<Route>, session: &str) -> Result<Notice, Fault> {
    let expires_at = UnixMillis(1_000_000_000_000_000);
    let ticket = Ticket { family: Family::Payments, session: session.as_bytes(), expires_at };
    let token = guard.mint(&ticket).ok_or("no key")?;
    let target = format!("/wc-api/KP_WC_AUTHORIZATION/?order_id=wc_order_{session}&kallback={token}");
    let admitted = guard.admit(route, UrlFacts::default(), &target, UnixMillis(0))?;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example"),
        ("content-type", "application/json"),
        ("accept", "*/*"),
        ("user-agent", "Klarna/1.0"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("klarna-correlation-id", "7d3bd4f6-5a0b-4d1b-9a0e-6b5c5b6a3c1f"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let filling = "x".repeat(900);
    let body = format!(r#"{{"session_id":"{session}","authorization_token":"b{session}","filling":"{filling}"}}"#);
    let received = Received { method: Method::POST, headers, body: Bytes::from(body) };
    let authentic = guard.authenticate(admitted, received)?;
    Notice::from_authentic(authentic).map_err(|_| "a question".into())
}

/// What the shop says to each.
pub(crate) fn reply() -> Reply {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json; charset=UTF-8"));
    Reply { status: StatusCode::OK, reason: None, headers, body: Bytes::from_static(b"{\"success\":true}") }
}
