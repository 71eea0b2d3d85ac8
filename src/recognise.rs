//! Which callback is this request, if any?
//!
//! Pure: a function of the request's target, never of its method, and never of its raw prefix. What PHP and
//! WordPress fold together is folded together here, on a copy; the bytes that came are the bytes that go on.
//!
//! A `Sieve` lets almost all traffic go by. What it stops is read in every way in which a shop may read it, and a
//! rule that holds for any reading is a hit: it is better to ask for a token in vain than to let a callback through.

mod beginnings;
mod fold;
mod form;
mod names;
mod pattern;
mod pieces;
mod presets;
mod reading;
mod sieve;
mod wordpress;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

pub use form::FormScan;

use crate::event::{Kind, Mode, Policy, Proof, Route, UrlFacts};
use form::FormRules;
use pattern::{Condition, Hit, Likeness, Literal, Place, Segment, Shape};
use presets::{Preset, Turn};
use reading::{Reading, Vocabulary};
use sieve::{Clues, Sieve};

/// What recognition is told by the config.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The shop platforms whose rules are on, by name (`woocommerce`, `magento2`, …).
    pub presets: Vec<String>,
    /// Routes of the config's own, in its order. They come before the presets, but a rule that more of the query's
    /// parameters ask for comes before them.
    pub routes: Vec<OwnRoute>,
    /// Changes to the rules of presets, in the config's order: a later one wins.
    pub overrides: Vec<Override>,
}

/// A route that the config adds.
#[derive(Clone, Debug)]
pub struct OwnRoute {
    /// The path, compared after decoding and without regard to case; `*` as a segment stands for any one segment
    /// and is taken as the session or order id; a path that starts with `**/` may have any prefix.
    pub path: String,
    /// Query conditions: all of these parameters must have these values (after decoding, case-insensitive).
    pub query: Vec<(String, String)>,
    /// The query parameter that carries the session or order id.
    pub subject_parameter: Option<String>,
    /// The rules.
    pub route: Route,
}

/// A change to the rules of presets.
#[derive(Clone, Debug)]
pub struct Override {
    /// Only for this preset; all of them when absent.
    pub preset: Option<String>,
    /// Only for this kind; all of them when absent.
    pub kind: Option<Kind>,
    /// How the caller proves itself; the preset's own way when absent.
    pub mode: Option<Mode>,
    /// Parts of the policy that change.
    pub policy: PolicyPatch,
}

/// Parts of a [`Policy`] that change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyPatch {
    /// See [`Policy::budget`].
    pub budget: Option<std::time::Duration>,
    /// See [`Policy::answer_within`].
    pub answer_within: Option<std::time::Duration>,
    /// See [`Policy::hard_limit`].
    pub hard_limit: Option<std::time::Duration>,
    /// See [`Policy::replay_for`].
    pub replay_for: Option<std::time::Duration>,
    /// See [`Policy::replay_acknowledged_for`].
    pub replay_acknowledged_for: Option<std::time::Duration>,
    /// See [`Policy::redelivery`].
    pub redelivery: Option<crate::event::Redelivery>,
    /// See [`Policy::oldest`].
    pub oldest: Option<std::time::Duration>,
}

/// A recognised callback.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recognised {
    /// Where it arrived, with the rules that hold there.
    pub route: Arc<Route>,
    /// What its URL says.
    pub url: UrlFacts,
    /// It matches after folding but not as it stands: nobody who got the URL from the shop writes it like that.
    pub respelled: bool,
}

/// The rules of all presets that are on, and the config's own.
#[derive(Debug, Default)]
pub struct Recogniser {
    own: Vec<Compiled>,
    presets: Vec<Compiled>,
    vocabulary: Vocabulary,
    sieve: Sieve,
    forms: Arc<FormRules>,
}

/// A preset that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no preset `{0}`")]
pub struct UnknownPreset(pub String);

/// One route with its places.
#[derive(Debug)]
struct Compiled {
    route: Arc<Route>,
    /// With what the first look has to show of each.
    places: Vec<(Place, Clues)>,
    turn: Turn,
    subject: Option<Sought>,
    routing: Vec<Sought>,
}

/// A parameter, or a kept segment, whose value says what the call is about.
#[derive(Debug)]
struct Sought {
    written: String,
    /// As [`fold::name`] says.
    name: Vec<u8>,
}

impl Recogniser {
    /// Compiles the rules. Names of presets were checked by the config; an unknown one is an error all the same.
    pub fn new(settings: &Settings) -> Result<Self, UnknownPreset> {
        let find = |name: &String| presets::named(name).ok_or_else(|| UnknownPreset(name.clone()));
        settings
            .overrides
            .iter()
            .filter_map(|change| change.preset.as_ref())
            .try_for_each(|name| find(name).map(drop))?;
        let presets = settings.presets.iter().map(find).collect::<Result<Vec<_>, _>>()?;

        let mut recogniser = Self { own: settings.routes.iter().map(Compiled::own).collect(), ..Self::default() };
        let mut forms = FormRules::default();
        for preset in presets {
            let rules = preset.rules.iter().map(|rule| Compiled::preset(rule, preset, &settings.overrides));
            recogniser.presets.extend(rules);
            recogniser.vocabulary.rewrites.extend(preset.rewrites);
            recogniser.vocabulary.routers.extend(preset.router);
            forms.add(preset);
        }
        recogniser.forms = Arc::new(forms);
        for rule in recogniser.own.iter_mut().chain(&mut recogniser.presets) {
            rule.places.iter_mut().for_each(|(place, needs)| *needs = recogniser.sieve.add(place));
            rule.names().for_each(|name| recogniser.vocabulary.add(name));
        }
        recogniser.vocabulary.rewrites.iter().for_each(|rewrite| recogniser.sieve.add_rewrite(rewrite));
        Ok(recogniser)
    }

    /// The names of all presets.
    pub fn preset_names() -> impl Iterator<Item = &'static str> {
        presets::names()
    }

    /// The callback that `target` (path and query as they came) reaches in the shop, if any.
    ///
    /// If several rules hold, one that the shop obeys wins, then one that it comes to earlier, then the one that more
    /// parameters of the query ask for, then the first; but the one with the stricter proof, if the shop writes no such
    /// target.
    pub fn recognise(&self, target: &str) -> Option<Recognised> {
        let shown = self.sieve.look_at(target.as_bytes())?;
        let reading = Reading::of(target.as_bytes(), &self.vocabulary);
        let own = Found::best(&self.own, shown, &reading);
        let preset = Found::best(&self.presets, shown, &reading);
        let Found { hit, rule, place } = match (own, preset) {
            // Else a lenient route of the config's own could be used to reach the handler that the shop then runs.
            (Some(own), Some(preset)) if preset.hit.query_conditions > own.hit.query_conditions => preset,
            (own, preset) => own.or(preset)?,
        };
        let is_ambiguous =
            hit.likeness == Likeness::Disguised && Found::is_one_of_several(&self.presets, shown, &reading);
        let url = UrlFacts { is_ambiguous, ..rule.facts(place, &reading) };
        Some(Recognised { route: rule.route.clone(), url, respelled: hit.likeness < Likeness::AsWritten })
    }

    /// Looks for parameters in a form body that reach a callback although `target` (path and query as they came)
    /// does not, or that reach another one. `None` if PHP would not read a form from a body of this `content_type`
    /// or if no enabled preset reads forms. A request with several `Content-Type` headers needs a scan for each.
    pub fn form_scan(&self, content_type: &[u8], target: &str) -> Option<FormScan> {
        FormScan::new(&self.forms, content_type, || Reading::of(target.as_bytes(), &self.vocabulary))
    }

    /// Every route, for the config's checks and `explain`.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        self.own.iter().chain(&self.presets).map(|rule| rule.route.clone()).collect()
    }
}

/// A rule that holds, and where.
#[derive(Clone, Copy)]
struct Found<'r> {
    hit: Hit,
    rule: &'r Compiled,
    place: &'r Place,
}

impl<'r> Found<'r> {
    /// What the shop most likely runs. In odd writing that cannot be known for certain, so the place with the stricter
    /// proof counts then: else a target that is two places would reach the one by the leniency of the other.
    fn best(rules: &'r [Compiled], shown: Clues, reading: &Reading<'_>) -> Option<Self> {
        let mut likely: Option<Self> = None;
        let mut strictest = Mode::Off;
        for found in Self::all(rules, shown, reading) {
            strictest = found.mode().max(strictest);
            if likely.is_none_or(|known| found.rank() > known.rank()) {
                likely = Some(found);
            }
        }
        let likely = likely?;
        if strictest == likely.mode() {
            return Some(likely);
        }
        let is_stricter = |found: &Self| {
            found.mode() > likely.mode() && found.hit.likeness.min(likely.hit.likeness) < Likeness::AsWritten
        };
        let stricter = Self::all(rules, shown, reading).filter(is_stricter);
        // The first of equals, as above.
        Some(stricter.min_by_key(|found| Reverse((found.mode(), found.rank()))).unwrap_or(likely))
    }

    /// Whether rules of more than one route hold.
    fn is_one_of_several(rules: &'r [Compiled], shown: Clues, reading: &Reading<'_>) -> bool {
        let mut routes = Self::all(rules, shown, reading).map(|found| &found.rule.route);
        routes.next().is_some_and(|first| routes.any(|other| !Arc::ptr_eq(first, other)))
    }

    fn all(rules: &'r [Compiled], shown: Clues, reading: &Reading<'_>) -> impl Iterator<Item = Self> {
        rules.iter().flat_map(move |rule| {
            let places = rule.places.iter().filter(move |(_, needs)| shown.meet(*needs));
            places.filter_map(move |(place, _)| Some(Self { hit: place.hit(reading)?, rule, place }))
        })
    }

    /// An earlier turn counts only if the shop runs that rule, not if it only looks so.
    fn rank(&self) -> (bool, Reverse<Turn>, usize) {
        (self.hit.effective, Reverse(self.rule.turn), self.hit.obeyed_conditions)
    }

    fn mode(&self) -> Mode {
        let (Proof::Token(mode) | Proof::Signature(mode)) = self.rule.route.proof;
        mode
    }
}

impl Compiled {
    fn preset(rule: &presets::Rule, preset: &Preset, overrides: &[Override]) -> Self {
        let mut route = rule.route(preset);
        for change in overrides.iter().filter(|change| change.concerns(preset, rule.kind)) {
            change.apply(&mut route);
        }
        Self {
            route: Arc::new(route),
            places: rule.places.iter().map(|text| (Place::parse(text), Clues::default())).collect(),
            turn: rule.turn,
            subject: rule.subject.map(Sought::new),
            routing: rule.routing.iter().map(|name| Sought::new(name)).collect(),
        }
    }

    fn own(own: &OwnRoute) -> Self {
        let path = own.path.trim_start_matches('/');
        let (anywhere, path) = path.strip_prefix("**/").map_or((false, path), |rest| (true, rest));
        let segment = |text: &str| match text {
            "*" => Segment::Kept(OWN_SUBJECT),
            _ => Segment::Literal(Literal::new(&fold::decoded_path(text.as_bytes()))),
        };
        let segments: Vec<Segment> = path.split('/').filter(|text| !text.is_empty()).map(segment).collect();
        let conditions = own.query.iter().map(|(name, value)| Condition::text(name, value)).collect();
        let kept = segments.contains(&Segment::Kept(OWN_SUBJECT)).then_some(OWN_SUBJECT);
        Self {
            route: Arc::new(own.route.clone()),
            places: vec![(
                Place { path: Some(Shape { anywhere, segments, open: false }), conditions },
                Clues::default(),
            )],
            turn: Turn::First,
            subject: kept.or(own.subject_parameter.as_deref()).map(Sought::new),
            routing: Vec::new(),
        }
    }

    /// The parameters that it asks for.
    fn names(&self) -> impl Iterator<Item = &str> {
        let sought = self.subject.iter().chain(&self.routing).map(|sought| sought.written.as_str());
        self.places.iter().flat_map(|(place, _)| place.names()).chain(sought)
    }

    fn facts(&self, place: &Place, reading: &Reading<'_>) -> UrlFacts {
        let value = |sought: &Sought| {
            place.kept(reading, &sought.written).or_else(|| reading.value(&sought.name).map(Cow::Borrowed))
        };
        let subject = self.subject.as_ref().and_then(value).filter(|subject| !subject.is_empty());
        let mut routing = String::new();
        for (sought, value) in self.routing.iter().filter_map(|sought| Some((sought, value(sought)?))) {
            let gap = if routing.is_empty() { "" } else { "&" };
            routing.extend([gap, &sought.written, "="]);
            routing.extend(percent_encode(&value, &ESCAPED_IN_ROUTING));
        }
        let subject = subject.map(|subject| String::from_utf8_lossy(&subject).into_owned());
        UrlFacts { subject, routing, is_ambiguous: false }
    }
}

impl Sought {
    fn new(name: &str) -> Self {
        Self { written: name.to_owned(), name: fold::name(name.as_bytes()) }
    }
}

impl Override {
    fn concerns(&self, preset: &Preset, kind: Kind) -> bool {
        self.preset.as_ref().is_none_or(|name| name == preset.name) && self.kind.is_none_or(|only| only == kind)
    }

    fn apply(&self, route: &mut Route) {
        if let Some(mode) = self.mode {
            route.proof = match route.proof {
                Proof::Token(_) => Proof::Token(mode),
                Proof::Signature(_) => Proof::Signature(mode),
            };
        }
        self.policy.apply(&mut route.policy);
    }
}

impl PolicyPatch {
    fn apply(&self, policy: &mut Policy) {
        let Policy { budget, answer_within, hard_limit, replay_for, replay_acknowledged_for, redelivery, oldest } =
            policy;
        *budget = self.budget.unwrap_or(*budget);
        *answer_within = self.answer_within.unwrap_or(*answer_within);
        *hard_limit = self.hard_limit.unwrap_or(*hard_limit);
        *replay_for = self.replay_for.unwrap_or(*replay_for);
        *replay_acknowledged_for = self.replay_acknowledged_for.unwrap_or(*replay_acknowledged_for);
        *redelivery = self.redelivery.unwrap_or(*redelivery);
        *oldest = self.oldest.unwrap_or(*oldest);
    }
}

/// The name under which an own route's `*` is kept. No parameter can be called so.
const OWN_SUBJECT: &str = "*";

/// What would make two different values look the same once they are joined.
const ESCAPED_IN_ROUTING: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

#[cfg(test)]
mod tests;
