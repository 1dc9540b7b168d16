//! Groups whose nodes are alike. Source: `pkg/processors/nodegroupset`.

use windlass_config::Balancing;
use windlass_model::{NodeTemplate, Quantity, ResourceList, Resources, SmolStr};

use super::PodClass;
use crate::decide::Loop;

/// Labels in which similar groups may differ: those of every provider, those of AWS, the one by which
/// a scenario says to which group a node belongs, and those that tell managed node groups' launch
/// templates and images apart, which upstream forgets.
const IGNORED_LABELS: [&str; 18] = [
    "kubernetes.io/hostname",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "beta.kubernetes.io/fluentd-ds-ready",
    "kops.k8s.io/instancegroup",
    "alpha.eksctl.io/instance-id",
    "alpha.eksctl.io/nodegroup-name",
    "eks.amazonaws.com/nodegroup",
    "k8s.amazonaws.com/eniConfig",
    "lifecycle",
    "topology.ebs.csi.aws.com/zone",
    "topology.k8s.aws/zone-id",
    "windlass.dev/node-group",
    "eks.amazonaws.com/nodegroup-image",
    "eks.amazonaws.com/sourceLaunchTemplateId",
    "eks.amazonaws.com/sourceLaunchTemplateVersion",
];

fn is_out_of_stock(context: &Loop<'_>, group: usize) -> bool {
    let shortage = context.cluster.groups[group].notices.shortage.as_ref();
    shortage.is_some_and(|shortage| context.now < shortage.until)
}

/// The other groups that a scale-up of `group` may be shared with: alike, in good state, and of
/// use to every class of pods that `group` is of use to.
pub(super) fn of(context: &Loop<'_>, group: usize, classes: &[PodClass]) -> Vec<usize> {
    let flags = &context.config.balancing;
    let is_atomic = context
        .config
        .node_group_settings(&context.cluster.groups[group].options)
        .zero_or_max_node_scaling;
    let Some(template) = &context.templates[group] else {
        return Vec::new();
    };
    if !flags.similar_node_groups || is_atomic {
        return Vec::new();
    }
    (0..context.groups.len())
        .filter(|other| {
            let state = &context.groups[*other];
            *other != group
                && state.is_healthy
                && !state.is_backed_off
                && !is_out_of_stock(context, *other)
        })
        .filter(|other| {
            classes
                .iter()
                .filter(|class| class.fits(group))
                .all(|class| class.fits(*other))
        })
        .filter(|other| {
            context.templates[*other]
                .as_ref()
                .is_some_and(|other| are_similar(template, other, flags))
        })
        .collect()
}

fn are_similar(a: &NodeTemplate, b: &NodeTemplate, flags: &Balancing) -> bool {
    if !flags.labels.is_empty() {
        return flags.labels.iter().all(|key| {
            let value = a.node.labels.get(key);
            value.is_some() && value == b.node.labels.get(key)
        });
    }
    have_similar_capacity(&a.node.capacity, &b.node.capacity, flags)
        && have_similar_allocatable(&a.node.allocatable, &b.node.allocatable, flags)
        && have_similar_free(a, b, flags)
        && have_equal_labels(a, b, flags)
}

fn have_similar_capacity(a: &ResourceList, b: &ResourceList, flags: &Balancing) -> bool {
    a.len() == b.len()
        && a.iter().all(|(name, amount)| {
            b.get(name).is_some_and(|other| {
                if name == "memory" {
                    are_within(amount, other, flags.memory_difference_ratio)
                } else {
                    amount == other
                }
            })
        })
}

fn have_similar_allocatable(a: &ResourceList, b: &ResourceList, flags: &Balancing) -> bool {
    a.len() == b.len()
        && a.iter().all(|(name, amount)| {
            b.get(name).is_some_and(|other| {
                are_within(amount, other, flags.max_allocatable_difference_ratio)
            })
        })
}

fn have_similar_free(a: &NodeTemplate, b: &NodeTemplate, flags: &Balancing) -> bool {
    let (free_a, free_b) = (free_of(a), free_of(b));
    free_a.len() == free_b.len()
        && free_a.iter().all(|(name, amount)| {
            free_b
                .get(name)
                .is_some_and(|other| are_within(amount, other, flags.max_free_difference_ratio))
        })
}

/// What the template's own pods leave free; extended resources only where one of them asks for
/// any.
fn free_of(template: &NodeTemplate) -> ResourceList {
    let mut requested = Resources::default();
    for pod in &template.pods {
        requested.add(&pod.shape.requests);
    }
    let left = |name: &str, used: Quantity| {
        template
            .node
            .allocatable
            .get(name)
            .unwrap_or(Quantity::ZERO)
            .minus(used)
    };
    let basic = [
        ("cpu", Quantity::from_millis(requested.milli_cpu)),
        ("memory", Quantity::from_units(requested.memory_bytes)),
        ("pods", Quantity::ZERO),
        (
            "ephemeral-storage",
            Quantity::from_units(requested.ephemeral_storage_bytes),
        ),
    ];
    let mut free: ResourceList = basic
        .into_iter()
        .map(|(name, used)| (SmolStr::new_static(name), left(name, used)))
        .collect();
    for (name, used) in &requested.scalars {
        free.insert(name.clone(), left(name, Quantity::from_units(*used)));
    }
    free
}

fn have_equal_labels(a: &NodeTemplate, b: &NodeTemplate, flags: &Balancing) -> bool {
    let is_compared = |key: &str| {
        !IGNORED_LABELS.contains(&key) && !flags.ignore_labels.iter().any(|own| own == key)
    };
    let compared = |template: &NodeTemplate| -> Vec<(SmolStr, SmolStr)> {
        template
            .node
            .labels
            .iter()
            .filter(|(key, _)| is_compared(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    compared(a) == compared(b)
}

/// Whether two amounts differ by at most a share of the larger.
fn are_within(a: Quantity, b: Quantity, ratio: f64) -> bool {
    let (a, b) = (a.millis_ceil() as f64, b.millis_ceil() as f64);
    let (larger, smaller) = if a > b { (a, b) } else { (b, a) };
    larger - smaller <= larger * ratio
}
