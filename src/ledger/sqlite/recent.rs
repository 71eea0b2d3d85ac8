//! The replies of notices that settled a moment ago, in memory. A sender that repeats itself does so within seconds;
//! then nobody has to ask the writer.
//!
//! Says nothing that the file does not say: a reply comes here after its commit, and all go when a person has one
//! notice brought again. What is not here is looked up in the file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::clock::UnixMillis;
use crate::event::{Fingerprint, Nonce};
use crate::ledger::Notice;
use crate::message::Reply;

/// Replies in each half of the shelf.
const REPLIES_MAX: usize = 1_024;
/// A larger reply, head and body, is left in the file.
const REPLY_BYTES_MAX: usize = 4 * 1024;

/// Shared by all callers. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    shelf: Arc<Mutex<Shelf>>,
    reply_bytes_max: usize,
}

/// Two halves: when the younger one is full, it becomes the older one, which is thrown away.
#[derive(Debug, Default)]
struct Shelf {
    younger: HashMap<Fingerprint, Settled>,
    older: HashMap<Fingerprint, Settled>,
    /// How often the shelf was cleared.
    edition: u64,
}

/// A reply as the file has it.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) replay_until: UnixMillis,
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
    /// The shelf's edition when the reply was written.
    pub(super) edition: u64,
    /// The token and the subject that the file has bound to each other.
    pub(super) bound: Option<(Nonce, String)>,
}

impl Default for Recent {
    fn default() -> Self {
        Self { shelf: Arc::default(), reply_bytes_max: REPLY_BYTES_MAX }
    }
}

impl Recent {
    /// The reply that the file would replay, if it is here. Not for a call whose token the file has to be asked about.
    pub(super) fn find(&self, notice: &Notice, now: UnixMillis) -> Option<Reply> {
        let fingerprint = notice.identity.fingerprint;
        let mut shelf = self.lock();
        let settled = shelf.younger.get(&fingerprint).or_else(|| shelf.older.get(&fingerprint))?;
        if now >= settled.replay_until {
            // For good: it does not come back when the clock is set back.
            shelf.younger.remove(&fingerprint);
            shelf.older.remove(&fingerprint);
            return None;
        }
        let asks_for = bound(notice);
        if asks_for.is_some() && asks_for != settled.bound {
            return None;
        }
        Reply::from_stored(&settled.head, settled.body.clone()).ok()
    }

    /// Keeps a reply that was committed, unless the shelf was cleared since it was written.
    pub(super) fn keep(&self, fingerprint: Fingerprint, settled: Settled) {
        if settled.head.len() + settled.body.len() > self.reply_bytes_max {
            return;
        }
        let mut shelf = self.lock();
        if settled.edition != shelf.edition {
            return;
        }
        if shelf.younger.len() >= REPLIES_MAX {
            shelf.older = std::mem::take(&mut shelf.younger);
        }
        shelf.younger.insert(fingerprint, settled);
    }

    /// Forgets everything, also what is on its way here.
    pub(super) fn clear(&self) {
        let mut shelf = self.lock();
        *shelf = Shelf { edition: shelf.edition + 1, ..Shelf::default() };
    }

    pub(super) fn edition(&self) -> u64 {
        self.lock().edition
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        // Nothing panics while it is held.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the file binds to each other when it admits this notice.
pub(super) fn bound(notice: &Notice) -> Option<(Nonce, String)> {
    Some((notice.token?.nonce, notice.identity.subject.clone()?))
}

#[cfg(test)]
impl Recent {
    /// For tests of what stands behind it.
    pub(super) fn of_nothing() -> Self {
        Self { reply_bytes_max: 0, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;
    use crate::ledger::contract::world::{bare_notice, reply, with_token};

    fn settled(notice: &Notice, replay_until: i64) -> Settled {
        let reply = reply("done");
        Settled {
            replay_until: UnixMillis(replay_until),
            head: reply.head_bytes(),
            body: reply.body,
            edition: 0,
            bound: bound(notice),
        }
    }

    #[test]
    fn a_reply_is_found_until_its_window_ends_and_not_when_the_clock_is_set_back_afterwards() {
        let (recent, notice) = (Recent::default(), bare_notice(Kind::Push, 1));
        recent.keep(notice.identity.fingerprint, settled(&notice, 10));
        assert_eq!(recent.find(&notice, UnixMillis(9)).unwrap().body, "done");
        assert!(recent.find(&bare_notice(Kind::Push, 2), UnixMillis(9)).is_none());
        assert!(recent.find(&notice, UnixMillis(10)).is_none());
        assert!(recent.find(&notice, UnixMillis(9)).is_none());
    }

    #[test]
    fn another_token_has_to_be_looked_up_in_the_file() {
        let (recent, notice) = (Recent::default(), with_token(bare_notice(Kind::Push, 1), 7, 4));
        recent.keep(notice.identity.fingerprint, settled(&notice, 10));
        assert!(recent.find(&notice, UnixMillis(0)).is_some());
        assert!(recent.find(&bare_notice(Kind::Push, 1), UnixMillis(0)).is_some(), "no token binds nothing");
        assert!(recent.find(&with_token(bare_notice(Kind::Push, 1), 8, 4), UnixMillis(0)).is_none());
    }

    #[test]
    fn after_a_clearing_nothing_is_found_that_was_written_before_it() {
        let (recent, notice) = (Recent::default(), bare_notice(Kind::Push, 1));
        let on_its_way = settled(&notice, 10);
        recent.keep(notice.identity.fingerprint, settled(&notice, 10));
        recent.clear();
        assert!(recent.find(&notice, UnixMillis(0)).is_none());
        recent.keep(notice.identity.fingerprint, on_its_way);
        assert!(recent.find(&notice, UnixMillis(0)).is_none());
        recent.keep(notice.identity.fingerprint, Settled { edition: recent.edition(), ..settled(&notice, 10) });
        assert!(recent.find(&notice, UnixMillis(0)).is_some());
    }

    #[test]
    fn its_size_is_bounded() {
        let (recent, notice) = (Recent::default(), bare_notice(Kind::Push, 1));
        for number in 0..5_000_u32 {
            let mut fingerprint = [0; 32];
            fingerprint[..4].copy_from_slice(&number.to_be_bytes());
            recent.keep(Fingerprint(fingerprint), settled(&notice, 10));
        }
        let shelf = recent.lock();
        assert!(shelf.younger.len() + shelf.older.len() <= 2 * REPLIES_MAX);
        drop(shelf);
        let large = Settled { body: vec![b'x'; REPLY_BYTES_MAX].into(), ..settled(&notice, 10) };
        recent.keep(notice.identity.fingerprint, large);
        assert!(recent.find(&notice, UnixMillis(0)).is_none());
    }
}
