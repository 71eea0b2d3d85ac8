//! After the scenes: callbacks without end, at a shop that gets into trouble now and then.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::DemoError;
use super::scenes::{Mood, What};
use super::stage::{Board, Theatre};
use crate::event::Kind;
use crate::klarna::letter::Purchase;

/// What became of the traffic so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Totals {
    /// Callbacks that were sent and answered, or given up.
    pub(super) callbacks: u64,
    /// Of these, answered 2xx at the first attempt.
    pub(super) in_time: u64,
    /// Purchases of which the shop made exactly one order.
    pub(super) once: u64,
}

/// A callback every so often.
const EVERY: Duration = Duration::from_millis(500);

/// The shop's moods, each for so many callbacks.
const MOODS: [(Mood, u32); 4] =
    [(Mood::Well, 20), (Mood::Slow(Duration::from_secs(3)), 6), (Mood::Well, 10), (Mood::Dead, 8)];

/// Callbacks that are followed at once; with more than that under way, no new ones are sent.
const FOLLOWED_MAX: usize = 64;

/// How long an order is waited for.
const ORDERED_WITHIN: Duration = Duration::from_secs(30);

/// Sends callbacks until it is dropped.
pub(super) async fn go_on(theatre: &Theatre, board: &Board) -> Result<(), DemoError> {
    let mut followed = JoinSet::new();
    for (mood, callbacks) in MOODS.into_iter().cycle() {
        theatre.shop.turn(mood).await.map_err(DemoError::Shop)?;
        for number in 0..callbacks {
            sleep(EVERY).await;
            while followed.len() >= FOLLOWED_MAX {
                followed.join_next().await;
            }
            while followed.try_join_next().is_some() {}
            let kind = if number % 2 == 0 { Kind::Authorization } else { Kind::Push };
            send(theatre, board, kind, &mut followed)?;
        }
    }
    Ok(())
}

/// Sends one callback and follows it until its order is made.
fn send(theatre: &Theatre, board: &Board, kind: Kind, followed: &mut JoinSet<()>) -> Result<(), DemoError> {
    let purchase = Purchase::made_up();
    let letter = theatre.letter(What::Callback(kind), &purchase)?;
    let (caller, shop, board) = (theatre.caller.clone(), theatre.shop.clone(), board.clone());
    followed.spawn(async move {
        let played = caller.insist(&letter, |_, _, _| ()).await;
        let in_time = played.attempts == 1 && played.outcome.is_ok_and(|answered| answered.reply.status.is_success());
        board.count(|totals| {
            totals.callbacks += 1;
            totals.in_time += u64::from(in_time);
        });
        let subject = purchase.subject(kind);
        let _ = timeout(ORDERED_WITHIN, shop.wait_until(subject, |visits| visits.orders > 0)).await;
        board.count(|totals| totals.once += u64::from(shop.visits(subject).orders == 1));
        shop.forget(subject);
    });
    Ok(())
}
