//! How often was the shop asked? The caller cannot see it; kallback's records can tell.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::aim::{self, Aim};
use super::play::Calls;
use super::{Arguments, TriggerFault};
use crate::app::Settings;
use crate::clock::Clock;
use crate::event::Class;
use crate::klarna::habits;
use crate::probe::{Origin, Probe, Trust};

/// How often, and how many times, an uncertain record is looked at again: for a second and a half in all.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
const LOOKS_AGAIN_MAX: usize = 15;

/// Who can tell.
pub(super) enum Counter {
    /// Nobody is in between.
    Bare,
    /// An admin listener.
    Admin(Box<Admin>),
    /// Nobody, and what to do about it.
    Nobody(&'static str),
}

/// An admin listener, asked about the notices of a kind and a subject.
pub(super) struct Admin {
    probe: Probe,
    origin: Origin,
    target: String,
    token: Option<SecretString>,
}

/// What is known of the shop.
pub(super) enum ShopSaw {
    /// So many requests.
    Requests(u64),
    /// kallback tried so often, and the shop did not answer every time; the records are in these states.
    Tries(u64, String),
    /// Not known, and why.
    Unknown(String),
}

/// Attempts by record.
pub(super) type Attempts = Result<HashMap<u64, Record>, String>;

/// One record, as the admin listener shows it.
#[derive(Deserialize)]
pub(super) struct Record {
    id: u64,
    attempts: u64,
    state: String,
    status: Option<u16>,
}

#[derive(Deserialize)]
struct Page {
    callbacks: Vec<Record>,
}

impl Counter {
    pub(super) fn of(
        arguments: &Arguments,
        settings: &Settings,
        aim: &Aim,
        clock: &Clock,
    ) -> Result<Self, TriggerFault> {
        if arguments.bare {
            return Ok(Self::Bare);
        }
        let Some(address) = arguments.admin else { return Ok(Self::Nobody("--admin IP:PORT or --bare tells")) };
        let Some(subject) = aim.subject.as_ref().filter(|_| aim.kind.class() == Class::Notice) else {
            return Ok(Self::Nobody("kallback's records do not show it for this kind"));
        };
        let token = match &arguments.admin_token_file {
            Some(file) => Some(aim::secret(file)?),
            None => settings.admin.token.clone(),
        };
        let subject = percent_encoding::utf8_percent_encode(subject, percent_encoding::NON_ALPHANUMERIC);
        Ok(Self::Admin(Box::new(Admin {
            probe: Probe {
                limits: habits::LIMITS,
                trust: Trust::public_and(None)?,
                connect_to: None,
                clock: clock.clone(),
            },
            origin: Origin { is_tls: false, host: address.ip().to_string(), port: address.port() },
            target: format!("/callbacks?kind={}&subject={subject}", aim.kind),
            token,
        })))
    }

    /// What the records say now.
    pub(super) async fn count(&self) -> Attempts {
        match self {
            Self::Admin(admin) => admin.count().await,
            Self::Bare | Self::Nobody(_) => Ok(HashMap::new()),
        }
    }

    /// What the shop saw since then.
    pub(super) async fn since(&self, before: &Attempts, calls: &Calls) -> ShopSaw {
        let attempts = || calls.calls.iter().flat_map(|call| &call.attempts);
        match self {
            Self::Bare => ShopSaw::Requests(attempts().filter(|attempt| attempt.was_sent()).count() as u64),
            Self::Nobody(_) if !calls.calls.is_empty() && attempts().all(|attempt| attempt.is_replay) => {
                ShopSaw::Requests(0)
            }
            Self::Nobody(hint) => ShopSaw::Unknown((*hint).to_owned()),
            Self::Admin(admin) => admin.settled_since(before).await.unwrap_or_else(ShopSaw::Unknown),
        }
    }
}

impl Admin {
    /// What the records say now.
    async fn count(&self) -> Attempts {
        let Self { probe, origin, target, token } = self;
        let mut request = Request::get(target);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        let request = request.body(Bytes::new()).map_err(|why| why.to_string())?;
        let answered = probe.call(origin, request).await.map_err(|why| format!("{origin}: {why}"))?;
        if answered.reply.status != http::StatusCode::OK {
            return Err(format!("{origin} answers {}", answered.reply.status));
        }
        let page: Page = serde_json::from_slice(&answered.reply.body)
            .map_err(|_| format!("{origin} is no admin listener of kallback"))?;
        Ok(page.callbacks.into_iter().map(|record| (record.id, record)).collect())
    }

    /// Looks again for a while if nothing is certain yet: an answer goes out before the record's end is written.
    async fn settled_since(&self, before: &Attempts) -> Result<ShopSaw, String> {
        let before = before.as_ref().map_err(Clone::clone)?;
        let mut shop_saw = difference(before, &self.count().await?);
        for _ in 0..LOOKS_AGAIN_MAX {
            if matches!(shop_saw, ShopSaw::Requests(_)) {
                break;
            }
            tokio::time::sleep(LOOKS_EVERY).await;
            shop_saw = difference(before, &self.count().await?);
        }
        Ok(shop_saw)
    }
}

fn difference(before: &HashMap<u64, Record>, after: &HashMap<u64, Record>) -> ShopSaw {
    let known = |record: &Record| before.get(&record.id).map_or(0, |before| before.attempts);
    let grown: Vec<&Record> = after.values().filter(|record| record.attempts > known(record)).collect();
    let tries = grown.iter().map(|record| record.attempts - known(record)).sum();
    // A try of which nothing came back may never have reached the shop.
    let is_certain = grown.iter().all(|record| record.status.is_some() && record.attempts - known(record) == 1);
    if is_certain {
        return ShopSaw::Requests(tries);
    }
    let mut states: Vec<&str> = grown.iter().map(|record| record.state.as_str()).collect();
    states.sort_unstable();
    states.dedup();
    ShopSaw::Tries(tries, states.join(", "))
}
