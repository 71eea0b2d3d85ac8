//! Looks at the way that a callback takes, from outside to the shop, and says which layer fails and what to do.
//!
//! [`calls`] makes a few harmless calls; the checks judge what came back, each in a file of its own and without any
//! I/O. No call carries a token, an id that exists, or a body: no handler has anything to act upon.

mod answer;
mod calls;
mod certificate;
mod clocks;
mod firewall;
mod ledger;
mod name;
mod plugin;
mod redirect;
mod tls_versions;
mod token;
mod warmth;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};

use self::calls::Facts;
use crate::clock::UnixMillis;
use crate::event::Kind;
use crate::probe::{Origin, Probe};

/// Why nothing is known of the shop itself.
const NOT_ASKED: &str = "the shop itself was not asked: name kallback's config with --config; one behind a unix socket \
     cannot be asked";

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Patient {
    /// The shop as Klarna reaches it.
    pub public: Origin,
    /// The callback that is played: what arrives there, without a token and with ids that do not exist.
    pub callback: Request<Bytes>,
    /// Which callback it is; its budget is the measure.
    pub kind: Kind,
    /// The shop behind kallback, where the config says where that is and it can be called.
    pub shop: Option<Origin>,
    /// The admin listener, where the config has one.
    pub admin: Option<Admin>,
}

/// The admin listener of the kallback that is looked at.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it is.
    pub origin: Origin,
    /// What `Authorization` must say, if it must.
    pub authorization: Option<HeaderValue>,
}

/// Who calls.
#[derive(Clone, Debug)]
pub struct Callers {
    /// As Klarna does; it goes on where a certificate is not to be believed, so that the rest can be looked at.
    pub outside: Probe,
    /// As kallback calls the shop, and as people call kallback: never by way of `outside`'s address.
    pub inside: Probe,
}

/// What one check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Which check.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, for people.
    pub what: String,
    /// What to do about it; absent if nothing is to be done.
    pub advice: Option<String>,
}

/// How it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It could not be looked at.
    Untried,
    /// It works, and may not for long or not for everybody.
    Warning,
    /// A callback does not come through.
    Fault,
}

/// Makes all calls, one after the other, and judges them. Every wait is bounded by the limits of the callers: about ten
/// times one call's in all.
pub async fn examine(patient: &Patient, callers: &Callers) -> Vec<Finding> {
    let facts = calls::make(patient, callers).await;
    judge(patient, &facts)
}

/// All findings, from the outermost layer inwards.
fn judge(patient: &Patient, facts: &Facts) -> Vec<Finding> {
    let mut findings = name::check(&patient.public, facts);
    findings.extend(certificate::check(&patient.public, facts));
    findings.extend(tls_versions::check(facts));
    findings.extend(answer::check(facts));
    findings.extend(redirect::check(patient, facts));
    findings.extend(firewall::check(facts));
    findings.extend(token::check(facts));
    findings.extend(plugin::check(facts));
    findings.extend(warmth::check(patient, facts));
    findings.extend(clocks::check(facts));
    findings.extend(ledger::check(facts));
    findings
}

impl Finding {
    fn good(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, what: what.into(), advice: None }
    }

    fn untried(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Untried, what: what.into(), advice: None }
    }

    fn warning(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warning, what: what.into(), advice: Some(advice.into()) }
    }

    fn fault(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fault, what: what.into(), advice: Some(advice.into()) }
    }
}

impl Verdict {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Untried => "untried",
            Self::Warning => "warning",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A day of that moment, in UTC.
fn day(at: UnixMillis) -> String {
    jiff::Timestamp::from_second(at.seconds()).map_or_else(|_| at.to_string(), |at| at.strftime("%Y-%m-%d").to_string())
}

fn days(time: Duration) -> u64 {
    time.as_secs() / 86_400
}
