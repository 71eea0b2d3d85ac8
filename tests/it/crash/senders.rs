//! Klarna as a crowd: each of many senders sends one notice after the other, each with its three attempts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kallback::event::Kind;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinHandle;

use crate::support::callbacks::{Callback, Purchase};
use crate::support::klarna::{Klarna, Limits};
use crate::support::site::{Site, signed};
use crate::support::world::HOST;

const SENDERS: usize = 24;

/// Klarna's own, with shorter pauses, so that somebody calls at every moment.
const LIMITS: Limits = Limits { first_pause: Duration::from_millis(200), ..Limits::KLARNA };

/// Everybody who sends.
pub struct Senders {
    over: Arc<AtomicBool>,
    running: Vec<JoinHandle<Vec<Sent>>>,
}

/// One notice that was sent, and what its sender knows of it.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The session or order that it is about. No two notices are about the same one.
    pub subject: String,
    /// A push may be left to its sender's repeat although it was answered 2xx.
    pub is_push: bool,
    /// It was answered 2xx.
    pub answered: bool,
}

impl Senders {
    /// They begin at once. Every attempt goes to any of the addresses, as a balancer would have it.
    pub fn begin(site: &Site, addresses: &[SocketAddr], seed: u64) -> Self {
        let klarna = |address: &SocketAddr| Klarna::new(*address, HOST, &site.authority).with_limits(LIMITS);
        let doors: Vec<Klarna> = addresses.iter().map(klarna).collect();
        let over = Arc::new(AtomicBool::new(false));
        let running = (0..SENDERS)
            .map(|number| {
                let (doors, over) = (doors.clone(), over.clone());
                let mut dice = StdRng::seed_from_u64(seed.wrapping_add(number as u64));
                tokio::spawn(async move {
                    let mut sent = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let (callback, notice) = another(&mut dice);
                        let answered = insist(&doors, &callback, &mut dice).await;
                        sent.push(Sent { answered, ..notice });
                        tokio::time::sleep(Duration::from_millis(dice.random_range(0..20))).await;
                    }
                    sent
                })
            })
            .collect();
        Self { over, running }
    }

    /// Lets everybody finish, and says what was sent.
    pub async fn end(self) -> Vec<Sent> {
        self.over.store(true, Ordering::Relaxed);
        let mut sent = Vec::new();
        for sender in self.running {
            sent.extend(sender.await.unwrap());
        }
        sent
    }
}

/// Tries as often as Klarna does. Whether it was answered 2xx.
async fn insist(doors: &[Klarna], callback: &Callback, dice: &mut StdRng) -> bool {
    let mut pause = LIMITS.first_pause;
    for attempt in 1..=LIMITS.attempts {
        let door = &doors[dice.random_range(0..doors.len())];
        if door.call(callback).await.is_ok_and(|answered| answered.is_success()) {
            return true;
        }
        if attempt < LIMITS.attempts {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
    false
}

/// A notice of a new purchase.
fn another(dice: &mut StdRng) -> (Callback, Sent) {
    let purchase = Purchase::new();
    let (callback, subject) = match dice.random_range(0..10) {
        0..6 => (Callback::authorization(&purchase), &purchase.session),
        6..8 => (Callback::notification(&purchase), &purchase.order),
        _ => (Callback::push(&purchase), &purchase.order),
    };
    let is_push = callback.place.is_some_and(|place| place.kind == Kind::Push);
    (signed(callback, &purchase), Sent { subject: subject.clone(), is_push, answered: false })
}
