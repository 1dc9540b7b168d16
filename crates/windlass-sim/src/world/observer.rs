//! Somebody who watches what really happens in the simulated world, whatever the autoscaler
//! believes, plans or writes down, and notes what must never happen.

use std::collections::BTreeMap;

use windlass_model::{Pod, SmolStr};

use super::World;
use super::pods::is_live;

const HARD_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// What was observed.
#[derive(Debug, Default)]
pub(super) struct Observer {
    pub(super) violations: Vec<String>,
    /// How often each instance was ended.
    ends: BTreeMap<SmolStr, usize>,
}

impl World {
    fn object(&mut self, what: &str) {
        let at = self.now.duration_since(self.start);
        let at = windlass_model::format_go_duration(at);
        if let Some(observer) = &mut self.observer {
            observer.violations.push(format!("{at}: {what}"));
        }
    }

    /// A pod is about to be evicted: every budget that covers it must be kept with one ready pod
    /// fewer, by what the budget promises and not by anybody's accounts.
    pub(super) fn observe_eviction(&mut self, pod: &Pod) {
        if self.observer.is_none() || !pod.is_ready {
            return;
        }
        let mut broken = Vec::new();
        for rule in &self.budget_rules {
            let budget = self
                .cluster
                .disruption_budgets
                .iter()
                .find(|budget| budget.name == rule.name);
            let Some(budget) = budget else { continue };
            let covers = |it: &Pod| budget.covers(it.namespace(), &it.shape.labels);
            if !covers(pod) {
                continue;
            }
            let (mut expected, mut healthy) = (0_i64, 0_i64);
            for (_, other) in self.pods.iter() {
                if covers(other) && !other.phase.is_terminal() {
                    expected += 1;
                    healthy += i64::from(is_live(other) && other.is_ready);
                }
            }
            let promised = rule.desired_healthy(expected);
            if healthy - 1 < promised {
                broken.push(format!(
                    "pod {} is evicted beyond budget {}: {healthy} of {expected} are ready, {promised} are promised",
                    pod.full_name(),
                    budget.name
                ));
            }
        }
        for what in broken {
            self.object(&what);
        }
    }

    /// An instance is being ended: nobody may die with it who was not asked to go, and its group
    /// may not fall below its minimum.
    pub(super) fn observe_termination(&mut self, id: &SmolStr) {
        if self.observer.is_none() {
            return;
        }
        let Some(machine) = self.machines.get(id).cloned() else {
            return;
        };
        let cutoff = self.config.scale_up.expendable_pods_priority_cutoff;
        let victims: Vec<String> = self
            .pods
            .iter()
            .map(|(_, pod)| pod)
            .filter(|pod| pod.node_name.as_ref() == Some(&machine.node) && is_live(pod))
            .filter(|pod| {
                let is_expendable = pod
                    .shape
                    .priority
                    .is_some_and(|priority| i64::from(priority) < cutoff);
                !pod.shape.is_daemonset_pod() && !pod.shape.safety.is_mirror && !is_expendable
            })
            .map(|pod| pod.full_name().to_string())
            .collect();
        if !victims.is_empty() {
            let victims = victims.join(", ");
            self.object(&format!("{victims} die with node {}", machine.node));
        }
        let is_tainted = self
            .cluster
            .nodes
            .iter()
            .filter(|node| node.name == machine.node)
            .all(|node| node.taint(HARD_TAINT).is_some());
        if !is_tainted {
            self.object(&format!("{} ends without its taint", machine.node));
        }
        if let Some(group) = self.group(&machine.group)
            && group.target_size <= group.min_size
        {
            let what = format!("{} falls below its minimum", machine.group);
            self.object(&what);
        }
        if let Some(observer) = &mut self.observer {
            let ends = observer.ends.entry(id.clone()).or_default();
            *ends += 1;
            if *ends > 1 {
                self.object(&format!("instance {id} is ended twice"));
            }
        }
    }

    /// The world has come to rest: nothing may be left of removals that nobody carries out.
    pub(super) fn observe_the_end(&mut self) {
        if self.observer.is_none() {
            return;
        }
        let left: Vec<String> = self
            .cluster
            .nodes
            .iter()
            .filter(|node| !self.memory.drains.contains_key(&node.name))
            .filter(|node| node.taint(HARD_TAINT).is_some() || node.unschedulable)
            .map(|node| format!("{} is left tainted or cordoned", node.name))
            .collect();
        for what in left {
            self.object(&what);
        }
        let names: Vec<String> = self
            .memory
            .drains
            .iter()
            .filter(|(_, drain)| {
                let age = self.now.duration_since(drain.started_at);
                age > windlass_model::Duration::from_hours(2)
            })
            .map(|(node, drain)| format!("the removal of {node} never ends: {:?}", drain.phase))
            .collect();
        for what in names {
            self.object(&what);
        }
    }
}
