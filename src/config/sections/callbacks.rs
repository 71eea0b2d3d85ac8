//! `[callbacks]`: which shop platforms' rules are on, and what differs from them.

use std::time::Duration;

use crate::config::readable::{Placed, Readable, quoted};
use crate::config::section::Section;
use crate::config::sections::{days, millis, minutes, routes, seconds};
use crate::config::suggest::nearest;
use crate::event::{Class, Kind, Mode, Policy, Redelivery};
use crate::recognise::{Override, PolicyPatch, Recogniser, Settings};

/// Reads `[callbacks]` and `[[routes]]`, and the modes of `[token]` and `[webhooks]`, which are overrides as well.
pub(super) fn read(root: &Section<'_>) -> Settings {
    let section = root.section("callbacks");
    let presets = read_presets(&section);
    let mut overrides = general_modes(root);
    let kinds = section.section("kinds");
    overrides.extend(read_kinds(&kinds, None, &[]));
    kinds.end();
    overrides.extend(read_preset_overrides(&section, &presets, &overrides));
    section.end();
    let routes = routes::read(root, &overrides);
    if presets.is_empty() && routes.is_empty() {
        let hint = "write presets = [\"woocommerce\"], or add [[routes]]";
        root.fault("callbacks.presets", "no callback would be recognised: there is neither preset nor route", hint);
    }
    Settings { presets, routes, overrides }
}

fn read_presets(section: &Section<'_>) -> Vec<String> {
    let names: Vec<Placed<String>> = section.optional("presets").unwrap_or_default();
    let known: Vec<&str> = Recogniser::preset_names().collect();
    let mut presets: Vec<String> = Vec::with_capacity(names.len());
    for Placed { value: name, at } in names {
        if !known.contains(&name.as_str()) {
            let hint = match nearest(&name, &known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("there are: {}", known.join(", ")),
            };
            section.fault_at(&at, "presets", format!("there is no preset {}", quoted(&name)), &hint);
        }
        if presets.contains(&name) {
            section.warn("presets", format!("preset \"{name}\" is listed twice"), "");
        } else {
            presets.push(name);
        }
    }
    presets
}

/// The modes that hold for all tokens and for all signatures; overrides by kind come after them.
fn general_modes(root: &Section<'_>) -> Vec<Override> {
    let by_token = root.section("token").unrecorded().optional::<Mode>("mode");
    let by_signature = root.section("webhooks").unrecorded().optional::<Mode>("mode");
    let of = |kind: Kind| if kind == Kind::Webhook { by_signature } else { by_token };
    let whole = |kind| {
        let mode = Some(of(kind)?);
        Some(Override { preset: None, kind: Some(kind), mode, policy: PolicyPatch::default() })
    };
    Kind::ALL.into_iter().filter_map(whole).collect()
}

fn read_preset_overrides(section: &Section<'_>, presets: &[String], general: &[Override]) -> Vec<Override> {
    let all = section.section("override").unrecorded();
    let mut overrides = Vec::new();
    for name in Recogniser::preset_names() {
        let of_preset = all.section(name);
        if of_preset.is_present() && !presets.iter().any(|preset| preset == name) {
            let message = format!("preset \"{name}\" is not on: this has no effect");
            section.warn(&format!("override.{name}"), message, "add it to `callbacks.presets`");
        }
        overrides.extend(read_kinds(&of_preset, Some(name), general));
        of_preset.end();
    }
    all.end();
    overrides
}

/// A section for each kind. What `general` says holds below it.
fn read_kinds(section: &Section<'_>, preset: Option<&str>, general: &[Override]) -> Vec<Override> {
    let mut overrides = Vec::new();
    for kind in Kind::ALL {
        let of_kind = section.section(kind.name());
        let mode = of_kind.optional("mode");
        let policy = read_patch(&of_kind, kind);
        check_policy(&of_kind, kind, &patched(policy_of(kind, general), &policy));
        if mode.is_some() || policy != PolicyPatch::default() {
            overrides.push(Override { preset: preset.map(str::to_owned), kind: Some(kind), mode, policy });
        }
        of_kind.end();
    }
    overrides
}

/// The options of one kind's rules. A question has no windows and a notice has no hard limit, so that these are
/// unknown options there.
pub(super) fn read_patch(section: &Section<'_>, kind: Kind) -> PolicyPatch {
    let defaults = kind.defaults();
    let reply = millis(100)..=minutes(10);
    let window = Duration::ZERO..=days(30);
    let duration = |name: &str, default: Duration, bounds: &std::ops::RangeInclusive<Duration>| {
        let value = section.bounded(name, default, bounds.clone());
        section.is_set(name).then_some(value)
    };
    let mut patch = PolicyPatch { budget: duration("budget", defaults.budget, &reply), ..PolicyPatch::default() };
    match kind.class() {
        Class::Question => patch.hard_limit = duration("hard_limit", defaults.hard_limit, &reply),
        Class::Notice => {
            patch.answer_within = duration("answer_within", defaults.answer_within, &reply);
            patch.replay_for = duration("replay_for", defaults.replay_for, &window);
            // Only a push tells "acknowledged" from "not yet"; for all others the two windows are one.
            patch.replay_acknowledged_for = match kind {
                Kind::Push => duration("replay_acknowledged_for", defaults.replay_acknowledged_for, &window),
                _ => patch.replay_for,
            };
            patch.redelivery = section.is_set("redelivery").then_some(defaults.redelivery);
            let redelivery: Redelivery = section.option("redelivery", defaults.redelivery);
            patch.redelivery = patch.redelivery.map(|_| redelivery);
            patch.oldest = duration("oldest", defaults.oldest, &(seconds(1)..=days(30)));
        }
    }
    patch
}

/// The kind's policy where neither preset nor route says otherwise.
pub(in crate::config) fn policy_of(kind: Kind, overrides: &[Override]) -> Policy {
    general(kind, overrides).fold(kind.defaults(), |policy, one| patched(policy, &one.policy))
}

/// The overrides that hold for the kind whatever the preset, weakest first.
pub(super) fn general(kind: Kind, overrides: &[Override]) -> impl Iterator<Item = &Override> {
    overrides.iter().filter(move |one| one.preset.is_none() && one.kind == Some(kind))
}

/// The policy with the patch applied.
pub(in crate::config) fn patched(policy: Policy, patch: &PolicyPatch) -> Policy {
    Policy {
        budget: patch.budget.unwrap_or(policy.budget),
        answer_within: patch.answer_within.unwrap_or(policy.answer_within),
        hard_limit: patch.hard_limit.unwrap_or(policy.hard_limit),
        replay_for: patch.replay_for.unwrap_or(policy.replay_for),
        replay_acknowledged_for: patch.replay_acknowledged_for.unwrap_or(policy.replay_acknowledged_for),
        redelivery: patch.redelivery.unwrap_or(policy.redelivery),
        oldest: patch.oldest.unwrap_or(policy.oldest),
    }
}

/// Notes what cannot work in one kind's rules.
pub(super) fn check_policy(section: &Section<'_>, kind: Kind, policy: &Policy) {
    if kind.class() == Class::Question {
        if policy.hard_limit < policy.budget {
            let message = format!("{kind} would be given up before the sender's time is over");
            section.fault("hard_limit", message, &format!("at least the budget, {}", policy.budget.show()));
        }
        return;
    }
    if policy.answer_within >= policy.budget {
        let name = if section.is_set("answer_within") { "answer_within" } else { "budget" };
        let message = format!(
            "{kind} would be answered after {} at the latest, but the sender gives up after {}",
            policy.answer_within.show(),
            policy.budget.show()
        );
        section.fault(name, message, "`answer_within` must be less than `budget`, with room for the network");
    }
    if policy.replay_acknowledged_for < policy.replay_for {
        let message = "an acknowledged push would be forgotten before one that is not acknowledged";
        section.fault("replay_acknowledged_for", message, &format!("at least {}", policy.replay_for.show()));
    }
}
