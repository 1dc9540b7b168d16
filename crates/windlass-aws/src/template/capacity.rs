//! How much a new node will have, and how much of it pods may request.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_config::{AwsMaxPods, AwsMixedTemplate};
use windlass_model::{CsiNode, Labels, Node, Quantity, ResourceList};

use super::{Amounts, INSTANCE_TYPE, Known, Origin, TAG};
use crate::instance_type::InstanceType;
use crate::provider_id::ProviderId;

/// Share of EC2's memory that the hypervisor and kernel keep, in thousandths: what Karpenter
/// assumes, too.
const MEMORY_OVERHEAD_MILLI: i64 = 75;
/// The kubelet's limit of pods, unless it is told otherwise.
const KUBELET_PODS: u32 = 110;
/// Limit of pods with address prefixes, on types with more than 30 vCPUs.
const PREFIX_PODS_LARGE: u32 = 250;
/// The kubelet's hard eviction threshold for memory.
const EVICTION_MIB: i64 = 100;
const INSTANCE_TYPE_LABEL: &str = "node.kubernetes.io/instance-type";
/// Where figures are from that real nodes have shown.
const SAME_TYPE: &str = "nodes of the same instance type";
const SAME_IMAGE: &str = "nodes of the same instance type and image";
const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;

/// What real nodes of the cluster have shown, by instance type and image. What a node was seen of is
/// predicted by it, whichever group it was in. Of a type that was seen with another image only the
/// memory of the machine is taken over: what is kept for the kubelet and the system is the image's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Learned {
    /// By instance type, then by image; no text where the launch template names none.
    types: BTreeMap<String, BTreeMap<String, Shown>>,
    /// Volumes that the EBS driver allows, by instance type; none where it sets no limit.
    volumes: BTreeMap<String, Option<i64>>,
}

/// Stands for an image of which is only known that no group launches from it now.
pub const ANOTHER_IMAGE: &str = "another";

/// The CSI driver of EBS.
const EBS_DRIVER: &str = "ebs.csi.aws.com";

/// How many volumes of EBS the next node can have attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VolumeLimit {
    pub(super) volumes: Option<i64>,
    pub(super) source: &'static str,
}

/// The CSI drivers of the next node, as far as they can be told: that of EBS, if any node of the
/// cluster has it. Of several instance types the least counts.
pub(super) fn csi_node(
    known: &Known<'_>,
    name: &str,
    origins: &mut Vec<Origin>,
) -> Option<CsiNode> {
    let least = known
        .types
        .iter()
        .map(|instance_type| known.learned.volume_limit(instance_type))
        .reduce(|one, other| {
            let (one, other) = (one?, other?);
            let most = |limit: VolumeLimit| limit.volumes.unwrap_or(i64::MAX);
            Some(if most(other) < most(one) { other } else { one })
        })??;
    origins.push(Origin {
        part: format!("volumes of {EBS_DRIVER}"),
        value: least
            .volumes
            .map_or("no limit".to_owned(), |volumes| volumes.to_string()),
        source: least.source,
    });
    Some(CsiNode {
        name: name.into(),
        annotations: Labels::default(),
        drivers: vec![(EBS_DRIVER.into(), least.volumes)],
    })
}

#[derive(Clone, Debug, PartialEq)]
struct Shown {
    capacity: ResourceList,
    allocatable: ResourceList,
}

impl Learned {
    /// Takes in a node that was launched from `image`, if it is a ready one on EC2 whose type is
    /// known and that shows something new, and says whether it is. Cheap enough for every node in
    /// every loop.
    pub fn see(&mut self, node: &Node, image: Option<&str>) -> bool {
        let Some(instance_type) = node
            .labels
            .get(INSTANCE_TYPE_LABEL)
            .filter(|_| ProviderId::parse(&node.provider_id).is_some())
        else {
            return false;
        };
        // Machines of one type differ by a little: the least is what any has.
        if self
            .get(instance_type, image)
            .is_some_and(|shown| shown.capacity.get("memory") <= node.capacity.get("memory"))
        {
            return false;
        }
        let ready = node
            .condition("Ready")
            .is_some_and(|ready| ready.status == windlass_model::ConditionStatus::True);
        let usual = |list: &ResourceList| -> ResourceList {
            ["cpu", "memory", "pods", "ephemeral-storage"]
                .into_iter()
                .filter_map(|name| Some((name, list.get(name)?)))
                .collect()
        };
        let shown = Shown {
            capacity: usual(&node.capacity),
            allocatable: usual(&node.allocatable),
        };
        // A node that has just joined may not show all of it yet.
        let is_shown = ready
            && shown.capacity.get("memory").is_some()
            && shown.allocatable.get("pods").is_some();
        if is_shown {
            let images = self.types.entry(instance_type.to_string()).or_default();
            images.insert(image.unwrap_or_default().to_owned(), shown);
        }
        is_shown
    }

    /// Takes in what a node's CSI drivers allow.
    pub fn see_volume_limit(&mut self, node: &Node, csi_node: &CsiNode) {
        let instance_type = node.labels.get(INSTANCE_TYPE_LABEL);
        let driver = csi_node.drivers.iter().find(|(name, _)| name == EBS_DRIVER);
        if let (Some(instance_type), Some((_, limit))) = (instance_type, driver)
            && self.volumes.get(instance_type.as_str()) != Some(limit)
        {
            self.volumes.insert(instance_type.to_string(), *limit);
        }
    }

    /// None where no node of the cluster has the driver: then a new one need not have it.
    fn volume_limit(&self, instance_type: &InstanceType) -> Option<VolumeLimit> {
        if let Some(limit) = self.volumes.get(&instance_type.name) {
            return Some(VolumeLimit {
                volumes: *limit,
                source: SAME_TYPE,
            });
        }
        (!self.volumes.is_empty()).then(|| VolumeLimit {
            volumes: instance_type.volumes.map(i64::from),
            source: INSTANCE_TYPE,
        })
    }

    fn get(&self, instance_type: &str, image: Option<&str>) -> Option<&Shown> {
        self.types
            .get(instance_type)?
            .get(image.unwrap_or_default())
    }

    /// The least memory that a machine of a type has shown to its kernel, whatever the image.
    fn machine_memory(&self, instance_type: &str) -> Option<Quantity> {
        let images = self.types.get(instance_type)?;
        images
            .values()
            .filter_map(|shown| shown.capacity.get("memory"))
            .min()
    }

    /// How the cluster's nodes count their pods, as far as all that were seen agree.
    fn max_pods(&self, types: impl Fn(&str) -> Option<Arc<InstanceType>>) -> Option<AwsMaxPods> {
        let shown = self
            .types
            .iter()
            .flat_map(|(name, images)| images.values().map(move |shown| (name, shown)));
        let mut modes = shown.filter_map(|(name, shown)| {
            let pods = shown.allocatable.get("pods")?.units_ceil();
            let known = types(name)?;
            [
                AwsMaxPods::Eni,
                AwsMaxPods::Count(KUBELET_PODS),
                AwsMaxPods::Prefix,
            ]
            .into_iter()
            .find(|mode| i64::from(by_mode(*mode, &known)) == pods)
        });
        let first = modes.next()?;
        modes.all(|mode| mode == first).then_some(first)
    }
}

/// Capacity and allocatable of the next node: of each type it may be, put together as
/// `--aws-mixed-template` has it, with the tags' amounts over all.
pub(super) fn amounts(known: &Known<'_>, origins: &mut Vec<Origin>) -> Amounts {
    let types = match known.mixed {
        AwsMixedTemplate::First => known.types.get(..1).unwrap_or_default(),
        AwsMixedTemplate::Min | AwsMixedTemplate::Max => known.types,
    };
    let mut of_types = types
        .iter()
        .map(|instance_type| of_type(known, instance_type));
    let mut amounts = of_types.next().unwrap_or_default();
    for other in of_types {
        amounts.capacity = join(known.mixed, &amounts.capacity, &other.capacity);
        amounts.allocatable = join(known.mixed, &amounts.allocatable, &other.allocatable);
    }
    let (of_capacity, of_allocatable) = match types {
        [only] if known.learned.get(&only.name, known.image).is_some() => (SAME_IMAGE, SAME_IMAGE),
        [only] if known.learned.machine_memory(&only.name).is_some() => (SAME_TYPE, INSTANCE_TYPE),
        [_] => (INSTANCE_TYPE, INSTANCE_TYPE),
        _ => {
            let source = match known.mixed {
                AwsMixedTemplate::Max => "the most of the group's instance types",
                _ => "the least of the group's instance types",
            };
            (source, source)
        }
    };
    note(origins, "capacity", &amounts.capacity, of_capacity);
    note(origins, "allocatable", &amounts.allocatable, of_allocatable);
    let tagged = &known.tags.resources;
    for (name, amount) in tagged.iter() {
        amounts.capacity.insert(name.clone(), amount);
        amounts.allocatable.insert(name.clone(), amount);
    }
    note(origins, "capacity and allocatable", tagged, TAG);
    amounts
}

fn note(origins: &mut Vec<Origin>, what: &str, list: &ResourceList, source: &'static str) {
    origins.extend(list.iter().map(|(name, amount)| Origin {
        part: format!("{what} {name}"),
        value: amount.to_string(),
        source,
    }));
}

/// Amounts that hold whichever of two types comes; with `Max`, that hold if the larger comes.
fn join(mixed: AwsMixedTemplate, one: &ResourceList, other: &ResourceList) -> ResourceList {
    let mut joined = one.clone();
    if mixed == AwsMixedTemplate::Max {
        joined.raise_to(other);
        return joined;
    }
    one.iter()
        .filter_map(|(name, amount)| Some((name.clone(), amount.min(other.get(name)?))))
        .collect()
}

fn of_type(known: &Known<'_>, instance_type: &InstanceType) -> Amounts {
    let mut amounts = computed(known, instance_type);
    if let Some(shown) = known.learned.get(&instance_type.name, known.image) {
        for (name, amount) in shown.capacity.iter() {
            amounts.capacity.insert(name.clone(), amount);
        }
        for (name, amount) in shown.allocatable.iter() {
            amounts.allocatable.insert(name.clone(), amount);
        }
    }
    amounts
}

/// What the machine has by EC2's figures, less what the kernel keeps, less what the images of EKS
/// reserve for the kubelet and the system.
fn computed(known: &Known<'_>, instance_type: &InstanceType) -> Amounts {
    let pods = i64::from(max_pods(known, instance_type));
    let milli_cpu = i64::from(instance_type.v_cpus) * 1000;
    let by_figures = || {
        let of_ec2 = i64::try_from(instance_type.memory_mib).unwrap_or(i64::MAX / MIB);
        of_ec2.saturating_mul(MIB) / 1000 * (1000 - MEMORY_OVERHEAD_MILLI)
    };
    let memory = known
        .learned
        .machine_memory(&instance_type.name)
        .map_or_else(by_figures, Quantity::units_ceil);
    let reserved_memory = (255 + 11 * pods + EVICTION_MIB) * MIB;

    let mut capacity = ResourceList::default();
    capacity.insert("cpu", Quantity::from_millis(milli_cpu));
    capacity.insert("memory", Quantity::from_bytes(memory));
    capacity.insert("pods", Quantity::from_units(pods));
    for (resource, count) in &instance_type.accelerators {
        capacity.insert(resource.as_str(), Quantity::from_units(i64::from(*count)));
    }
    let mut allocatable = capacity.clone();
    allocatable.insert(
        "cpu",
        Quantity::from_millis(milli_cpu - reserved_milli_cpu(instance_type.v_cpus)),
    );
    allocatable.insert(
        "memory",
        Quantity::from_bytes((memory - reserved_memory).max(0)),
    );
    if let Some(gib) = known.root_volume_gib {
        let bytes = i64::try_from(gib)
            .unwrap_or(i64::MAX / GIB)
            .saturating_mul(GIB);
        capacity.insert("ephemeral-storage", Quantity::from_bytes(bytes));
        // The kubelet keeps a tenth free of evictions, and the images of EKS reserve a GiB.
        let free = (bytes / 10 * 9 - GIB).max(0);
        allocatable.insert("ephemeral-storage", Quantity::from_bytes(free));
    }
    Amounts {
        capacity,
        allocatable,
    }
}

/// The CPU that the images of EKS reserve: 6 % of the first core, 1 % of the second, 0.5 % of the
/// third and fourth, 0.25 % of each further one.
fn reserved_milli_cpu(cores: u32) -> i64 {
    let share = |core: u32| match core {
        0 => 6000,
        1 => 1000,
        2 | 3 => 500,
        _ => 250,
    };
    (0..cores).map(share).sum::<i64>() / 100
}

fn max_pods(known: &Known<'_>, instance_type: &InstanceType) -> u32 {
    let mode = match (known.max_pods, known.user_data.max_pods) {
        (AwsMaxPods::Auto, Some(pods)) => AwsMaxPods::Count(pods),
        (AwsMaxPods::Auto, None) => known
            .learned
            .max_pods(|name| {
                known
                    .types
                    .iter()
                    .find(|known| known.name == name)
                    .cloned()
                    .or_else(|| crate::instance_type::Catalogue::default().get(name))
            })
            .unwrap_or(if known.tags.eks.is_some() {
                AwsMaxPods::Eni
            } else {
                AwsMaxPods::Count(KUBELET_PODS)
            }),
        (mode, _) => mode,
    };
    by_mode(mode, instance_type)
}

fn by_mode(mode: AwsMaxPods, instance_type: &InstanceType) -> u32 {
    match mode {
        AwsMaxPods::Eni => instance_type.eni_max_pods(),
        AwsMaxPods::Prefix if instance_type.v_cpus > 30 => PREFIX_PODS_LARGE,
        AwsMaxPods::Prefix | AwsMaxPods::Auto => KUBELET_PODS,
        AwsMaxPods::Count(pods) => pods,
    }
}
