//! One request to the admin listener: who may, and what it gets.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::Admin;
use super::callbacks::number;
use super::inspector;
use crate::event::Family;
use crate::ledger::LedgerError;
use crate::token::{Ticket, expiry_for};

/// Largest body of a request to the admin listener in bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;
const NO_SUCH_PAGE: Fault =
    Fault::Status(StatusCode::NOT_FOUND, "there is no such page; see the documentation of the admin listener");
/// Longest and usual life of a token that is asked for here.
const TOKEN_TTL_SECONDS: (u64, u64) = (30 * 24 * 3600, 72 * 3600);

pub(super) type Reply = Response<Full<Bytes>>;

/// What a caller did wrong, or what failed.
pub(super) enum Fault {
    Status(StatusCode, &'static str),
    /// The callback cannot be brought again, or not without saying so.
    Obstacle(StatusCode, &'static str, &'static str),
    Ledger(LedgerError),
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl Admin {
    /// Answers one request.
    pub(super) async fn route(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let path = head.uri.path().trim_matches('/').to_owned();
        let steps: Vec<&str> = path.split('/').collect();
        let outcome = match (&head.method, steps.as_slice()) {
            (&Method::GET | &Method::HEAD, [page @ ("livez" | "readyz" | "startupz")]) => Ok(self.health(page)),
            (&Method::GET, ["metrics"]) => Ok(self.metrics()),
            (&Method::GET | &Method::HEAD, ["inspector", file @ ..]) => self.inspector(file, &head.headers),
            (method, steps) => match self.may(method, &head.headers) {
                Err(fault) => Err(fault),
                Ok(()) => self.guarded(method, steps, head.uri.query().unwrap_or_default(), body).await,
            },
        };
        outcome.unwrap_or_else(explain)
    }

    async fn guarded(&self, method: &Method, steps: &[&str], query: &str, body: Incoming) -> Result<Reply, Fault> {
        match (method, steps) {
            (&Method::GET, ["callbacks"]) => self.list(query).await,
            (&Method::GET, ["callbacks", id]) => self.show(number(id)?).await,
            (&Method::POST, ["callbacks", id, "replay"]) => self.replay(number(id)?, read(body).await?).await,
            (&Method::GET, ["counts"]) => self.counts().await,
            (&Method::GET, ["day"]) => self.day(),
            (&Method::POST, ["acknowledgements"]) => self.acknowledge(read(body).await?).await,
            (&Method::POST, ["tokens"]) => self.mint(&read(body).await?),
            _ => Err(NO_SUCH_PAGE),
        }
    }

    /// The page and its files are open to strangers, who learn nothing from them; but no other site may use them.
    fn inspector(&self, file: &[&str], headers: &HeaderMap) -> Result<Reply, Fault> {
        // Following a link to the page is no use of it by the site that has the link.
        let follows_link = file.is_empty() && says(headers, "sec-fetch-mode", b"navigate");
        let is_framed = headers.contains_key("sec-fetch-dest") && !says(headers, "sec-fetch-dest", b"document");
        if !follows_link || is_framed {
            self.keep_other_sites_out(headers)?;
        } else {
            self.keep_borrowed_names_out(headers)?;
        }
        match file {
            [] => inspector::file("").ok_or(NO_SUCH_PAGE),
            [name] => inspector::file(name).ok_or(NO_SUCH_PAGE),
            _ => Err(NO_SUCH_PAGE),
        }
    }

    /// Strangers, and pages of other sites that a browser of this machine has open, may not.
    fn may(&self, method: &Method, headers: &HeaderMap) -> Result<(), Fault> {
        if self.settings.token.as_ref().is_some_and(|token| !knows(token, headers)) {
            return Err(Fault::Status(StatusCode::UNAUTHORIZED, "send the admin token: `Authorization: Bearer …`"));
        }
        self.keep_other_sites_out(headers)?;
        let json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if method == Method::POST && !json {
            return Err(Fault::Status(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send `Content-Type: application/json`"));
        }
        Ok(())
    }

    fn keep_other_sites_out(&self, headers: &HeaderMap) -> Result<(), Fault> {
        self.keep_borrowed_names_out(headers)?;
        let origin = headers.get(ORIGIN);
        let is_foreign = origin.is_some_and(|origin| !self.is_own_origin(origin.as_bytes(), headers));
        // Another port of this machine is the same site, and another origin. Browsers do not let pages set this.
        let site = headers.get("sec-fetch-site");
        let is_from_elsewhere = site.is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
        if is_foreign || is_from_elsewhere {
            return Err(Fault::Status(StatusCode::FORBIDDEN, "requests of other sites are refused"));
        }
        Ok(())
    }

    /// A site can make its own name point to this machine; to the browser we are a part of it then.
    fn keep_borrowed_names_out(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let borrowed = || !headers.get_all(HOST).iter().all(|host| names_this_machine(host.as_bytes()));
        if self.settings.token.is_none() && borrowed() {
            let what = "without an admin token, ask for localhost or 127.0.0.1";
            return Err(Fault::Status(StatusCode::FORBIDDEN, what));
        }
        Ok(())
    }

    /// A page that this listener served says so in `Origin`. With an admin token it may have come through a proxy
    /// that speaks TLS.
    fn is_own_origin(&self, origin: &[u8], headers: &HeaderMap) -> bool {
        let host = headers.get(HOST).map_or(&b""[..], |host| host.as_bytes());
        let through_tls = || origin.strip_prefix(b"https://").filter(|_| self.settings.token.is_some());
        let named = origin.strip_prefix(b"http://").or_else(through_tls);
        named.is_some_and(|named| !host.is_empty() && named == host)
    }

    fn health(&self, page: &str) -> Reply {
        let well = match page {
            "livez" => true,
            "readyz" => self.health.is_ready(),
            _ => self.health.is_started(),
        };
        let (status, text) = if well { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "no\n") };
        reply(status, "text/plain; charset=utf-8", text)
    }

    fn metrics(&self) -> Reply {
        reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.telemetry.render())
    }

    async fn counts(&self) -> Result<Reply, Fault> {
        let counts = self.ledger.counts().await?;
        Ok(json_reply(
            StatusCode::OK,
            &json!({
                "accepted": counts.accepted,
                "pending": counts.pending,
                "settled": counts.settled,
                "dead": counts.dead,
                "left": counts.left,
                "oldest_pending_at": counts.oldest_pending.map(|at| at.to_string()),
            }),
        ))
    }

    async fn acknowledge(&self, order: Acknowledgement) -> Result<Reply, Fault> {
        let pushes = self.ledger.acknowledge(order.order_id).await?;
        Ok(json_reply(StatusCode::OK, &json!({ "pushes": pushes })))
    }

    fn mint(&self, wish: &TokenWish) -> Result<Reply, Fault> {
        if wish.session.is_empty() || wish.family == Family::Network {
            let what = "`session` must not be empty; `family` is payments, checkout or hosted_page";
            return Err(Fault::Status(StatusCode::BAD_REQUEST, what));
        }
        let (longest, usual) = TOKEN_TTL_SECONDS;
        let ttl = wish.ttl_seconds.unwrap_or(usual);
        if ttl == 0 || ttl > longest {
            return Err(Fault::Status(StatusCode::BAD_REQUEST, "`ttl_seconds` must lie between 1 and 2592000"));
        }
        let expires_at = expiry_for(self.clock.now(), std::time::Duration::from_secs(ttl));
        let ticket = Ticket { family: wish.family, session: wish.session.as_bytes(), expires_at };
        match (self.guard)().mint(&ticket) {
            Some(token) => {
                Ok(json_reply(StatusCode::OK, &json!({ "token": token, "expires_at": expires_at.to_string() })))
            }
            None => Err(Fault::Status(StatusCode::CONFLICT, "no token key is configured; see `[token]`")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledgement {
    order_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenWish {
    family: Family,
    session: String,
    ttl_seconds: Option<u64>,
}

async fn read<T: for<'de> Deserialize<'de>>(body: Incoming) -> Result<T, Fault> {
    let fault = |what| Fault::Status(StatusCode::BAD_REQUEST, what);
    let whole = Limited::new(body, BODY_BYTES_MAX).collect().await;
    let bytes = whole.map_err(|_| fault("the body is too large or broke off"))?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|_| fault("the body is not the JSON that this page takes"))
}

fn knows(token: &SecretString, headers: &HeaderMap) -> bool {
    let given = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
    given.ct_eq(token.expose_secret().as_bytes()).into()
}

/// Whether a `Host` is the loopback interface, by name or address. Nobody can make these point elsewhere.
fn names_this_machine(host: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn says(headers: &HeaderMap, name: &str, value: &[u8]) -> bool {
    headers.get(name).is_some_and(|is| is == value)
}

fn explain(fault: Fault) -> Reply {
    let (status, what) = match fault {
        Fault::Status(status, what) => (status, what.to_owned()),
        Fault::Obstacle(status, obstacle, what) => {
            return json_reply(status, &json!({ "error": what, "replay": obstacle }));
        }
        Fault::Ledger(error @ LedgerError::NotReplayable(_)) => (StatusCode::NOT_FOUND, error.to_string()),
        Fault::Ledger(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
    };
    json_reply(status, &json!({ "error": what }))
}

pub(super) fn json_reply(status: StatusCode, value: &Value) -> Reply {
    reply(status, "application/json", format!("{value}\n"))
}

pub(super) fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    reply.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    reply
}
