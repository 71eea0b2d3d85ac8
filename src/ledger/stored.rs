//! Parts of a record as text and numbers, the same in every SQL store.

use std::time::Duration;

use crate::event::{Policy, Redelivery};
use crate::ledger::State;

/// A state's number in the store. Never change one: files live longer than versions.
pub(crate) fn state_number(state: State) -> i64 {
    match state {
        State::Pending => 0,
        State::Settled => 1,
        State::Dead => 2,
        State::Left => 3,
    }
}

/// The state of a number.
pub(crate) fn state_of(number: i64) -> Option<State> {
    State::ALL.into_iter().find(|state| state_number(*state) == number)
}

/// A policy in one line: six times in milliseconds (budget, answer within, hard limit, replay, replay once
/// acknowledged, oldest) and the redelivery rule.
pub fn policy_text(policy: &Policy) -> String {
    let millis = durations(policy).map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).to_string());
    format!("{} {}", millis.join(" "), redelivery_name(policy.redelivery))
}

/// Reads a policy back. `None` if it is not one.
pub fn policy_of(text: &str) -> Option<Policy> {
    let mut words = text.split(' ');
    let mut duration = || words.next()?.parse().ok().map(Duration::from_millis);
    let policy = Policy {
        budget: duration()?,
        answer_within: duration()?,
        hard_limit: duration()?,
        replay_for: duration()?,
        replay_acknowledged_for: duration()?,
        oldest: duration()?,
        redelivery: redelivery_named(words.next()?)?,
    };
    words.next().is_none().then_some(policy)
}

fn durations(policy: &Policy) -> [Duration; 6] {
    [
        policy.budget,
        policy.answer_within,
        policy.hard_limit,
        policy.replay_for,
        policy.replay_acknowledged_for,
        policy.oldest,
    ]
}

const REDELIVERIES: [Redelivery; 3] = [Redelivery::AnyFailure, Redelivery::OnlyUnreached, Redelivery::Never];

fn redelivery_name(redelivery: Redelivery) -> &'static str {
    match redelivery {
        Redelivery::AnyFailure => "any_failure",
        Redelivery::OnlyUnreached => "only_unreached",
        Redelivery::Never => "never",
    }
}

fn redelivery_named(name: &str) -> Option<Redelivery> {
    REDELIVERIES.into_iter().find(|redelivery| redelivery_name(*redelivery) == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Kind;

    #[test]
    fn every_policy_is_read_back_as_it_was_written() {
        for kind in Kind::ALL {
            for redelivery in REDELIVERIES {
                let policy = Policy { redelivery, ..kind.defaults() };
                assert_eq!(policy_of(&policy_text(&policy)), Some(policy));
            }
        }
    }

    #[test]
    fn what_is_not_a_policy_is_not_read_as_one() {
        for text in
            ["", "1 2 3 4 5 6", "1 2 3 4 5 6 often", "1 2 3 4 5 never", "1 2 3 4 5 6 never 7", "a 2 3 4 5 6 never"]
        {
            assert_eq!(policy_of(text), None, "{text}");
        }
    }

    #[test]
    fn every_state_has_its_own_number() {
        for state in State::ALL {
            assert_eq!(state_of(state_number(state)), Some(state));
        }
        assert_eq!(state_of(4), None);
    }
}
