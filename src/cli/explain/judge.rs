//! Takes a request the way that a callback takes through the gateway, as far as that goes without a shop.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::nearest::{self, Hint};
use super::{ExplainFault, Question};
use crate::app::Settings;
use crate::clock::{Clock, UnixMillis};
use crate::event::{Family, Identity, Route, identify};
use crate::recognise::{Recognised, Recogniser};
use crate::token::{self, Cut, Found, Guard, Received, Refusal, Token};

/// What would become of a request.
pub(super) enum Judgement {
    /// No callback: passed through, unless its form reaches one.
    Traffic { has_form_bypass: bool, hints: Vec<Hint> },
    /// A callback.
    Callback(Box<Callback>),
}

/// A callback, and what would become of it.
pub(super) struct Callback {
    pub(super) route: Arc<Route>,
    /// It matches only after folding.
    pub(super) respelled: bool,
    /// Parameters that choose what the shop does.
    pub(super) routing: String,
    /// Path and query less the token: what the shop gets.
    pub(super) target: String,
    pub(super) token: Option<TokenFacts>,
    pub(super) identity: Identity,
    pub(super) verdict: Verdict,
}

/// What the URL's token says of itself.
pub(super) struct TokenFacts {
    pub(super) family: Family,
    pub(super) key_id: u8,
    pub(super) expires_at: UnixMillis,
    /// The id of the key that made it.
    pub(super) maker: Option<u8>,
}

/// The gateway's answer before the shop is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Proven, or nobody asks for a proof.
    Passes {
        is_proven: bool,
    },
    /// It passes because the route only observes.
    Observed(Refusal),
    Refused(Refusal),
    BodyTooLarge,
    FormBypass,
}

impl Judgement {
    /// A callback that the shop would get.
    pub(super) fn lets_through(&self) -> bool {
        match self {
            Self::Traffic { .. } => false,
            Self::Callback(callback) => matches!(callback.verdict, Verdict::Passes { .. } | Verdict::Observed(_)),
        }
    }
}

/// Judges a request by the rules of the config.
pub(super) fn judge(question: &Question, settings: &Settings, clock: &Clock) -> Result<Judgement, ExplainFault> {
    let recogniser = Recogniser::new(&settings.recognise)?;
    let has_form_bypass = settings.forward.scan_forms && reaches_by_form(question, &recogniser);
    let Some(recognised) = recogniser.recognise(&question.target) else {
        return Ok(Judgement::Traffic { has_form_bypass, hints: nearest::hints(&question.target, settings) });
    };
    let guard = Guard::new(settings.token.clone());
    let Cut { target, found } = token::cut(&question.target, &settings.token.parameter);
    let token = match found {
        Found::Once(text) => Token::read(text).ok().map(|token| TokenFacts {
            family: token.family,
            key_id: token.key_id,
            expires_at: token.expires_at(),
            maker: guard.maker(&token),
        }),
        Found::Nothing | Found::Repeated => None,
    };
    let Recognised { route, url, respelled } = recognised.clone();
    let identity = identify(&route, &url, &target, &question.body);
    let verdict = Rules { guard, has_form_bypass, body_bytes_max: settings.limits.callback_body_bytes_max }
        .verdict(question, recognised, clock.now())
        .unwrap_or_else(Verdict::Refused);
    let (target, routing) = (target.into_owned(), url.routing);
    Ok(Judgement::Callback(Box::new(Callback { route, respelled, routing, target, token, identity, verdict })))
}

/// What is checked besides the URL's shape.
struct Rules {
    guard: Guard,
    has_form_bypass: bool,
    body_bytes_max: u64,
}

impl Rules {
    /// In the order in which `callback` does it: the URL, then the body.
    fn verdict(&self, question: &Question, recognised: Recognised, now: UnixMillis) -> Result<Verdict, Refusal> {
        let Recognised { route, url, .. } = recognised;
        let admitted = self.guard.admit(&route, url, &question.target, now)?;
        let Question { method, headers, body, .. } = question;
        if body.len() as u64 > self.body_bytes_max {
            return Ok(Verdict::BodyTooLarge);
        }
        if self.has_form_bypass {
            return Ok(Verdict::FormBypass);
        }
        let received = Received { method: method.clone(), headers: headers.clone(), body: Bytes::clone(body) };
        let authentic = self.guard.authenticate(admitted, received)?;
        Ok(match authentic.observed() {
            Some(refusal) => Verdict::Observed(refusal),
            None => Verdict::Passes { is_proven: authentic.proven() },
        })
    }
}

/// Whether PHP would find a callback in the body that the URL does not name.
fn reaches_by_form(question: &Question, recogniser: &Recogniser) -> bool {
    let kinds = question.headers.get_all(CONTENT_TYPE).iter();
    let mut scans = kinds.filter_map(|kind| recogniser.form_scan(kind.as_bytes(), &question.target));
    !question.body.is_empty() && scans.any(|mut scan| scan.feed(&question.body) || scan.finish())
}
