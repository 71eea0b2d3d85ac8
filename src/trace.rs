//! Traces: who belongs to which one, and the spans that kallback makes in it. Pure facts.
//!
//! `docs/tracing.md` says what is made of them, and whom kallback believes.

mod context;
mod sampler;

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use context::{Parent, drop_bad_tracestate};
pub use sampler::{Root, Sampler};

/// Names a span's trace and its parent, in every request that belongs to a trace.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What others want to be told of a trace. Passed on as it is.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The spans with the same one belong together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

/// One span of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub [u8; 8]);

/// A piece of work: the answer to a request, or an attempt at the shop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The trace it belongs to.
    pub trace: TraceId,
    /// Its own name.
    pub id: SpanId,
    /// The span that asked for it.
    pub parent: Option<SpanId>,
    /// The parent is another process's.
    pub parent_is_remote: bool,
    /// It is exported, and the shop should do the same.
    pub sampled: bool,
    /// The trace id was made by chance (level 2 of the standard), so that others may sample by it.
    pub random: bool,
    /// The request's method, or `_OTHER` for one that nobody knows.
    pub method: &'static str,
}

impl Span {
    /// The answer to a request with these headers. `is_believed`: the caller's word on sampling counts.
    pub fn for_request(headers: &HeaderMap, method: &Method, is_believed: bool, sampler: Sampler) -> Self {
        let parent = Parent::of(headers);
        let method = known_method(method);
        match parent {
            Some(parent) => {
                let sampled = match is_believed {
                    true => sampler.follows(parent.trace, parent.sampled),
                    // A stranger may choose the trace id, too: chance decides.
                    false => sampler.begins(TraceId(by_chance())),
                };
                Self { sampled, method, ..Self::below(&parent) }
            }
            None => Self::root(method, sampler),
        }
    }

    /// The next attempt to bring a request to the shop, below the span that its headers name.
    pub fn for_attempt(headers: &HeaderMap, method: &Method, sampler: Sampler) -> Self {
        let method = known_method(method);
        match Parent::of(headers) {
            // It is our own: the gateway wrote it.
            Some(parent) => Self { parent_is_remote: false, method, ..Self::below(&parent) },
            None => Self::root(method, sampler),
        }
    }

    fn below(parent: &Parent) -> Self {
        Self {
            trace: parent.trace,
            id: SpanId(by_chance()),
            parent: Some(parent.span),
            parent_is_remote: true,
            sampled: parent.sampled,
            random: parent.random,
            method: "",
        }
    }

    fn root(method: &'static str, sampler: Sampler) -> Self {
        let trace = TraceId(by_chance());
        Self {
            trace,
            id: SpanId(by_chance()),
            parent: None,
            parent_is_remote: false,
            sampled: sampler.begins(trace),
            random: true,
            method,
        }
    }

    /// Makes the span the parent of whatever the receiver of these headers does.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        if self.parent.is_none() {
            // It belonged to a trace that nobody could read.
            headers.remove(TRACESTATE);
        }
        drop_bad_tracestate(headers);
        if let Ok(value) = HeaderValue::try_from(self.to_string()) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// The flags as `traceparent` has them.
    pub fn flags(&self) -> u8 {
        let set = |flag, is_set| if is_set { flag } else { 0 };
        set(context::SAMPLED, self.sampled) | set(context::RANDOM, self.random)
    }
}

impl fmt::Display for Span {
    /// As `traceparent` has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.id, self.flags())
    }
}

/// Never all zeros, which would be no id.
fn by_chance<const N: usize>() -> [u8; N] {
    loop {
        let id: [u8; N] = std::array::from_fn(|_| rand::random());
        if id != [0; N] {
            return id;
        }
    }
}

/// Nobody can fill a trace store with methods of their own making.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: Sampler = Sampler { root: Root::On, follows_parent: true };
    const NEVER: Sampler = Sampler { root: Root::Off, follows_parent: true };

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    #[test]
    fn the_trace_goes_on_with_a_span_of_our_own() {
        let mut shop = headers(&[("traceparent", SAMPLED), ("tracestate", "a=1, b=2")]);
        let span = Span::for_request(&shop, &Method::POST, true, NEVER);
        span.write_to(&mut shop);
        let sent = Parent::of(&shop).unwrap();
        assert_eq!((sent.trace.to_string(), sent.span, sent.sampled), (SAMPLED[3..35].to_owned(), span.id, true));
        assert_eq!((span.parent.unwrap().to_string(), span.parent_is_remote), (SAMPLED[36..52].to_owned(), true));
        assert_eq!(shop[TRACESTATE], "a=1, b=2");
        let attempt = Span::for_attempt(&shop, &Method::POST, NEVER);
        assert_eq!((attempt.trace, attempt.parent, attempt.sampled), (span.trace, Some(span.id), true));
        assert_ne!(attempt.id, span.id);
    }

    #[test]
    fn a_trace_that_begins_here_leaves_the_state_of_another_behind() {
        let mut shop = headers(&[("traceparent", "00-0-0-01"), ("tracestate", "a=1")]);
        let span = Span::for_request(&shop, &Method::GET, true, ALWAYS);
        span.write_to(&mut shop);
        assert_eq!((span.parent, span.sampled, span.random), (None, true, true));
        assert_eq!(shop.get(TRACESTATE), None);
        assert_eq!(Parent::of(&shop).unwrap().span, span.id);
    }

    #[test]
    fn a_stranger_decides_nothing_about_sampling() {
        for (value, sampler, sampled) in [(SAMPLED, NEVER, false), (NOT_SAMPLED, ALWAYS, true)] {
            let headers = headers(&[("traceparent", value)]);
            assert_eq!(Span::for_request(&headers, &Method::GET, false, sampler).sampled, sampled, "{value}");
            assert_eq!(Span::for_request(&headers, &Method::GET, true, sampler).sampled, !sampled, "{value}");
        }
    }

    #[test]
    fn a_method_of_somebodys_own_making_is_not_repeated() {
        let span = Span::for_request(&HeaderMap::new(), &Method::from_bytes(b"SESAME").unwrap(), true, ALWAYS);
        assert_eq!(span.method, "_OTHER");
    }
}
