//! A record as the admin listener tells it.

use serde::Deserialize;
use serde_json::Value;

/// One callback. See `docs/admin.md` for the fields.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::cli) struct Callback {
    pub(in crate::cli) id: i64,
    pub(in crate::cli) kind: String,
    pub(in crate::cli) route: String,
    pub(in crate::cli) state: String,
    pub(in crate::cli) subject: Option<String>,
    pub(in crate::cli) fingerprint: String,
    pub(in crate::cli) accepted_at: String,
    pub(in crate::cli) age_seconds: u64,
    pub(in crate::cli) ended_at: Option<String>,
    pub(in crate::cli) due_in_seconds: Option<u64>,
    pub(in crate::cli) expires_at: String,
    pub(in crate::cli) took_ms: Option<u64>,
    pub(in crate::cli) budget_ms: u64,
    pub(in crate::cli) attempts: u32,
    pub(in crate::cli) repeats: u32,
    pub(in crate::cli) status: Option<u16>,
    pub(in crate::cli) note: Option<String>,
    pub(in crate::cli) blocked_by: Option<String>,
    pub(in crate::cli) advice: Option<String>,
    pub(in crate::cli) replay: String,
    /// What happened to it since kallback started; of one record only.
    #[serde(default)]
    pub(in crate::cli) history: Vec<Moment>,
    /// Everything that was told, for programs.
    #[serde(skip)]
    pub(in crate::cli) whole: Value,
}

/// Something that happened to a callback.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(in crate::cli) enum Moment {
    /// One try at the shop.
    Attempt { began_at: String, attempt: u32, outcome: String, status: Option<u16>, took_ms: u64, note: String },
    /// The same notice came again and joined the one under way.
    Joined { at: String },
    /// A sender was answered.
    Answered { at: String, by: String, status: u16, took_ms: u64 },
    /// A person had it brought again.
    ReplayOrdered { at: String },
    /// What a newer kallback tells and this one does not know.
    #[serde(other)]
    Unknown,
}

impl Callback {
    /// Reads what the listener told.
    pub(in crate::cli) fn read(whole: Value) -> Result<Self, serde_json::Error> {
        let callback = Self::deserialize(&whole)?;
        Ok(Self { whole, ..callback })
    }

    /// From its admission to its end, or until now, in milliseconds.
    pub(in crate::cli) fn time_ms(&self) -> u64 {
        self.took_ms.unwrap_or(self.age_seconds.saturating_mul(1000))
    }
}
