//! The autoscaler of this world: production's decision, production's check, and the carrying out
//! of the plan on the simulated cluster and cloud.

use std::sync::Arc;

use windlass_core::{
    Action, Decision, Input, NoTimeLimits, NodeRemoval, Outcome, OutcomeResult, Plan, ResizeCause,
    check, decide, prepare_with,
};
use windlass_model::{Duration, Node, ObjectName, SmolStr, Taint, Timestamp};

use super::World;
use super::chaos::{BudgetKeeper, End};

/// From an event to the loop that it wakes, and the least time between two loops. The shell gathers
/// events for some tens of milliseconds; whole seconds are easier to read.
const REACTION_TIME: Duration = Duration::from_secs(1);

impl World {
    /// Asks for a loop soon: something happened that it should see.
    pub(super) fn wake(&mut self) {
        self.wake_by(self.now + REACTION_TIME);
    }

    fn wake_by(&mut self, at: Timestamp) {
        self.woken_for = Some(self.woken_for.map_or(at, |earlier| earlier.min(at)));
    }

    /// When the next loop starts.
    pub(super) fn loop_due(&self) -> Timestamp {
        self.woken_for
            .map_or(self.scan_due, |woken| woken.min(self.scan_due))
    }

    /// Asks for a loop at `at`, or at the next full second.
    fn wake_at(&mut self, at: Timestamp) {
        let elapsed = at.duration_since(self.start);
        let is_full = elapsed.subsec_nanos() == 0;
        let seconds = elapsed.as_secs() + i64::from(!is_full);
        let full = self.start + Duration::from_secs(seconds);
        self.wake_by(full.max(self.now + REACTION_TIME));
    }

    /// Runs one loop.
    pub(super) fn run_loop(&mut self) {
        self.refresh();
        let (mut clock, mut view) = (self.now, None);
        if let Some(chaos) = &mut self.chaos {
            clock = chaos.clock(self.now);
            view = Some(chaos.view(&self.cluster, self.now));
        }
        let cluster = view.as_ref().unwrap_or(&self.cluster);
        let snapshot = prepare_with(cluster, &self.config, &self.profiles);
        let outcomes = std::mem::take(&mut self.outcomes);
        let input = Input {
            cluster,
            memory: &self.memory,
            outcomes: &outcomes,
            config: &self.config,
            now: clock,
            budget: &NoTimeLimits,
        };
        let decision = decide(&input, snapshot);
        self.loops += 1;
        self.scan_due = self.now + self.config.process.scan_interval.max(REACTION_TIME);
        self.woken_for = self.woken_for.filter(|woken| *woken > self.now);
        let violations = check(&input, &decision.plan);
        if let Some(violation) = violations.first() {
            self.refused_plans += 1;
            self.log
                .add("check", format!("plan not carried out: {violation}"));
            return;
        }
        let Decision { plan, memory } = decision;
        let end = self
            .chaos
            .as_mut()
            .map_or(End::None, |chaos| chaos.end(plan.actions.len(), self.now));
        match end {
            End::NotWritten => {
                // What is not written down is not done, and has not been decided.
                self.outcomes = outcomes;
                self.wake();
                return;
            }
            End::KilledBefore => {
                self.die();
                return;
            }
            End::None | End::KilledAmid(_) => self.memory = memory,
        }
        if let Some(at) = plan.wake_at {
            self.wake_at(at + self.now.duration_since(clock));
        }
        self.report(&plan);
        let mut actions = plan.actions;
        if let End::KilledAmid(thousandths) = end {
            actions.truncate(actions.len() * thousandths / 1000);
        }
        if !actions.is_empty() {
            self.carry_out(actions);
            self.wake();
        }
        if end != End::None {
            self.die();
        }
    }

    /// The process is killed: what it wrote down is all that its successor knows.
    fn die(&mut self) {
        let Some(chaos) = &mut self.chaos else { return };
        self.memory = chaos.kill(&self.memory);
        self.outcomes.clear();
        self.log
            .add("autoscaler", "killed and started again".to_owned());
        self.wake();
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
            if removal.is_empty {
                let group = removal.group.as_str();
                self.log
                    .nodes("scale-down", group, &removal.node, "empty, to be removed");
            } else {
                self.log.add("scale-down", describe_removal(removal));
            }
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        let grows_in_turn = !self.config.scale_up.parallel_scale_up;
        let mut has_failed = false;
        for action in actions {
            let is_growth = matches!(action, Action::IncreaseSize(_));
            let result = if is_growth && grows_in_turn && has_failed {
                let message = "another group of the same scale-up failed before".to_owned();
                Some(OutcomeResult::Refused { message })
            } else {
                self.attempt(&action)
            };
            has_failed |= is_growth && result != Some(OutcomeResult::Done);
            if let Some(result) = result {
                self.outcomes.push(Outcome { action, result });
            }
        }
        self.touch();
    }

    pub(super) fn act(&mut self, action: &Action) -> Result<(), Refusal> {
        match action {
            Action::IncreaseSize(resize) => self.increase(&resize.group, resize.to),
            Action::DecreaseTargetSize { group, from, to } => {
                self.log
                    .add("cloud", format!("{group}: {from} -> {to} nodes asked for"));
                self.decrease_target(group, *to).map_err(Refusal::Failed)
            }
            Action::DeleteInstances {
                group,
                instances,
                never_joined,
                ..
            } => {
                if let Some(node) = self.node_of_any(never_joined) {
                    return Err(Refusal::NotNow(format!("joined meanwhile: {node}")));
                }
                for instance in instances {
                    self.log
                        .nodes("cloud", group, instance, "deleted, it never joined");
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
            Action::TerminateInstance {
                group,
                instance,
                node,
                known_pods,
            } => {
                if let Some(pod) = self.newcomer(node, known_pods) {
                    return Err(Refusal::NotNow(format!("new pods scheduled: {pod}")));
                }
                self.log.nodes("scale-down", group, node, "terminated");
                self.terminate(instance).map_err(Refusal::Failed)
            }
            Action::Write(write) => self.write(write).map_err(Refusal::Failed),
        }
    }

    /// A node that one of the instances has become.
    fn node_of_any(&self, instances: &[SmolStr]) -> Option<SmolStr> {
        let mut nodes = self.cluster.nodes.iter();
        nodes
            .find(|node| instances.contains(&node.provider_id))
            .map(|node| node.name.clone())
    }

    /// A pod on a node that the plan did not know and that would be missed.
    fn newcomer(&self, node: &SmolStr, known: &[SmolStr]) -> Option<ObjectName> {
        self.pods
            .iter()
            .map(|(_, pod)| pod)
            .find(|pod| {
                pod.node_name.as_ref() == Some(node)
                    && !pod.phase.is_terminal()
                    && !pod.shape.is_daemonset_pod()
                    && !pod.shape.safety.is_mirror
                    && !known.contains(&pod.uid)
            })
            .map(|pod| pod.full_name())
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
        let is_free = self
            .chaos
            .as_ref()
            .is_some_and(|chaos| chaos.budgets == BudgetKeeper::Autoscaler);
        match self.take_disruption(&pod) {
            Err(message) if !is_free => return Err(Refusal::NotNow(message)),
            _ => {}
        }
        self.observe_eviction(&pod);
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
pub(super) enum Refusal {
    /// The API server says to come again.
    NotNow(String),
    /// It cannot be done.
    Failed(String),
}

fn describe_removal(removal: &NodeRemoval) -> String {
    let NodeRemoval { group, node, .. } = removal;
    let count = removal.evicted.len();
    let pods = if count == 1 { "pod moves" } else { "pods move" };
    format!("{group}: {node} to be removed, {count} {pods}")
}
