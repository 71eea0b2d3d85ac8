//! What the parts of one connection tell each other: its socket, its framing guard, the requests on it, and the task
//! that looks at the clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use bytes::Bytes;
use tokio::time::Instant;

use super::activity::{Activity, Look, Patience};
use super::framing::Fault;
use crate::clock::Clock;

/// Interim replies that wait for the socket; what is beyond it is left out, as HTTP allows.
const INTERIM_BYTES_MAX: usize = 16 * 1024;

/// Shared by the parts of one connection. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Conversation(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    accepted: Instant,
    resets_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    activity: Activity,
    /// HTTP/1.1: heads that were handed to the server and whose request did not begin.
    arrivals: VecDeque<Arrival>,
    first_request_came: bool,
    slow_head: bool,
    upgraded: bool,
    /// HTTP/2: requests that the caller took back, less those that were answered since.
    resets: usize,
    interim: InterimQueue,
    /// Wakes the connection's task when a reply is over.
    quiet_waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct InterimQueue {
    /// The request that may add to it, numbered from 1.
    open_for: Option<u64>,
    numbered: u64,
    bytes: Vec<u8>,
    /// Wakes the connection's task.
    waker: Option<Waker>,
    /// The server has written, and not flushed since: we do not know that we stand between two messages.
    mid_message: bool,
}

/// One request's beginning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// The start of the sender's clock.
    pub(super) at: Instant,
    /// The request is refused; what the server sees is a request of our own in its place.
    pub(super) refused: Option<Fault>,
}

impl Conversation {
    pub(super) fn new(clock: Clock, accepted: Instant, resets_max: usize) -> Self {
        let state = State {
            activity: Activity::new(clock.instant()),
            arrivals: VecDeque::new(),
            first_request_came: false,
            slow_head: false,
            upgraded: false,
            resets: 0,
            interim: InterimQueue::default(),
            quiet_waker: None,
        };
        Self(Arc::new(Shared { clock, accepted, resets_max, state: Mutex::new(state) }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and every statement leaves it whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Instant {
        self.0.clock.instant()
    }

    // ── the deadlines ──

    /// The handshakes are over: from now on the caller's time runs.
    pub(super) fn begin(&self, speaks_http2: bool) {
        let now = self.now();
        let activity = &mut self.state().activity;
        *activity = Activity::new(now);
        if speaks_http2 {
            activity.preface_awaited(now);
        }
    }

    /// Whether there is a request whose reply is not over.
    pub(super) fn has_request(&self) -> bool {
        self.state().activity.requests() > 0
    }

    /// HTTP/1.1: whether a part of a head is here.
    pub(super) fn reads_head(&self) -> bool {
        self.state().activity.reads_head()
    }

    pub(super) fn look(&self, patience: &Patience) -> Look {
        self.state().activity.look(self.now(), patience)
    }

    pub(super) fn note(&self, note: impl FnOnce(&mut Activity, Instant)) {
        note(&mut self.state().activity, self.now());
    }

    /// The head that is being read gets no more time; the guard refuses it when it is asked next.
    pub(super) fn give_up_head(&self) {
        self.state().slow_head = true;
    }

    // ── the guard's side ──

    /// The first byte of a head came.
    pub(super) fn head_began(&self, at: Instant) {
        self.state().activity.head_began(at);
    }

    pub(super) fn head_is_given_up(&self) -> bool {
        self.state().slow_head
    }

    /// A head goes to the server: a sound one, or our own in the place of a refused one.
    pub(super) fn head_goes_on(&self, refused: Option<Fault>) {
        let now = self.now();
        let mut state = self.state();
        let began = state.activity.head_ended().unwrap_or(now);
        let at = if state.first_request_came { began } else { self.0.accepted };
        state.first_request_came = true;
        state.arrivals.push_back(Arrival { at, refused });
        state.activity.request_began();
    }

    /// Whether all requests have their replies; if not, the connection's task is woken when one more has.
    pub(super) fn is_quiet(&self, context: &Context<'_>) -> bool {
        let mut state = self.state();
        let quiet = state.activity.requests() == 0;
        if !quiet {
            state.quiet_waker = Some(context.waker().clone());
        }
        quiet
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.state().upgraded
    }

    // ── the requests' side ──

    /// HTTP/1.1: when the next request began.
    pub(super) fn next_arrival(&self) -> Arrival {
        self.state().arrivals.pop_front().unwrap_or_else(|| Arrival { at: self.now(), refused: None })
    }

    /// HTTP/2: a request began now.
    pub(super) fn stream_began(&self) -> Instant {
        let now = self.now();
        let mut state = self.state();
        state.activity.request_began();
        if std::mem::replace(&mut state.first_request_came, true) { now } else { self.0.accepted }
    }

    pub(super) fn request_ended(&self, answered: bool) {
        let now = self.now();
        let waker = {
            let mut state = self.state();
            state.activity.request_ended(now);
            state.resets = if answered { state.resets.saturating_sub(1) } else { state.resets + 1 };
            state.quiet_waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The reply was 101: from here on the bytes are no HTTP.
    pub(super) fn upgraded(&self) {
        self.state().upgraded = true;
    }

    /// Whether the caller takes back more requests than it lets us answer. Each costs us more than it.
    pub(super) fn resets_too_much(&self) -> bool {
        self.state().resets > self.0.resets_max
    }

    // ── interim replies ──

    /// A request may send interim replies from now on; returns its number.
    pub(super) fn open_interim(&self) -> u64 {
        let queue = &mut self.state().interim;
        queue.numbered += 1;
        queue.open_for = Some(queue.numbered);
        queue.numbered
    }

    /// The final reply is there. What could not be put before it for certain is left out: it would follow it.
    pub(super) fn close_interim(&self) {
        let queue = &mut self.state().interim;
        queue.open_for = None;
        if queue.mid_message {
            queue.bytes.clear();
        }
    }

    /// Queues an interim reply of that request, if its final one is not there yet.
    pub(super) fn send_interim(&self, request: u64, head: &[u8]) {
        let waker = {
            let mut state = self.state();
            let queue = &mut state.interim;
            if queue.open_for != Some(request) || queue.bytes.len() + head.len() > INTERIM_BYTES_MAX {
                return;
            }
            queue.bytes.extend_from_slice(head);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The server is about to write: what goes before it.
    pub(super) fn before_write(&self) -> Bytes {
        let queue = &mut self.state().interim;
        if std::mem::replace(&mut queue.mid_message, true) { Bytes::new() } else { queue.take() }
    }

    /// The server has written all it had: what goes after it. The connection's task is woken when there is more.
    pub(super) fn after_write(&self, context: &Context<'_>) -> Bytes {
        let queue = &mut self.state().interim;
        queue.mid_message = false;
        if queue.open_for.is_some() {
            match &mut queue.waker {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
        }
        queue.take()
    }
}

impl InterimQueue {
    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).into()
    }
}
