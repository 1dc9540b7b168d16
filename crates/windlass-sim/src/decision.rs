use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Serialize;
use windlass_core::{Action, GroupReasons, NodeRemoval, ObjectWrite, Plan, ResizeCause};
use windlass_model::{Cluster, NodeGroup, ObjectName, Pod, SmolStr, StatusCondition};

use crate::world::describe_condition;

/// One loop's result, made for comparing: equal decisions are equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionDocument {
    api_version: &'static str,
    kind: &'static str,
    scale_up: Vec<Resize>,
    pods: Pods,
    scale_down: ScaleDown,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<Status>,
}

/// What is written to the status of an object of an optional feature; a scenario without such
/// objects has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Status {
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    used: BTreeMap<SmolStr, i64>,
    conditions: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Resize {
    group: SmolStr,
    from: i64,
    to: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pods {
    schedulable: Vec<String>,
    triggered_scale_up: Vec<String>,
    unschedulable: Vec<Unschedulable>,
    waiting: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Unschedulable {
    pod: String,
    reasons: GroupReasons,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ScaleDown {
    unneeded: Vec<SmolStr>,
    unremovable: Vec<Unremovable>,
    removed: Vec<Removed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Unremovable {
    node: SmolStr,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Removed {
    node: SmolStr,
    empty: bool,
    evicted: Vec<String>,
}

impl DecisionDocument {
    /// The result of `plan`, which was made for `cluster`.
    pub fn new(cluster: &Cluster, plan: &Plan) -> Self {
        let mut scale_up: Vec<Resize> = plan
            .scale_up
            .resizes
            .iter()
            .map(|resize| Resize {
                group: resize.group.clone(),
                from: resize.from,
                to: resize.to,
            })
            .collect();
        scale_up.sort_by(|a, b| a.group.cmp(&b.group));
        Self {
            api_version: "windlass.dev/v1alpha1",
            kind: "Decision",
            scale_up,
            pods: pods(cluster, plan),
            scale_down: scale_down(cluster, plan),
            statuses: statuses(plan),
        }
    }

    /// The document: indented by two spaces, ended by a newline.
    ///
    /// # Panics
    ///
    /// Never: nothing in the document can fail to be written.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("the document's keys are strings and its values plain");
        text.push('\n');
        text
    }
}

impl DecisionDocument {
    /// The document for people: a line for each thing that is to be done or said.
    pub fn to_text(&self) -> String {
        let mut lines = Vec::new();
        for resize in &self.scale_up {
            let Resize { group, from, to } = resize;
            lines.push(format!("scale up    {group}: {from} -> {to} nodes"));
        }
        for removal in &self.scale_down.removed {
            let node = &removal.node;
            lines.push(match removal.evicted.as_slice() {
                [] => format!("remove      {node}: no pod has to move"),
                evicted => format!("remove      {node}: evicts {}", evicted.join(", ")),
            });
        }
        let standings = [
            ("schedulable", &self.pods.schedulable),
            ("new nodes", &self.pods.triggered_scale_up),
            ("waiting", &self.pods.waiting),
        ];
        for (standing, pods) in standings {
            lines.extend(pods.iter().map(|pod| format!("{standing:<12}{pod}")));
        }
        for Unschedulable { pod, reasons } in &self.pods.unschedulable {
            lines.push(format!("no group    {pod}"));
            for (group, reasons) in reasons {
                lines.push(format!("              {group}: {}", reasons.join("; ")));
            }
        }
        let unneeded = self.scale_down.unneeded.iter();
        lines.extend(unneeded.map(|node| format!("unneeded    {node}")));
        for Unremovable { node, reason } in &self.scale_down.unremovable {
            lines.push(format!("stays       {node}: {reason}"));
        }
        for status in &self.statuses {
            let Status {
                object, conditions, ..
            } = status;
            lines.extend(
                conditions
                    .iter()
                    .map(|it| format!("status      {object}: {it}")),
            );
        }
        if lines.is_empty() {
            lines.push("nothing to do".to_owned());
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn statuses(plan: &Plan) -> Vec<Status> {
    let described = |conditions: &[StatusCondition]| -> Vec<String> {
        conditions.iter().map(describe_condition).collect()
    };
    let of_write = |write: &ObjectWrite| match write {
        ObjectWrite::UpdateProvisioningRequest {
            request,
            conditions,
            ..
        } => Some(Status {
            object: format!("ProvisioningRequest {request}"),
            replicas: None,
            used: BTreeMap::new(),
            conditions: described(conditions),
        }),
        ObjectWrite::UpdateCapacityBuffer { buffer, status, .. } => Some(Status {
            object: format!("CapacityBuffer {buffer}"),
            replicas: status.replicas,
            used: BTreeMap::new(),
            conditions: described(&status.conditions),
        }),
        ObjectWrite::UpdateCapacityQuota { quota, status, .. } => Some(Status {
            object: format!("CapacityQuota {quota}"),
            replicas: None,
            used: status.used.iter().cloned().collect(),
            conditions: described(&status.conditions),
        }),
        _ => None,
    };
    let mut statuses: Vec<Status> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Write(write) => of_write(write),
            _ => None,
        })
        .collect();
    statuses.sort_by(|a, b| a.object.cmp(&b.object));
    statuses
}

/// Where a pending pod stands, in the order in which equal pods' names are given out.
#[derive(Clone, Debug)]
enum Standing {
    Schedulable,
    TriggeredScaleUp,
    Unschedulable(Arc<GroupReasons>),
    Waiting,
}

impl Standing {
    fn rank(&self) -> u8 {
        match self {
            Self::Schedulable => 0,
            Self::TriggeredScaleUp => 1,
            Self::Unschedulable(_) => 2,
            Self::Waiting => 3,
        }
    }
}

fn pods(cluster: &Cluster, plan: &Plan) -> Pods {
    let report = &plan.pods;
    let stands = |standing: Standing| move |name: &ObjectName| (name.clone(), standing.clone());
    let standings: Vec<(ObjectName, Standing)> =
        report
            .schedulable
            .iter()
            .map(stands(Standing::Schedulable))
            .chain(
                report
                    .triggered_scale_up
                    .iter()
                    .map(stands(Standing::TriggeredScaleUp)),
            )
            .chain(report.unschedulable.iter().map(|(name, reasons)| {
                (name.clone(), Standing::Unschedulable(Arc::clone(reasons)))
            }))
            .chain(report.waiting.iter().map(stands(Standing::Waiting)))
            .collect();
    let mut pods = Pods {
        schedulable: Vec::new(),
        triggered_scale_up: Vec::new(),
        unschedulable: Vec::new(),
        waiting: Vec::new(),
    };
    for (name, standing) in name_equal_pods(cluster, &standings) {
        let pod = name.to_string();
        match standing {
            Standing::Schedulable => pods.schedulable.push(pod),
            Standing::TriggeredScaleUp => pods.triggered_scale_up.push(pod),
            Standing::Unschedulable(reasons) => {
                let reasons = Arc::unwrap_or_clone(reasons);
                pods.unschedulable.push(Unschedulable { pod, reasons });
            }
            Standing::Waiting => pods.waiting.push(pod),
        }
    }
    pods.schedulable.sort_unstable();
    pods.triggered_scale_up.sort_unstable();
    pods.unschedulable.sort_by(|a, b| a.pod.cmp(&b.pod));
    pods.waiting.sort_unstable();
    pods
}

/// Which of a controller's equal pods stands where is chance: gives the first names to those
/// that stand best.
fn name_equal_pods(
    cluster: &Cluster,
    standings: &[(ObjectName, Standing)],
) -> Vec<(ObjectName, Standing)> {
    let by_name: FxHashMap<ObjectName, &Pod> = cluster
        .pods
        .iter()
        .map(|pod| (pod.full_name(), pod.as_ref()))
        .collect();
    let mut class_of: FxHashMap<Pod, usize> = FxHashMap::default();
    let mut classes: Vec<Vec<usize>> = Vec::new();
    for (index, (name, _)) in standings.iter().enumerate() {
        if let Some(pod) = by_name.get(name)
            && pod.shape.controller.is_some()
        {
            let class = *class_of.entry(nameless(pod)).or_insert(classes.len());
            if class == classes.len() {
                classes.push(Vec::new());
            }
            classes[class].push(index);
        }
    }
    let mut renamed = standings.to_vec();
    for members in classes {
        let mut names: Vec<&ObjectName> = members.iter().map(|i| &standings[*i].0).collect();
        names.sort_unstable_by_key(ToString::to_string);
        let mut ranked = members.clone();
        ranked.sort_by_key(|i| standings[*i].1.rank());
        for (index, name) in ranked.into_iter().zip(names) {
            renamed[index].0 = name.clone();
        }
    }
    renamed
}

/// All of a pod but what names it.
fn nameless(pod: &Pod) -> Pod {
    Pod {
        name: SmolStr::default(),
        uid: SmolStr::default(),
        ..pod.clone()
    }
}

fn scale_down(cluster: &Cluster, plan: &Plan) -> ScaleDown {
    let can_shrink = shrinkable_nodes(cluster, plan);
    let report = &plan.scale_down;
    let mut unneeded: Vec<SmolStr> = report
        .unneeded
        .iter()
        .filter(|node| can_shrink(node))
        .cloned()
        .collect();
    unneeded.sort_unstable();
    let mut unremovable: Vec<Unremovable> = report
        .unremovable
        .iter()
        .filter(|unremovable| can_shrink(&unremovable.node))
        .map(|unremovable| Unremovable {
            node: unremovable.node.clone(),
            reason: unremovable.reason.as_str(),
        })
        .collect();
    unremovable.sort_by(|a, b| a.node.cmp(&b.node));
    let mut removed: Vec<Removed> = report.removals.iter().map(removed).collect();
    removed.sort_by(|a, b| a.node.cmp(&b.node));
    ScaleDown {
        unneeded,
        unremovable,
        removed,
    }
}

fn removed(removal: &NodeRemoval) -> Removed {
    let mut evicted: Vec<String> = removal.evicted.iter().map(ToString::to_string).collect();
    evicted.sort_unstable();
    Removed {
        node: removal.node.clone(),
        empty: removal.is_empty,
        evicted,
    }
}

/// Whether a node is of a group that is above its minimum size, with what pending pods make it
/// grow by in this loop; of others nothing is said.
fn shrinkable_nodes(cluster: &Cluster, plan: &Plan) -> impl Fn(&SmolStr) -> bool {
    let grown: FxHashMap<&SmolStr, i64> = plan
        .scale_up
        .resizes
        .iter()
        .filter(|resize| resize.cause == ResizeCause::PendingPods)
        .map(|resize| (&resize.group, resize.to))
        .collect();
    let group_of: FxHashMap<&SmolStr, &NodeGroup> = cluster
        .groups
        .iter()
        .flat_map(|group| {
            let instances = group.instances.iter();
            instances.map(move |instance| (&instance.provider_id, group))
        })
        .collect();
    let shrinkable: FxHashMap<&SmolStr, bool> = cluster
        .nodes
        .iter()
        .map(|node| {
            let group = group_of.get(&node.provider_id);
            let above_minimum = group.is_some_and(|group| {
                let size = grown.get(&group.name).copied();
                size.unwrap_or(group.target_size) > group.min_size
            });
            (&node.name, above_minimum)
        })
        .collect();
    move |node| shrinkable.get(node).copied().unwrap_or(false)
}
