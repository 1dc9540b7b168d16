//! What disruption budgets still allow. Source: `pkg/core/scaledown/pdb/basic.go`.

use windlass_model::{Cluster, PodShape};

/// What is left of each disruption budget of the cluster within one loop; may go below zero.
#[derive(Clone, Debug)]
pub(crate) struct Disruptions {
    remaining: Vec<i64>,
}

impl Disruptions {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        let remaining = cluster
            .disruption_budgets
            .iter()
            .map(|budget| i64::from(budget.disruptions_allowed))
            .collect();
        Self { remaining }
    }

    /// Whether there are no disruption budgets.
    pub(crate) fn is_empty(&self) -> bool {
        self.remaining.is_empty()
    }

    /// Whether a budget covers the pods of a shape. A selector that cannot be read covers every
    /// pod of its namespace: what somebody meant to protect is not guessed at.
    pub(crate) fn covers(cluster: &Cluster, index: u32, shape: &PodShape) -> bool {
        let budget = &cluster.disruption_budgets[index as usize];
        let is_broken = budget
            .selector
            .as_ref()
            .is_some_and(|selector| !selector.is_valid());
        is_broken && budget.name.namespace == shape.namespace
            || budget.covers(&shape.namespace, &shape.labels)
    }

    /// Whether each of these budgets allows one more eviction.
    pub(crate) fn allow(&self, budgets: &[u32]) -> bool {
        budgets
            .iter()
            .all(|index| self.remaining[*index as usize] >= 1)
    }

    /// What is left of a budget.
    pub(crate) fn remaining(&self, budget: u32) -> i64 {
        self.remaining[budget as usize]
    }

    /// Counts one eviction against each of these budgets.
    pub(crate) fn consume(&mut self, budgets: &[u32]) {
        for index in budgets {
            self.remaining[*index as usize] -= 1;
        }
    }
}
