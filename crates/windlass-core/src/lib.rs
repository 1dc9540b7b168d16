//! What one loop does, and why.
//!
//! [`decide`] looks at a [`Cluster`](windlass_model::Cluster), at what earlier loops left in
//! [`Memory`] and at what came of their actions, and answers with a [`Plan`]: everything to be
//! done and everything to be said. [`check`] judges any plan by independent rules.
//!
//! The crate refuses to know the clock, the network, files, the environment and threads that
//! could change an answer. The same input gives the same bytes. Randomness is a seed in the
//! input; maps are iterated in key order where the order could reach a plan.
//!
//! One loop, in the order of `decide`: what came of earlier actions → readiness and cluster
//! state ([`cluster_state`]) → templates ([`template`]) → pending pods ([`pending`]) → scale-up
//! ([`scale_up`]) → scale-down ([`scale_down`]) → drains in progress ([`drain`]) → report.

mod budget;
pub mod capacity_buffer;
mod capacity_quota;
mod check;
pub mod cluster_state;
mod decide;
pub mod drain;
pub mod gpu;
mod instant;
mod memory;
pub mod metrics;
pub mod pending;
mod plan;
mod proactive;
pub mod provisioning_request;
mod report;
pub mod scale_down;
pub mod scale_up;
pub mod status;
pub mod taints;
pub mod template;
mod unseen;
mod writes;

pub use budget::{Budget, NoTimeLimits, Part, TimeLimit};
pub use check::{Violation, check};
pub use decide::{
    Decision, Input, LoopView, Progress, decide, decide_asking, prepare, prepare_with, templates,
    templates_with_sources, view,
};
pub use memory::{GroupTimes, Memory, OpenScaleUp, SeenNodes, Waiting};
pub use metrics::{Metrics, Series};
pub use plan::{
    Action, EndedRemoval, Event, EventObject, EventTiming, EventType, GroupReasons, NodeRemoval,
    Outcome, OutcomeResult, Plan, PodReport, Resize, ResizeCause, ScaleDownReport, ScaleUpReport,
    Unremovable, UnremovableReason,
};
pub use scale_down::{HeldBack, Room, Verdict};
pub use scale_up::ZoneTries;
pub use scale_up::expander::grpc::{ExpanderAnswer, ExpanderQuestion, OfferedOption};
pub use unseen::Unseen;
pub use writes::ObjectWrite;
