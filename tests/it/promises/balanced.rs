//! Second promise: every accepted notice ends as settled, dead or left, visibly, and the books balance at any time.

use std::time::Duration;

use kallback::event::{Kind, Mode};
use kallback::recognise::PolicyPatch;

use super::{policy, seconds};
use crate::support::callbacks::{Callback, Purchase, place};
use crate::support::operator::eventually;
use crate::support::script::Act;
use crate::support::time::patiently;
use crate::support::world::World;

/// How each kind of notice ends: authorization, push, notification, session status, webhook.
type Ends = [&'static str; 5];

const KINDS: [Kind; 5] = [Kind::Authorization, Kind::Push, Kind::Notification, Kind::SessionStatus, Kind::Webhook];

const OLDEST: Duration = seconds(180);

/// The shop failed, and may have acted on it: Klarna repeats a push by itself, and a webhook whose sender learnt
/// of the failure.
const FAILED: Ends = ["dead", "left", "dead", "dead", "left"];

#[tokio::test]
async fn whatever_the_shop_does_every_notice_ends_and_the_books_balance_all_the_time() {
    let mut world = World::builder()
        .with_frozen_time()
        .with_mode(Mode::Off)
        .with_override(policy(PolicyPatch { oldest: Some(OLDEST), ..PolicyPatch::default() }))
        .with_settings(|settings| settings.recognise.presets.push("umbraco".to_owned()))
        .start()
        .await;
    let stories: [(&str, Act, Ends); 8] = [
        ("success", Act::minus_one(200), ["settled"; 5]),
        ("a fatal error", Act::reply(500), FAILED),
        ("maintenance", Act::maintenance(), ["dead"; 5]),
        ("a firewall", Act::wordfence(), ["dead"; 5]),
        ("a reset", Act::reset(), FAILED),
        ("no answer", Act::close(), FAILED),
        ("half an answer", Act::reply(200).body("0123456789").cut_after(40), FAILED),
        // The sender of the webhook was answered at the deadline and will not come again.
        ("silence", Act::hang(), ["dead", "left", "dead", "dead", "dead"]),
    ];

    let mut before = 0;
    for (story, act, ends) in stories {
        world.shop.always_for("/", act);
        let now = ends_of_one_of_each(&world, before).await;
        assert_eq!(now, ends, "{story}");
        before += KINDS.len();
    }
    world.shop.go_down().await;
    assert_eq!(ends_of_one_of_each(&world, before).await, ["dead"; 5], "a dead shop");

    let (books, operator) = (world.books().books().await, world.books());
    assert_eq!(books.accepted, 45);
    assert_eq!(operator.metric("kallback_dead_total", &[]).await, books.dead as f64);
    assert_eq!(operator.metric("kallback_left_total", &[]).await, books.left as f64);
}

/// Sends one notice of each kind, lets it end, and says how each did. `before` records are there already.
async fn ends_of_one_of_each(world: &World, before: usize) -> Vec<String> {
    let calls: Vec<_> = KINDS.into_iter().map(|kind| world.calling(&notice(kind))).collect();
    let all = (before + KINDS.len()) as u64;
    eventually("five more records", async || world.books().books().await.accepted == all).await;
    // Far more than they need: the ledger's thread lives in real time and may lag behind the simulated one.
    for _ in 0..2000 {
        world.pass(seconds(2), seconds(2)).await;
        let (kept, recounted) = world.ledger_file().kept_and_recounted();
        assert_eq!(kept, recounted);
        assert!(kept.balance(), "{kept:?}");
        if (kept.accepted, kept.pending) == (all, 0) {
            break;
        }
    }
    for call in calls {
        patiently("an answer", call).await.unwrap().unwrap();
    }
    let rows = world.ledger_file().rows().split_off(before);
    let end = |kind: Kind| rows.iter().find(|row| row.kind == kind.name()).map(|row| row.state.clone());
    KINDS.into_iter().map(|kind| end(kind).expect("it was recorded")).collect()
}

fn notice(kind: Kind) -> Callback {
    let preset = if kind == Kind::SessionStatus { "umbraco" } else { "woocommerce" };
    Callback::at(&place(preset, kind), &Purchase::new())
}
