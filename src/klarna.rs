//! Plays Klarna and Kustom: sends what they send, waits as long as they wait, and tries as often as they try.
//!
//! What is sent stands in [`letter`] and [`places`], the sender's patience in [`habits`]. For `demo` and `trigger`.

pub mod habits;
pub mod letter;
pub mod places;

use std::time::Duration;

use crate::probe::{AnswerLimit, Answered, Origin, Probe, Unanswered};

use self::letter::Letter;

/// Somebody who sends callbacks to one origin. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Caller {
    /// How calls are made. Its answer limit gives way to that of each letter.
    pub probe: Probe,
    /// Where to.
    pub origin: Origin,
    /// What a read timeout means.
    pub client: Client,
}

/// What a client's read timeout means. Klarna's documents do not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Client {
    /// The whole answer must be there in time: the strict reading.
    #[default]
    Whole,
    /// Every byte must come in time after the one before it, as the usual Java clients have it.
    Socket,
}

/// How one attempt ended.
pub type Outcome = Result<Answered, Box<Unanswered>>;

/// How a letter fared.
#[derive(Debug)]
pub struct Played {
    /// How the last attempt ended.
    pub outcome: Outcome,
    /// How long that attempt took, from the start of its connection.
    pub took: Duration,
    /// How many attempts there were.
    pub attempts: u32,
}

impl Caller {
    /// Sends the letter; again, after its pauses, for as long as the sender is not content. `tell` hears of each
    /// attempt that ended, with its number and the pause that follows, if another one does.
    pub async fn insist(
        &self,
        letter: &Letter,
        mut tell: impl FnMut(u32, &Outcome, Option<Duration>) + Send,
    ) -> Played {
        let mut pauses = letter.pauses.iter().copied();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = self.call(letter).await;
            let is_content = outcome.as_ref().is_ok_and(|answered| letter.contents(&answered.reply));
            let pause = if is_content { None } else { pauses.next() };
            tell(attempts, &outcome, pause);
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Played { took: took(&outcome), outcome, attempts },
            }
        }
    }

    /// One attempt.
    pub async fn call(&self, letter: &Letter) -> Outcome {
        let mut probe = self.probe.clone();
        probe.limits.answer = match self.client {
            Client::Whole => AnswerLimit::Whole(letter.read_within),
            Client::Socket => AnswerLimit::Silence { pause: letter.read_within, whole: habits::ANSWER_WITHIN_MAX },
        };
        probe.call(&self.origin, letter.request.clone()).await
    }
}

/// How long an attempt took.
pub fn took(outcome: &Outcome) -> Duration {
    match outcome {
        Ok(answered) => answered.took,
        Err(unanswered) => unanswered.took,
    }
}
