//! From settings to parts: what every worker holds, made anew whenever the config is read again.

use std::sync::Arc;

use thiserror::Error;
use tokio_util::task::TaskTracker;

use super::Settings;
use crate::callback::Callbacks;
use crate::clock::Clock;
use crate::delivery::schedule::Jitter;
use crate::delivery::{self, Delivery, Outage};
use crate::forward::{Forwarder, Limits};
use crate::gateway::Rules;
use crate::ledger::Ledger;
use crate::ledger::flights::Flights;
use crate::limits::{Rates, Seats};
use crate::metrics::Telemetry;
use crate::recognise::{Recogniser, UnknownPreset};
use crate::token::Guard;
use crate::upstream::{TlsFault, Upstream};

/// What outlives a reload: everything that remembers.
#[derive(Clone)]
pub struct Lasting {
    /// Where notices are kept.
    pub ledger: Arc<dyn Ledger>,
    /// What is in the air.
    pub flights: Flights,
    /// The seats at the shop.
    pub seats: Seats,
    /// The shop's last state.
    pub outage: Arc<Outage>,
    /// Chance.
    pub jitter: Jitter,
    /// The tasks that shutdown waits for.
    pub tasks: TaskTracker,
    /// A token for everything that needs the ledger.
    pub under_way: TaskTracker,
    /// Time.
    pub clock: Clock,
    /// Events.
    pub telemetry: Telemetry,
}

/// Everything that follows from the settings alone.
pub struct Built {
    /// For each worker its rules.
    pub workers: Vec<Arc<Rules>>,
    /// For the background work and the admin listener.
    pub background: Arc<Background>,
}

/// What the background work and the admin listener use.
pub struct Background {
    /// Brings notices.
    pub delivery: Arc<Delivery>,
    /// Proves callers.
    pub guard: Arc<Guard>,
    /// Turns callers away.
    pub rates: Rates,
    /// Knows callbacks.
    pub recogniser: Arc<Recogniser>,
}

/// Settings that passed the config's checks and cannot be built all the same.
#[derive(Debug, Error)]
pub enum PartsError {
    /// See [`UnknownPreset`].
    #[error(transparent)]
    Preset(#[from] UnknownPreset),
    /// The shop's certificate authority or name cannot be used.
    #[error("the way to the shop: {0}")]
    Shop(#[from] TlsFault),
}

/// Builds everything that follows from the settings alone.
///
/// # Errors
/// [`PartsError`].
pub fn build(settings: &Settings, lasting: &Lasting, workers: usize) -> Result<Built, PartsError> {
    let upstream = Upstream::new(&settings.upstream, lasting.clock.clone(), lasting.telemetry.clone())?;
    let background = Arc::new(Background {
        delivery: delivery(settings, lasting, &upstream),
        guard: Arc::new(Guard::new(settings.token.clone())),
        rates: Rates::new(&settings.limits, &lasting.clock),
        recogniser: Arc::new(Recogniser::new(&settings.recognise)?),
    });
    let workers =
        (0..workers).map(|_| Arc::new(rules(settings, lasting, &background, upstream.for_another_worker()))).collect();
    Ok(Built { workers, background })
}

fn rules(settings: &Settings, lasting: &Lasting, shared: &Background, upstream: Upstream) -> Rules {
    let limits = Limits {
        request_body_bytes_max: settings.limits.traffic_body_bytes_max,
        request_body_idle_at_most: settings.forward.request_body_idle_at_most,
        reply_within: settings.upstream.reply_within,
        tunnel_idle_at_most: settings.forward.tunnel_idle_at_most,
    };
    let callbacks = Callbacks {
        guard: shared.guard.clone(),
        rates: shared.rates.clone(),
        body_bytes_max: settings.limits.callback_body_bytes_max,
        body_within: settings.limits.callback_body_within,
        flights: lasting.flights.clone(),
        ledger: lasting.ledger.clone(),
        admit_within: settings.ledger.admit_within,
        delivery: delivery(settings, lasting, &upstream),
        upstream: upstream.clone(),
        seats: lasting.seats.clone(),
        tasks: lasting.tasks.clone(),
        under_way: lasting.under_way.clone(),
        clock: lasting.clock.clone(),
        telemetry: lasting.telemetry.clone(),
    };
    Rules {
        recogniser: shared.recogniser.clone(),
        callbacks: Arc::new(callbacks),
        forwarder: Forwarder::new(upstream, lasting.seats.clone(), lasting.tasks.clone(), limits),
        trusted_proxies: settings.forward.trusted_proxies.clone(),
        public_port: settings.forward.public_port.into(),
        scan_forms: settings.forward.scan_forms,
    }
}

fn delivery(settings: &Settings, lasting: &Lasting, upstream: &Upstream) -> Arc<Delivery> {
    let parts = delivery::Parts {
        ledger: lasting.ledger.clone(),
        upstream: upstream.clone(),
        seats: lasting.seats.clone(),
        clock: lasting.clock.clone(),
        telemetry: lasting.telemetry.clone(),
        outage: lasting.outage.clone(),
        jitter: lasting.jitter.clone(),
    };
    Arc::new(Delivery::new(settings.delivery.clone(), parts))
}
