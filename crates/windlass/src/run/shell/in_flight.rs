use std::collections::BTreeMap;

use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};
use windlass_core::{Action, Event, EventTiming, Outcome, OutcomeResult, Plan};

use crate::run::actions::{Actor, broken_off};

/// How the groups of one plan are enlarged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growing {
    /// One after the other; what stands behind one that fails is not asked for, and planned again
    /// by the next loop.
    InTurn,
    /// All at once: `--parallel-scale-up`.
    AtOnce,
}

/// The actions that have been started and not ended.
pub(super) struct InFlight {
    actor: Actor,
    growing: Growing,
    tasks: JoinSet<OutcomeResult>,
    started: BTreeMap<Id, Started>,
    /// Growth of which the end is still to be told, by the plan it belongs to.
    growths: BTreeMap<u64, Growth>,
    plans: u64,
}

struct Started {
    action: Action,
    /// The plan it belongs to.
    plan: u64,
    /// To be said when it succeeds.
    once_done: Vec<Event>,
}

/// The resizes of one plan.
struct Growth {
    pending: usize,
    has_failed: bool,
    /// To be said when all have succeeded.
    once_grown: Vec<Event>,
}

/// An action that has ended, and what is to be said of it.
pub(super) struct Finished {
    pub(super) outcome: Outcome,
    pub(super) announcements: Vec<Event>,
}

impl InFlight {
    pub(super) fn new(actor: Actor, growing: Growing) -> Self {
        Self {
            actor,
            growing,
            tasks: JoinSet::new(),
            started: BTreeMap::new(),
            growths: BTreeMap::new(),
            plans: 0,
        }
    }

    /// Starts the plan's actions, all at once but for groups that grow in turn; one that is under
    /// way already is not started again. Returns what is to be said now because nothing has to be
    /// waited for.
    pub(super) fn start(&mut self, plan: &Plan) -> Vec<Event> {
        self.plans += 1;
        let mut pending = 0;
        let mut turn = None;
        for (place, action) in plan.actions.iter().enumerate() {
            if self.is_under_way(action) {
                continue;
            }
            let actor = self.actor.clone();
            let task = action.clone();
            let handle = if is_growth(action) && self.growing == Growing::InTurn {
                let (done, next) = oneshot::channel();
                let before = turn.replace(next);
                self.tasks.spawn(in_turn(
                    before,
                    done,
                    async move { actor.perform(&task).await },
                ))
            } else {
                self.tasks.spawn(async move { actor.perform(&task).await })
            };
            let started = Started {
                action: action.clone(),
                plan: self.plans,
                once_done: told_at(plan, EventTiming::OnceDone(place)),
            };
            pending += usize::from(is_growth(action));
            self.started.insert(handle.id(), started);
        }
        let once_grown = told_at(plan, EventTiming::OnceGrown);
        if pending == 0 {
            return once_grown;
        }
        let growth = Growth {
            pending,
            has_failed: false,
            once_grown,
        };
        self.growths.insert(self.plans, growth);
        Vec::new()
    }

    /// The next action that ends; waits for ever while none is under way.
    pub(super) async fn next(&mut self) -> Finished {
        match self.tasks.join_next_with_id().await {
            Some(joined) => self.finish(joined),
            None => std::future::pending().await,
        }
    }

    /// An action that has ended already.
    pub(super) fn finished(&mut self) -> Option<Finished> {
        let joined = self.tasks.try_join_next_with_id()?;
        Some(self.finish(joined))
    }

    /// The largest size that has been asked for this group without an answer yet.
    pub(super) fn size_asked_for(&self, group: &str) -> Option<i64> {
        self.started
            .values()
            .filter_map(|started| match &started.action {
                Action::IncreaseSize(resize) if resize.group == group => Some(resize.to),
                _ => None,
            })
            .max()
    }

    fn is_under_way(&self, action: &Action) -> bool {
        self.started
            .values()
            .any(|started| is_same(&started.action, action))
    }

    fn finish(&mut self, joined: Result<(Id, OutcomeResult), tokio::task::JoinError>) -> Finished {
        let (id, result) = match joined {
            Ok(ended) => ended,
            Err(problem) => (problem.id(), broken_off(&problem.to_string())),
        };
        let Some(started) = self.started.remove(&id) else {
            unreachable!("every task is entered when it is spawned");
        };
        let is_done = result == OutcomeResult::Done;
        let mut announcements = if is_done {
            started.once_done
        } else {
            Vec::new()
        };
        if is_growth(&started.action)
            && let Some(growth) = self.growths.get_mut(&started.plan)
        {
            growth.pending -= 1;
            growth.has_failed |= !is_done;
            if growth.pending == 0
                && let Some(growth) = self.growths.remove(&started.plan)
                && !growth.has_failed
            {
                announcements.extend(growth.once_grown);
            }
        }
        Finished {
            outcome: Outcome {
                action: started.action,
                result,
            },
            announcements,
        }
    }
}

/// Whether two actions are one. An instance is ended once, whatever is known of its pods.
fn is_same(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (
            Action::TerminateInstance { instance: one, .. },
            Action::TerminateInstance {
                instance: other, ..
            },
        ) => one == other,
        _ => one == other,
    }
}

/// Waits for the growth before, and tells the one behind how this one went.
async fn in_turn(
    before: Option<oneshot::Receiver<bool>>,
    behind: oneshot::Sender<bool>,
    work: impl Future<Output = OutcomeResult>,
) -> OutcomeResult {
    let may_begin = match before {
        // A task that broke off has said nothing.
        Some(before) => before.await.unwrap_or(false),
        None => true,
    };
    let result = if may_begin {
        work.await
    } else {
        OutcomeResult::Refused {
            message: "another group of the same scale-up failed before".to_owned(),
        }
    };
    // Nobody stands behind the last one.
    let _ = behind.send(result == OutcomeResult::Done);
    result
}

fn is_growth(action: &Action) -> bool {
    matches!(action, Action::IncreaseSize(_))
}

fn told_at(plan: &Plan, timing: EventTiming) -> Vec<Event> {
    plan.events
        .iter()
        .filter(|event| event.timing == timing)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Runs growths in turn, of which these succeed; which were asked for, and how they ended.
    async fn grow(successes: &[bool]) -> (Vec<usize>, Vec<OutcomeResult>) {
        let asked = RefCell::new(Vec::new());
        let mut before = None;
        let mut tasks = Vec::new();
        for (place, succeeds) in successes.iter().enumerate() {
            let (done, next) = oneshot::channel();
            let asked = &asked;
            tasks.push(in_turn(before.replace(next), done, async move {
                asked.borrow_mut().push(place);
                if *succeeds {
                    OutcomeResult::Done
                } else {
                    broken_off("no capacity")
                }
            }));
        }
        // The last is polled first: the order is not that of the polls.
        let mut results = Vec::new();
        let mut joined = tasks.into_iter().rev().map(Box::pin).collect::<Vec<_>>();
        std::future::poll_fn(|context| {
            joined.retain_mut(|task| match task.as_mut().poll(context) {
                std::task::Poll::Ready(result) => {
                    results.push(result);
                    false
                }
                std::task::Poll::Pending => true,
            });
            if joined.is_empty() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        drop(joined);
        (asked.into_inner(), results)
    }

    #[tokio::test]
    async fn groups_grow_in_the_order_of_the_plan() {
        let (asked, results) = grow(&[true, true, true]).await;
        assert_eq!(asked, [0, 1, 2]);
        assert!(results.iter().all(|result| *result == OutcomeResult::Done));
    }

    #[tokio::test]
    async fn behind_one_that_fails_nothing_is_asked_for() {
        let (asked, results) = grow(&[true, false, true, true]).await;
        assert_eq!(asked, [0, 1]);
        let refused = |result: &&OutcomeResult| matches!(result, OutcomeResult::Refused { .. });
        assert_eq!(results.iter().filter(refused).count(), 2);
    }
}
