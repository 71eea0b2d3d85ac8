//! Is a callback sent elsewhere? No sender follows.

use http::header::LOCATION;

use super::calls::Facts;
use super::{Finding, Patient};
use crate::delivery::warnings::warnings;
use crate::message::Reply;
use crate::probe::Origin;

const CHECK: &str = "redirect";

/// Judges the replies that are redirects.
pub(super) fn check(patient: &Patient, facts: &Facts) -> Vec<Finding> {
    let redirected = facts.replies().filter(|(_, reply)| reply.status.is_redirection());
    let mut findings: Vec<Finding> = redirected.map(|(place, reply)| judged(patient, place, reply)).collect();
    if findings.is_empty() {
        findings.push(match facts.replies().next() {
            Some(_) => Finding::good(CHECK, "none in front of the callback"),
            None => Finding::untried(CHECK, "there was no answer"),
        });
    }
    findings
}

fn judged(patient: &Patient, place: &str, reply: &Reply) -> Finding {
    let target = patient.callback.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let location = reply.headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let to = location.as_deref().unwrap_or("nowhere");
    let what = format!("{} {place}, to {to}", reply.status.as_u16());
    let Some(general) = warnings(patient.kind, target, reply).next() else {
        let advice = "no sender follows it; see who redirects this path (a login, a maintenance page, a language)";
        return Finding::fault(CHECK, what, advice);
    };
    match location.and_then(|location| difference(&patient.public, target, &location)) {
        Some((changes, advice)) => Finding::fault(CHECK, format!("{what}: only {changes} changes"), advice),
        None => Finding::fault(CHECK, what, general),
    }
}

/// What the redirect changes, and what helps.
fn difference(public: &Origin, target: &str, location: &str) -> Option<(&'static str, &'static str)> {
    let (there, path) = match Origin::of(location) {
        Ok(found) => found,
        Err(_) if location.starts_with('/') && !location.starts_with("//") => (public.clone(), location.to_owned()),
        Err(_) => return None,
    };
    if there.host != public.host {
        return Some((
            "the name",
            "give the senders the name that the shop calls itself (in WordPress: Settings, General, both addresses)",
        ));
    }
    if there.is_tls != public.is_tls {
        return Some((
            "the scheme",
            "give the senders https:// URLs; if they are, the shop does not see that TLS ends in front of it: have it \
             believe X-Forwarded-Proto",
        ));
    }
    if slashes_only(target, &path) {
        return Some(("a slash", "exempt the callback paths from the rule that adds or removes slashes"));
    }
    Some(("the language", "exempt the callback paths from the language plugin's redirects"))
}

fn slashes_only(one: &str, other: &str) -> bool {
    let bare = |target: &str| target.replace('/', "");
    bare(one) == bare(other)
}
