//! `kallback trigger`: plays Klarna at a gateway or at a bare shop, and says whether Klarna would be content.

mod aim;
mod play;
mod report;
mod shop_count;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use thiserror::Error;

use crate::app::Settings;
use crate::clock::Clock;
use crate::event::Kind;
use crate::klarna::Client;
use crate::probe::{NotAUrl, TrustFault};
use crate::recognise::UnknownPreset;
use crate::token::NotMinted;

use self::aim::Aim;
use self::play::Plan;
use self::report::Screen;
use self::shop_count::Counter;

/// How much faster than Kustom's 48 hours a push schedule is played: in 48 seconds.
const PUSHES_FASTER: u32 = 3600;

/// `kallback trigger …`
#[derive(Clone, Debug, Args)]
pub(super) struct Arguments {
    /// Which callback: authorization, push, notification, session_status, webhook, validation, address_update,
    /// country_change, shipping_option_update, upsell or upsell_validation.
    #[arg(value_parser = kind)]
    kind: Kind,
    /// The gateway or shop, as `https://HOST`; or the whole callback URL as the shop gave it to Klarna, token and
    /// placeholders included.
    url: String,
    /// The shop platform whose URL is made up; without it the first one of the config that receives this kind, and
    /// without a config woocommerce's.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// File with the token key; without it that of the config. With neither, no token is minted.
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// The order that it is about; without it, one that nobody placed.
    #[arg(long, value_name = "ID")]
    order: Option<String>,
    /// The Klarna session that it is about, and that the token is minted for; without it, one that nobody opened.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Send this body.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// What a read timeout means to the sender, which Klarna's documents leave open.
    #[arg(long, value_enum, default_value_t = ClientName::Whole)]
    client: ClientName,
    /// The shop declared its validation indispensable: Kustom waits 10 s, and silence refuses the purchase.
    #[arg(long)]
    indispensable: bool,
    /// Try so often in all while the answer is not a good one; without it as often as the sender would within a
    /// minute.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10))]
    attempts: Option<u32>,
    /// Send the same callback so often, one after the other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// Send so many copies at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    concurrent: u32,
    /// Send a push as often as Kustom does for an order that nobody acknowledges: 16 times in 48 hours.
    #[arg(long, conflicts_with = "repeat")]
    push_schedule: bool,
    /// Play pauses so many times faster; push schedules 3600 times if nothing is said.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    faster: Option<u32>,
    /// Ask this admin listener how often the shop was asked.
    #[arg(long, value_name = "IP:PORT", conflicts_with = "bare")]
    admin: Option<SocketAddr>,
    /// File with the admin token; without it that of the config.
    #[arg(long, value_name = "FILE", requires = "admin")]
    admin_token_file: Option<PathBuf>,
    /// There is no kallback in front of the shop: mint no token, and count every request as seen.
    #[arg(long)]
    bare: bool,
    /// Believe this certificate authority too (PEM).
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Go on whatever the certificate is. Klarna does not.
    #[arg(long)]
    insecure: bool,
    /// Connect to this address, whatever the URL's name says.
    #[arg(long, value_name = "IP:PORT")]
    connect_to: Option<SocketAddr>,
    /// Print one JSON object at the end, for programs.
    #[arg(long)]
    json: bool,
}

/// See [`Client`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum ClientName {
    /// The whole answer must be there in time.
    Whole,
    /// Every byte must come in time after the one before it.
    Socket,
}

/// Why nothing was sent.
#[derive(Debug, Error)]
pub(super) enum TriggerFault {
    /// Where to?
    #[error(transparent)]
    Url(#[from] NotAUrl),
    /// No such preset.
    #[error("{0}; `kallback check` lists those of a config, docs/platforms.md all of them")]
    Preset(#[from] UnknownPreset),
    /// The preset's platform receives no such callback.
    #[error("no plugin of {presets} receives {kind}{}; write the whole callback URL", but(.known))]
    NoPlace { presets: String, kind: Kind, known: String },
    /// Only pushes have a schedule.
    #[error("--push-schedule is for pushes, and this is a {0}")]
    NoSchedule(Kind),
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, io::Error),
    /// The authority cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustFault),
    /// The URL gets too long.
    #[error(transparent)]
    NotMinted(#[from] NotMinted),
    /// The URL cannot stand in a request.
    #[error("the URL cannot be sent: {0}")]
    Request(#[from] http::Error),
    /// The system refuses, or the output cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Sends what was asked for. The exit code is 0 if something was sent and its sender would be content with every
/// answer.
pub(super) fn run(
    arguments: &Arguments,
    settings: &Settings,
    out: &mut (dyn Write + Send),
    err: &mut dyn Write,
) -> Result<ExitCode, TriggerFault> {
    if arguments.push_schedule && arguments.kind != Kind::Push {
        return Err(TriggerFault::NoSchedule(arguments.kind));
    }
    let clock = Clock::system();
    let aim = Aim::take(arguments, settings, &clock)?;
    let plan = Plan::of(arguments);
    let counter = Counter::of(arguments, settings, &aim, &clock)?;
    let shows_waits = !arguments.json && io::stderr().is_terminal();
    let mut screen =
        Screen::open(&aim, &plan, if arguments.json { None } else { Some(out) }, shows_waits.then_some(err))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (calls, shop_saw) = runtime.block_on(async {
        let before = counter.count().await;
        let calls = play::play(&aim, &plan, &mut screen).await?;
        let shop_saw = counter.since(&before, &calls).await;
        Ok::<_, io::Error>((calls, shop_saw))
    })?;
    let verdict = report::Verdict::of(&aim, &plan, &calls);
    screen.close(&verdict, &shop_saw)?;
    if arguments.json {
        writeln!(out, "{}", report::as_json(&aim, &plan, &calls, &verdict, &shop_saw))?;
    }
    Ok(if verdict.is_content() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl From<ClientName> for Client {
    fn from(name: ClientName) -> Self {
        match name {
            ClientName::Whole => Self::Whole,
            ClientName::Socket => Self::Socket,
        }
    }
}

fn but(known: &str) -> String {
    if known.is_empty() { String::new() } else { format!(", only {known}; name another --preset") }
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::named(name).ok_or_else(|| format!("one of {} is expected", Kind::ALL.map(Kind::name).join(", ")))
}
