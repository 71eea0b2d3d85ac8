//! Why is this no callback? What a person may have meant.

use crate::app::Settings;
use crate::klarna::places;
use crate::recognise::{self, Recogniser};

/// How alike a path must be to be named, from 0 to 1.
const LIKENESS_MIN: f64 = 0.7;

/// What a person may have meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Hint {
    /// A platform whose rules are off would receive a callback here.
    OtherPreset { preset: &'static str, route: String },
    /// The most similar URL that a plugin of an enabled platform, or the config, names.
    Nearest { preset: String, kind: &'static str, url: String },
}

/// What may have been meant by a target that no rule holds for.
pub(super) fn hints(target: &str, settings: &Settings) -> Vec<Hint> {
    let rules = &settings.recognise;
    other_presets(target, rules).chain(nearest(target, rules)).collect()
}

fn other_presets<'a>(target: &'a str, rules: &'a recognise::Settings) -> impl Iterator<Item = Hint> + 'a {
    let is_off = |preset: &&str| !rules.presets.iter().any(|on| on == preset);
    Recogniser::preset_names().filter(is_off).filter_map(move |preset| {
        let alone = recognise::Settings { presets: vec![preset.to_owned()], ..recognise::Settings::default() };
        let found = Recogniser::new(&alone).ok()?.recognise(target)?;
        Some(Hint::OtherPreset { preset, route: found.route.name.clone() })
    })
}

fn nearest(target: &str, rules: &recognise::Settings) -> Option<Hint> {
    let of_presets = places::ALL.iter().filter(|place| rules.presets.iter().any(|on| on == place.preset));
    let of_presets = of_presets.map(|place| (place.preset.to_owned(), place.kind.name(), place.target.to_owned()));
    let of_config = rules.routes.iter();
    let of_config = of_config.map(|own| ("the config".to_owned(), own.route.kind.name(), own.path.clone()));
    let likeness = |url: &str| strsim::normalized_levenshtein(&compared(target), &compared(url));
    let best = of_presets.chain(of_config).max_by(|(.., one), (.., other)| likeness(one).total_cmp(&likeness(other)));
    let (preset, kind, url) = best.filter(|(.., url)| likeness(url) >= LIKENESS_MIN)?;
    Some(Hint::Nearest { preset, kind, url })
}

/// Ids differ from call to call; what stands before them is compared. Where the path says nothing, the query's first
/// parameter counts too.
fn compared(url: &str) -> String {
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let fixed = path.split('{').next().unwrap_or_default();
    let first = if fixed.len() <= "/index.php".len() { query.split('&').next().unwrap_or_default() } else { "" };
    format!("{fixed}{first}").to_ascii_lowercase()
}
