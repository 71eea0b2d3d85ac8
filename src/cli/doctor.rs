//! `kallback doctor`: which layer between Klarna and the shop fails, and what to do.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use clap::builder::PossibleValuesParser;
use clap::builder::styling::{AnsiColor, Style};
use http::{HeaderValue, Request};
use secrecy::ExposeSecret as _;
use serde_json::json;
use thiserror::Error;

use crate::clock::Clock;
use crate::config::Loaded;
use crate::doctor::{self, Admin, Callers, Finding, Patient, Verdict};
use crate::event::Kind;
use crate::klarna::letter::Purchase;
use crate::klarna::places;
use crate::probe::{AnswerLimit, Limits, NotAUrl, Origin, Probe, Trust, TrustFault};
use crate::recognise::{self, Recogniser};
use crate::upstream::Address;

/// Longer than any sender waits, so that a figure can be told.
const LIMITS: Limits = Limits {
    connect_within: Duration::from_secs(5),
    answer: AnswerLimit::Whole(Duration::from_secs(15)),
    body_bytes_max: 64 << 10,
};

/// Which callback of a platform is played: first those whose handlers do nothing without a body.
const KINDS: [Kind; 8] = [
    Kind::Authorization,
    Kind::Notification,
    Kind::SessionStatus,
    Kind::Validation,
    Kind::AddressUpdate,
    Kind::ShippingOptionUpdate,
    Kind::Push,
    Kind::Webhook,
];

/// `kallback doctor …`
#[derive(Clone, Debug, Args)]
pub(super) struct DoctorArguments {
    /// The shop as Klarna reaches it, as in `https://shop.example`, or one callback's whole URL.
    url: String,
    /// The shop platform whose callback is played; without it, the first one of the config.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(Recogniser::preset_names()))]
    preset: Option<String>,
    /// Connect to this address, whatever the URL's name says.
    #[arg(long, value_name = "IP:PORT")]
    connect_to: Option<SocketAddr>,
    /// Believe this certificate authority too (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Why nothing could be looked at.
#[derive(Debug, Error)]
pub(super) enum DoctorFault {
    /// The URL cannot be called.
    #[error(transparent)]
    Url(#[from] NotAUrl),
    /// Nothing says where callbacks arrive.
    #[error("say the shop's platform with --preset, kallback's config with --config, or a callback's whole URL")]
    NoPreset,
    /// The URL's path cannot stand in a request.
    #[error("the URL cannot be called: {0}")]
    Target(#[from] http::Error),
    /// The authority cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustFault),
    /// The admin token has characters that no header can have.
    #[error("`admin.token` cannot be sent in a header")]
    AdminToken,
    /// The system refuses threads or the output.
    #[error("cannot run: {0}")]
    System(#[from] io::Error),
}

/// Looks, and says what was found. The exit code is 1 if a callback does not come through. `loaded` is the config of
/// the kallback that is looked at, if it is known.
pub(super) fn run(
    arguments: &DoctorArguments,
    loaded: Option<&Loaded>,
    clock: Clock,
    out: &mut dyn Write,
) -> Result<ExitCode, DoctorFault> {
    let patient = patient(arguments, loaded)?;
    let callers = callers(arguments, clock)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(doctor::examine(&patient, &callers));
    let is_well = findings.iter().all(|finding| finding.verdict != Verdict::Fault);
    match arguments.json {
        true => writeln!(out, "{}", as_json(&findings, is_well))?,
        false => tell(&findings, out)?,
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn patient(arguments: &DoctorArguments, loaded: Option<&Loaded>) -> Result<Patient, DoctorFault> {
    let (public, target) = Origin::of(&arguments.url)?;
    let own_preset = arguments.preset.clone().map(|name| vec![name]);
    let recognise = match (own_preset, loaded) {
        (Some(presets), _) => recognise::Settings { presets, ..recognise::Settings::default() },
        (None, Some(loaded)) => loaded.settings.recognise.clone(),
        (None, None) => recognise::Settings::default(),
    };
    let (kind, callback) = callback(&recognise, &target)?;
    let admin = loaded.and_then(|loaded| Some((loaded.settings.admin.listen?, loaded)));
    let admin = admin.map(|(address, loaded)| admin_at(address, loaded)).transpose()?;
    let shop = loaded.and_then(|loaded| origin_of(&loaded.settings.upstream.address));
    Ok(Patient { public, callback, kind, shop, admin })
}

/// The callback to play: the one that arrives at the URL's path, else one of the platform's.
fn callback(recognise: &recognise::Settings, target: &str) -> Result<(Kind, Request<Bytes>), DoctorFault> {
    let (kind, target) = if target == "/" {
        let place =
            recognise.presets.iter().find_map(|preset| KINDS.iter().find_map(|kind| places::place(preset, *kind)));
        let place = place.ok_or(DoctorFault::NoPreset)?;
        (place.kind, Purchase::made_up().fill(place.target))
    } else {
        let recogniser = Recogniser::new(recognise).ok();
        let found = recogniser.and_then(|recogniser| Some(recogniser.recognise(target)?.route.kind));
        (found.unwrap_or(Kind::Authorization), target.to_owned())
    };
    let mut request = Purchase::made_up().callback(kind, &target)?.request;
    *request.body_mut() = Bytes::new();
    Ok((kind, request))
}

/// The shop as a URL. A shop behind a Unix socket has none.
fn origin_of(address: &Address) -> Option<Origin> {
    let (is_tls, host, port) = match address {
        Address::Http { host, port } => (false, host, port),
        Address::Https { host, port } => (true, host, port),
        Address::Unix(_) | Address::Dialled(_) => return None,
    };
    Some(Origin { is_tls, host: host.clone(), port: *port })
}

fn admin_at(address: SocketAddr, loaded: &Loaded) -> Result<Admin, DoctorFault> {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let bearer = loaded.settings.admin.token.as_ref().map(|token| {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))?;
        value.set_sensitive(true);
        Ok::<_, http::header::InvalidHeaderValue>(value)
    });
    let authorization = bearer.transpose().map_err(|_| DoctorFault::AdminToken)?;
    Ok(Admin { origin: Origin { is_tls: false, host: host.to_string(), port: address.port() }, authorization })
}

fn callers(arguments: &DoctorArguments, clock: Clock) -> Result<Callers, DoctorFault> {
    // The doctor goes on where Klarna would stop; what is wrong with the certificate is still told.
    let trust = Trust::public_and(arguments.ca.as_deref())?.believing_all();
    let inside = Probe { limits: LIMITS, trust, connect_to: None, clock };
    Ok(Callers { outside: Probe { connect_to: arguments.connect_to, ..inside.clone() }, inside })
}

fn as_json(findings: &[Finding], is_well: bool) -> serde_json::Value {
    let one = |finding: &Finding| {
        json!({
            "check": finding.check,
            "verdict": finding.verdict.name(),
            "what": finding.what,
            "advice": finding.advice,
        })
    };
    json!({ "ok": is_well, "findings": findings.iter().map(one).collect::<Vec<_>>() })
}

/// The colours go where the output is no terminal: that is the output's business.
fn tell(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for Finding { check, verdict, what, advice } in findings {
        let style = style(*verdict);
        writeln!(out, "{style}{verdict:<8}{style:#} {check:<12} {what}")?;
        if let Some(advice) = advice {
            writeln!(out, "{:22}{advice}", "")?;
        }
    }
    let count = |wanted| findings.iter().filter(|finding| finding.verdict == wanted).count();
    let (faults, warnings) = (count(Verdict::Fault), count(Verdict::Warning));
    writeln!(out, "\n{}, {}", counted(faults, "fault"), counted(warnings, "warning"))
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Good => AnsiColor::Green.on_default(),
        Verdict::Untried => Style::new().dimmed(),
        Verdict::Warning => AnsiColor::Yellow.on_default(),
        Verdict::Fault => AnsiColor::Red.on_default().bold(),
    }
}
