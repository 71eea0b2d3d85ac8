//! Which callbacks are meant: filters of the command line, asked of the admin listener page by page.

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::record::Callback;
use crate::cli::admin_client::{AdminClient, AdminFault};
use crate::event::{Class, Kind};
use crate::ledger::State;

/// Only callbacks for which all of this holds.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which callbacks")]
pub(super) struct Selection {
    /// Only those that the shop never answered 2xx: pending, dead or left, and not come again later.
    #[arg(long)]
    undelivered: bool,
    /// Only this state.
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(State::ALL.map(State::name)))]
    state: Option<String>,
    /// Only this kind.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(notices()))]
    kind: Option<String>,
    /// Only this session or order id, whole.
    #[arg(long, value_name = "ID", visible_aliases = ["order", "session"])]
    subject: Option<String>,
    /// Only those that came longer ago: 2h, 3days.
    #[arg(long, value_name = "TIME", value_parser = age)]
    older_than: Option<Duration>,
    /// Only those that came since: 90s, 15min.
    #[arg(long, value_name = "TIME", value_parser = age)]
    younger_than: Option<Duration>,
}

/// What was found.
pub(super) struct Listed {
    pub(super) callbacks: Vec<Callback>,
    /// The limit cut something off.
    pub(super) there_are_more: bool,
}

#[derive(Deserialize)]
struct Page {
    callbacks: Vec<Value>,
    next: Option<i64>,
}

impl Selection {
    /// Whether nothing is filtered.
    pub(super) fn is_all(&self) -> bool {
        self.query().is_empty()
    }

    /// Asks for pages until there are `limit` callbacks or no more.
    pub(super) fn collect(&self, client: &AdminClient, limit: u32) -> Result<Listed, AdminFault> {
        let mut callbacks = Vec::new();
        let mut before = None;
        loop {
            // One more than wanted says whether there are more.
            let missing = u64::from(limit) + 1 - callbacks.len() as u64;
            let cursor = before.map(|number: i64| format!("&before={number}")).unwrap_or_default();
            let told = client.get(&format!("/callbacks?limit={missing}{cursor}{}", self.query()))?;
            let page: Page = serde_json::from_value(told).map_err(|why| client.stranger(&why))?;
            for record in page.callbacks {
                callbacks.push(Callback::read(record).map_err(|why| client.stranger(&why))?);
            }
            before = page.next;
            if before.is_none() || callbacks.len() > limit as usize {
                let there_are_more = callbacks.len() > limit as usize;
                callbacks.truncate(limit as usize);
                return Ok(Listed { callbacks, there_are_more });
            }
        }
    }

    fn query(&self) -> String {
        let texts = [("state", &self.state), ("kind", &self.kind), ("subject", &self.subject)];
        let texts = texts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        let ages = [("older_than_seconds", self.older_than), ("younger_than_seconds", self.younger_than)];
        let ages = ages.into_iter().filter_map(|(name, age)| Some((name, age?.as_secs().to_string())));
        let undelivered = self.undelivered.then(|| ("undelivered", "true".to_owned()));
        let pairs = texts.chain(ages).chain(undelivered);
        pairs.map(|(name, value)| format!("&{name}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC))).collect()
    }
}

/// Questions are never recorded.
fn notices() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().filter(|kind| kind.class() == Class::Notice).map(Kind::name)
}

fn age(text: &str) -> Result<Duration, String> {
    let parser = jiff::fmt::friendly::SpanParser::new();
    let age = parser.parse_unsigned_duration(text).map_err(|_| "write 90s, 15min, 2h or 3days".to_owned())?;
    if age > AGE_MAX { Err("ten years at most".to_owned()) } else { Ok(age) }
}

const AGE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
