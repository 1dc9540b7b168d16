//! The autoscaler of this world: production's decision, production's check, and the carrying out
//! of the plan on the simulated cluster and cloud.

use std::sync::Arc;

use windlass_core::{
    Action, Input, NoTimeLimits, NodeRemoval, Outcome, OutcomeResult, Plan, ResizeCause, check,
    decide, prepare,
};
use windlass_model::{Duration, Node, ObjectName, SmolStr, Taint};

use super::World;

/// The least time between the starts of two loops.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

impl World {
    /// Asks for a loop soon: something happened that it should see.
    pub(super) fn wake(&mut self) {
        let soonest = self
            .last_loop
            .map_or(self.now, |last| (last + SHORTEST_PAUSE).max(self.now));
        self.loop_due = self.loop_due.min(soonest);
    }

    /// Runs one loop.
    pub(super) fn run_loop(&mut self) {
        self.refresh();
        let snapshot = prepare(&self.cluster, &self.config);
        let outcomes = std::mem::take(&mut self.outcomes);
        let input = Input {
            cluster: &self.cluster,
            memory: &self.memory,
            outcomes: &outcomes,
            config: &self.config,
            now: self.now,
            budget: &NoTimeLimits,
        };
        let decision = decide(&input, snapshot);
        self.loops += 1;
        self.last_loop = Some(self.now);
        self.loop_due = self.now + self.config.process.scan_interval.max(SHORTEST_PAUSE);
        let violations = check(&input, &decision.plan);
        if let Some(violation) = violations.first() {
            self.refused_plans += 1;
            self.log
                .add("check", format!("plan not carried out: {violation}"));
            return;
        }
        self.memory = decision.memory;
        if let Some(at) = decision.plan.wake_at {
            self.loop_due = self.loop_due.min(at).max(self.now + SHORTEST_PAUSE);
        }
        self.report(&decision.plan);
        if !decision.plan.actions.is_empty() {
            self.carry_out(decision.plan.actions);
            self.wake();
        }
    }

    fn report(&mut self, plan: &Plan) {
        for resize in &plan.scale_up.resizes {
            let why = match resize.cause {
                ResizeCause::PendingPods => "",
                ResizeCause::MinimumSize => " (its minimum)",
            };
            self.log.add(
                "scale-up",
                format!(
                    "{}: {} -> {} nodes{why}",
                    resize.group, resize.from, resize.to
                ),
            );
        }
        for removal in &plan.scale_down.removals {
            self.log.add("scale-down", describe_removal(removal));
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            let result = match self.act(&action) {
                Ok(()) => OutcomeResult::Done,
                Err(Refusal::NotNow(message)) => OutcomeResult::Refused { message },
                Err(Refusal::Failed(message)) => OutcomeResult::Failed {
                    code: SmolStr::new_static("cloudProviderError"),
                    message,
                },
            };
            self.outcomes.push(Outcome { action, result });
        }
        self.touch();
    }

    fn act(&mut self, action: &Action) -> Result<(), Refusal> {
        match action {
            Action::IncreaseSize(resize) => self.increase(&resize.group, resize.to),
            Action::DecreaseTargetSize { group, from, to } => {
                self.log
                    .add("cloud", format!("{group}: {from} -> {to} nodes asked for"));
                self.decrease_target(group, *to).map_err(Refusal::Failed)
            }
            Action::DeleteInstances {
                group, instances, ..
            } => {
                let count = instances.len();
                self.log.add(
                    "cloud",
                    format!("{group}: {count} instances that never joined deleted"),
                );
                for instance in instances {
                    self.terminate(instance).map_err(Refusal::Failed)?;
                }
                Ok(())
            }
            Action::AddTaint {
                node,
                taint,
                cordon,
            } => self.change_node(node, |node| {
                node.taints.retain(|other| other.key != taint.key);
                node.taints.push(Taint::clone(taint));
                node.unschedulable |= cordon;
            }),
            Action::RemoveTaint {
                node,
                key,
                uncordon,
            } => self.change_node(node, |node| {
                node.taints.retain(|taint| taint.key != *key);
                node.unschedulable &= !uncordon;
            }),
            Action::Evict { pod, uid, .. } => self.evict(pod, uid),
            Action::TerminateInstance { instance, node, .. } => {
                self.log
                    .add("scale-down", format!("{node}: instance terminated"));
                self.terminate(instance).map_err(Refusal::Failed)
            }
        }
    }

    fn increase(&mut self, name: &str, to: i64) -> Result<(), Refusal> {
        let group = self.cluster.groups.iter_mut().find(|g| g.name == name);
        let Some(group) = group else {
            return Err(Refusal::Failed(format!("group {name} is not there")));
        };
        if to > group.max_size {
            return Err(Refusal::Failed(format!(
                "size {to} is over the maximum of {}",
                group.max_size
            )));
        }
        group.target_size = to;
        self.launch_missing();
        Ok(())
    }

    fn change_node(&mut self, name: &str, change: impl FnOnce(&mut Node)) -> Result<(), Refusal> {
        let node = self.cluster.nodes.iter_mut().find(|node| node.name == name);
        let Some(node) = node else {
            return Err(Refusal::Failed(format!("node {name} is not there")));
        };
        change(Arc::make_mut(node));
        self.touch();
        Ok(())
    }

    /// What the Eviction API does. A pod that is gone, or is another one now, counts as evicted.
    fn evict(&mut self, name: &ObjectName, uid: &str) -> Result<(), Refusal> {
        let Some(id) = self.pods.id(name) else {
            return Ok(());
        };
        let Some(pod) = self.pods.get(id).cloned() else {
            return Ok(());
        };
        if pod.uid != uid || pod.deletion_timestamp.is_some() {
            return Ok(());
        }
        self.take_disruption(&pod).map_err(Refusal::NotNow)?;
        self.evictions += 1;
        if let Some(node) = &pod.node_name {
            self.log.evicted(node);
        }
        self.delete_pod(id);
        Ok(())
    }

    /// The longest timer of the autoscaler's: after so long without a change nothing will come.
    pub(super) fn settling_time(&self) -> Duration {
        let config = &self.config;
        let mut longest = [
            config.scale_down.unneeded_time,
            config.scale_down.unready_time,
            config.scale_down.delay_after_add,
            config.scale_down.delay_after_failure,
            config.cluster_health.max_node_provision_time,
        ]
        .into_iter()
        .max()
        .unwrap_or_default();
        for group in &self.cluster.groups {
            let settings = config.node_group_settings(&group.options);
            longest = longest
                .max(settings.scale_down_unneeded_time)
                .max(settings.scale_down_unready_time)
                .max(settings.max_node_provision_time);
        }
        longest + config.process.scan_interval * 3
    }
}

/// Why an action was not done.
enum Refusal {
    /// The API server says to come again.
    NotNow(String),
    /// It cannot be done.
    Failed(String),
}

fn describe_removal(removal: &NodeRemoval) -> String {
    let node = &removal.node;
    if removal.is_empty {
        return format!("{node} of {} is empty and goes", removal.group);
    }
    let count = removal.evicted.len();
    let pods = if count == 1 { "pod moves" } else { "pods move" };
    format!("{node} of {} goes, {count} {pods}", removal.group)
}
