//! What a seed has in store: which callbacks, which moods of the shop, which troubles, which deaths.

use kallback::event::Kind;

use super::callers::Caller;
use super::lives::Death;
use super::{Event, World};
use crate::chance::Chance;
use crate::disk::Trouble;
use crate::requests::Purpose;

/// How the shop is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// It answers, now and then slowly.
    Well,
    /// Nobody listens.
    Refusing,
    /// Connections do not stand.
    Unreachable,
    /// Anything may go wrong.
    Moody,
    /// Maintenance: always 503, with `Retry-After`.
    Closed,
}

const KINDS: [Kind; 10] = [
    Kind::Authorization,
    Kind::Authorization,
    Kind::Authorization,
    Kind::Push,
    Kind::Push,
    Kind::Notification,
    Kind::SessionStatus,
    Kind::Webhook,
    Kind::Push,
    Kind::Validation,
];

/// What NTP, a person or a virtual machine does to a wall clock.
pub(super) const JUMPS_MS: [i64; 6] = [-3_600_000, -20_000, 3_000, 40_000, 600_000, 7_200_000];

impl World {
    pub(super) fn plan(&mut self) {
        let mut chance = self.chance.fork(2);
        let trouble_ms = chance.within(15_000..90_000);
        self.plan_callbacks(&mut chance, trouble_ms);
        self.plan_moods(&mut chance, trouble_ms);
        self.plan_disk(&mut chance, trouble_ms);
        self.plan_deaths(&mut chance, trouble_ms);
        if chance.percent(20) {
            let at = chance.within(0..trouble_ms);
            self.after(at, Event::Jump(*chance.pick(&JUMPS_MS)));
        }
        self.after(trouble_ms, Event::Calm);
    }

    fn plan_callbacks(&mut self, chance: &mut Chance, trouble_ms: u64) {
        let mut purposes = Vec::new();
        let bursts = chance.percent(30);
        let count = if bursts { chance.within(8..24) } else { chance.within(2..10) };
        let burst_at = chance.within(0..trouble_ms / 2);
        for session in 0..usize::try_from(count).unwrap_or(1) {
            let kind = *chance.pick(&KINDS);
            let at = if bursts { burst_at + chance.within(0..2_000) } else { chance.within(0..trouble_ms) };
            purposes.push((kind, session, at));
            if kind == Kind::Authorization && chance.percent(40) {
                // The customer authorises once more: another notice of the same session.
                purposes.push((kind, session, at + chance.within(0..3_000)));
            }
        }
        for (kind, session, at) in purposes {
            self.plan_calls(chance, (kind, session), at);
        }
    }

    /// The sender's own call, its repeats by the rules, and what networks and senders do besides.
    fn plan_calls(&mut self, chance: &mut Chance, (kind, session): (Kind, usize), at: u64) {
        // What is said about one session takes turns among its own kind only.
        let key = self.promises.expect(kind, session);
        self.purposes.push(Purpose::new(kind, session, key));
        let mut times = vec![at];
        if chance.percent(35) {
            times.push(at + chance.within(0..20));
        }
        if chance.percent(35) && kind != Kind::Validation {
            times.push(at + chance.within(50..50_000));
        }
        if kind == Kind::Push && chance.percent(40) {
            times.push(at + chance.within(61_000..90_000));
            times.push(at + 300_000);
        }
        for (index, at) in times.into_iter().enumerate() {
            let caller = self.callers.len();
            self.callers.push(Caller::new(key, kind, index == 0));
            self.after(at, Event::Call(caller));
        }
    }

    fn plan_moods(&mut self, chance: &mut Chance, trouble_ms: u64) {
        let moods =
            [Mood::Well, Mood::Refusing, Mood::Unreachable, Mood::Moody, Mood::Moody, Mood::Moody, Mood::Closed];
        let mut at = 0;
        while at < trouble_ms {
            self.after(at, Event::Mood(*chance.pick(&moods)));
            at += chance.within(500..25_000);
        }
    }

    fn plan_disk(&mut self, chance: &mut Chance, trouble_ms: u64) {
        let troubles = [Trouble::Full, Trouble::FailingWrites, Trouble::FailingSyncs];
        for _ in 0..*chance.pick(&[0, 0, 1, 1, 2]) {
            let at = chance.within(0..trouble_ms);
            self.after(at, Event::Disk(Some(*chance.pick(&troubles))));
            self.after(at + chance.within(50..10_000), Event::Disk(None));
        }
        if chance.percent(25) {
            let at = chance.within(0..trouble_ms);
            self.after(at, Event::SlowDisk(chance.within(50..4_000)));
            self.after(at + chance.within(1_000..15_000), Event::SlowDisk(1));
        }
        for _ in 0..chance.within(0..4) {
            let at = chance.within(0..trouble_ms);
            self.after(at, Event::Checkpoint);
        }
    }

    fn plan_deaths(&mut self, chance: &mut Chance, trouble_ms: u64) {
        for _ in 0..*chance.pick(&[0, 1, 1, 1, 2, 3]) {
            let at = chance.within(0..trouble_ms);
            let power = chance.percent(50);
            let death = match chance.within(0..4) {
                0 => Death { effects: None, disk_effects: None, power },
                1 | 2 => Death { effects: Some(chance.within(1..40)), disk_effects: None, power },
                _ => Death { effects: None, disk_effects: Some(chance.within(1..30)), power },
            };
            self.after(at, Event::Kill(death));
        }
    }
}
