//! The scenes of the demo, as data: what the shop does when, what is sent when, and how it must end.

use std::time::Duration;

use http::StatusCode;

use crate::event::Kind;

/// One scene. Everything that is sent in it, but for pages, is about one purchase.
#[derive(Debug)]
pub struct Scene {
    /// Its name in the table; short.
    pub name: &'static str,
    /// What it shows, as a sentence.
    pub shows: &'static str,
    /// What the shop does, in the order of time. Before the first change it is [`Mood::Well`].
    pub shop: &'static [Change],
    /// What is sent.
    pub calls: &'static [Call],
    /// How it must end.
    pub expects: &'static [Expectation],
}

/// From this moment of the scene on, the shop is in this mood.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Since the scene began.
    pub at: Duration,
    /// How the shop is from then on.
    pub mood: Mood,
}

/// How the sample shop is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mood {
    /// Answers at once.
    Well,
    /// Takes this long for a callback.
    Slow(Duration),
    /// Takes this long for a page.
    SlowPages(Duration),
    /// Nobody listens: connections are refused.
    Dead,
    /// A firewall plugin answers `403` in the shop's place.
    Firewalled,
}

/// Something that is sent.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Since the scene began.
    pub at: Duration,
    /// What it is.
    pub what: What,
    /// How often, all at the same moment.
    pub copies: u32,
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// A callback with the token that the shop put into its URL.
    Callback(Kind),
    /// The same from somebody who does not know the token.
    Forgery(Kind),
    /// A customer looks at a page.
    Page,
}

/// How a scene must end.
#[derive(Clone, Copy, Debug)]
pub enum Expectation {
    /// Every callback was answered at the first attempt, within the sender's limit, with this status.
    InTime(StatusCode),
    /// So many callbacks were answered in this way.
    By(Answerer, usize),
    /// Every callback was answered by a redirect to exactly this place.
    SentTo(&'static str),
    /// The shop made so many orders of the purchase, no more and no fewer.
    Orders(u32),
    /// The shop itself, not its firewall, was asked so often.
    ShopAsked(u32),
    /// kallback's metrics name a firewall whose name begins like this.
    Named(&'static str),
}

/// Who an answer comes from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Answerer {
    /// The shop's own words.
    Shop,
    /// kallback, for the shop.
    Kallback,
    /// kallback, with what the shop said before.
    Replay,
}

impl Answerer {
    /// For people: "the answer came …".
    pub fn text(self) -> &'static str {
        match self {
            Self::Shop => "from the shop",
            Self::Kallback => "from kallback",
            Self::Replay => "as a replay",
        }
    }
}

/// Where the shop sends a customer whose purchase it refuses. The bytes must survive the way.
pub const REFUSED_AT: &str = "https://shop.example/cart/?stock_validate_failed&message=2%20mugs+left";

const fn seconds(tenths: u64) -> Duration {
    Duration::from_millis(100 * tenths)
}

const fn at(tenths: u64, mood: Mood) -> Change {
    Change { at: seconds(tenths), mood }
}

const fn call(tenths: u64, what: What) -> Call {
    Call { at: seconds(tenths), what, copies: 1 }
}

const AUTHORIZATION: What = What::Callback(Kind::Authorization);

/// All scenes in the order of the play. Together they take about half a minute.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "an ordinary day",
        shows: "A callback goes through; the same one again is answered with what the shop said, and makes no second order.",
        shop: &[],
        calls: &[call(0, AUTHORIZATION), call(5, AUTHORIZATION)],
        expects: &[
            Expectation::InTime(StatusCode::OK),
            Expectation::By(Answerer::Shop, 1),
            Expectation::By(Answerer::Replay, 1),
            Expectation::Orders(1),
            Expectation::ShopAsked(1),
        ],
    },
    Scene {
        name: "a slow shop",
        shows: "The shop takes 5 s. Klarna has its answer before it gives up at 2 s, and the shop finishes undisturbed.",
        shop: &[at(0, Mood::Slow(seconds(50)))],
        calls: &[call(0, AUTHORIZATION)],
        expects: &[
            Expectation::InTime(StatusCode::NO_CONTENT),
            Expectation::By(Answerer::Kallback, 1),
            Expectation::Orders(1),
            Expectation::ShopAsked(1),
        ],
    },
    Scene {
        name: "five at once",
        shows: "Five pushes of one order arrive together. The shop sees one; all five get its reply.",
        shop: &[at(0, Mood::Slow(seconds(10)))],
        calls: &[Call { at: seconds(0), what: What::Callback(Kind::Push), copies: 5 }],
        expects: &[
            Expectation::InTime(StatusCode::OK),
            Expectation::By(Answerer::Shop, 5),
            Expectation::Orders(1),
            Expectation::ShopAsked(1),
        ],
    },
    Scene {
        name: "a dead shop",
        shows: "The shop is gone for 6 s, longer than Klarna tries. The callback is stored, answered, and delivered afterwards.",
        shop: &[at(0, Mood::Dead), at(60, Mood::Well)],
        calls: &[call(1, AUTHORIZATION)],
        expects: &[
            Expectation::InTime(StatusCode::NO_CONTENT),
            Expectation::By(Answerer::Kallback, 1),
            Expectation::Orders(1),
        ],
    },
    Scene {
        name: "a stranger",
        shows: "Somebody without the session's token is turned away. The shop never hears of it.",
        shop: &[],
        calls: &[call(0, What::Forgery(Kind::Authorization))],
        expects: &[Expectation::InTime(StatusCode::FORBIDDEN), Expectation::Orders(0), Expectation::ShopAsked(0)],
    },
    Scene {
        name: "a firewall",
        shows: "A security plugin answers 403 for longer than Klarna tries. kallback names it, and delivers when it lets go.",
        shop: &[at(0, Mood::Firewalled), at(45, Mood::Well)],
        calls: &[call(1, AUTHORIZATION)],
        expects: &[
            Expectation::InTime(StatusCode::NO_CONTENT),
            Expectation::By(Answerer::Kallback, 1),
            Expectation::Orders(1),
            Expectation::ShopAsked(1),
            Expectation::Named("wordfence"),
        ],
    },
    Scene {
        name: "a question",
        shows: "Only the shop may say no. Its 303 and the place it sends the customer to pass unchanged.",
        shop: &[],
        calls: &[call(0, What::Callback(Kind::Validation))],
        expects: &[
            Expectation::InTime(StatusCode::SEE_OTHER),
            Expectation::By(Answerer::Shop, 1),
            Expectation::SentTo(REFUSED_AT),
            Expectation::ShopAsked(1),
        ],
    },
    Scene {
        name: "a stampede",
        shows: "30 customers ask for slow pages at once. A callback goes before those that wait and is still in time.",
        shop: &[at(0, Mood::SlowPages(seconds(8)))],
        calls: &[Call { at: seconds(0), what: What::Page, copies: 30 }, call(2, AUTHORIZATION)],
        expects: &[
            Expectation::InTime(StatusCode::OK),
            Expectation::By(Answerer::Shop, 1),
            Expectation::Orders(1),
            Expectation::ShopAsked(1),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenes_are_over_within_forty_seconds() {
        let last = |scene: &Scene| {
            let changes = scene.shop.iter().map(|change| change.at);
            changes.chain(scene.calls.iter().map(|call| call.at)).max().unwrap_or_default()
        };
        let total: Duration = SCENES.iter().map(last).sum();
        // What the shop takes on top: 5 s, 1 s, a stampede of about 6 s, and twice at most 2 s until a redelivery.
        assert!(total <= Duration::from_secs(40 - 16), "{total:?}");
    }

    #[test]
    fn names_fit_into_the_table_and_every_scene_expects_something() {
        for scene in SCENES {
            assert!(scene.name.len() <= 15 && scene.shows.ends_with('.'), "{}", scene.name);
            assert!(!scene.calls.is_empty() && !scene.expects.is_empty(), "{}", scene.name);
            assert!(scene.shop.is_sorted_by_key(|change| change.at), "{}", scene.name);
        }
    }
}
