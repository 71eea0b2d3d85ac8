//! Where each shop platform receives callbacks: one table per platform.
//!
//! `docs/platforms.md` shows the same for people. How a place is written is said in `pattern.rs`; other segments may
//! stand before every place here, because shops live in folders, under store codes and languages.

mod others;
mod php;
mod woocommerce;

use super::reading::{Rewrite, Router};
use crate::event::{Family, Kind, Mode, Proof, Redelivery, Route};

/// All presets, in the order of the documentation.
const ALL: [&Preset; 18] = [
    &woocommerce::WOOCOMMERCE,
    &php::MAGENTO2,
    &php::MAGENTO1,
    &php::OXID,
    &php::PRESTASHOP,
    &php::SHOPWARE6,
    &php::OPENCART,
    &php::SYLIUS,
    &php::SYLIUS_PAYUM,
    &php::DRUPAL,
    &php::CONTAO,
    &others::SOLIDUS,
    &others::OPTIMIZELY,
    &others::UMBRACO,
    &others::SAP_COMMERCE,
    &others::SALESFORCE,
    &others::SALEOR,
    &others::MEDUSA,
];

/// The rules of one shop platform.
#[derive(Debug)]
pub(super) struct Preset {
    /// Its name in the config.
    pub(super) name: &'static str,
    /// Its places.
    pub(super) rules: &'static [Rule],
    /// Rewrites of the platform that turn the path into parameters.
    pub(super) rewrites: &'static [Rewrite],
    /// What its own router makes of a path.
    pub(super) router: Option<Router>,
    /// Parameters that the platform also takes from a posted form.
    pub(super) form_fields: &'static [FormField],
}

/// A parameter that a posted form may carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FormField {
    /// Its name.
    pub(super) name: &'static str,
    /// No page of the shop posts this name, so that its presence alone is enough.
    pub(super) any_value: bool,
}

/// One handler of a shop, with all places where it can be reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    label: &'static str,
    /// The callback that it receives.
    pub(super) kind: Kind,
    family: Family,
    /// See `pattern.rs`.
    pub(super) places: &'static [&'static str],
    /// The parameter, kept segment or name in the path's open end that holds the session's or order's id.
    pub(super) subject: Option<&'static str>,
    /// Parameters and kept segments that choose what the handler does.
    pub(super) routing: &'static [&'static str],
    /// When the platform comes to it.
    pub(super) turn: Turn,
    redelivery: Option<Redelivery>,
    failure_texts: &'static [&'static str],
}

/// When a platform comes to a handler, on its way through a request. The later, the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Turn {
    First,
    Second,
    Last,
}

/// The names of all presets.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.into_iter().map(|preset| preset.name)
}

/// The preset of that name.
pub(super) fn named(name: &str) -> Option<&'static Preset> {
    ALL.into_iter().find(|preset| preset.name == name)
}

impl Rule {
    /// A handler of the Klarna Payments API's callbacks.
    const fn payments(kind: Kind, label: &'static str, places: &'static [&'static str]) -> Self {
        Self::new(Family::Payments, kind, label, places)
    }

    /// A handler of the Checkout API's callbacks.
    const fn checkout(kind: Kind, label: &'static str, places: &'static [&'static str]) -> Self {
        Self::new(Family::Checkout, kind, label, places)
    }

    const fn new(family: Family, kind: Kind, label: &'static str, places: &'static [&'static str]) -> Self {
        Self {
            label,
            kind,
            family,
            places,
            subject: None,
            routing: &[],
            turn: Turn::First,
            redelivery: None,
            failure_texts: &[],
        }
    }

    const fn subject(self, parameter: &'static str) -> Self {
        Self { subject: Some(parameter), ..self }
    }

    const fn routing(self, names: &'static [&'static str]) -> Self {
        Self { routing: names, ..self }
    }

    /// If the URL asks for a handler of an earlier turn too, that one runs and this one does not.
    const fn served(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }

    /// The handler does harm when it is called again: kallback never does that by itself.
    const fn never_redelivered(self) -> Self {
        Self { redelivery: Some(Redelivery::Never), ..self }
    }

    /// The handler says so with status 200 when it failed.
    const fn failing_with(self, texts: &'static [&'static str]) -> Self {
        Self { failure_texts: texts, ..self }
    }

    /// The route of this rule in `preset`, before the config's overrides.
    pub(super) fn route(&self, preset: &Preset) -> Route {
        let mut policy = self.kind.defaults();
        policy.redelivery = self.redelivery.unwrap_or(policy.redelivery);
        Route {
            name: format!("{} {} {}", preset.name, self.kind, self.label),
            kind: self.kind,
            family: self.family,
            proof: match self.kind {
                Kind::Webhook => Proof::Signature(Mode::Enforce),
                _ => Proof::Token(Mode::Enforce),
            },
            policy,
            failure_texts: self.failure_texts.iter().map(|&text| text.into()).collect(),
        }
    }
}
