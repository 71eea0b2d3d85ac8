//! `kallback demo`: a gateway, a shop that gets into trouble, and Klarna, in half a minute.
//!
//! The gateway is handed in; everything around it is here. [`scenes`] says what happens, [`stage`] makes it happen,
//! [`crate::klarna`] plays Klarna, [`shop`] is the shop, and [`table`] shows it. It fails if a scene ends otherwise
//! than it should, so that it is a test too.

pub mod scenes;
pub mod shop;
mod stage;
mod table;
mod traffic;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::shop::SampleShop;
use self::stage::{Board, Theatre};
use self::table::Screen;
use crate::app;
use crate::clock::Clock;
use crate::event::Family;
use crate::probe::TrustFault;

/// How the demo is played.
#[derive(Clone, Debug)]
pub struct Options {
    /// End after this time; without it, go on with traffic after the scenes until [`stop`](Self::stop).
    pub seconds: Option<Duration>,
    /// Draw a table that changes in place. Only for a terminal.
    pub live: bool,
    /// Ends the demo, as Ctrl-C does.
    pub stop: CancellationToken,
    /// What time it is.
    pub clock: Clock,
}

/// The gateway that the demo is about: it runs already, in front of the demo's shop.
pub struct Gateway {
    /// Where it accepts TLS.
    pub address: SocketAddr,
    /// The host it has a certificate for.
    pub host: String,
    /// Who signed that certificate (or the certificate itself, if nobody did).
    pub authority: CertificateDer<'static>,
    /// Its admin listener, for the metrics.
    pub admin: SocketAddr,
    /// Mints the token that the shop puts into the URLs of a shop session.
    pub mint: Mint,
}

/// Mints the token of a family for a shop session. `None` if there is no key.
pub type Mint = Box<dyn Fn(Family, &str) -> Option<String> + Send + Sync>;

/// The demo could not be played.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The table could not be written.
    #[error("the table cannot be written")]
    Write(#[source] io::Error),
    /// The sample shop cannot listen.
    #[error("the sample shop cannot listen")]
    Shop(#[source] io::Error),
    /// The gateway's certificate cannot be trusted.
    #[error("callbacks cannot be sent")]
    Trust(#[from] TrustFault),
    /// The gateway mints no tokens.
    #[error("the gateway has no key to mint tokens with")]
    NoToken,
    /// A scene sends what no WooCommerce shop receives.
    #[error("there is no made-up {0}")]
    NoLetter(crate::event::Kind),
    /// The token cannot stand in a URL.
    #[error("a callback cannot be written")]
    Request(#[from] http::Error),
}

/// How often a live table is drawn again.
const REDRAW_EVERY: Duration = Duration::from_millis(200);

/// Fits a gateway's settings to the sample shop: seats for its few workers, with some kept for callbacks, and
/// redelivery at a pace that people can watch.
pub fn tune(settings: &mut app::Settings) {
    settings.limits.seats.max_in_flight = shop::WORKERS - 1;
    settings.limits.seats.reserved_for_callbacks = 2;
    settings.limits.seats.waiting_traffic_max = 1000;
    settings.limits.seats.traffic_waits_at_most = Duration::from_secs(30);
    settings.delivery.schedule = vec![Duration::from_secs(1), Duration::from_secs(2)];
}

/// Plays all scenes, then traffic, and writes what happens to `out`. True if every scene was played and ended as it
/// should.
///
/// # Errors
/// If `out` cannot be written, or the sample shop or the way to the gateway does not work at all. That a scene ends
/// badly is no error.
pub async fn run(
    options: Options,
    gateway: Gateway,
    shop: SampleShop,
    out: &mut (dyn Write + Send),
) -> Result<bool, DemoError> {
    let board = Board::new(scenes::SCENES);
    let mut changes = board.changes();
    let mut screen = Screen::open(out, &options).map_err(DemoError::Write)?;
    let theatre = Theatre::open(gateway, shop, options.clock.clone())?;
    let mut play = std::pin::pin!(async {
        theatre.play(&board).await?;
        traffic::go_on(&theatre, &board).await
    });
    let mut end = std::pin::pin!(end(&options));
    let mut redraw = tokio::time::interval(REDRAW_EVERY);
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = &mut end => break,
            // The traffic has no end of its own: only an error gets here.
            failed = &mut play => return failed.map(|()| false),
            _ = changes.changed(), if !options.live => {}
            _ = redraw.tick(), if options.live => {}
        }
        screen.draw(&board.rows()).map_err(DemoError::Write)?;
    }
    let rows = board.rows();
    screen.close(&rows).map_err(DemoError::Write)?;
    Ok(rows.all_well())
}

/// The demo's end: Ctrl-C, or the time that was asked for.
async fn end(options: &Options) {
    match options.seconds {
        Some(time) => {
            let _ = tokio::time::timeout(time, options.stop.cancelled()).await;
        }
        None => options.stop.cancelled().await,
    }
}
