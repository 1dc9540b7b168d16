//! The cloud: groups keep as many instances as was asked for, instances boot and join, or do not.

use std::sync::Arc;

use windlass_model::{
    Condition, ConditionStatus, CreationError, CreationErrorClass, Duration, Instance,
    InstanceState, Node, NodeGroup, SliceNodes, SmolStr, Timestamp,
};

use super::World;
use super::queue::Event;
use crate::scenario::{Failure, GROUP_LABEL, NodeGroupDocument, node_group};

/// How long the cloud takes to say that it has no capacity.
const FAILURE_DELAY: Duration = Duration::from_secs(10);

/// How long a terminated instance's node stays.
const SHUTDOWN_TIME: Duration = Duration::from_secs(15);

const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// An instance of a group.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) group: SmolStr,
    pub(super) node: SmolStr,
    pub(super) state: MachineState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MachineState {
    /// Asked for, and on its way.
    Booting,
    /// Asked for, and the cloud has none.
    Failed,
    /// Its node is there.
    Running,
    /// On its way out.
    Terminating,
}

impl MachineState {
    /// Whether it counts for its group's size, and is there to be paid.
    fn is_paid(self) -> bool {
        matches!(self, Self::Booting | Self::Running)
    }
}

/// A group without a template makes nodes like those that it had.
#[derive(Clone, Debug)]
pub(super) struct Donor {
    node: Arc<Node>,
}

impl World {
    /// Takes the machines of the cluster's groups into the books.
    pub(super) fn take_over_machines(&mut self) {
        for group in &self.cluster.groups {
            for instance in &group.instances {
                let node = self
                    .cluster
                    .nodes
                    .iter()
                    .find(|node| node.provider_id == instance.provider_id);
                if let Some(node) = node {
                    let donor = Donor {
                        node: Arc::clone(node),
                    };
                    self.donors.entry(group.name.clone()).or_insert(donor);
                }
                let machine = Machine {
                    group: group.name.clone(),
                    node: node.map_or_else(SmolStr::default, |node| node.name.clone()),
                    state: match node {
                        Some(_) => MachineState::Running,
                        None => MachineState::Booting,
                    },
                };
                self.machines.insert(instance.provider_id.clone(), machine);
            }
        }
    }

    /// Adds a group, or changes the settings of one.
    pub(super) fn apply_group(&mut self, document: &NodeGroupDocument) {
        let name = &document.metadata.name;
        let known = self.cluster.groups.iter_mut().find(|g| g.name == *name);
        let instances = known.as_ref().map(|group| group.instances.clone());
        let is_new = instances.is_none();
        let mut group = node_group(document, &mut self.converter, instances.unwrap_or_default());
        match known {
            Some(known) => {
                if document.spec.target_size.is_none() {
                    group.target_size = known.target_size;
                }
                *known = group;
            }
            None => self.cluster.groups.push(group),
        }
        let verb = if is_new { "apply" } else { "change" };
        self.log.add("timeline", format!("{verb} NodeGroup {name}"));
        self.touch();
    }

    /// A group gets no instances for a while.
    pub(super) fn fail_group(&mut self, failure: &Failure) {
        let ends = self.now + failure.lasts;
        self.log.add(
            "timeline",
            format!("{}: {} begins", failure.group, failure.reason),
        );
        self.failures
            .insert(failure.group.clone(), (ends, failure.reason.clone()));
        self.queue
            .push(ends, Event::FailureEnds(failure.group.clone()));
    }

    pub(super) fn end_failure(&mut self, group: &SmolStr) {
        let is_over = self
            .failures
            .get(group)
            .is_some_and(|(ends, _)| *ends <= self.now);
        if !is_over {
            return;
        }
        let Some((_, reason)) = self.failures.remove(group) else {
            return;
        };
        self.log.add("timeline", format!("{group}: {reason} ends"));
        let waiting: Vec<SmolStr> = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.group == *group && machine.state == MachineState::Failed)
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting {
            self.boot(&id);
        }
    }

    /// Lets every group launch what it lacks; whether anything changed.
    pub(super) fn launch_missing(&mut self) -> bool {
        let mut changed = false;
        for index in 0..self.cluster.groups.len() {
            loop {
                let group = &self.cluster.groups[index];
                let has = group
                    .instances
                    .iter()
                    .filter(|i| i.state != InstanceState::Deleting);
                if i64::try_from(has.count()).unwrap_or(i64::MAX) >= group.target_size {
                    break;
                }
                self.launch(index);
                changed = true;
            }
        }
        changed
    }

    fn launch(&mut self, index: usize) {
        let group = self.cluster.groups[index].name.clone();
        let node = self.new_node_name(&group);
        let id = SmolStr::from(format!("windlass:///{node}"));
        self.cluster.groups[index].instances.push(Instance {
            provider_id: id.clone(),
            state: InstanceState::Creating { error: None },
        });
        let machine = Machine {
            group,
            node,
            state: MachineState::Booting,
        };
        self.machines.insert(id.clone(), machine);
        self.boot(&id);
    }

    fn boot(&mut self, id: &SmolStr) {
        let Some(machine) = self.machines.get_mut(id) else {
            return;
        };
        machine.state = MachineState::Booting;
        let group = machine.group.clone();
        self.set_instance_state(id, InstanceState::Creating { error: None });
        if self.failures.contains_key(&group) {
            self.queue
                .push(self.now + FAILURE_DELAY, Event::InstanceFails(id.clone()));
        } else {
            let ready_at = self.now + self.provision_time(&group);
            self.queue.push(ready_at, Event::InstanceReady(id.clone()));
        }
        self.touch();
    }

    fn provision_time(&self, group: &str) -> Duration {
        self.group(group)
            .and_then(|group| group.provision_time)
            .unwrap_or_default()
    }

    pub(super) fn group(&self, name: &str) -> Option<&NodeGroup> {
        self.cluster.groups.iter().find(|group| group.name == name)
    }

    fn new_node_name(&mut self, group: &SmolStr) -> SmolStr {
        let count = self.node_numbers.entry(group.clone()).or_default();
        loop {
            *count += 1;
            let name = SmolStr::from(format!("{group}-{count}"));
            if self.cluster.nodes.iter().all(|node| node.name != name) {
                return name;
            }
        }
    }

    fn set_instance_state(&mut self, id: &SmolStr, state: InstanceState) {
        let instance = self
            .cluster
            .groups
            .iter_mut()
            .flat_map(|group| &mut group.instances)
            .find(|instance| instance.provider_id == *id);
        if let Some(instance) = instance {
            instance.state = state;
        }
    }

    pub(super) fn instance_fails(&mut self, id: &SmolStr) {
        let Some(machine) = self.machines.get_mut(id) else {
            return;
        };
        if machine.state != MachineState::Booting {
            return;
        }
        let group = machine.group.clone();
        let Some((_, reason)) = self.failures.get(&group) else {
            // The shortage ended in the meantime.
            self.boot(id);
            return;
        };
        let reason = reason.clone();
        machine.state = MachineState::Failed;
        let error = CreationError {
            class: CreationErrorClass::OutOfResource,
            code: reason.clone(),
            message: SmolStr::from(format!("{reason}: no instance of {group} can be launched")),
        };
        self.set_instance_state(id, InstanceState::Creating { error: Some(error) });
        self.log.not_launched(&group, &reason);
        self.touch();
        self.wake();
    }

    /// An instance has booted: its node registers and is ready.
    pub(super) fn instance_ready(&mut self, id: &SmolStr) {
        let Some(machine) = self.machines.get(id).cloned() else {
            return;
        };
        if machine.state != MachineState::Booting {
            return;
        }
        let Some(node) = self.new_node(&machine, id) else {
            self.log.add(
                "cloud",
                format!(
                    "{}: an instance does not join: no template says what it is",
                    machine.group
                ),
            );
            return;
        };
        self.copy_devices(&machine);
        self.cluster.nodes.push(Arc::new(node));
        if let Some(machine) = self.machines.get_mut(id) {
            machine.state = MachineState::Running;
        }
        self.set_instance_state(id, InstanceState::Running);
        self.nodes_added += 1;
        self.log
            .nodes("nodes", &machine.group, &machine.node, "ready");
        self.touch();
        self.wake();
    }

    fn new_node(&self, machine: &Machine, id: &SmolStr) -> Option<Node> {
        let group = self.group(&machine.group)?;
        let mut node = match (&group.template, self.donors.get(&machine.group)) {
            (Some(template), _) => Node::clone(&template.node),
            (None, Some(donor)) => from_donor(&donor.node),
            (None, None) => return None,
        };
        if group.zones.len() > 1
            && let Some(zone) = self.emptiest_zone(group)
        {
            node.labels.insert(ZONE_LABEL, zone);
        }
        node.labels.insert(HOSTNAME_LABEL, machine.node.clone());
        node.labels.insert(GROUP_LABEL, machine.group.clone());
        node.name = machine.node.clone();
        node.uid = SmolStr::from(format!("node-{}", machine.node));
        node.provider_id = id.clone();
        node.created_at = Some(self.now);
        node.conditions = vec![ready_since(self.now)];
        Some(node)
    }

    /// The zone with the fewest nodes of the group, as an Auto Scaling group balances.
    fn emptiest_zone(&self, group: &NodeGroup) -> Option<SmolStr> {
        let nodes_in = |zone: &SmolStr| {
            self.cluster
                .nodes
                .iter()
                .filter(|node| {
                    node.labels.get(GROUP_LABEL) == Some(&group.name)
                        && node.labels.get(ZONE_LABEL) == Some(zone)
                })
                .count()
        };
        group
            .zones
            .iter()
            .min_by_key(|zone| nodes_in(zone))
            .cloned()
    }

    /// Gives a new node the devices and CSI drivers of the node that it is like.
    fn copy_devices(&mut self, machine: &Machine) {
        let Some(donor) = self.donors.get(&machine.group) else {
            return;
        };
        let like = donor.node.name.clone();
        let copies: Vec<_> = self
            .cluster
            .resource_slices
            .iter()
            .filter(|slice| slice.nodes == SliceNodes::Node(like.clone()))
            .map(|slice| {
                let mut copy = slice.as_ref().clone();
                copy.name = SmolStr::from(format!("{}-{}", slice.name, machine.node));
                copy.nodes = SliceNodes::Node(machine.node.clone());
                if copy.pool == like {
                    copy.pool = machine.node.clone();
                }
                Arc::new(copy)
            })
            .collect();
        self.cluster.resource_slices.extend(copies);
        if let Some(csi_node) = self.cluster.csi_nodes.get(&like) {
            let mut copy = csi_node.as_ref().clone();
            copy.name = machine.node.clone();
            self.cluster
                .csi_nodes
                .insert(machine.node.clone(), Arc::new(copy));
        }
    }

    /// Ends an instance and lowers its group's target size, as AWS does when the decrement is
    /// asked for.
    pub(super) fn terminate(&mut self, id: &SmolStr) -> Result<(), String> {
        let machine = self
            .machines
            .get(id)
            .ok_or_else(|| format!("instance {id} is not there"))?;
        if machine.state == MachineState::Terminating {
            return Ok(());
        }
        if machine.state == MachineState::Running {
            self.observe_termination(id);
        }
        let machine = self
            .machines
            .get_mut(id)
            .ok_or_else(|| format!("instance {id} is not there"))?;
        machine.state = MachineState::Terminating;
        let group_name = machine.group.clone();
        if let Some(group) = self
            .cluster
            .groups
            .iter_mut()
            .find(|g| g.name == group_name)
        {
            group.target_size -= 1;
        }
        self.set_instance_state(id, InstanceState::Deleting);
        self.queue
            .push(self.now + SHUTDOWN_TIME, Event::InstanceGone(id.clone()));
        self.touch();
        Ok(())
    }

    /// Takes back what was asked for and has not come, the newest first.
    pub(super) fn decrease_target(&mut self, name: &str, to: i64) -> Result<(), String> {
        let group = self
            .cluster
            .groups
            .iter_mut()
            .find(|group| group.name == name)
            .ok_or_else(|| format!("group {name} is not there"))?;
        let running = group
            .instances
            .iter()
            .filter(|instance| instance.state == InstanceState::Running)
            .count();
        if to < i64::try_from(running).unwrap_or(i64::MAX) {
            return Err(format!(
                "attempt to delete existing nodes of {name}: target size {to}, existing {running}"
            ));
        }
        group.target_size = to;
        let mut surplus = i64::try_from(group.instances.len()).unwrap_or(i64::MAX) - to;
        let mut cancelled = Vec::new();
        for instance in group.instances.iter().rev() {
            if surplus > 0 && matches!(instance.state, InstanceState::Creating { .. }) {
                cancelled.push(instance.provider_id.clone());
                surplus -= 1;
            }
        }
        group
            .instances
            .retain(|instance| !cancelled.contains(&instance.provider_id));
        for id in cancelled {
            self.machines.remove(&id);
        }
        self.touch();
        Ok(())
    }

    /// An instance is gone, and its node and pods with it.
    pub(super) fn instance_gone(&mut self, id: &SmolStr) {
        for group in &mut self.cluster.groups {
            group
                .instances
                .retain(|instance| instance.provider_id != *id);
        }
        if let Some(machine) = self.machines.remove(id) {
            self.remove_node(&machine.node);
        }
        self.touch();
    }

    /// A node's object goes, with all that is on it; whether it was there.
    pub(super) fn remove_node(&mut self, name: &SmolStr) -> bool {
        let before = self.cluster.nodes.len();
        self.cluster.nodes.retain(|node| node.name != *name);
        if self.cluster.nodes.len() == before {
            return false;
        }
        self.cluster.csi_nodes.remove(name);
        self.cluster
            .resource_slices
            .retain(|slice| slice.nodes != SliceNodes::Node(name.clone()));
        let pods: Vec<_> = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.node_name.as_ref() == Some(name))
            .map(|(id, _)| id)
            .collect();
        for pod in pods {
            self.forget_pod(pod);
        }
        self.nodes_removed += 1;
        self.log.nodes("nodes", "", name, "gone");
        self.touch();
        true
    }

    /// How many machines each group has that are paid for.
    pub(super) fn paid_machines(&self) -> impl Iterator<Item = &SmolStr> {
        self.machines
            .values()
            .filter(|machine| machine.state.is_paid())
            .map(|machine| &machine.group)
    }
}

fn ready_since(now: Timestamp) -> Condition {
    Condition {
        kind: SmolStr::new_static("Ready"),
        status: ConditionStatus::True,
        reason: SmolStr::new_static("KubeletReady"),
        last_transition: Some(now),
    }
}

/// A new node like `donor`: without the marks of its life.
fn from_donor(donor: &Node) -> Node {
    let mut node = donor.clone();
    node.unschedulable = false;
    node.is_being_deleted = false;
    node.taints.retain(|taint| {
        !taint.key.starts_with("node.kubernetes.io/")
            && !taint.key.ends_with("ByClusterAutoscaler")
            && taint.key != "DeletionCandidateOfClusterAutoscaler"
    });
    node
}
