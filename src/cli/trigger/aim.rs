//! From what was typed to what is sent, and where to.

use std::fs;
use std::path::Path;
use std::time::Duration;

use http::HeaderValue;
use secrecy::SecretString;

use super::{Arguments, TriggerFault};
use crate::app::Settings;
use crate::clock::Clock;
use crate::event::{Family, Kind};
use crate::klarna::letter::{Letter, Purchase, family};
use crate::klarna::places::{self, Place};
use crate::klarna::{Caller, habits};
use crate::probe::{Origin, Probe, Trust};
use crate::recognise::{Recogniser, UnknownPreset};
use crate::token::{self, Cut, Found, Guard, TTL_DEFAULT, Ticket, expiry_for};

/// No retry is waited for longer than this unless a number of attempts was asked for.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A letter and somebody to send it.
pub(super) struct Aim {
    pub(super) kind: Kind,
    pub(super) caller: Caller,
    pub(super) letter: Letter,
    /// Whose URL it is, if it was made up.
    pub(super) preset: Option<&'static str>,
    /// The URL less its token: what may be shown.
    pub(super) url: String,
    pub(super) proof: Proof,
    /// The id that kallback's records know it by.
    pub(super) subject: Option<String>,
    pub(super) is_indispensable: bool,
}

/// How the callback proves itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Proof {
    Minted,
    InUrl,
    Signed,
    None,
}

impl Proof {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Minted => "with a token",
            Self::InUrl => "with the URL's own token",
            Self::Signed => "signed",
            Self::None => "without a token",
        }
    }
}

impl Aim {
    pub(super) fn take(arguments: &Arguments, settings: &Settings, clock: &Clock) -> Result<Self, TriggerFault> {
        let kind = arguments.kind;
        let purchase = purchase(arguments);
        // Placeholders first: some of them cannot stand in a URL.
        let (origin, given) = Origin::of(&purchase.fill(&arguments.url))?;
        let place = if given == "/" { Some(place(arguments, settings)?) } else { None };
        let target = place.map_or(given, |place| purchase.fill(place.target));
        let family = family_of(place, &target, kind, settings)?;
        let guard = Guard::new(settings.token.clone());
        let (target, proof) = match token::cut(&target, &settings.token.parameter).found {
            Found::Nothing if !arguments.bare && !settings.token.keys.is_empty() && family != Family::Network => {
                let expires_at = expiry_for(clock.now(), TTL_DEFAULT);
                let ticket = Ticket { family, session: purchase.session.as_bytes(), expires_at };
                (guard.mint_into(&target, &ticket, clock.now())?, Proof::Minted)
            }
            Found::Nothing => (target, Proof::None),
            Found::Once(_) | Found::Repeated => (target, Proof::InUrl),
        };
        let Cut { target: shown, .. } = token::cut(&target, &settings.token.parameter);
        let url = format!("{origin}{shown}");
        let mut letter = letter(arguments, &purchase, &target)?;
        let is_signed = kind == Kind::Webhook && sign(&mut letter, &guard);
        Ok(Self {
            kind,
            caller: caller(arguments, origin, clock)?,
            letter,
            preset: place.map(|place| place.preset),
            url,
            proof: if is_signed { Proof::Signed } else { proof },
            subject: (kind != Kind::Webhook).then(|| purchase.subject(kind).to_owned()),
            is_indispensable: arguments.indispensable,
        })
    }
}

fn purchase(arguments: &Arguments) -> Purchase {
    let mut purchase = Purchase::made_up();
    if let Some(order) = &arguments.order {
        purchase.order.clone_from(order);
    }
    if let Some(session) = &arguments.session {
        purchase.session.clone_from(session);
    }
    purchase
}

/// The place of the preset that was asked for, or else of the first one of the config that has one.
fn place(arguments: &Arguments, settings: &Settings) -> Result<&'static Place, TriggerFault> {
    let kind = arguments.kind;
    let presets = match &arguments.preset {
        Some(name) => std::slice::from_ref(name),
        None => &settings.recognise.presets,
    };
    if let Some(unknown) = presets.iter().find(|name| !Recogniser::preset_names().any(|known| known == *name)) {
        return Err(UnknownPreset(unknown.clone()).into());
    }
    presets.iter().find_map(|preset| places::place(preset, kind)).ok_or_else(|| {
        let known: Vec<&str> =
            arguments.preset.iter().flat_map(|preset| places::kinds(preset)).map(Kind::name).collect();
        TriggerFault::NoPlace { presets: presets.join(", "), kind, known: known.join(", ") }
    })
}

/// The API that the URL was given to: the place says so, or the config's rule for the URL.
fn family_of(place: Option<&Place>, target: &str, kind: Kind, settings: &Settings) -> Result<Family, TriggerFault> {
    if let Some(place) = place {
        return Ok(place.family);
    }
    let recognised = Recogniser::new(&settings.recognise)?.recognise(target);
    Ok(recognised.map_or_else(|| family(kind), |recognised| recognised.route.family))
}

fn letter(arguments: &Arguments, purchase: &Purchase, target: &str) -> Result<Letter, TriggerFault> {
    let mut letter = purchase.callback(arguments.kind, target)?;
    if let Some(file) = &arguments.body {
        let body = fs::read(file).map_err(|why| TriggerFault::File(file.clone(), why))?;
        *letter.request.body_mut() = body.into();
    }
    if arguments.indispensable && arguments.kind == Kind::Validation {
        letter.read_within = habits::INDISPENSABLE_WITHIN;
    }
    let faster = arguments.faster.unwrap_or(1);
    letter.pauses.iter_mut().for_each(|pause| *pause /= faster);
    match arguments.attempts {
        Some(attempts) => {
            let last = letter.pauses.last().copied().unwrap_or(Duration::from_secs(1));
            letter.pauses.resize(attempts.saturating_sub(1) as usize, last);
        }
        None => letter.pauses.retain(|pause| *pause <= PAUSE_MAX),
    }
    Ok(letter)
}

fn sign(letter: &mut Letter, guard: &Guard) -> bool {
    let Some(headers) = guard.sign(letter.request.body()) else { return false };
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            letter.request.headers_mut().insert(name, value);
        }
    }
    true
}

fn caller(arguments: &Arguments, origin: Origin, clock: &Clock) -> Result<Caller, TriggerFault> {
    let trust = Trust::public_and(arguments.ca.as_deref())?;
    let trust = if arguments.insecure { trust.believing_all() } else { trust };
    let probe = Probe { limits: habits::LIMITS, trust, connect_to: arguments.connect_to, clock: clock.clone() };
    Ok(Caller { probe, origin, client: arguments.client.into() })
}

/// A secret from a file, without the line's end.
pub(super) fn secret(file: &Path) -> Result<SecretString, TriggerFault> {
    let text = fs::read_to_string(file).map_err(|why| TriggerFault::File(file.to_owned(), why))?;
    Ok(text.trim_end().into())
}
