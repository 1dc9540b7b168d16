//! A node's removal, step by step: taint, wait, look again, evict, wait, terminate, or undo.
//! Source: `pkg/core/scaledown/actuation`.
//!
//! A removal lives in [`Memory::drains`](crate::Memory::drains). Each loop advances each of them as
//! far as it can go: by what came of its actions (`absorb_outcomes`), by what the cluster looks
//! like, by timers. What it waits for is in its [`Phase`], so that a successor of a killed process
//! goes on where that one stopped: an action whose outcome nobody will report is asked for again.
//!
//! ```text
//! Tainting → Settling → Evicting ⇄ Leaving → Delaying → Gathering → Terminating → Terminated
//!     └─────────┴──────────┴─────────┴──────────┴───────────┴───────────┴→ Undoing → forgotten
//! ```

mod advance;
mod begin;
mod clean_up;
pub(crate) mod disruption;
mod evictions;
mod outcomes;
mod replacements;
pub(crate) mod rules;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_model::{ObjectName, SmolStr, Timestamp};

use crate::decide::Loop;
pub(crate) use advance::advance;
pub(crate) use begin::begin;
pub(crate) use outcomes::absorb_outcomes;
pub use replacements::Replacement;
pub(crate) use replacements::await_ready as await_replacements;
pub use rules::BlockingReason;

/// One removal in progress.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, written down for a successor"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// The node's group.
    pub group: SmolStr,
    /// The instance that goes.
    pub instance: SmolStr,
    /// When the removal began; all removals of one loop have the same time.
    pub started_at: Timestamp,
    /// Whether no pod had to move.
    pub is_empty: bool,
    /// Whether the node was ready.
    pub was_ready: bool,
    /// Whether somebody else had cordoned the node before.
    pub was_cordoned: bool,
    /// Whether the node had an annotation that delays its deletion.
    pub is_delayed: bool,
    /// Of a group that goes as a whole, how many nodes go together.
    pub batch: Option<usize>,
    /// How often pods have been evicted that arrived after others had been.
    pub extra_rounds: u32,
    /// How far it is.
    pub phase: Phase,
    /// When the phase's action was asked for, if no outcome has come. Not written down: a
    /// successor will not see that outcome, and asks again.
    #[serde(skip)]
    pub asked_at: Option<Timestamp>,
}

/// How far a removal is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// The taint is being written. All nodes of a loop wait for each other here, so that no pod
    /// moves from one doomed node to another.
    Tainting {
        /// Since when it is there.
        done_at: Option<Timestamp>,
    },
    /// Pods that were on their way to the node may still arrive.
    Settling {
        /// Until then.
        until: Timestamp,
    },
    /// Pods are being evicted.
    Evicting {
        /// Which group of priorities, from 0.
        wave: usize,
        /// When this began.
        since: Timestamp,
        /// The pods.
        evictions: Vec<Eviction>,
    },
    /// Evicted pods are ending.
    Leaving {
        /// Which group of priorities, from 0.
        wave: usize,
        /// Until then at the latest.
        until: Timestamp,
        /// Their uids.
        pods: Vec<SmolStr>,
    },
    /// An annotation delays the deletion.
    Delaying {
        /// Until then at the latest.
        until: Timestamp,
    },
    /// Ready to be terminated, together with others of the group.
    Gathering {
        /// The end of the time in which removals of a group are gathered.
        until: Timestamp,
    },
    /// The instance is being terminated.
    Terminating,
    /// The cloud has accepted it, or the instance was gone anyway; the node is about to vanish.
    Terminated {
        /// Since when.
        at: Timestamp,
    },
    /// The taint is being taken away again.
    Undoing {
        /// When it is tried again.
        retry_at: Option<Timestamp>,
    },
}

/// One pod's eviction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eviction {
    /// The pod.
    pub pod: ObjectName,
    /// Its uid.
    pub uid: SmolStr,
    /// The grace period asked for.
    pub grace_period_seconds: i64,
    /// Whether the drain goes on without it.
    pub is_best_effort: bool,
    /// The uid of the controller that makes another pod for it, where it was ready.
    pub replaced_by: Option<SmolStr>,
    /// How far it is.
    pub state: EvictionState,
    /// When it was asked for, if no outcome has come. Not written down.
    #[serde(skip)]
    pub asked_at: Option<Timestamp>,
}

/// How far an eviction is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EvictionState {
    /// To be asked for, not before then.
    Due {
        /// The time.
        at: Timestamp,
        /// Why the last attempt failed, or empty.
        last_error: String,
    },
    /// The API server has accepted it, or the pod was gone.
    Accepted,
    /// It was refused for too long.
    GivenUp {
        /// Why the last attempt failed.
        last_error: String,
    },
}

impl Phase {
    /// What is being waited for, as a clause for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Tainting { .. } => "its taint is being written".to_owned(),
            Self::Settling { .. } => "pods on their way to it may still arrive".to_owned(),
            Self::Evicting { evictions, .. } => {
                let left = evictions
                    .iter()
                    .filter(|it| matches!(it.state, EvictionState::Due { .. }))
                    .map(|it| it.pod.to_string())
                    .collect::<Vec<_>>();
                format!("to be evicted: {}", left.join(", "))
            }
            Self::Leaving { pods, .. } => format!("{} evicted pods are ending", pods.len()),
            Self::Delaying { .. } => "an annotation may delay its deletion".to_owned(),
            Self::Gathering { .. } => "other nodes of its group go with it".to_owned(),
            Self::Terminating => "its instance is being terminated".to_owned(),
            Self::Terminated { .. } => "its instance is gone or going".to_owned(),
            Self::Undoing { .. } => {
                "the removal failed, and its taint is being taken away".to_owned()
            }
        }
    }
}

impl Drain {
    /// Whether the instance has not been terminated and is to be.
    pub fn is_leaving(&self) -> bool {
        !matches!(self.phase, Phase::Terminated { .. } | Phase::Undoing { .. })
    }

    /// When the cloud accepted the termination.
    pub fn terminated_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Terminated { at } => Some(at),
            _ => None,
        }
    }
}

/// Removals in progress, of both kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InProgress {
    pub(crate) empty: i64,
    pub(crate) drained: i64,
}

/// How many removals are in progress.
pub(crate) fn in_progress(context: &Loop<'_>) -> InProgress {
    let mut counts = InProgress::default();
    for drain in context.memory.drains.values().filter(|it| it.is_leaving()) {
        if drain.is_empty {
            counts.empty += 1;
        } else {
            counts.drained += 1;
        }
    }
    counts
}

/// How many nodes of each group are going that its target size still counts: also one that has
/// been terminated, where the cloud's view is from before that.
pub(crate) fn leaving_by_group(context: &Loop<'_>) -> BTreeMap<SmolStr, i64> {
    let mut leaving: BTreeMap<SmolStr, i64> = BTreeMap::new();
    let instances = advance::instances_of(context, &context.memory.drains);
    for drain in context.memory.drains.values() {
        let is_counted = (drain.is_leaving() || drain.terminated_at().is_some())
            && instances.is_there(&drain.instance);
        if is_counted {
            *leaving.entry(drain.group.clone()).or_default() += 1;
        }
    }
    leaving
}
