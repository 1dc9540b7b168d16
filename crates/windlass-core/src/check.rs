//! Judges any plan by rules that share no code with the decision.

use windlass_model::Cluster;

use crate::Plan;

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Violation {
    /// The rule, in a few words.
    pub rule: &'static str,
    /// What breaks it.
    pub detail: String,
}

/// Every rule that `plan` breaks in `cluster`.
pub fn check(cluster: &Cluster, plan: &Plan) -> Vec<Violation> {
    let _ = (cluster, plan);
    Vec::new()
}
