//! Tells callers what became of their writes: one wake-up for all who wait on the same runtime.
//!
//! An answer from the writer's thread wakes the runtime that its caller runs on, which is a call to the system, and the
//! writer had one to make for each caller of a group. So it hands all answers for a runtime over at once, and the runtime
//! wakes its own tasks, which is a matter of pointers.

use tokio::runtime::Handle;

use crate::ledger::LedgerError;
use crate::ledger::sqlite::write::Write;

type Outcome = Result<(), LedgerError>;

/// Answers the callers of a group.
pub(super) fn tell_all(mut group: Vec<Box<dyn Write>>, outcome: &Outcome) {
    while let Some(home) = group.first().map(|write| write.home().cloned()) {
        let (neighbours, others) = group.into_iter().partition(|write| lives_at(write.home(), home.as_ref()));
        tell(neighbours, home, outcome.clone());
        group = others;
    }
}

/// A runtime that ended drops the answers, and nobody waits for them any more.
fn tell(neighbours: Vec<Box<dyn Write>>, home: Option<Handle>, outcome: Outcome) {
    let is_here = Handle::try_current().is_ok_and(|here| lives_at(Some(&here), home.as_ref()));
    match home {
        Some(home) if neighbours.len() > 1 && !is_here => {
            drop(home.spawn(async move { answer(neighbours, &outcome) }));
        }
        _ => answer(neighbours, &outcome),
    }
}

fn answer(neighbours: Vec<Box<dyn Write>>, outcome: &Outcome) {
    neighbours.into_iter().for_each(|write| write.answer(outcome.clone()));
}

fn lives_at(one: Option<&Handle>, other: Option<&Handle>) -> bool {
    one.map(Handle::id) == other.map(Handle::id)
}
