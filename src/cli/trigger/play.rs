//! Sends a letter as often as was asked for, until it is done or somebody presses Ctrl-C.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::aim::Aim;
use super::report::Screen;
use super::{Arguments, PUSHES_FASTER};
use crate::event::Kind;
use crate::klarna::habits::{self, Meaning};
use crate::klarna::{Outcome, took};
use crate::probe::{Seen, Step};

/// How often, and how many at once.
pub(super) struct Plan {
    /// Pauses between rounds; one round more than there are pauses.
    pub(super) pauses: Vec<Duration>,
    /// Copies in each round.
    pub(super) copies: u32,
    /// A round is a push of a schedule.
    pub(super) is_schedule: bool,
}

/// One callback that was sent, with all its attempts.
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) attempts: Vec<Attempt>,
}

/// How one attempt ended.
pub(super) struct Attempt {
    pub(super) took: Duration,
    pub(super) seen: Seen,
    pub(super) status: Option<StatusCode>,
    /// kallback says that it answered from its record.
    pub(super) is_replay: bool,
    /// What the answer means; why there is none.
    pub(super) verdict: Result<Meaning, String>,
}

/// All that was sent.
pub(super) struct Calls {
    pub(super) calls: Vec<Call>,
    pub(super) is_interrupted: bool,
}

/// Something to show.
pub(super) struct News {
    pub(super) call: u32,
    pub(super) number: u32,
    pub(super) attempt: Attempt,
    /// Another attempt follows after this pause.
    pub(super) pause: Option<Duration>,
}

impl Plan {
    pub(super) fn of(arguments: &Arguments) -> Self {
        let pauses = if arguments.push_schedule {
            let faster = arguments.faster.unwrap_or(PUSHES_FASTER);
            habits::push_schedule().into_iter().map(|pause| pause / faster).collect()
        } else {
            vec![Duration::ZERO; arguments.repeat.saturating_sub(1) as usize]
        };
        Self { pauses, copies: arguments.concurrent, is_schedule: arguments.push_schedule }
    }

    pub(super) fn rounds(&self) -> u32 {
        u32::try_from(self.pauses.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Callbacks in all.
    pub(super) fn calls(&self) -> u32 {
        self.rounds().saturating_mul(self.copies)
    }
}

impl Attempt {
    fn of(kind: Kind, outcome: &Outcome) -> Self {
        let took = took(outcome);
        match outcome {
            Ok(answered) => Self {
                took,
                seen: answered.seen.clone(),
                status: Some(answered.reply.status),
                is_replay: answered.reply.headers.get("kallback-replayed").is_some_and(|value| value == "true"),
                verdict: Ok(habits::meaning(kind, &answered.reply)),
            },
            Err(unanswered) => Self {
                took,
                seen: unanswered.seen.clone(),
                status: unanswered.seen.status,
                is_replay: false,
                verdict: Err(unanswered.to_string()),
            },
        }
    }

    pub(super) fn is_content(&self) -> bool {
        matches!(self.verdict, Ok(Meaning::Received | Meaning::Approved | Meaning::Refused))
    }

    /// The request went out over a connection that stood.
    pub(super) fn was_sent(&self) -> bool {
        matches!(self.seen.step, Step::Answer | Step::Body)
    }
}

impl Call {
    pub(super) fn is_content(&self) -> bool {
        self.attempts.last().is_some_and(Attempt::is_content)
    }
}

/// Plays the plan. Ctrl-C ends it; what had not ended by then does not count.
pub(super) async fn play(aim: &Aim, plan: &Plan, screen: &mut Screen<'_>) -> io::Result<Calls> {
    let mut played = Calls { calls: Vec::new(), is_interrupted: false };
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    for round in 0..plan.rounds() {
        let pause = round.checked_sub(1).and_then(|before| plan.pauses.get(before as usize)).copied();
        let pause = pause.filter(|pause| !pause.is_zero());
        if let Some(pause) = pause {
            screen.wait_for_round(round + 1, plan, pause)?;
        }
        let wait = async {
            if let Some(pause) = pause {
                sleep(pause).await;
            }
        };
        let step = async {
            wait.await;
            play_round(aim, plan, round, screen, &mut played.calls).await
        };
        tokio::select! {
            biased;
            _ = &mut interrupted => {
                played.is_interrupted = true;
                break;
            }
            outcome = step => outcome?,
        }
    }
    played.calls.retain(|call| !call.attempts.is_empty());
    played.calls.sort_by_key(|call| call.number);
    Ok(played)
}

fn play_round<'a>(
    aim: &'a Aim,
    plan: &'a Plan,
    round: u32,
    screen: &'a mut Screen<'_>,
    calls: &'a mut Vec<Call>,
) -> impl Future<Output = io::Result<()>> + 'a {
    let mut senders = JoinSet::new();
    // One place for each attempt of this round, so that telling never waits.
    let attempts_max = (aim.letter.pauses.len() + 1) * plan.copies as usize;
    let (tell, mut told) = mpsc::channel(attempts_max);
    for copy in 0..plan.copies {
        let call = round * plan.copies + copy + 1;
        let (caller, letter, kind, tell) = (aim.caller.clone(), aim.letter.clone(), aim.kind, tell.clone());
        senders.spawn(async move {
            let note = |number, outcome: &Outcome, pause| {
                let news = News { call, number, attempt: Attempt::of(kind, outcome), pause };
                drop(tell.try_send(news));
            };
            caller.insist(&letter, note).await;
        });
    }
    drop(tell);
    async move {
        while let Some(news) = told.recv().await {
            screen.tell(&news)?;
            match calls.iter_mut().find(|call| call.number == news.call) {
                Some(call) => call.attempts.push(news.attempt),
                None => calls.push(Call { number: news.call, attempts: vec![news.attempt] }),
            }
        }
        // All senders have let go of their end; dropping the set ends nothing early.
        drop(senders);
        Ok(())
    }
}
