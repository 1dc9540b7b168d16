//! What a group's next node would look like, without ever having seen one. Pure.
//!
//! Every label, taint and amount comes with where it is from, so that a pod that does not fit can
//! be explained.

mod capacity;

use std::sync::Arc;

use windlass_aws_client::autoscaling::AutoScalingGroup;
use windlass_aws_client::eks::Nodegroup;
use windlass_config::{AwsMaxPods, AwsMixedTemplate};
use windlass_model::{
    Condition, ConditionStatus, Effect, Labels, Node, NodeTemplate, ResourceList, Taint,
};

use crate::instance_type::InstanceType;
use crate::tags::GroupTags;
use crate::user_data::UserData;

pub use capacity::{ANOTHER_IMAGE, Learned};

/// All that is known of a group's next node.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The group.
    pub group: &'a AutoScalingGroup,
    /// Its tags.
    pub tags: &'a GroupTags,
    /// The region.
    pub region: &'a str,
    /// The types that it may be of, in the group's order of preference; at least one.
    pub types: &'a [Arc<InstanceType>],
    /// What its user data says.
    pub user_data: &'a UserData,
    /// Size of its root volume in GiB, if that is known.
    pub root_volume_gib: Option<u64>,
    /// The image that it is launched from, if the launch template names one.
    pub image: Option<&'a str>,
    /// Whether it runs Windows.
    pub is_windows: bool,
    /// The EKS node group behind it, if there is one and EKS has told.
    pub eks: Option<&'a Nodegroup>,
    /// What real nodes have shown.
    pub learned: &'a Learned,
    /// `--aws-max-pods`.
    pub max_pods: AwsMaxPods,
    /// `--aws-mixed-template`.
    pub mixed: AwsMixedTemplate,
    /// Whether decisions heed how many volumes a node can have attached
    /// (`--enable-csi-node-aware-scheduling`).
    pub with_volume_limits: bool,
}

/// A template, and where each part of it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// The template.
    pub node: NodeTemplate,
    /// Its parts, in the order in which they were laid on.
    pub origins: Vec<Origin>,
}

/// Where one part of a template comes from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Origin {
    /// The part, such as `label team` or `allocatable memory`.
    pub part: String,
    /// Its value.
    pub value: String,
    /// Where it is from.
    pub source: &'static str,
}

/// Why there is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A group without zones. The text is the Go autoscaler's.
    #[error("unable to get first AvailabilityZone for the Auto Scaling group")]
    NoZone,
    /// No instance type is known.
    #[error("no instance type is known")]
    NoType,
}

const TAG: &str = "tag of the Auto Scaling group";
const EKS: &str = "EKS node group";
const USER_DATA: &str = "user data of the launch template";
const INSTANCE_TYPE: &str = "instance type";

/// Puts the template together: what the machine is, what the user data has the kubelet say, what
/// the tags say, and what EKS says, each over the last.
pub fn build(known: &Known<'_>) -> Result<Template, TemplateError> {
    let zone = known
        .group
        .availability_zones
        .first()
        .ok_or(TemplateError::NoZone)?;
    let first = known.types.first().ok_or(TemplateError::NoType)?;
    let mut origins = Vec::new();
    let name = format!("{}-asg-template", known.group.name);

    let labels = labels(known, first, zone, &name, &mut origins);
    let taints = taints(known, &mut origins);
    let amounts = capacity::amounts(known, &mut origins);

    let node = Node {
        provider_id: format!("aws:///{zone}/{name}").into(),
        name: name.into(),
        labels,
        taints,
        capacity: amounts.capacity,
        allocatable: amounts.allocatable,
        conditions: conditions(),
        ..Node::default()
    };
    let csi_node = if known.with_volume_limits {
        capacity::csi_node(known, &node.name, &mut origins)
    } else {
        None
    };
    Ok(Template {
        node: NodeTemplate {
            csi_node: csi_node.map(Arc::new),
            ..NodeTemplate::of(node)
        },
        origins,
    })
}

fn labels(
    known: &Known<'_>,
    first: &InstanceType,
    zone: &str,
    name: &str,
    origins: &mut Vec<Origin>,
) -> Labels {
    let arch = first.architecture.as_str();
    let os = if known.is_windows { "windows" } else { "linux" };
    let mut labels = Labels::default();
    let mut lay = |key: &str, value: &str, source| {
        origins.push(Origin {
            part: format!("label {key}"),
            value: value.to_owned(),
            source,
        });
        labels.insert(key, value);
    };
    for (key, value) in [
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/arch", arch),
        ("node.kubernetes.io/instance-type", first.name.as_str()),
        ("beta.kubernetes.io/instance-type", first.name.as_str()),
    ] {
        lay(key, value, INSTANCE_TYPE);
    }
    for (key, value) in [
        ("kubernetes.io/os", os),
        ("beta.kubernetes.io/os", os),
        ("kubernetes.io/hostname", name),
        ("topology.kubernetes.io/region", known.region),
        ("failure-domain.beta.kubernetes.io/region", known.region),
        ("topology.kubernetes.io/zone", zone),
        ("failure-domain.beta.kubernetes.io/zone", zone),
        ("topology.ebs.csi.aws.com/zone", zone),
    ] {
        lay(key, value, "the Auto Scaling group");
    }
    if let Some(zone_id) = known.group.availability_zone_ids.first() {
        lay(
            "topology.k8s.aws/zone-id",
            zone_id,
            "the Auto Scaling group",
        );
    }
    for (key, value) in known.user_data.labels.iter() {
        lay(key, value, USER_DATA);
    }
    for (key, value) in known.tags.labels.iter() {
        lay(key, value, TAG);
    }
    if let Some(eks) = known.eks {
        // EKS's answer also has disk size, AMI type and version. The Go autoscaler makes labels of
        // them that no node ever has, so that a selector on them scales up for ever.
        if let Some(capacity_type) = &eks.capacity_type {
            lay("eks.amazonaws.com/capacityType", capacity_type, EKS);
        }
        if !eks.nodegroup_name.is_empty() {
            lay("eks.amazonaws.com/nodegroup", &eks.nodegroup_name, EKS);
        }
        for (key, value) in eks.labels.iter().flatten() {
            lay(key, value, EKS);
        }
    }
    labels
}

/// Taints by key and effect; a later source's value counts.
fn taints(known: &Known<'_>, origins: &mut Vec<Origin>) -> Vec<Taint> {
    let from_eks: Vec<Taint> = known
        .eks
        .into_iter()
        .flat_map(|eks| eks.taints.iter().flatten())
        .filter_map(|taint| {
            Some(Taint {
                key: taint.key.as_deref()?.into(),
                // EKS allows taints without a value. Dropping them would make the group look free.
                value: taint.value.as_deref().unwrap_or_default().into(),
                effect: match taint.effect.as_deref()? {
                    "NO_SCHEDULE" => Effect::NoSchedule,
                    "NO_EXECUTE" => Effect::NoExecute,
                    "PREFER_NO_SCHEDULE" => Effect::PreferNoSchedule,
                    other => Effect::Other(other.into()),
                },
                time_added: None,
            })
        })
        .collect();
    let mut taints: Vec<Taint> = Vec::new();
    for (source, more) in [
        (USER_DATA, &known.user_data.taints),
        (TAG, &known.tags.taints),
        (EKS, &from_eks),
    ] {
        for taint in more {
            origins.push(Origin {
                part: format!("taint {}:{}", taint.key, taint.effect.as_str()),
                value: taint.value.to_string(),
                source,
            });
            taints.retain(|other| other.key != taint.key || other.effect != taint.effect);
            taints.push(taint.clone());
        }
    }
    taints.sort();
    taints
}

/// Ready, and nothing wrong.
fn conditions() -> Vec<Condition> {
    [
        ("Ready", ConditionStatus::True),
        ("NetworkUnavailable", ConditionStatus::False),
        ("MemoryPressure", ConditionStatus::False),
        ("DiskPressure", ConditionStatus::False),
        ("PIDPressure", ConditionStatus::False),
    ]
    .into_iter()
    .map(|(kind, status)| Condition {
        kind: kind.into(),
        status,
        reason: "Template".into(),
        last_transition: None,
    })
    .collect()
}

/// What a machine has, and what of it pods may request.
#[derive(Clone, Debug, Default, PartialEq)]
struct Amounts {
    capacity: ResourceList,
    allocatable: ResourceList,
}

#[cfg(test)]
mod tests;
