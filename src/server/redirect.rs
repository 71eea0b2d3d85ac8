//! The plain HTTP listener: sends people to https, and serves nothing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use tokio::net::TcpListener;

use super::accept::accept;
use super::connection::Doorway;
use super::framing::is_plausible_host;
use super::{Caller, Drain, Front, Handler};
use crate::caller_body::CallerBody;
use crate::metrics::Event;

/// Says of a request target (path and query) whether a callback arrives there.
pub type IsCallback = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Accepts plain HTTP until draining begins and redirects it to https.
///
/// A callback is answered with `403`, not with a redirect: Kustom takes a redirect for "purchase refused, go there",
/// and a callback that came in the clear has shown its token to everybody on the way.
pub async fn serve(listener: TcpListener, front: Arc<Front>, is_callback: IsCallback, drain: Drain) {
    let handler = Redirect { front: Arc::clone(&front), is_callback };
    accept(listener, Doorway { front, handler, drain, speaks_tls: false, encrypted: false }).await;
}

#[derive(Clone)]
struct Redirect {
    front: Arc<Front>,
    is_callback: IsCallback,
}

impl fmt::Debug for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redirect")
    }
}

impl Handler for Redirect {
    type Body = Empty<Bytes>;

    async fn handle(&self, request: Request<CallerBody>, caller: Caller) -> Response<Empty<Bytes>> {
        let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let mut response = Response::new(Empty::new());
        if (self.is_callback)(target) {
            let why = "plain_http";
            self.front.telemetry.emit(Event::RequestRefused { why, client: caller.peer.address() });
            *response.status_mut() = StatusCode::FORBIDDEN;
            return response;
        }
        let host = request.headers().get(HOST);
        match host.and_then(|host| location(host, self.front.settings.public_port, target)) {
            Some(location) => {
                *response.status_mut() = status(request.method());
                response.headers_mut().insert(LOCATION, location);
            }
            None => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response
    }
}

/// `301` is understood by everything, but lets a POST become a GET; `308` does not.
fn status(method: &Method) -> StatusCode {
    if *method == Method::GET || *method == Method::HEAD {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::PERMANENT_REDIRECT
    }
}

/// The same place at the public https port, if the host is one that may stand in a URL.
fn location(host: &HeaderValue, public_port: u16, target: &str) -> Option<HeaderValue> {
    if !is_plausible_host(host.as_bytes()) {
        return None;
    }
    let host = host.to_str().ok()?;
    // The last colon outside of brackets begins the port.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let target = if target.starts_with('/') { target } else { "/" };
    let url = if public_port == 443 {
        format!("https://{name}{target}")
    } else {
        format!("https://{name}:{public_port}{target}")
    };
    HeaderValue::from_str(&url).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(host: &str, public_port: u16, target: &str) -> Option<String> {
        let location = location(&HeaderValue::from_str(host).unwrap(), public_port, target)?;
        Some(location.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_place_stays_the_same_and_the_port_is_the_public_one() {
        assert_eq!(to("shop.example", 443, "/a?b=c").unwrap(), "https://shop.example/a?b=c");
        assert_eq!(to("shop.example:8080", 443, "/").unwrap(), "https://shop.example/");
        assert_eq!(
            to("shop.example:8080", 8443, "//evil.example/").unwrap(),
            "https://shop.example:8443//evil.example/"
        );
        assert_eq!(to("[::1]", 443, "/").unwrap(), "https://[::1]/");
        assert_eq!(to("[::1]:80", 8443, "*").unwrap(), "https://[::1]:8443/");
    }

    #[test]
    fn a_host_that_is_none_is_not_redirected_to() {
        for host in ["", "a b", "user@shop.example", "shop.example/evil", "shop.example:http", "a,b"] {
            assert_eq!(to(host, 443, "/"), None, "{host}");
        }
    }

    #[test]
    fn only_reading_may_lose_its_method() {
        assert_eq!(status(&Method::HEAD), StatusCode::MOVED_PERMANENTLY);
        assert_eq!(status(&Method::POST), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(status(&Method::OPTIONS), StatusCode::PERMANENT_REDIRECT);
    }
}
