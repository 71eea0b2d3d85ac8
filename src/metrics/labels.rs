//! The values that labels can have. All of them are written down here or in [`Kind`](crate::event::Kind); an event
//! that says something else is counted as [`OTHER`], so that no word from the outside world can become a series.

/// Which way an answer came about: label `answered_by`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AnsweredBy {
    /// The shop's own reply, unchanged.
    Shop,
    /// The deadline came first: `204`, and the shop's call goes on.
    Deadline,
    /// The recorded reply of an earlier delivery.
    Replay,
    /// Stored, and kallback brings it to the shop later: `204`.
    Accepted,
    /// Turned away: token, limit or malformed.
    Refused,
    /// No reply of the shop: `502`, `503` or `504`.
    Failed,
}

impl AnsweredBy {
    /// Every way.
    pub const ALL: [Self; 6] = [Self::Shop, Self::Deadline, Self::Replay, Self::Accepted, Self::Refused, Self::Failed];

    /// The way's name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Deadline => "deadline",
            Self::Replay => "replay",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Whether a request to the shop is a callback or other traffic: label `class`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ShopClass {
    /// A notice or question.
    Callback,
    /// Everything else.
    Traffic,
}

impl ShopClass {
    /// Both classes.
    pub const ALL: [Self; 2] = [Self::Callback, Self::Traffic];

    /// The class's name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Callback => "callback",
            Self::Traffic => "traffic",
        }
    }
}

/// Names of firewalls, plugins and failures that `delivery::blockers` can tell apart: label `by`.
pub const BLOCKERS: &[&str] = &[
    "cloudflare-challenge",
    "cloudflare-block",
    "sucuri",
    "wordfence-waf",
    "wordfence-block",
    "wordfence-lockout",
    "wordfence-blocklist",
    "solid-security",
    "aios-lockout",
    "ninjafirewall",
    "shield",
    "wp-cerber",
    "malcare",
    "secupress",
    "bulletproof",
    "bitninja",
    "imunify360",
    "modsecurity",
    "siteground",
    "litespeed",
    "godaddy",
    "incapsula",
    "akamai",
    "cloudfront",
    "aws-waf",
    "naxsi",
    "comodo",
    "virusdie",
    "webarx",
    "bekchy",
    "wp-maintenance",
    "wp-db-down",
    "wp-fatal",
    "wp-rest-forbidden",
    "basic-auth",
    "wc-not-hooked",
    "html-404",
    "empty-403",
    "plain-403",
];

/// What stands for a value that is not in its list.
pub(super) const OTHER: &str = "other";

/// Label `result` of `kallback_token_checks_total`. On a route that observes, what would have been refused is
/// counted under `observed_` and the refusal's name, so that an alarm on refusals does not ring for it.
pub(super) const TOKEN_RESULTS: &[&str] = &[
    "valid",
    "off",
    "missing",
    "repeated",
    "malformed",
    "unknown_key",
    "forged",
    "expired",
    "wrong_family",
    "overused",
    "bad_signature",
    "ambiguous",
];

/// Label `result` of `kallback_token_checks_total` for refusals that were let pass.
pub(super) const TOKEN_RESULTS_OBSERVED: &[&str] = &[
    "observed_missing",
    "observed_repeated",
    "observed_malformed",
    "observed_unknown_key",
    "observed_forged",
    "observed_expired",
    "observed_wrong_family",
    "observed_overused",
    "observed_bad_signature",
    "observed_ambiguous",
];

/// Label `state` of `kallback_duplicates_total`.
pub(super) const DUPLICATE_STATES: &[&str] = &["in_flight", "settled"];

/// Label `outcome` of `kallback_delivery_attempts_total`.
pub(super) const ATTEMPT_OUTCOMES: &[&str] = &["delivered", "failed", "unreached", "unknown"];

/// Label `result` of `kallback_tls_handshakes_total`.
pub(super) const HANDSHAKE_RESULTS: &[&str] = &["ok", "failed", "timeout"];

/// Label `why` of `kallback_connections_refused_total`.
pub(super) const CONNECTION_REFUSALS: &[&str] = &["too_many", "too_many_from_address", "bad_proxy_header"];

/// Label `why` of `kallback_requests_refused_total`.
pub(super) const REQUEST_REFUSALS: &[&str] = &[
    "rate",
    "header_size",
    "slow_head",
    "body_size",
    "slow_body",
    "caller_gone",
    "framing",
    "form_bypass",
    "plain_http",
    "seats",
];

/// Label `code_class`.
pub(super) const CODE_CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", OTHER];

/// The place of a status in [`CODE_CLASSES`].
pub(super) fn code_class(status: u16) -> usize {
    match status / 100 {
        2 => 0,
        3 => 1,
        4 => 2,
        5 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use crate::token::Refusal;

    #[test]
    fn enums_count_up_in_the_order_of_their_lists() {
        assert!(Kind::ALL.iter().enumerate().all(|(place, &kind)| kind as usize == place));
        assert!(AnsweredBy::ALL.iter().enumerate().all(|(place, &way)| way as usize == place));
        assert!(ShopClass::ALL.iter().enumerate().all(|(place, &class)| class as usize == place));
    }

    #[test]
    fn every_refusal_of_a_token_has_its_two_labels() {
        for refusal in [
            Refusal::Missing,
            Refusal::Repeated,
            Refusal::Malformed,
            Refusal::UnknownKey,
            Refusal::Forged,
            Refusal::Expired,
            Refusal::WrongFamily,
            Refusal::Overused,
            Refusal::BadSignature,
            Refusal::Ambiguous,
        ] {
            let name = refusal.to_string();
            assert!(TOKEN_RESULTS.contains(&name.as_str()), "{name}");
            assert!(TOKEN_RESULTS_OBSERVED.contains(&format!("observed_{name}").as_str()), "{name}");
        }
    }

    #[test]
    fn statuses_fall_into_their_class() {
        let class = |status| CODE_CLASSES[code_class(status)];
        assert_eq!([200, 204, 303, 400, 504, 101, 999].map(class), ["2xx", "2xx", "3xx", "4xx", "5xx", OTHER, OTHER]);
    }
}
