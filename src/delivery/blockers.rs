//! Who answered instead of the shop? Firewalls, security plugins and front servers by the marks of their replies.
//!
//! The marks stand in a table, `blockers/culprits.rs`. A redirect to the same page under another scheme, host or language is
//! found by [`warnings`](super::warnings), since it takes the request to see it.

mod culprits;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use memchr::memmem;

use self::culprits::{CULPRITS, Culprit, Sign};
use super::readable::readable_start;

/// Somebody whose reply was recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Blocker {
    /// Its name in metrics and logs; one of [`BLOCKERS`](crate::metrics::BLOCKERS).
    pub label: &'static str,
    /// What the operator should do, in one sentence.
    pub advice: &'static str,
    /// Whether the shop's own code answered. If not, the callback's handler certainly never ran, and it does no
    /// harm to bring the callback again.
    pub reached_shop: bool,
}

impl From<&Culprit> for Blocker {
    fn from(culprit: &Culprit) -> Self {
        Self { label: culprit.label, advice: culprit.advice, reached_shop: culprit.reached_shop }
    }
}

/// Names who gave this failing reply, if the table knows. `reason` is a reason phrase that is not the usual one;
/// of the body the first 64 KiB are enough, packed or not. Replies that say 2xx or 3xx cost nothing.
pub fn identify(status: StatusCode, reason: Option<&[u8]>, headers: &HeaderMap, body_start: &[u8]) -> Option<Blocker> {
    let mut candidates = CULPRITS.iter().filter(|culprit| culprit.statuses.contains(&status.as_u16())).peekable();
    candidates.peek()?;
    let reply = Evidence::new(reason, headers, body_start);
    candidates.find(|culprit| reply.shows(culprit)).map(Blocker::from)
}

/// The one of that label.
pub fn named(label: &str) -> Option<Blocker> {
    CULPRITS.iter().find(|culprit| culprit.label == label).map(Blocker::from)
}

/// Whether a reply with this status and no known mark was given by a front server that could not, or would not,
/// reach the shop. Not so 504: there the shop has the request and nobody knows what it does with it.
pub fn says_not_reached(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE)
}

/// A reply, made ready for the search.
struct Evidence<'a> {
    reason: Vec<u8>,
    headers: &'a HeaderMap,
    /// In lower case. `None`: packed in a way that cannot be read, so that it proves nothing.
    body: Option<Vec<u8>>,
}

impl<'a> Evidence<'a> {
    fn new(reason: Option<&[u8]>, headers: &'a HeaderMap, body_start: &[u8]) -> Self {
        Self {
            reason: reason.unwrap_or_default().to_ascii_lowercase(),
            headers,
            body: readable_start(headers, body_start).map(|body| body.to_ascii_lowercase()),
        }
    }

    fn shows(&self, culprit: &Culprit) -> bool {
        culprit.alternatives.iter().any(|signs| signs.iter().all(|sign| self.has(sign)))
    }

    fn has(&self, sign: &Sign) -> bool {
        match sign {
            Sign::Header(any) => any.iter().any(|(name, part)| self.header_values(name).any(|v| contains(&v, part))),
            Sign::HeaderIs(name, value) => self.header_values(name).any(|v| v.trim_ascii() == value.as_bytes()),
            Sign::Reason(part) => contains(&self.reason, part),
            Sign::Body(any) => self.body_is(|body| any.iter().any(|part| contains(body, part))),
            Sign::Heading(part) => self.body_is(|body| {
                [&b"title"[..], b"h1"].iter().any(|element| texts_of(body, element).any(|text| contains(text, part)))
            }),
            Sign::BodyIs(text) => self.body_is(|body| body.trim_ascii() == text.as_bytes()),
            Sign::Short => self.body_is(|body| body.len() <= SHORT_BYTES_MAX),
            Sign::Json => self.body_is(|body| body.trim_ascii_start().starts_with(b"{")),
            Sign::Html => self.is_html(),
        }
    }

    fn header_values(&self, name: &str) -> impl Iterator<Item = Vec<u8>> {
        self.headers.get_all(name).iter().map(|value| value.as_bytes().to_ascii_lowercase())
    }

    fn body_is(&self, test: impl FnOnce(&[u8]) -> bool) -> bool {
        self.body.as_deref().is_some_and(test)
    }

    fn is_html(&self) -> bool {
        match self.headers.get(CONTENT_TYPE) {
            Some(_) => self.header_values(CONTENT_TYPE.as_str()).any(|value| value.starts_with(b"text/html")),
            None => self.body_is(|body| body.trim_ascii_start().starts_with(b"<")),
        }
    }
}

fn contains(text: &[u8], part: &str) -> bool {
    memmem::find(text, part.as_bytes()).is_some()
}

/// The text of every `<element …>…</element>`, in order. `page` and `element` are in lower case.
fn texts_of<'a>(page: &'a [u8], element: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let opening = [b"<", element].concat();
    let closing = [b"</", element].concat();
    let mut rest = page;
    std::iter::from_fn(move || {
        let tag = rest.get(memmem::find(rest, &opening)? + opening.len()..)?;
        let text = tag.get(memchr::memchr(b'>', tag)? + 1..)?;
        let end = memmem::find(text, &closing).unwrap_or(text.len());
        rest = text.get(end..)?;
        text.get(..end)
    })
}

/// A web server's own page for an error is shorter than this.
const SHORT_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests;
