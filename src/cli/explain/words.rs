//! A judgement in words for people, and as JSON for programs.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::Question;
use super::judge::{Callback, Judgement, TokenFacts, Verdict};
use super::nearest::Hint;
use crate::app::Settings;
use crate::cli::check::proof;
use crate::event::{Class, Policy, Redelivery};
use crate::token::{self, Refusal};

/// Writes it for people.
pub(super) fn write(
    question: &Question,
    judgement: &Judgement,
    settings: &Settings,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "{} {}", question.method, shown(question, settings))?;
    match judgement {
        Judgement::Traffic { has_form_bypass, hints } => {
            writeln!(out, "  callback     no: {}", no_rule(settings))?;
            hints.iter().try_for_each(|hint| writeln!(out, "  perhaps      {}", hint_in_words(hint)))?;
            let end = if *has_form_bypass { FORM_BYPASS } else { "passed through to the shop as it is" };
            writeln!(out, "  would be     {end}")
        }
        Judgement::Callback(callback) => write_callback(question, callback, settings, out),
    }
}

fn write_callback(
    question: &Question,
    callback: &Callback,
    settings: &Settings,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Callback { route, identity, .. } = callback;
    let (demand, mode) = proof(route);
    let class = match route.kind.class() {
        Class::Notice => "a notice: it tells, and may be stored",
        Class::Question => "a question: it asks, and only the shop answers",
    };
    writeln!(out, "  callback     {}, {class}", route.kind)?;
    writeln!(out, "  rule         {}", route.name)?;
    if callback.respelled {
        writeln!(out, "  spelling     not as the shop's plugin writes it; the shop may read it so all the same")?;
    }
    writeln!(out, "  proof        {demand} for the {} API, {mode}", route.family.name())?;
    if let Some(token) = &callback.token {
        writeln!(out, "  token        {}", token_in_words(token))?;
    }
    writeln!(out, "  verdict      {}", verdict_in_words(callback, settings))?;
    writeln!(out, "  subject      {}", identity.subject.as_deref().unwrap_or("none: neither body nor URL names one"))?;
    if !callback.routing.is_empty() {
        writeln!(out, "  routing      {}", callback.routing)?;
    }
    writeln!(out, "  fingerprint  {}", identity.fingerprint)?;
    if !is_let_through(callback) {
        return writeln!(out, "  would be     refused; the shop never hears of it");
    }
    let mut label = "would be";
    for line in course(route.kind.class(), &route.policy) {
        writeln!(out, "  {label:<12} {line}")?;
        label = "";
    }
    let seats = &settings.limits.seats;
    writeln!(
        out,
        "  seats        {} at the shop at once, {} of them for callbacks only",
        seats.max_in_flight, seats.reserved_for_callbacks
    )?;
    writeln!(out, "  shop gets    {} {}", question.method, callback.target)
}

fn is_let_through(callback: &Callback) -> bool {
    matches!(callback.verdict, Verdict::Passes { .. } | Verdict::Observed(_))
}

/// The request's target less its token.
fn shown(question: &Question, settings: &Settings) -> String {
    token::cut(&question.target, &settings.token.parameter).target.into_owned()
}

fn no_rule(settings: &Settings) -> String {
    let (presets, own) = (&settings.recognise.presets, settings.recognise.routes.len());
    let own = if own == 0 { String::new() } else { format!("none of the {own} routes of the config") };
    let platforms = match presets.len() {
        0 => return format!("{own} holds"),
        number if number > PRESETS_NAMED_MAX => format!("no rule of the {number} platforms that are on"),
        _ => format!("no rule of {}", presets.join(", ")),
    };
    if own.is_empty() { format!("{platforms} holds") } else { format!("{platforms} and {own} holds") }
}

/// More presets are counted, not named.
const PRESETS_NAMED_MAX: usize = 4;

const FORM_BYPASS: &str = "refused with 403: its form holds a parameter that reaches a callback past the URL";

fn hint_in_words(hint: &Hint) -> String {
    match hint {
        Hint::OtherPreset { preset, route } => format!("preset {preset} would take it for `{route}`, and is not on"),
        Hint::Nearest { preset, kind, url } => format!("the nearest URL of {preset} is {url} ({kind})"),
    }
}

fn token_in_words(token: &TokenFacts) -> String {
    let maker = match token.maker {
        Some(id) => format!("made with key {id}"),
        None => "made with no key that is known here".to_owned(),
    };
    let expires = jiff::Timestamp::from_second(token.expires_at.seconds());
    let expires = expires.map_or_else(|_| token.expires_at.to_string(), |at| at.to_string());
    format!("of {}, names key {}, {maker}, until {expires}", token.family.name(), token.key_id)
}

fn verdict_in_words(callback: &Callback, settings: &Settings) -> String {
    match callback.verdict {
        Verdict::Passes { is_proven: true } => "proven".to_owned(),
        Verdict::Passes { is_proven: false } => "passes: nobody asks for a proof here".to_owned(),
        Verdict::Observed(refusal) => {
            format!("passes because the route only observes; else refused as {refusal}: {}", reason(refusal, settings))
        }
        Verdict::Refused(refusal) => format!("refused with 403 as {refusal}: {}", reason(refusal, settings)),
        Verdict::BodyTooLarge => {
            format!("refused with 413: the body has more than {} bytes", settings.limits.callback_body_bytes_max)
        }
        Verdict::FormBypass => FORM_BYPASS.to_owned(),
    }
}

fn reason(refusal: Refusal, settings: &Settings) -> String {
    let parameter = &settings.token.parameter;
    let text = match refusal {
        Refusal::Missing => return format!("the URL has no `{parameter}`; the shop must put a token into it"),
        Refusal::Repeated => return format!("the URL has more than one `{parameter}`"),
        Refusal::Malformed => "that is no token: 64 lower-case hex characters of a known version are",
        Refusal::UnknownKey if settings.token.keys.is_empty() => "no key is known here; name one with --key-file",
        Refusal::UnknownKey => "no key of this config has the id that it names",
        Refusal::Forged => "its code is not the one that the key of that id makes",
        Refusal::Expired => "it is too old",
        Refusal::WrongFamily => "it was minted for URLs of another API",
        Refusal::Overused => "it came with too many sessions",
        Refusal::BadSignature => "klarna-signature is absent, or not that of the body",
        Refusal::Ambiguous => {
            "behind tags or escapes its URL hides the names of several callbacks; no shop writes that"
        }
    };
    text.to_owned()
}

/// What becomes of a callback that is let through.
fn course(class: Class, policy: &Policy) -> Vec<String> {
    let budget = millis(policy.budget);
    match class {
        Class::Question => vec![
            format!("put to the shop live, and answered by nobody else; the sender waits {budget}"),
            format!(
                "answered 504 after {} without the shop's reply; never stored, never tried again",
                millis(policy.hard_limit)
            ),
        ],
        Class::Notice => {
            let again = match policy.redelivery {
                Redelivery::AnyFailure => format!("brought again after any failure, until {} old", span(policy.oldest)),
                Redelivery::OnlyUnreached => format!(
                    "brought again if the shop was certainly not reached, until {} old; else left to the sender's repeat",
                    span(policy.oldest)
                ),
                Redelivery::Never => "never brought again by kallback itself: a second call can do harm".to_owned(),
            };
            let mut lines = vec![
                format!("written to disk, then brought to the shop; the sender waits {budget}"),
                format!(
                    "answered by the shop's reply, or 204 after {} while the shop goes on",
                    millis(policy.answer_within)
                ),
                format!("a repeat gets the recorded 2xx for {}, and never reaches the shop", span(policy.replay_for)),
            ];
            if policy.replay_acknowledged_for != policy.replay_for {
                lines.push(format!(
                    "the same for {} once the order is acknowledged",
                    span(policy.replay_acknowledged_for)
                ));
            }
            lines.push(again);
            lines
        }
    }
}

fn millis(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// Whole units, as the defaults have them.
fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 3600 && seconds % 3600 == 0 => format!("{} h", seconds / 3600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds if seconds > 0 => format!("{seconds} s"),
        _ => millis(time),
    }
}

/// The same for programs.
pub(super) fn as_json(question: &Question, judgement: &Judgement, settings: &Settings) -> Value {
    let mut told = match judgement {
        Judgement::Traffic { has_form_bypass, hints } => json!({
            "callback": false,
            "why": no_rule(settings),
            "form_bypass": has_form_bypass,
            "hints": hints.iter().map(hint_in_words).collect::<Vec<_>>(),
        }),
        Judgement::Callback(callback) => callback_as_json(callback, settings),
    };
    told["method"] = json!(question.method.as_str());
    told["target"] = json!(shown(question, settings));
    told["lets_through"] = json!(judgement.lets_through());
    told
}

fn callback_as_json(callback: &Callback, settings: &Settings) -> Value {
    let Callback { route, identity, .. } = callback;
    let (demand, mode) = proof(route);
    let (verdict, refusal) = match callback.verdict {
        Verdict::Passes { is_proven: true } => ("proven", None),
        Verdict::Passes { is_proven: false } => ("unproven", None),
        Verdict::Observed(refusal) => ("observed", Some(refusal.name())),
        Verdict::Refused(refusal) => ("refused", Some(refusal.name())),
        Verdict::BodyTooLarge => ("body_too_large", None),
        Verdict::FormBypass => ("form_bypass", None),
    };
    json!({
        "callback": true,
        "kind": route.kind.name(),
        "class": match route.kind.class() { Class::Notice => "notice", Class::Question => "question" },
        "rule": route.name,
        "family": route.family.name(),
        "respelled": callback.respelled,
        "proof": demand,
        "mode": mode,
        "verdict": verdict,
        "refusal": refusal,
        "why": verdict_in_words(callback, settings),
        "token": callback.token.as_ref().map(|token| json!({
            "family": token.family.name(),
            "key": token.key_id,
            "made_with": token.maker,
            "expires_at": token.expires_at.to_string(),
        })),
        "subject": identity.subject,
        "routing": callback.routing,
        "fingerprint": identity.fingerprint.to_string(),
        "budget_ms": u64::try_from(route.policy.budget.as_millis()).unwrap_or(u64::MAX),
        "course": if is_let_through(callback) { course(route.kind.class(), &route.policy) } else { Vec::new() },
        "shop_gets": callback.target,
    })
}
