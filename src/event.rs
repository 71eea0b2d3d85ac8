//! What a callback is: its kind, the rules that hold for it, and what makes two calls the same notice.
//!
//! Pure facts, no I/O. The defaults of every kind stand here in one table, [`Kind::defaults`]; presets and the
//! config may override them.

mod identify;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use serde::Deserialize;

pub use identify::identify;

/// Which callback a request is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Klarna Payments hands over the authorization token of a session.
    Authorization,
    /// Checkout says that an order is complete, and says it again until the order is acknowledged.
    Push,
    /// The fraud decision on a pending order.
    Notification,
    /// A hosted payment page changed its status.
    SessionStatus,
    /// A signed webhook of the Klarna Network.
    Webhook,
    /// May this purchase be completed?
    Validation,
    /// The customer's address changed: what are the new lines and shipping options?
    AddressUpdate,
    /// The customer's country changed.
    CountryChange,
    /// The customer chose another way of shipping.
    ShippingOptionUpdate,
    /// Which offers follow the purchase?
    Upsell,
    /// May this offer be added?
    UpsellValidation,
}

/// What kallback may do with a kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Klarna tells something; the reply only says "received". May be stored, joined, replayed and delivered later.
    Notice,
    /// Klarna asks; only the shop can answer. Live only.
    Question,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Authorization,
        Self::Push,
        Self::Notification,
        Self::SessionStatus,
        Self::Webhook,
        Self::Validation,
        Self::AddressUpdate,
        Self::CountryChange,
        Self::ShippingOptionUpdate,
        Self::Upsell,
        Self::UpsellValidation,
    ];

    /// The kind's name in the config, in metrics and in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization",
            Self::Push => "push",
            Self::Notification => "notification",
            Self::SessionStatus => "session_status",
            Self::Webhook => "webhook",
            Self::Validation => "validation",
            Self::AddressUpdate => "address_update",
            Self::CountryChange => "country_change",
            Self::ShippingOptionUpdate => "shipping_option_update",
            Self::Upsell => "upsell",
            Self::UpsellValidation => "upsell_validation",
        }
    }

    /// The kind of that [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether the kind tells or asks.
    pub fn class(self) -> Class {
        match self {
            Self::Authorization | Self::Push | Self::Notification | Self::SessionStatus | Self::Webhook => {
                Class::Notice
            }
            Self::Validation
            | Self::AddressUpdate
            | Self::CountryChange
            | Self::ShippingOptionUpdate
            | Self::Upsell
            | Self::UpsellValidation => Class::Question,
        }
    }

    /// The rules of the kind where neither preset nor config says otherwise.
    ///
    /// Budgets are the sender's limits where they are known (authorization 2 s, hosted page 3 s, push about 5 s,
    /// validation 3 s or 10 s) and 5 s where no document states one. A question is held open for `hard_limit`.
    pub fn defaults(self) -> Policy {
        let seconds = Duration::from_secs;
        let minutes = |n: u64| seconds(60 * n);
        let hours = |n: u64| seconds(3600 * n);
        let notice = |budget_ms: u64, answer_ms: u64, replay_for: Duration, redelivery: Redelivery, oldest| Policy {
            budget: Duration::from_millis(budget_ms),
            answer_within: Duration::from_millis(answer_ms),
            hard_limit: seconds(60),
            replay_for,
            replay_acknowledged_for: replay_for,
            redelivery,
            oldest,
        };
        match self {
            Self::Authorization => notice(2_000, 1_500, minutes(60), Redelivery::AnyFailure, minutes(60)),
            // Kustom's shortest distance between two pushes is 5 minutes, so that a replay within one minute
            // can only meet a repeat of the network, never a real push.
            Self::Push => Policy {
                replay_acknowledged_for: hours(48),
                ..notice(5_000, 4_000, minutes(1), Redelivery::OnlyUnreached, hours(48))
            },
            Self::Notification => notice(5_000, 4_000, hours(24), Redelivery::AnyFailure, hours(24)),
            Self::SessionStatus => notice(3_000, 2_500, hours(1), Redelivery::AnyFailure, hours(1)),
            Self::Webhook => notice(5_000, 4_000, hours(24), Redelivery::OnlyUnreached, hours(24)),
            _ => Policy {
                budget: seconds(3),
                answer_within: seconds(10),
                hard_limit: seconds(10),
                replay_for: Duration::ZERO,
                replay_acknowledged_for: Duration::ZERO,
                redelivery: Redelivery::Never,
                oldest: Duration::ZERO,
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When kallback itself brings a notice to the shop again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redelivery {
    /// After any failure.
    AnyFailure,
    /// Only if the shop certainly never saw the request.
    OnlyUnreached,
    /// Never: a second call can do harm (OXID and Magento pushes cancel orders).
    Never,
}

/// The rules that hold for a callback. Durations; see [`Kind::defaults`] for the values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// The sender's time limit: what `budget_exceeded_total` counts against.
    pub budget: Duration,
    /// Notices: kallback answers by then at the latest.
    pub answer_within: Duration,
    /// Questions: the connection stays open for the shop's reply this long, then `504`.
    pub hard_limit: Duration,
    /// A repeat of a settled notice gets the recorded reply for this long.
    pub replay_for: Duration,
    /// The same once the order is known to be acknowledged.
    pub replay_acknowledged_for: Duration,
    /// When kallback delivers again on its own.
    pub redelivery: Redelivery,
    /// A notice older than this is dead.
    pub oldest: Duration,
}

/// Which API a callback URL was given to. A token of one family is refused on a route of another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Klarna Payments.
    Payments,
    /// Kustom (formerly Klarna) Checkout.
    Checkout,
    /// Hosted payment page and in-store links.
    HostedPage,
    /// Klarna Network webhooks; these carry a signature rather than a token.
    Network,
}

impl Family {
    /// Every family.
    pub const ALL: [Self; 4] = [Self::Payments, Self::Checkout, Self::HostedPage, Self::Network];

    /// The family's name in the config and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::Checkout => "checkout",
            Self::HostedPage => "hosted_page",
            Self::Network => "network",
        }
    }
}

/// How a route proves its caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Proof {
    /// By the token in the URL.
    Token(Mode),
    /// By `Klarna-Signature` over the body.
    Signature(Mode),
}

/// How strictly the proof is demanded. The stricter, the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Do not look.
    Off,
    /// Log and count what would be refused, and let it pass.
    Observe,
    /// Refuse what cannot prove itself.
    Enforce,
}

/// One recognised place where callbacks arrive, with all rules that hold there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Name for people: preset and kind, or the name from the config. Never from the outside world.
    pub name: String,
    /// The callback it receives.
    pub kind: Kind,
    /// The API its URL is given to.
    pub family: Family,
    /// What the caller has to show.
    pub proof: Proof,
    /// Limits and windows.
    pub policy: Policy,
    /// A reply of 2xx with exactly this text as its body is a failure in disguise (SAP says `200 failure`).
    pub failure_texts: Vec<String>,
}

/// What the URL of a callback says, found while recognising it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UrlFacts {
    /// The order or session id in a query parameter or path segment, decoded.
    pub subject: Option<String>,
    /// The parameters that choose what the shop does (`kco-action`, `key`, `cl`, …), in a fixed order, decoded,
    /// with everything else that the preset lists left out.
    pub routing: String,
    /// Tags or escapes have to be deleted from a value before it names a callback, and then it may be several: no shop
    /// writes such a URL, and which handler it runs there is hard to foretell.
    pub is_ambiguous: bool,
}

/// What makes a token unique: derived from the shop session it was minted for.
pub type Nonce = [u8; 10];

/// The token that a call came with, to be bound to the session or order that the call names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenUse {
    /// The token's nonce.
    pub nonce: Nonce,
    /// Most different sessions or orders it may come with.
    pub sessions_max: u32,
}

/// What makes two calls the same notice: SHA-256 over kind, route and the ids of section "fingerprints" in
/// `docs/callbacks.md`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Hash for Fingerprint {
    /// A part of a digest spreads as well as the whole, and a callback is looked up ten times on its way.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0[..8]);
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// Who a callback is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// What makes it the same notice as another call.
    pub fingerprint: Fingerprint,
    /// The session or order id it names, if any. Bound to the token, shown to people.
    pub subject: Option<String>,
    /// Notices with the same turn are delivered one after the other, never at once.
    pub turn: Fingerprint,
}
