//! How everything ended: promise 2.

use kallback::event::{Class, Fingerprint, Kind, Redelivery};

use super::{Moment, Promises};

/// A record, as it stands in the file.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// 0 pending, 1 settled, 2 dead, 3 left.
    pub state: i64,
}

impl Promises {
    /// The shop is well, nothing goes wrong any more, and there was time enough.
    pub fn all_ended(&mut self, rows: &[Row], now: Moment) {
        for visit in 0..self.visits.len() {
            if !self.visits[visit].over {
                self.broken(now, self.visits[visit].key, "still at the shop");
            }
        }
        for key in 0..self.notices.len() {
            if self.notices[key].kind.class() == Class::Notice {
                self.check_end(key, rows, now);
            }
        }
    }

    fn check_end(&mut self, key: usize, rows: &[Row], now: Moment) {
        let notice = &self.notices[key];
        let of_it = |row: &&Row| Some(row.fingerprint) == notice.fingerprint;
        let states: Vec<i64> = rows.iter().filter(of_it).map(|row| row.state).collect();
        let has = |state| states.contains(&state);
        let state_of = |id: &i64| rows.iter().find(|row| row.id == *id).map(|row| row.state);
        let owed: Vec<Option<i64>> = notice.owed.iter().map(state_of).collect();
        let may_die = self.jumped_ms.is_some() || notice.policy.redelivery != Redelivery::AnyFailure;
        let forgot_its_word = self.was_killed && notice.kind == Kind::Webhook;
        let may_be_left = notice.kind == Kind::Push || forgot_its_word;
        let delivered = notice.was_delivered;
        let settled = notice.settled.is_some();
        let mut broken = |what: &str| self.broken(now, key, what);
        if has(0) {
            broken("pending for ever");
        }
        if owed.contains(&None) {
            broken("answered 2xx by kallback itself, and lost");
        }
        if has(2) && !may_die {
            broken("dead although there was time");
        }
        if owed.contains(&Some(3)) && !may_be_left {
            broken("left to its sender, who was told that it arrived");
        }
        if has(1) && !delivered {
            broken("settled, and the shop never said so");
        }
        if settled && !has(1) {
            broken("recorded as settled, and the record is gone");
        }
    }
}
