//! kallback with one thing wrong: what the simulation has to notice.

use std::time::Duration;

use kallback::app::Settings;
use kallback::event::{Kind, Redelivery};
use kallback::recognise::{Override, PolicyPatch};

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variant {
    /// The fsync is left out.
    NoSync,
    /// The claim is written after the shop was asked, not before.
    ClaimAfterForward,
    /// The sender's deadline cuts the running call to the shop.
    DeadlineCuts,
    /// A recorded reply is replayed for ever.
    ReplayForEver,
    /// A recorded reply is never replayed.
    ReplayNever,
    /// A push is brought again although nobody knows whether the shop had it.
    PushRetriedOnUnknown,
    /// A second call does not join the first.
    NothingJoins,
    /// A delivery is not recorded as settled.
    SettledNotRecorded,
    /// After a restart nobody knows of the pending notices.
    RestartForgets,
    /// An attempt of kallback's own does not say so.
    NoMark,
    /// `Retry-After` is ignored.
    RetryAfterIgnored,
    /// After an outage everything goes to the shop at once.
    AllAtOnce,
    /// The answer comes too late for the sender.
    AnswersLate,
    /// What a failed sync left unwritten in the WAL is built upon.
    HolesInTheWal,
    /// Nothing is ever brought again.
    NobodyRedelivers,
    /// A disk that cannot be written is treated as if it could.
    BlindToDiskErrors,
    /// After one failure nothing is recorded any more.
    GivesTheLedgerUp,
    /// What waits, waits for the time that was written down, whatever the clock did since.
    TrustsTheClock,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::NoSync,
        Self::ClaimAfterForward,
        Self::DeadlineCuts,
        Self::ReplayForEver,
        Self::ReplayNever,
        Self::PushRetriedOnUnknown,
        Self::NothingJoins,
        Self::SettledNotRecorded,
        Self::RestartForgets,
        Self::NoMark,
        Self::RetryAfterIgnored,
        Self::AllAtOnce,
        Self::AnswersLate,
        Self::HolesInTheWal,
        Self::NobodyRedelivers,
        Self::BlindToDiskErrors,
        Self::GivesTheLedgerUp,
        Self::TrustsTheClock,
    ];

    /// Where what is wrong is a setting: sets it. The model goes on expecting the defaults.
    pub fn spoil(self, settings: &mut Settings) {
        let mut patch = |kind: Option<Kind>, policy: PolicyPatch| {
            settings.recognise.overrides.push(Override { preset: None, kind, mode: None, policy });
        };
        match self {
            Self::DeadlineCuts => settings.delivery.attempt_timeout = Duration::from_millis(1_500),
            Self::ReplayForEver => {
                let ever = Some(Duration::from_secs(1_000_000));
                patch(None, PolicyPatch { replay_for: ever, replay_acknowledged_for: ever, ..PolicyPatch::default() });
            }
            Self::ReplayNever => {
                patch(None, PolicyPatch { replay_for: Some(Duration::ZERO), ..PolicyPatch::default() });
            }
            Self::PushRetriedOnUnknown => {
                let any = Some(Redelivery::AnyFailure);
                patch(Some(Kind::Push), PolicyPatch { redelivery: any, ..PolicyPatch::default() });
            }
            Self::RetryAfterIgnored => settings.delivery.retry_after_at_most = Duration::ZERO,
            Self::AllAtOnce => settings.delivery.redelivery_concurrency = 1_000,
            Self::AnswersLate => {
                let late = Some(Duration::from_secs(4));
                patch(Some(Kind::Authorization), PolicyPatch { answer_within: late, ..PolicyPatch::default() });
            }
            _ => {}
        }
    }
}
