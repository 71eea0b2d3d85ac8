//! The shop: it takes connections or does not, and does with a request whatever its mood says.

use super::plan::Mood;
use super::{Event, World};
use crate::ledger::KEY;
use crate::message::Message;
use crate::promises::{Arriving, VisitEnd};
use crate::variant::Variant;
use crate::wire::{Dialled, Wire};

/// A connection from kallback.
pub(crate) struct Connection {
    wire: Wire,
    received: Vec<u8>,
    pub(super) visit: Option<usize>,
    is_over: bool,
    reply: Reply,
    sent: usize,
    /// When its last reply ended.
    idle_since_ms: Option<u64>,
    /// The shop gave it up, and kallback does not know yet.
    is_deaf: bool,
}

#[derive(Default)]
struct Reply {
    status: u16,
    retry_after: Option<u64>,
    bytes: Vec<u8>,
}

/// What the shop does on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    /// Sends its reply up to that byte.
    Send(usize),
    /// Sends nothing more.
    End,
    /// Resets it.
    Reset,
    /// Gives it up, if it is idle: reads nothing more, and kallback learns that after so many milliseconds.
    GiveUp(u64),
}

impl World {
    pub(super) fn dialled(&mut self, dialled: Dialled) {
        let latency = self.chance.within(0..4);
        self.after(latency, Event::Dialled(dialled));
    }

    pub(super) fn dial_ends(&mut self, dialled: Dialled) {
        let moody = if self.mood == Mood::Moody { self.chance.within(0..10) } else { 9 };
        let Some(life) = &self.life else { return };
        if dialled.is_given_up() {
            return;
        }
        match (self.mood, moody) {
            (Mood::Refusing, _) | (_, 0) => {
                self.trace.note(self.now_ms, || "the shop refuses".to_owned());
                dialled.refuse();
            }
            // It never stands.
            (Mood::Unreachable, _) | (_, 1) => self.trace.note(self.now_ms, || "the shop is not there".to_owned()),
            _ => {
                self.wires += 1;
                let (wire, end) = Wire::new(self.wires, &life.bell);
                dialled.connect(end);
                let (received, reply) = (Vec::new(), Reply::default());
                let (idle_since_ms, is_deaf) = (None, false);
                let connection =
                    Connection { wire, received, visit: None, is_over: false, reply, sent: 0, idle_since_ms, is_deaf };
                self.connections.insert(self.wires, connection);
            }
        }
    }

    pub(super) fn shop_hears(&mut self, number: u64) {
        self.end_what_was_cut_before(number);
        let now = self.moment();
        let ledger_is_ill = self.ledger_ill_until_ms() >= now.ms;
        let is_down = matches!(self.mood, Mood::Refusing | Mood::Unreachable);
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.received.extend(connection.wire.take());
        if is_down && connection.visit.is_none() && connection.idle_since_ms.is_some() {
            self.abandon(number, 3);
        }
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.visit.is_none()
            && !connection.is_deaf
            && let Some(request) = Message::read(&connection.received)
        {
            let Some(key) = request.number(KEY) else { return };
            let marked = request.header("kallback-redelivery") == Some("true");
            let attempt = request.number("kallback-attempt").and_then(|attempt| u32::try_from(attempt).ok());
            let marked = marked && self.variant != Some(Variant::NoMark);
            let unrecorded = request.header("kallback-unrecorded") == Some("true");
            let idle_ms = connection.idle_since_ms.map(|since| now.ms - since);
            let arriving = Arriving { key, attempt, marked, unrecorded, ledger_is_ill, idle_ms };
            let visit = self.promises.visit_began(arriving, now);
            connection.visit = Some(visit);
            self.trace.note(now.ms, || format!("shop: visit {visit} for {key}, attempt {attempt:?}, {marked}"));
            self.receive(number, visit);
        }
        let Some(connection) = self.connections.get(&number) else { return };
        if connection.wire.is_closed() {
            self.close(number, VisitEnd::Cut);
        }
    }

    /// What kallback does at one instant is heard in the order of connections, not in its own. A call that it cut before
    /// it began another one was over by then.
    fn end_what_was_cut_before(&mut self, number: u64) {
        let Some(heard) = self.connections.get(&number) else { return };
        let is_cut = |other: &&Connection| other.visit.is_some() && other.wire.was_closed_before(&heard.wire);
        let cut: Vec<u64> = self.connections.iter().filter(|(_, other)| is_cut(other)).map(|(cut, _)| *cut).collect();
        cut.into_iter().for_each(|cut| self.close(cut, VisitEnd::Cut));
    }

    /// Decides what becomes of a request.
    fn receive(&mut self, number: u64, visit: usize) {
        let (fast, slow) = (self.chance.within(1..400), self.chance.within(1_000..20_000));
        let seconds = self.chance.within(1..30);
        match (self.mood, self.chance.within(0..15)) {
            (Mood::Closed, _) => self.reply(number, visit, (503, Some(seconds * 2), fast)),
            (Mood::Moody, 2) => self.reply(number, visit, (200, None, slow)),
            (Mood::Moody, 3) => self.reply(number, visit, (200, None, 45_000 + slow * 2)),
            (Mood::Moody, 4) => {}
            (Mood::Moody, 5) => self.reply(number, visit, (500, None, fast)),
            (Mood::Moody, 6) => self.reply(number, visit, (503, Some(seconds), fast)),
            (Mood::Moody, 7) => self.reply(number, visit, (429, (fast > 200).then_some(seconds * 20), fast)),
            (Mood::Moody, 8) => self.reply(number, visit, (403, None, fast)),
            (Mood::Moody, 9) => self.reply(number, visit, (502, None, fast)),
            (Mood::Moody, 10) => self.after(0, Event::Shop(number, Move::Reset)),
            (Mood::Moody, 11) => self.after(slow / 5, Event::Shop(number, Move::Reset)),
            (Mood::Moody, 12) => self.break_off(number, visit, fast),
            (Mood::Moody, 13) => self.drip(number, visit, fast),
            (Mood::Moody, 14) => self.after(fast, Event::Shop(number, Move::End)),
            (_, 0) => self.reply(number, visit, (200, None, slow / 4)),
            (_, 1) => self.reply(number, visit, (204, None, fast)),
            _ => self.reply(number, visit, (200, None, fast)),
        }
    }

    /// The whole reply, after a while.
    fn reply(&mut self, number: u64, visit: usize, (status, retry_after, after_ms): (u16, Option<u64>, u64)) {
        let bytes = self.write(number, visit, (status, retry_after));
        self.after(after_ms, Event::Shop(number, Move::Send(bytes)));
    }

    /// A part of the reply, and then the end or a reset: the shop did what it was asked.
    fn break_off(&mut self, number: u64, visit: usize, after_ms: u64) {
        let bytes = self.write(number, visit, (200, None)) as u64;
        let part = self.chance.within(0..bytes);
        let last = if self.chance.percent(50) { Move::End } else { Move::Reset };
        self.after(after_ms, Event::Shop(number, Move::Send(part as usize)));
        self.after(after_ms + self.now_ms % 7, Event::Shop(number, last));
    }

    /// The whole reply, in drips.
    fn drip(&mut self, number: u64, visit: usize, after_ms: u64) {
        let bytes = self.write(number, visit, (200, None));
        let step = self.chance.within(1..9) as usize;
        let pause = self.chance.within(1..400);
        let mut at = after_ms;
        for to in (0..bytes).step_by(step).skip(1).chain([bytes]) {
            self.after(at, Event::Shop(number, Move::Send(to)));
            at += pause;
        }
    }

    fn write(&mut self, number: u64, visit: usize, (status, retry_after): (u16, Option<u64>)) -> usize {
        let Some(connection) = self.connections.get_mut(&number) else { return 0 };
        let body = if status == 204 { String::new() } else { format!("visit {visit}") };
        let mut text = format!("HTTP/1.1 {status} Whatever\r\nx-visit: {visit}\r\n");
        if let Some(seconds) = retry_after {
            text.push_str(&format!("retry-after: {seconds}\r\n"));
        }
        if status != 204 {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let bytes = format!("{text}\r\n{body}").into_bytes();
        connection.reply = Reply { status, retry_after, bytes };
        connection.reply.bytes.len()
    }

    pub(super) fn shop_moves(&mut self, number: u64, step: Move) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match step {
            Move::Send(to) => {
                connection.wire.send(&connection.reply.bytes[connection.sent..to]);
                connection.sent = to;
                if to == connection.reply.bytes.len() {
                    let end = VisitEnd::Replied(connection.reply.status, connection.reply.retry_after);
                    self.end_visit(number, end);
                    self.keep_open(number);
                }
            }
            Move::GiveUp(told_after_ms) => self.abandon(number, told_after_ms),
            Move::End => {
                connection.wire.end();
                self.end_visit(number, VisitEnd::Broken);
            }
            Move::Reset => {
                connection.wire.reset();
                self.close(number, VisitEnd::Broken);
            }
        }
    }

    /// Keeps the connection for another request; not for ever, and at times hardly for a moment. Not shorter: a reset may
    /// take the reply along, and then the shop's 2xx was none that kallback could know of.
    fn keep_open(&mut self, number: u64) {
        let (gives_up, after, told_after) =
            (self.chance.percent(40), self.chance.within(1..1_500), self.chance.within(0..40));
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.received.clear();
        (connection.visit, connection.is_over, connection.sent) = (None, false, 0);
        connection.idle_since_ms = Some(self.now_ms);
        if gives_up {
            self.after(after, Event::Shop(number, Move::GiveUp(told_after)));
        }
    }

    fn abandon(&mut self, number: u64, told_after_ms: u64) {
        let Some(connection) = self.connections.get_mut(&number).filter(|one| one.visit.is_none()) else { return };
        if !std::mem::replace(&mut connection.is_deaf, true) {
            self.trace.note(self.now_ms, || format!("shop: gives the idle connection {number} up"));
            self.after(told_after_ms, Event::Shop(number, Move::Reset));
        }
    }

    fn close(&mut self, number: u64, end: VisitEnd) {
        self.end_visit(number, end);
        self.connections.remove(&number);
    }

    fn end_visit(&mut self, number: u64, end: VisitEnd) {
        let now = self.moment();
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if let Some(visit) = connection.visit.filter(|_| !connection.is_over) {
            connection.is_over = true;
            self.trace.note(now.ms, || format!("shop: visit {visit} ends: {end:?}"));
            self.promises.visit_ended(visit, end, now);
        }
    }

    pub(super) fn shop_is_busy(&self) -> bool {
        self.connections.values().any(|connection| connection.visit.is_some() && !connection.is_over)
    }
}
