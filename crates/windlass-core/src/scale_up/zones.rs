//! Groups of several zones, seen as one virtual group per zone where it matters to a pod in which
//! zone its node is: a volume, affinity, topology spread.
//!
//! The Go autoscaler takes every new node of such a group for one of the template's zone. Where
//! the cloud cannot be told the zone, a pod that needs a certain one is then passed over, or its
//! group is grown for it again and again. Here such a group grows by one node at a time, as often
//! as it has zones, and then no more until the pod has found a place otherwise or an hour is over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_model::{Duration, NodeTemplate, SmolStr, Timestamp};
use windlass_scheduler::Rejection;

use super::{PodClass, fitting};
use crate::{decide::Loop, instant::after, template};

const ZONE: &str = "topology.kubernetes.io/zone";
/// All labels that name a node's zone.
const ZONE_LABELS: [&str; 3] = [
    ZONE,
    "failure-domain.beta.kubernetes.io/zone",
    "topology.ebs.csi.aws.com/zone",
];
/// The id of the template's own zone.
const ZONE_ID: &str = "topology.k8s.aws/zone-id";
/// Plugins by which a pod needs its zone whatever other pods there are: a node in another zone is of
/// no use to it.
const HARD: [&str; 4] = [
    "NodeAffinity",
    "VolumeBinding",
    "VolumeZone",
    "InterPodAffinity",
];
/// How long a group that did not get a node in the zone is let rest.
const REST: Duration = Duration::from_hours(1);

/// Nodes that a group was grown by for pods that need one of its zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneTries {
    /// How many.
    pub count: u32,
    /// When last.
    pub last: Timestamp,
}

/// That a class of pods fits on new nodes of some zones of a group alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ZoneBound {
    /// These, the one with the fewest of the group's nodes first.
    zones: Vec<SmolStr>,
    /// A node in another zone is of no use.
    is_hard: bool,
}

impl ZoneBound {
    /// Whether a node in another zone is of no use.
    pub(super) fn is_hard(&self) -> bool {
        self.is_hard
    }
}

/// The zones of a group of several, the one with the fewest of its nodes first: where the cloud
/// balances, that is the next node's.
pub(super) fn of(context: &Loop<'_>, group: usize) -> Vec<SmolStr> {
    let zones = &context.cluster.groups[group].zones;
    if zones.len() < 2 {
        return Vec::new();
    }
    let mut counted: Vec<(usize, usize, &SmolStr)> = zones
        .iter()
        .enumerate()
        .map(|(index, zone)| {
            let inside = context.nodes.iter().filter(|node| {
                node.group == Some(group) && node.node.labels.get(ZONE) == Some(zone)
            });
            (inside.count(), index, zone)
        })
        .collect();
    counted.sort_unstable();
    counted
        .into_iter()
        .map(|(_, _, zone)| zone.clone())
        .collect()
}

/// Forgets the tries of groups that are no more.
pub(super) fn forget_vanished(context: &mut Loop<'_>) {
    let groups = &context.cluster.groups;
    let tries = &mut context.memory.zone_tries;
    tries.retain(|name, _| groups.iter().any(|group| group.name == *name));
}

/// Tries each class on one new node of the group in each of its zones.
pub(super) fn fit(
    context: &mut Loop<'_>,
    group: usize,
    zones: &[SmolStr],
    classes: &mut [PodClass],
) {
    let Some(template) = context.templates[group].clone() else {
        return;
    };
    let own = template.node.labels.get(ZONE).cloned();
    // By class: the zones that do, and why the others do not.
    let mut verdicts: Vec<(Vec<SmolStr>, BTreeMap<SmolStr, Rejection>)> =
        vec![(Vec::new(), BTreeMap::new()); classes.len()];
    for zone in zones {
        let template = in_zone(&template, zone);
        context.snapshot.fork();
        let node = template::add_template(&mut context.snapshot, &template);
        for (class, (fitting, rejections)) in classes.iter().zip(&mut verdicts) {
            // The verdict alone is cheaper than the reasons.
            if context.snapshot.fits(&class.exemplar, node) {
                fitting.push(zone.clone());
            } else if let Err(rejection) = context.snapshot.check(&class.exemplar, node) {
                rejections.insert(zone.clone(), rejection);
            }
        }
        context.snapshot.revert();
    }
    for (class, (fitting, rejections)) in classes.iter_mut().zip(verdicts) {
        if fitting.is_empty() {
            if let Some(rejection) = most_telling(rejections, own.as_ref()) {
                let reasons = fitting::reasons_of(class, rejection);
                class.rejections.insert(group, reasons);
            }
            continue;
        }
        class.groups.push(group);
        class.is_schedulable = true;
        if !rejections.is_empty() {
            let bound = ZoneBound {
                zones: fitting,
                is_hard: rejections.values().any(is_of_the_zone),
            };
            class.bound.insert(group, bound);
        }
    }
    settle(context, group, zones, classes);
}

/// Whether a pod is refused for the zone that a node is in.
fn is_of_the_zone(rejection: &Rejection) -> bool {
    let mut plugins = rejection.plugin.split(", ");
    plugins.any(|name| HARD.contains(&name))
}

/// Of why a pod fits in none of the zones: what is wrong with a node of the right zone, first of all
/// in the template's own.
fn most_telling(
    mut rejections: BTreeMap<SmolStr, Rejection>,
    own: Option<&SmolStr>,
) -> Option<Rejection> {
    let of_own = own.and_then(|zone| rejections.remove(zone));
    let (elsewhere, wrong): (Vec<_>, Vec<_>) = rejections
        .into_values()
        .partition(|rejection| !is_of_the_zone(rejection));
    let is_right = of_own
        .as_ref()
        .is_some_and(|rejection| !is_of_the_zone(rejection));
    if is_right {
        return of_own;
    }
    elsewhere
        .into_iter()
        .next()
        .or(of_own)
        .or_else(|| wrong.into_iter().next())
}

/// Decides what is done for the classes that need certain zones of the group.
fn settle(context: &mut Loop<'_>, group: usize, zones: &[SmolStr], classes: &mut [PodClass]) {
    let name = context.cluster.groups[group].name.clone();
    let needs_zone = classes.iter().any(|class| class.needs_zone(group));
    if !needs_zone {
        if context.groups[group].upcoming <= 0 {
            context.memory.zone_tries.remove(&name);
        }
    } else if !can_choose(context, group) {
        if classes
            .iter()
            .any(|class| class.fits(group) && !class.needs_zone(group))
        {
            // Those that may be anywhere come first, as many as they are; a node may come where it
            // is needed by it.
            for class in classes.iter_mut().filter(|class| class.needs_zone(group)) {
                class.leave(group);
            }
        } else if let Some(reason) = obstacle(context, group, zones.len()) {
            for class in classes.iter_mut().filter(|class| class.needs_zone(group)) {
                class.leave(group);
                class.rejections.insert(group, vec![reason.clone()]);
                class.is_schedulable = !class.groups.is_empty();
            }
        }
    }
    let mut bound = classes
        .iter()
        .filter(|class| class.fits(group))
        .filter_map(|class| class.bound.get(&group));
    let first = bound
        .clone()
        .find(|bound| bound.is_hard)
        .or_else(|| bound.next())
        .and_then(|bound| bound.zones.first());
    // Where nobody minds, the template's own zone is as good as any.
    if let Some(zone) = first.cloned()
        && let Some(template) = &context.templates[group]
    {
        context.templates[group] = Some(in_zone(template, &zone));
    }
}

/// Whether the cloud can be told the zone, or all nodes that the group may have are asked for.
fn can_choose(context: &Loop<'_>, group: usize) -> bool {
    let group = &context.cluster.groups[group];
    let settings = context.config.node_group_settings(&group.options);
    group.notices.can_choose_zone || settings.zero_or_max_node_scaling
}

/// Why the group is not grown for pods that need one of its zones.
fn obstacle(context: &mut Loop<'_>, group: usize, zones: usize) -> Option<SmolStr> {
    let name = &context.cluster.groups[group].name;
    let mut resizes = context.plan.scale_up.resizes.iter();
    if 0 < context.groups[group].upcoming || resizes.any(|resize| resize.group == *name) {
        return Some(SmolStr::new_static(
            "nodes are coming, and the cloud alone knows in which of its group's zones",
        ));
    }
    let tries = context.memory.zone_tries.get(name)?;
    let rests_until = after(tries.last, REST);
    if rests_until <= context.now {
        context.memory.zone_tries.remove(name);
        return None;
    }
    if usize::try_from(tries.count).is_ok_and(|count| count < zones) {
        return None;
    }
    context.plan.wake_by(rests_until);
    Some(SmolStr::from(format!(
        "the pod needs a certain zone, and the cloud, which cannot be told, put the last {} nodes of \
         the group elsewhere: use one group per zone",
        tries.count
    )))
}

/// Whether the group is grown for pods that need one of its zones, and the cloud cannot be told.
pub(super) fn is_gamble(context: &Loop<'_>, group: usize, classes: &[PodClass]) -> bool {
    classes
        .iter()
        .any(|class| class.fits(group) && class.needs_zone(group))
        && !can_choose(context, group)
}

/// The zone that the cloud is to be told for a group, where it matters to pods and it can be.
pub(super) fn chosen(context: &Loop<'_>, group: usize, classes: &[PodClass]) -> Option<SmolStr> {
    let matters = classes
        .iter()
        .any(|class| class.fits(group) && class.bound.contains_key(&group));
    if !matters || !context.cluster.groups[group].notices.can_choose_zone {
        return None;
    }
    let template = context.templates[group].as_ref()?;
    template.node.labels.get(ZONE).cloned()
}

/// Notes that the group was grown for pods that need one of its zones.
pub(super) fn note_try(context: &mut Loop<'_>, group: usize) {
    let now = context.now;
    let name = context.cluster.groups[group].name.clone();
    let tries = context.memory.zone_tries.entry(name).or_insert(ZoneTries {
        count: 0,
        last: now,
    });
    tries.count += 1;
    tries.last = now;
}

fn in_zone(template: &NodeTemplate, zone: &SmolStr) -> NodeTemplate {
    let mut copy = template.clone();
    let node = std::sync::Arc::make_mut(&mut copy.node);
    if node.labels.get(ZONE) != Some(zone) {
        // Nobody has told the ids of the other zones.
        node.labels.remove(ZONE_ID);
    }
    for label in ZONE_LABELS {
        if label == ZONE || node.labels.contains_key(label) {
            node.labels.insert(label, zone.clone());
        }
    }
    copy
}
