//! The world around kallback: one queue of events, one clock, one seed.
//!
//! kallback runs until it does something or the next event is due; then the world answers. Nothing else happens, so
//! the same seed gives the same story.

mod callers;
mod ledger;
mod lives;
mod plan;
mod shop;

use std::collections::{BTreeMap, HashMap};

use kallback::app::Settings;
use kallback::clock::UnixMillis;

use self::callers::Caller;
use self::lives::Death;
use self::plan::Mood;
use self::shop::Connection;
use crate::chance::Chance;
use crate::disk::{Disk, Trouble};
use crate::life::Life;
use crate::promises::{Moment, Promises};
use crate::requests::Purpose;
use crate::trace::Trace;
use crate::variant::Variant;
use crate::wire::{Dialled, Touched};

/// Wall time at the beginning: some day in 2027.
pub const WALL_AT_START: UnixMillis = UnixMillis(1_800_000_000_000);

/// After the last trouble everything has to have ended within this time: longer than the longest `Retry-After`.
const CALM_MS_MAX: u64 = 20 * 60_000;

/// Events of one seed at most: a story that does not end is a fault of its own.
const STEPS_MAX: u64 = 200_000;

/// What became of one seed.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Events.
    pub steps: u64,
    /// Requests that Klarna sent.
    pub callbacks: u64,
    /// Times that kallback was killed.
    pub kills: u64,
    /// Errors of the disk.
    pub disk_faults: u64,
    /// What was broken.
    pub violations: Vec<String>,
    /// What happened, as one number.
    pub trace: u64,
    /// What happened, in words, if that was asked for.
    pub story: Vec<String>,
}

/// Something that happens at its time.
pub(crate) enum Event {
    Call(usize),
    Bytes(u64, usize),
    HangUp(u64),
    GiveUp(u64),
    Dialled(Dialled),
    Shop(u64, shop::Move),
    Mood(Mood),
    LedgerTurn,
    Checkpoint,
    Disk(Option<Trouble>),
    SlowDisk(u64),
    Jump(i64),
    Kill(Death),
    Restart,
    Calm,
}

/// Everything there is.
pub struct World {
    pub(crate) now_ms: u64,
    queue: BTreeMap<(u64, u64), Event>,
    queued: u64,
    pub(crate) chance: Chance,
    pub(crate) settings: Settings,
    pub(crate) variant: Option<Variant>,
    pub(crate) disk: Disk,
    pub(crate) life: Option<Life>,
    pub(crate) lives: u32,
    pub(crate) wall_ahead_ms: i64,
    pub(crate) promises: Promises,
    pub(crate) purposes: Vec<Purpose>,
    pub(crate) callers: Vec<Caller>,
    pub(crate) caller_of: HashMap<u64, usize>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) wires: u64,
    pub(crate) mood: Mood,
    pub(crate) ledger_turn_planned: bool,
    pub(crate) disk_latency_ms: u64,
    disk_ill_until_ms: u64,
    disk_slow_until_ms: u64,
    pub(crate) kill_takes_power: bool,
    pub(crate) calm: bool,
    pub(crate) trace: Trace,
    steps: u64,
    pub(crate) callbacks: u64,
    pub(crate) kills: u64,
}

/// Plays one seed.
pub fn play(seed: u64, variant: Option<Variant>, tell: bool) -> Report {
    let mut chance = Chance::new(seed);
    let mut settings = crate::requests::settings();
    if let Some(variant) = variant {
        variant.spoil(&mut settings);
    }
    let disk = Disk::new(chance.fork(1));
    if variant == Some(Variant::NoSync) {
        disk.swallow_syncs();
    }
    let mut world = World::new(settings, variant, (disk, chance));
    world.trace = Trace::new(tell);
    world.plan();
    world.restart();
    world.run();
    world.report(seed)
}

impl World {
    fn new(settings: Settings, variant: Option<Variant>, (disk, chance): (Disk, Chance)) -> Self {
        Self {
            now_ms: 0,
            queue: BTreeMap::new(),
            queued: 0,
            chance,
            settings,
            variant,
            disk,
            life: None,
            lives: 0,
            wall_ahead_ms: 0,
            promises: Promises::default(),
            purposes: Vec::new(),
            callers: Vec::new(),
            caller_of: HashMap::new(),
            connections: BTreeMap::new(),
            wires: 0,
            mood: Mood::Well,
            ledger_turn_planned: false,
            disk_latency_ms: 1,
            disk_ill_until_ms: 0,
            disk_slow_until_ms: 0,
            kill_takes_power: false,
            calm: false,
            trace: Trace::new(false),
            steps: 0,
            callbacks: 0,
            kills: 0,
        }
    }

    fn run(&mut self) {
        let mut calm_until_ms = u64::MAX;
        loop {
            self.steps += 1;
            if self.calm && calm_until_ms == u64::MAX {
                calm_until_ms = self.now_ms + CALM_MS_MAX;
            }
            if self.now_ms >= calm_until_ms || self.steps > STEPS_MAX || (self.calm && self.is_quiet()) {
                return;
            }
            let next = self.queue.first_key_value().map_or(calm_until_ms, |((at, _), _)| *at);
            // In calm weather somebody looks every few seconds whether it is over.
            let next = if self.calm { next.min(self.now_ms + 2_000) } else { next };
            match &mut self.life {
                Some(life) => self.now_ms = life.run_until(next.max(self.now_ms)),
                None => self.now_ms = next.max(self.now_ms),
            }
            self.listen();
            while let Some(entry) = self.queue.first_entry() {
                if entry.key().0 > self.now_ms {
                    break;
                }
                let event = entry.remove();
                self.happen(event);
            }
        }
    }

    /// What kallback did since the last look, and be it the last it did.
    fn listen(&mut self) {
        self.look();
        self.bury_if_dead();
        self.plan_ledger_turn();
    }

    fn look(&mut self) {
        let Some(life) = &mut self.life else { return };
        let (touched, entries) = (life.bell.take(), life.diary.take());
        let now = self.moment();
        for entry in entries {
            self.promises.recorded(&entry, now);
            self.trace.note(self.now_ms, || format!("ledger: {} {:?}", entry.key, entry.fact));
        }
        for touched in touched {
            match touched {
                Touched::Dialled(dialled) => self.dialled(dialled),
                Touched::Wire(number) if self.caller_of.contains_key(&number) => self.answer_comes(number),
                Touched::Wire(number) => self.shop_hears(number),
                Touched::Ledger => {}
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Call(caller) => self.call(caller),
            Event::Bytes(number, to) => self.send_bytes(number, to),
            Event::HangUp(number) => self.hang_up(number),
            Event::GiveUp(number) => self.give_up(number),
            Event::Dialled(dialled) => self.dial_ends(dialled),
            Event::Shop(number, step) => self.shop_moves(number, step),
            Event::Mood(mood) => self.mood = mood,
            Event::LedgerTurn => self.ledger_turn(),
            Event::Checkpoint => self.checkpoint(),
            Event::Disk(trouble) => self.disk_trouble(trouble),
            Event::SlowDisk(latency_ms) => self.slow_disk(latency_ms),
            Event::Jump(millis) => self.jump(millis),
            Event::Kill(death) => self.kill(death),
            Event::Restart => self.restart(),
            Event::Calm => self.calm_down(),
        }
    }

    pub(crate) fn after(&mut self, ms: u64, event: Event) {
        self.queued += 1;
        self.queue.insert((self.now_ms + ms, self.queued), event);
    }

    pub(crate) fn moment(&self) -> Moment {
        let ms = i64::try_from(self.now_ms).unwrap_or(i64::MAX);
        Moment { ms: self.now_ms, wall: UnixMillis(WALL_AT_START.0 + ms + self.wall_ahead_ms), life: self.lives }
    }

    /// Everything ended that was begun.
    fn is_quiet(&mut self) -> bool {
        let is_idle = self.life.is_some() && self.callers.iter().all(Caller::is_done) && !self.shop_is_busy();
        is_idle && self.pending_on_disk() == Some(0)
    }

    fn report(mut self, seed: u64) -> Report {
        if self.steps > STEPS_MAX {
            self.promises.violations.push(format!("no end after {STEPS_MAX} steps"));
        }
        self.settle_accounts();
        self.trace.note(self.now_ms, || "the end".to_owned());
        self.life = None;
        self.disk.switch_off();
        self.disk.scrap();
        let effects = self.disk.effects();
        self.trace.note(effects, || "effects on the disk".to_owned());
        Report {
            seed,
            steps: self.steps,
            callbacks: self.callbacks,
            kills: self.kills,
            disk_faults: self.disk.faults(),
            violations: self.promises.violations,
            trace: self.trace.number(),
            story: self.trace.story(),
        }
    }
}
