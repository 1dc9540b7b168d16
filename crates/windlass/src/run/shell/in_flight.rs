use std::collections::BTreeMap;

use tokio::task::{Id, JoinSet};
use windlass_core::{Action, Event, EventTiming, Outcome, OutcomeResult, Plan};

use crate::run::actions::{Actor, broken_off};

/// The actions that have been started and not ended.
pub(super) struct InFlight {
    actor: Actor,
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
    pub(super) fn new(actor: Actor) -> Self {
        Self {
            actor,
            tasks: JoinSet::new(),
            started: BTreeMap::new(),
            growths: BTreeMap::new(),
            plans: 0,
        }
    }

    /// Starts the plan's actions, all at once; one that is under way already is not started
    /// again. Returns what is to be said now because nothing has to be waited for.
    pub(super) fn start(&mut self, plan: &Plan) -> Vec<Event> {
        self.plans += 1;
        let mut pending = 0;
        for (place, action) in plan.actions.iter().enumerate() {
            if self.is_under_way(action) {
                continue;
            }
            let actor = self.actor.clone();
            let task = action.clone();
            let handle = self.tasks.spawn(async move { actor.perform(&task).await });
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
