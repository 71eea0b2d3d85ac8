//! `kallback check`: is this config sound, and what would it do?

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::app::Settings;
use crate::config::{Finding, Loaded, Origins, Source};
use crate::event::{Class, Mode, Proof, Route};
use crate::ledger::Backend;
use crate::recognise::Recogniser;
use crate::upstream::Address;

/// Prints faults and warnings as text; the summary of a sound config goes to `out`.
pub(super) fn for_people(origins: &Origins, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitCode> {
    match origins.load() {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                writeln!(err, "warning: {warning}\n")?;
            }
            summarise(&loaded, origins, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(faults) => {
            writeln!(err, "{faults}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Prints one JSON object, whatever the outcome.
pub(super) fn for_programs(origins: &Origins, out: &mut dyn Write) -> io::Result<ExitCode> {
    let (told, code) = match origins.load() {
        Ok(loaded) => (
            json!({
                "ok": true,
                "faults": [],
                "warnings": as_json(&loaded.warnings),
                "listen": loaded.settings.server.listen,
                "admin": loaded.settings.admin.listen,
                "shop": shop(&loaded.settings.upstream.address),
                "routes": routes(&loaded.settings).iter().map(|route| route_as_json(route)).collect::<Vec<_>>(),
            }),
            ExitCode::SUCCESS,
        ),
        Err(faults) => {
            (json!({ "ok": false, "faults": as_json(faults.findings()), "warnings": [] }), ExitCode::FAILURE)
        }
    };
    writeln!(out, "{told}")?;
    Ok(code)
}

fn summarise(loaded: &Loaded, origins: &Origins, out: &mut dyn Write) -> io::Result<()> {
    let Settings { server, admin, upstream, limits, token, ledger, .. } = &loaded.settings;
    let name = origins.file.as_ref().map_or("environment and flags".into(), |file| file.to_string_lossy());
    let admin = admin.listen.map_or("off".to_owned(), |address| address.to_string());
    let ledger = match &ledger.backend {
        Backend::File(path) => path.display().to_string(),
        Backend::Postgres(address, _) => {
            let way = if address.uses_tls() { "TLS" } else { "no TLS" };
            format!("{address}, {way}")
        }
        Backend::Memory => "memory only".to_owned(),
    };
    writeln!(out, "ok: {name}")?;
    writeln!(out, "  listens   {}", joined(&server.listen))?;
    if !server.redirect_from.is_empty() {
        writeln!(out, "  redirects {}", joined(&server.redirect_from))?;
    }
    writeln!(out, "  admin     {admin}")?;
    let (all, reserved) = (limits.seats.max_in_flight, limits.seats.reserved_for_callbacks);
    writeln!(out, "  shop      {}, {all} requests at once, {reserved} kept for callbacks", shop(&upstream.address))?;
    let keys = match &loaded.key_file_to_make {
        Some(path) => format!("to be made in {}", path.display()),
        None => token.keys.len().to_string(),
    };
    writeln!(out, "  token     ?{}=…, keys: {keys}; signing keys: {}", token.parameter, token.signing_keys.len())?;
    writeln!(out, "  ledger    {ledger}")?;
    let routes = routes(&loaded.settings);
    writeln!(out, "  callbacks {}; {} routes", loaded.settings.recognise.presets.join(", "), routes.len())?;
    routes.iter().try_for_each(|route| writeln!(out, "    {}", in_words(route)))
}

fn routes(settings: &Settings) -> Vec<std::sync::Arc<Route>> {
    // The names of presets were checked while loading.
    Recogniser::new(&settings.recognise).map(|recogniser| recogniser.routes()).unwrap_or_default()
}

fn in_words(route: &Route) -> String {
    let Route { name, kind, policy, .. } = route;
    let (proof, mode) = proof(route);
    let reply = match kind.class() {
        Class::Notice => format!("answered within {} ms", policy.answer_within.as_millis()),
        Class::Question => format!("the shop answers within {} ms", policy.hard_limit.as_millis()),
    };
    format!("{name}: {kind}, {reply}, {proof} {mode}")
}

fn route_as_json(route: &Route) -> Value {
    let (proof, mode) = proof(route);
    json!({ "name": route.name, "kind": route.kind.name(), "proof": proof, "mode": mode })
}

/// What a route demands, and how strictly.
pub(super) fn proof(route: &Route) -> (&'static str, &'static str) {
    let word = |mode| match mode {
        Mode::Enforce => "enforced",
        Mode::Observe => "observed",
        Mode::Off => "off",
    };
    match route.proof {
        Proof::Token(mode) => ("token", word(mode)),
        Proof::Signature(mode) => ("signature", word(mode)),
    }
}

fn shop(address: &Address) -> String {
    let host = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    match address {
        Address::Http { host: name, port } => format!("http://{}:{port}", host(name)),
        Address::Https { host: name, port } => format!("https://{}:{port}", host(name)),
        Address::Unix(path) => format!("unix:{}", path.display()),
        Address::Dialled(_) => "handed in".to_owned(),
    }
}

fn joined(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn as_json(findings: &[Finding]) -> Vec<Value> {
    let one = |finding: &Finding| {
        let mut told = match &finding.source {
            Source::Nowhere => json!({ "source": "none" }),
            Source::File { file, line, column, .. } => {
                json!({ "source": "file", "file": file, "line": line, "column": column })
            }
            Source::Environment(name) => json!({ "source": "environment", "variable": name }),
            Source::Flag(name) => json!({ "source": "flag", "flag": name }),
        };
        told["option"] = json!(finding.option);
        told["message"] = json!(finding.message);
        told["hint"] = json!(finding.hint);
        told
    };
    findings.iter().map(one).collect()
}
