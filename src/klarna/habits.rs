//! How patient the senders are, and what contents them: the facts of Klarna's and Kustom's documents.

use std::time::Duration;

use http::StatusCode;
use http::header::LOCATION;

use crate::event::{Class, Kind};
use crate::message::Reply;
use crate::probe::{AnswerLimit, Limits};

/// Klarna's limit for connecting. TCP and TLS together: the strict reading.
pub const CONNECT_WITHIN: Duration = seconds(2);

/// No client that counts silence is told to wait longer than this for a whole answer; Klarna's is not known to stop.
pub const ANSWER_WITHIN_MAX: Duration = seconds(60);

/// Kustom's limit for a validation that the shop declared indispensable; else see [`Kind::defaults`].
pub const INDISPENSABLE_WITHIN: Duration = seconds(10);

/// How long the pushes of an order go on.
const PUSHED_FOR: Duration = seconds(48 * 3600);

/// More of an answer is not read.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The limits of every call; the one for the answer is each letter's own.
pub const LIMITS: Limits =
    Limits { connect_within: CONNECT_WITHIN, answer: AnswerLimit::Whole(seconds(2)), body_bytes_max: BODY_BYTES_MAX };

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// The pauses before further attempts while the sender is not content.
///
/// Authorization: three attempts in all, growing from 1 s. Hosted page: three retries, "a few seconds" apart. Network
/// webhooks: the schedule of their documentation. No other kind is known to be tried again within minutes; that of
/// pushes is [`push_schedule`].
pub fn pauses(kind: Kind) -> &'static [Duration] {
    const WEBHOOK: [Duration; 6] =
        [seconds(10), seconds(120), seconds(900), seconds(3 * 3600), seconds(6 * 3600), seconds(12 * 3600)];
    match kind {
        Kind::Authorization => &const { [seconds(1), seconds(2)] },
        Kind::SessionStatus => &const { [seconds(3); 3] },
        Kind::Webhook => &WEBHOOK,
        _ => &[],
    }
}

/// The pauses between an order's pushes, if nobody acknowledges it: 5, 15, 30 and 60 minutes, then 4 hours, for 48
/// hours in all.
pub fn push_schedule() -> Vec<Duration> {
    let first = [5, 15, 30, 60].map(|minutes| seconds(60 * minutes));
    let all = first.into_iter().chain(std::iter::repeat(seconds(4 * 3600)));
    let mut passed = Duration::ZERO;
    all.take_while(|pause| {
        passed += *pause;
        passed <= PUSHED_FOR
    })
    .collect()
}

/// What an answer means to its sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Meaning {
    /// Received.
    Received,
    /// The shop agrees, or answered with new data.
    Approved,
    /// The shop refuses, in a way that its sender understands.
    Refused,
    /// Not what the sender wants to hear; `&str` says why.
    Failed(&'static str),
}

/// What an answer to a callback of this kind means.
pub fn meaning(kind: Kind, reply: &Reply) -> Meaning {
    let status = reply.status.as_u16();
    match kind.class() {
        // Klarna Network's documents name these four.
        Class::Notice if kind == Kind::Webhook && !matches!(status, 200 | 201 | 202 | 204) => {
            Meaning::Failed("only 200, 201, 202 and 204 count as received")
        }
        Class::Notice if reply.status.is_success() => Meaning::Received,
        Class::Notice => Meaning::Failed("only 2xx counts as received"),
        Class::Question => answer_to_question(kind, reply),
    }
}

fn answer_to_question(kind: Kind, reply: &Reply) -> Meaning {
    let is_json =
        || serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).is_ok() && reply.body.starts_with(b"{");
    match reply.status {
        StatusCode::OK if matches!(kind, Kind::Validation | Kind::UpsellValidation) || is_json() => Meaning::Approved,
        StatusCode::OK => Meaning::Failed("200 without a JSON object: the checkout shows an error"),
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT => {
            match reply.headers.contains_key(LOCATION) {
                true => Meaning::Refused,
                false => Meaning::Failed("a redirect without Location: the customer may still get through"),
            }
        }
        StatusCode::BAD_REQUEST if is_json() => Meaning::Refused,
        StatusCode::BAD_REQUEST => Meaning::Failed("400 without a JSON object: the checkout shows an error"),
        _ => Meaning::Failed("no answer that Kustom understands: only 200, 301, 302, 303, 307 and 400 are"),
    }
}

/// What it means if no answer comes in time.
pub fn silence(kind: Kind, is_indispensable: bool) -> &'static str {
    match kind {
        Kind::Validation if is_indispensable => "the purchase fails",
        Kind::Validation => "the purchase is approved without the shop",
        _ if kind.class() == Class::Question => "the checkout shows an error",
        Kind::Push => "the push comes again later",
        _ => "it may never arrive",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn reply(status: u16, location: Option<&'static str>, body: &'static str) -> Reply {
        let mut headers = HeaderMap::new();
        if let Some(location) = location {
            headers.insert(LOCATION, HeaderValue::from_static(location));
        }
        Reply {
            status: StatusCode::from_u16(status).unwrap(),
            reason: None,
            headers,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    #[test]
    fn pushes_come_for_two_days() {
        let schedule = push_schedule();
        assert_eq!(schedule.len(), 15);
        assert_eq!(schedule[..5], [300, 900, 1800, 3600, 14_400].map(seconds));
        let total: Duration = schedule.iter().sum();
        assert!(total <= PUSHED_FOR && total > PUSHED_FOR - seconds(4 * 3600), "{total:?}");
    }

    #[test]
    fn a_notice_is_received_by_2xx_and_a_webhook_by_four_of_them() {
        for (kind, status, received) in [
            (Kind::Authorization, 204, true),
            (Kind::Authorization, 206, true),
            (Kind::Authorization, 303, false),
            (Kind::Webhook, 202, true),
            (Kind::Webhook, 203, false),
            (Kind::Push, 503, false),
        ] {
            let meaning = meaning(kind, &reply(status, None, ""));
            assert_eq!(meaning == Meaning::Received, received, "{kind} {status}: {meaning:?}");
        }
    }

    #[test]
    fn a_question_is_answered_in_kustoms_own_words_only() {
        let text = r#"{"error_type":"approval_failed","error_text":"no"}"#;
        for (kind, reply, expected) in [
            (Kind::Validation, reply(200, None, "-1"), Some(Meaning::Approved)),
            (Kind::Validation, reply(303, Some("/cart"), "-1"), Some(Meaning::Refused)),
            (Kind::Validation, reply(303, None, "-1"), None),
            (Kind::Validation, reply(308, Some("/cart"), ""), None),
            (Kind::Validation, reply(400, None, text), Some(Meaning::Refused)),
            (Kind::Validation, reply(400, None, "-1"), None),
            (Kind::AddressUpdate, reply(200, None, "{}"), Some(Meaning::Approved)),
            (Kind::AddressUpdate, reply(200, None, "-1"), None),
            (Kind::AddressUpdate, reply(204, None, ""), None),
        ] {
            let meaning = meaning(kind, &reply);
            match expected {
                Some(expected) => assert_eq!(meaning, expected, "{kind} {}", reply.status),
                None => assert!(matches!(meaning, Meaning::Failed(_)), "{kind} {}", reply.status),
            }
        }
    }
}
