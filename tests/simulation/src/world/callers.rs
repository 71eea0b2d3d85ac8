//! Klarna: it calls, waits as long as it waits, tries again by its rules, and hangs up when it likes.

use kallback::event::Kind;

use super::{Event, World};
use crate::message::Message;
use crate::promises::{Answer, Moment};
use crate::wire::Wire;

/// One line of calls about one notice.
pub(crate) struct Caller {
    key: usize,
    kind: Kind,
    /// The sender's own line: it tries again. Others are repeats that networks and senders make besides.
    tries_again: bool,
    attempt: u32,
    call: Option<Call>,
    planned: bool,
}

/// A call under way.
struct Call {
    wire: Wire,
    sent: usize,
    hangs_up_at: Option<usize>,
    connected: Moment,
    complete: Option<Moment>,
    reply: Vec<u8>,
    reply_began_ms: Option<u64>,
}

impl Caller {
    pub(super) fn new(key: usize, kind: Kind, tries_again: bool) -> Self {
        Self { key, kind, tries_again, attempt: 0, call: None, planned: true }
    }

    pub(super) fn is_done(&self) -> bool {
        self.call.is_none() && !self.planned
    }

    /// How long it waits for an answer.
    fn patience_ms(&self) -> u64 {
        match self.kind {
            Kind::Authorization => 2_000,
            Kind::SessionStatus => 3_000,
            Kind::Webhook => 10_000,
            Kind::Validation => 12_000,
            _ => 5_000,
        }
    }

    /// How long after a failed attempt it tries again, if it does.
    fn pause_ms(&self) -> Option<u64> {
        let pauses: &[u64] = match self.kind {
            Kind::Authorization => &[1_000, 2_000],
            Kind::SessionStatus => &[2_000, 2_000, 2_000],
            Kind::Webhook => &[10_000, 120_000],
            Kind::Notification => &[10_000, 60_000],
            // A push comes again whatever it was answered; a question is asked once.
            _ => &[],
        };
        pauses.get(self.attempt as usize - 1).copied().filter(|_| self.tries_again)
    }
}

impl World {
    /// A caller connects and begins to send.
    pub(super) fn call(&mut self, index: usize) {
        self.callbacks += 1;
        self.callers[index].planned = false;
        self.callers[index].attempt += 1;
        let Some(life) = &mut self.life else { return self.failed(index, "refused") };
        self.wires += 1;
        let number = self.wires;
        let (wire, end) = Wire::new(number, &life.bell);
        life.accept(end);
        let connected = self.moment();
        let caller = &self.callers[index];
        let bytes = self.purposes[caller.key].bytes.len();
        let patience = caller.patience_ms();
        let hangs_up_at = self.chance.percent(12).then(|| self.chance.within(0..bytes as u64 + 1) as usize);
        self.caller_of.insert(number, index);
        let call =
            Call { wire, sent: 0, hangs_up_at, connected, complete: None, reply: Vec::new(), reply_began_ms: None };
        self.callers[index].call = Some(call);
        let key = self.callers[index].key;
        self.trace.note(self.now_ms, || format!("call {number}: {key}"));
        let mut delay = self.chance.within(0..3);
        if self.chance.percent(20) {
            let part = self.chance.within(0..bytes as u64) as usize;
            self.after(delay, Event::Bytes(number, part));
            delay += self.chance.within(0..200);
        }
        self.after(delay, Event::Bytes(number, bytes));
        self.after(patience, Event::GiveUp(number));
    }

    pub(super) fn send_bytes(&mut self, number: u64, to: usize) {
        let now = self.moment();
        let Some(&index) = self.caller_of.get(&number) else { return };
        let key = self.callers[index].key;
        let Some(call) = &mut self.callers[index].call else { return };
        let bytes = &self.purposes[key].bytes;
        let to = call.hangs_up_at.map_or(to, |at| at.min(to));
        call.wire.send(&bytes[call.sent..to]);
        call.sent = to;
        if to == bytes.len() {
            call.complete = Some(now);
            self.promises.called(key);
        }
        if call.hangs_up_at == Some(to) {
            // At once, or when kallback has had a moment to begin.
            let delay = *self.chance.pick(&[0, 1, 5, 800]);
            self.after(delay, Event::HangUp(number));
        }
    }

    pub(super) fn hang_up(&mut self, number: u64) {
        if let Some((index, _)) = self.end_call(number) {
            self.failed(index, "hung up");
        }
    }

    pub(super) fn give_up(&mut self, number: u64) {
        let now = self.moment();
        let Some((index, call)) = self.end_call(number) else { return };
        if let Some(complete) = call.complete {
            let answer = self.answer(index, &call, complete);
            self.promises.answered(&answer, now);
        }
        self.failed(index, "no answer in time");
    }

    pub(super) fn answer_comes(&mut self, number: u64) {
        let Some(&index) = self.caller_of.get(&number) else { return };
        let Some(call) = &mut self.callers[index].call else { return };
        call.reply.extend(call.wire.take());
        if !call.reply.is_empty() {
            call.reply_began_ms.get_or_insert(self.now_ms);
        }
        let closed = call.wire.is_closed();
        let Some(message) = Message::read(&call.reply) else {
            if closed && let Some((index, call)) = self.end_call(number) {
                self.closed_on(index, &call);
            }
            return;
        };
        let Some((index, call)) = self.end_call(number) else { return };
        let now = self.moment();
        let status = message.status().unwrap_or(0);
        let key = self.callers[index].key;
        self.trace.note(now.ms, || format!("call {number}: {key} answered {status}"));
        let complete = call.complete.unwrap_or(now);
        let answer = Answer {
            status: Some(status),
            visit: message.number("x-visit"),
            replayed: message.header("kallback-replayed").is_some(),
            ..self.answer(index, &call, complete)
        };
        if self.promises.answered(&answer, now) {
            self.check_on_disk(key);
        }
        if !(200..300).contains(&status) {
            self.failed(index, "refused");
        }
    }

    /// kallback closed the connection before its answer was whole. The shop's live reply may have broken off; else
    /// it must not happen.
    fn closed_on(&mut self, index: usize, call: &Call) {
        let caller = &self.callers[index];
        if call.complete.is_some() && caller.kind != Kind::Validation {
            self.promises.hung_up_on(caller.key, self.moment());
        }
        self.failed(index, "closed");
    }

    /// kallback is dead: every call breaks.
    pub(super) fn hang_up_on_callers(&mut self) {
        let mut numbers: Vec<u64> = self.caller_of.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some((index, _)) = self.end_call(number) {
                self.failed(index, "broken");
            }
        }
    }

    fn answer(&self, index: usize, call: &Call, complete: Moment) -> Answer {
        Answer {
            key: self.callers[index].key,
            status: None,
            visit: None,
            replayed: false,
            began_ms: call.reply_began_ms,
            connected: call.connected,
            complete,
            ledger_was_well: self.ledger_ill_until_ms() < call.connected.ms,
        }
    }

    fn end_call(&mut self, number: u64) -> Option<(usize, Call)> {
        let index = self.caller_of.remove(&number)?;
        let call = self.callers[index].call.take()?;
        call.wire.reset();
        Some((index, call))
    }

    fn failed(&mut self, index: usize, why: &str) {
        let caller = &mut self.callers[index];
        let key = caller.key;
        self.trace.note(self.now_ms, || format!("attempt for {key} failed: {why}"));
        if let Some(pause) = caller.pause_ms() {
            caller.planned = true;
            self.after(pause, Event::Call(index));
        }
    }
}
