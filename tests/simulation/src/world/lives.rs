//! kallback is killed, and started again on what survived.

use rusqlite::{Connection, OpenFlags};

use super::plan::JUMPS_MS;
use super::{Event, World};
use crate::disk::VFS;
use crate::life::{Birth, FILE, Life};
use crate::promises::VisitEnd;
use crate::variant::Variant;

/// How kallback is going to be killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death {
    /// After so many more effects on network and ledger: at an await point. Else at once.
    pub(crate) effects: Option<u64>,
    /// After so many more effects on the disk: within a commit.
    pub(crate) disk_effects: Option<u64>,
    /// The machine loses power, and not only the process its life.
    pub(crate) power: bool,
}

impl World {
    pub(super) fn kill(&mut self, death: Death) {
        let Some(life) = &self.life else { return };
        self.kill_takes_power = death.power;
        match death {
            Death { effects: Some(effects), .. } => life.bell.kill_after(effects),
            Death { disk_effects: Some(effects), .. } => self.disk.goes_off_after(effects),
            _ => life.bell.kill(),
        }
        self.bury_if_dead();
    }

    /// If an effect was the last one: everything that is not on the disk is gone.
    pub(super) fn bury_if_dead(&mut self) {
        let Some(life) = &self.life else { return };
        if !life.bell.is_killed() && !self.disk.is_off() {
            return;
        }
        life.bell.kill();
        self.disk.switch_off();
        self.life = None;
        if self.kill_takes_power {
            self.disk.power_was_cut();
        } else {
            self.disk.process_died();
        }
        self.kills += 1;
        self.promises.was_killed = true;
        self.ledger_turn_planned = false;
        self.trace.note(self.now_ms, || "killed".to_owned());
        let now = self.moment();
        for connection in std::mem::take(&mut self.connections).into_values() {
            if let Some(visit) = connection.visit {
                self.promises.visit_ended(visit, VisitEnd::Killed, now);
            }
        }
        self.hang_up_on_callers();
        self.look_at_the_books();
        let pause = self.chance.within(0..8_000);
        if !self.calm && self.chance.percent(15) {
            // Somebody sets the clock before kallback is there again.
            let (at, millis) = (self.chance.within(0..pause + 1), *self.chance.pick(&JUMPS_MS));
            self.after(at, Event::Jump(millis));
        }
        self.after(pause, Event::Restart);
    }

    /// Starts kallback. What keeps it from starting, systemd tries again.
    pub(super) fn restart(&mut self) {
        if self.life.is_some() {
            return;
        }
        if self.variant == Some(Variant::RestartForgets) && self.lives > 0 {
            self.forget_pending();
        }
        let chance = self.chance.fork(3);
        let birth = Birth {
            settings: &self.settings,
            disk: &self.disk,
            now_ms: self.now_ms,
            wall: self.moment().wall,
            chance,
            variant: self.variant,
        };
        match Life::begin(birth) {
            Ok(life) => {
                self.lives += 1;
                self.life = Some(life);
                self.trace.note(self.now_ms, || "started".to_owned());
            }
            Err(why) => {
                self.trace.note(self.now_ms, || format!("cannot start: {}", without_number(&why.to_string())));
                self.after(1_000, Event::Restart);
            }
        }
    }

    pub(super) fn jump(&mut self, millis: i64) {
        self.trace.note(self.now_ms, || format!("the clock jumps by {millis} ms"));
        self.wall_ahead_ms += millis;
        self.promises.jumped_ms = Some(self.now_ms);
        self.promises.all_due();
        if let Some(life) = &self.life {
            life.jump(millis);
        }
    }

    fn forget_pending(&self) {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        if let Ok(sql) = Connection::open_with_flags_and_vfs(self.disk.name_of(FILE), flags, VFS) {
            // A disk in trouble keeps its memory this time.
            let _ = sql.execute_batch("update notice set due_at = 9000000000000 where state = 0");
        }
    }
}

/// The disk's number differs from run to run.
fn without_number(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_ascii_digit()).collect()
}
