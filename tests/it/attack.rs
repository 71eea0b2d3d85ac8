//! Hostile HTTP against the real binary, with a shop behind it that remembers every request: nothing ambiguous is
//! forwarded, nothing is smuggled, the gateway stays alive and small, and the next honest request is served.

mod frames;
mod http1;
mod http1_corpus;
mod http2;
mod http2_corpus;
mod slow;

use std::time::Duration;

use crate::support::authority::Authority;
use crate::support::callbacks::Callback;
use crate::support::klarna::{Klarna, Limits};
use crate::support::operator::Operator;
use crate::support::process::Process;
use crate::support::shop::Seen;
use crate::support::site::Site;
use crate::support::time::within;

/// Whoever sees this in the target of a request at the shop has found a smuggled one.
const SMUGGLED: &str = "/smuggled";

/// What kallback may hold at most after an attack, in bytes; it starts with about 20 MiB in a build for tests.
const RESIDENT_BYTES_MAX: f64 = 96.0 * 1024.0 * 1024.0;

/// Waits of the gateway under attack are short, so that the tests see them end.
const LIMITS: &[&str] = &[
    "server.handshake_within=1 s",
    "server.head_within=1 s",
    "server.idle_for_at_most=2 s",
    "server.write_stall_at_most=1 s",
    "server.connections_per_address_max=2000",
    "limits.callback_body_within=1 s",
    "forward.request_body_idle_at_most=1 s",
];

/// How long an attacker is patient: far longer than any wait of [`LIMITS`].
const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway in front of a shop, about to be attacked.
struct Fortress {
    site: Site,
    process: Process,
}

/// What should become of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// The shop never sees it, and the caller is told so or cut off.
    Refused,
    /// The shop sees one request, and its caller gets the reply.
    Served,
}

impl Fortress {
    async fn build() -> Self {
        let site = Site::new().await;
        let process = site.start(LIMITS).await;
        Self { site, process }
    }

    fn authority(&self) -> &Authority {
        &self.site.authority
    }

    /// Somebody who speaks HTTP/1.1 and waits for as long as [`PATIENCE`].
    fn caller(&self) -> Klarna {
        let limits = Limits { connect: PATIENCE, read: PATIENCE, ..Limits::PATIENT };
        self.site.klarna(&self.process).with_limits(limits)
    }

    /// An honest request on a new connection is answered by the shop.
    async fn serves_the_honest(&self, after: &str) {
        let answered = self.caller().call(&Callback::page("/honest")).await;
        let answered = answered.unwrap_or_else(|why| panic!("after `{after}` nobody is served: {why:?}"));
        assert_eq!(answered.status, 200, "after `{after}`");
    }

    /// It is alive, not large, and what the shop saw was HTTP with one meaning.
    async fn stands(&self, after: &str) {
        self.serves_the_honest(after).await;
        let operator = Operator::at(self.process.admin);
        let resident = operator.metric("process_resident_memory_bytes", &[]).await;
        assert!(resident < RESIDENT_BYTES_MAX, "{resident} bytes after `{after}`");
        self.site.shop.requests().iter().for_each(unambiguous);
    }

    /// What the shop saw of that attack.
    fn seen(&self, target: &str) -> Vec<Seen> {
        let mut seen = self.site.shop.requests();
        seen.retain(|seen| seen.target.split('?').next() == Some(target));
        seen
    }
}

/// One host, one length, no byte on which two readers could differ.
fn unambiguous(seen: &Seen) {
    let text = String::from_utf8_lossy(&seen.head);
    assert!(!seen.target.contains(SMUGGLED), "smuggled: {text}");
    let count = |name| seen.header_values(name).len();
    assert_eq!(count("host"), 1, "{text}");
    assert!(count("content-length") + count("transfer-encoding") <= 1, "{text}");
    let lines = seen.head.strip_suffix(b"\r\n\r\n").expect("a head ends with an empty line");
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(!line.iter().any(|byte| matches!(byte, 0 | b'\r')), "{text}");
        assert!(!line.starts_with(b" ") && !line.starts_with(b"\t"), "{text}");
    }
}

/// Waits for what has to happen long before [`PATIENCE`] ends.
async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    within(PATIENCE, what, event).await
}
