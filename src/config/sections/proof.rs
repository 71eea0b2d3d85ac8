//! `[token]` and `[webhooks]`: how a caller proves that it may call.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretBox, SecretString};

use crate::config::secrets::{self, Given};
use crate::config::section::Section;
use crate::config::sections::callbacks::general;
use crate::event::{Kind, Mode, Proof};
use crate::recognise;
use crate::token::{Key, Settings, SigningKey, parse_keys};

/// Longest name of the token's parameter: URLs end at 2000 characters.
const PARAMETER_CHARACTERS_MAX: usize = 32;

const KEY_HINT: &str =
    "make one: (umask 077; echo \"1 $(openssl rand -hex 32)\" > token.keys), then set token.key_file";

/// Reads both sections. Besides the settings: a key file that is to be made first.
pub(super) fn read(root: &Section<'_>, recognise: &recognise::Settings) -> (Settings, Option<PathBuf>) {
    let section = root.section("token");
    let (keys, to_make) = read_keys(&section);
    let parameter = section.option("parameter", "kallback".to_owned());
    let fits = |one: char| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '_' || one == '-';
    if parameter.is_empty() || parameter.len() > PARAMETER_CHARACTERS_MAX || !parameter.chars().all(fits) {
        let hint = "firewalls refuse more colourful ones";
        section.fault("parameter", "a parameter name is 1 to 32 of a-z, 0-9, `_` and `-`", hint);
    }
    let mode = section.option("mode", Mode::Enforce);
    warn_of_mode(&section, mode, "token");
    if !section.is_set("keys") && !section.is_set("key_file") && demands_tokens(recognise) {
        section.fault("key_file", "there is no token key: every callback would be refused", KEY_HINT);
    }
    let sessions_per_token = section.bounded("sessions_per_token", 4, 1..=1000);
    section.end();
    (Settings { parameter, keys, signing_keys: read_webhooks(root, recognise), sessions_per_token }, to_make)
}

fn read_keys(section: &Section<'_>) -> (Vec<Key>, Option<PathBuf>) {
    let make = section.option("make_development_key", false);
    let literal: Option<Vec<SecretString>> = section.optional("keys");
    let file = section.optional_path("key_file");
    let (text, name) = match secrets::given(section, "keys", "key_file") {
        Given::Nowhere => (None, "key_file"),
        Given::Literally => (literal.map(|lines| joined(&lines)), "keys"),
        Given::InFile => match file {
            Some(path) if make && !path.exists() => {
                warn_of_development(section);
                return (Vec::new(), Some(path));
            }
            Some(path) => (read_key_file(section, &path), "key_file"),
            None => (None, "key_file"),
        },
    };
    if make {
        warn_of_development(section);
    }
    let Some(text) = text else { return (Vec::new(), None) };
    match parse_keys(text.expose_secret()) {
        Ok(keys) => (keys, None),
        Err(why) => {
            section.fault(name, format!("no token key can be read: {why}"), KEY_HINT);
            (Vec::new(), None)
        }
    }
}

fn read_key_file(section: &Section<'_>, path: &Path) -> Option<SecretString> {
    if !path.exists() {
        section.fault("key_file", format!("there is no file {}", path.display()), KEY_HINT);
        return None;
    }
    secrets::read_file(section, "key_file", path)
}

fn joined(lines: &[SecretString]) -> SecretString {
    lines.iter().map(ExposeSecret::expose_secret).collect::<Vec<_>>().join("\n").into()
}

fn warn_of_development(section: &Section<'_>) {
    let hint = "make a key of your own and take `make_development_key` out before going live";
    section.warn("make_development_key", "the token key is made for development", hint);
}

fn warn_of_mode(section: &Section<'_>, mode: Mode, what: &str) {
    let message = match mode {
        Mode::Enforce => return,
        Mode::Observe => format!("a callback without a valid {what} is let through and logged"),
        Mode::Off => format!("nobody checks the {what} of a callback"),
    };
    section.warn("mode", message, "");
}

/// Whether some callback needs a token: then there must be a key.
fn demands_tokens(recognise: &recognise::Settings) -> bool {
    let mode = |kind| general(kind, &recognise.overrides).filter_map(|one| one.mode).last().unwrap_or(Mode::Enforce);
    let by_preset = !recognise.presets.is_empty()
        && Kind::ALL.into_iter().any(|kind| kind != Kind::Webhook && mode(kind) == Mode::Enforce);
    let enforced = |one: &recognise::OwnRoute| one.route.proof == Proof::Token(Mode::Enforce);
    let explicit = |one: &recognise::Override| one.kind != Some(Kind::Webhook) && one.mode == Some(Mode::Enforce);
    by_preset || recognise.routes.iter().any(enforced) || recognise.overrides.iter().any(explicit)
}

fn read_webhooks(root: &Section<'_>, recognise: &recognise::Settings) -> Vec<SigningKey> {
    let section = root.section("webhooks");
    let mode = section.option("mode", Mode::Enforce);
    warn_of_mode(&section, mode, "signature");
    read_signing_key(&section.blank("signing_keys"));
    let mut keys: Vec<SigningKey> = Vec::new();
    for item in section.sections("signing_keys") {
        if let Some(key) = read_signing_key(&item) {
            if keys.iter().any(|earlier| earlier.id == key.id) {
                item.fault("id", "a signing key of this id is there already", "");
            }
            keys.push(key);
        }
        item.end();
    }
    let own_webhook = recognise.routes.iter().any(|one| one.route.proof == Proof::Signature(Mode::Enforce));
    let asked_for = section.is_set("mode") && mode == Mode::Enforce;
    if (own_webhook || asked_for) && !section.is_set("signing_keys") {
        let hint = "write [[webhooks.signing_keys]] with `id` and `secret_file`, as Klarna's portal gave them";
        section.fault("signing_keys", "there is no signing key: every webhook would be refused", hint);
    }
    section.end();
    keys
}

fn read_signing_key(item: &Section<'_>) -> Option<SigningKey> {
    let hint = "what `Klarna-Signing-Key-Id` says";
    let id: Option<String> = if item.is_present() { item.required("id", hint) } else { item.optional("id") };
    let secret = secrets::read(item, "secret");
    if item.is_present() && !item.is_set("secret") && !item.is_set("secret_file") {
        item.fault("secret_file", "the key has no secret", "set `secret_file`");
    }
    let (id, secret) = (id?, secret?);
    if id.trim().is_empty() {
        item.fault("id", "the id is empty", hint);
    }
    Some(SigningKey { id, secret: SecretBox::new(secret.expose_secret().as_bytes().into()) })
}
