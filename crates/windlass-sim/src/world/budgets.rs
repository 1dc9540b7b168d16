//! What the disruption controller keeps: how many pods of each budget may go.
//! Source: `pkg/controller/disruption/disruption.go`.

use std::sync::Arc;

use windlass_model::{DisruptionBudget, ObjectName, Pod};
use windlass_objects::api::{IntOrPercent, PodDisruptionBudgetSpec};

use super::World;
use super::pods::is_live;

/// What a budget promises.
#[derive(Clone, Debug)]
pub(super) struct BudgetRule {
    pub(super) name: ObjectName,
    min_available: Option<IntOrPercent>,
    max_unavailable: Option<IntOrPercent>,
}

impl BudgetRule {
    /// `None` where the budget has no rule: its status then stays as it was given.
    pub(super) fn new(name: ObjectName, spec: &PodDisruptionBudgetSpec) -> Option<Self> {
        let rule = Self {
            name,
            min_available: spec.min_available.clone(),
            max_unavailable: spec.max_unavailable.clone(),
        };
        (rule.min_available.is_some() || rule.max_unavailable.is_some()).then_some(rule)
    }

    /// How many pods must stay healthy of so many.
    pub(super) fn desired_healthy(&self, expected: i64) -> i64 {
        match (&self.min_available, &self.max_unavailable) {
            (_, Some(most)) => expected - resolve(most, expected),
            (Some(least), None) => resolve(least, expected),
            (None, None) => 0,
        }
    }
}

/// A share is rounded up.
fn resolve(value: &IntOrPercent, of: i64) -> i64 {
    match value {
        IntOrPercent::Int(count) => *count,
        IntOrPercent::Percent(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            (of * percent).div_euclid(100) + i64::from((of * percent).rem_euclid(100) > 0)
        }
    }
}

impl World {
    /// Brings the status of every budget up to date.
    pub(super) fn update_budgets(&mut self) {
        for rule in &self.budget_rules {
            let Some(budget) = self
                .cluster
                .disruption_budgets
                .iter_mut()
                .find(|budget| budget.name == rule.name)
            else {
                continue;
            };
            let (mut expected, mut healthy) = (0_i64, 0_i64);
            for (_, pod) in self.pods.iter().filter(|(_, pod)| covers(budget, pod)) {
                if pod.phase.is_terminal() {
                    continue;
                }
                expected += 1;
                healthy += i64::from(is_live(pod) && pod.is_ready);
            }
            let allowed = if expected == 0 {
                0
            } else {
                (healthy - rule.desired_healthy(expected)).max(0)
            };
            let allowed = i32::try_from(allowed).unwrap_or(i32::MAX);
            if budget.disruptions_allowed != allowed {
                Arc::make_mut(budget).disruptions_allowed = allowed;
            }
        }
    }

    /// Takes one disruption from every budget that covers the pod, or from none.
    pub(super) fn take_disruption(&mut self, pod: &Pod) -> Result<(), String> {
        let covering: Vec<usize> = self
            .cluster
            .disruption_budgets
            .iter()
            .enumerate()
            .filter(|(_, budget)| covers(budget, pod))
            .map(|(index, _)| index)
            .collect();
        for index in &covering {
            let budget = &self.cluster.disruption_budgets[*index];
            if budget.disruptions_allowed < 1 {
                return Err(format!(
                    "Cannot evict pod as it would violate the pod's disruption budget {}.",
                    budget.name.name
                ));
            }
        }
        for index in covering {
            Arc::make_mut(&mut self.cluster.disruption_budgets[index]).disruptions_allowed -= 1;
        }
        Ok(())
    }
}

fn covers(budget: &DisruptionBudget, pod: &Pod) -> bool {
    budget.covers(pod.namespace(), &pod.shape.labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(min: Option<IntOrPercent>, max: Option<IntOrPercent>) -> BudgetRule {
        let spec = PodDisruptionBudgetSpec {
            min_available: min,
            max_unavailable: max,
            ..PodDisruptionBudgetSpec::default()
        };
        BudgetRule::new(ObjectName::new("default", "web"), &spec).unwrap()
    }

    #[test]
    fn shares_are_rounded_up() {
        let half = || Some(IntOrPercent::Percent("50%".into()));
        assert_eq!(rule(half(), None).desired_healthy(5), 3);
        assert_eq!(rule(None, half()).desired_healthy(5), 2);
        assert_eq!(rule(Some(IntOrPercent::Int(4)), None).desired_healthy(5), 4);
    }
}
