//! In-tree volumes that CSI drivers serve now. Source: `k8s.io/csi-translation-lib`.

use windlass_model::{
    CsiNode, InTreeKind, InlineVolume, NodeSelector, NodeSelectorTerm, PersistentVolume,
    Requirement, RequirementOperator, SmolStr,
};

const MIGRATED_PLUGINS: &str = "storage.alpha.kubernetes.io/migrated-plugins";
const ZONE: &str = "topology.kubernetes.io/zone";
const REGION: &str = "topology.kubernetes.io/region";
const BETA_ZONE: &str = "failure-domain.beta.kubernetes.io/zone";
const BETA_REGION: &str = "failure-domain.beta.kubernetes.io/region";

/// An in-tree plugin and the driver that took over.
#[derive(Debug)]
pub(super) struct Migrated {
    pub(super) plugin: &'static str,
    pub(super) driver: &'static str,
    /// The driver's own zone label; `None` where nodes keep the common one.
    zone_label: Option<&'static str>,
}

static MIGRATED: [(InTreeKind, Migrated); 7] = [
    (
        InTreeKind::AwsElasticBlockStore,
        Migrated {
            plugin: "kubernetes.io/aws-ebs",
            driver: "ebs.csi.aws.com",
            zone_label: Some("topology.ebs.csi.aws.com/zone"),
        },
    ),
    (
        InTreeKind::GcePersistentDisk,
        Migrated {
            plugin: "kubernetes.io/gce-pd",
            driver: "pd.csi.storage.gke.io",
            zone_label: Some("topology.gke.io/zone"),
        },
    ),
    (
        InTreeKind::AzureDisk,
        Migrated {
            plugin: "kubernetes.io/azure-disk",
            driver: "disk.csi.azure.com",
            zone_label: Some("topology.disk.csi.azure.com/zone"),
        },
    ),
    (
        InTreeKind::AzureFile,
        Migrated {
            plugin: "kubernetes.io/azure-file",
            driver: "file.csi.azure.com",
            zone_label: None,
        },
    ),
    (
        InTreeKind::Cinder,
        Migrated {
            plugin: "kubernetes.io/cinder",
            driver: "cinder.csi.openstack.org",
            zone_label: Some("topology.cinder.csi.openstack.org/zone"),
        },
    ),
    (
        InTreeKind::Portworx,
        Migrated {
            plugin: "kubernetes.io/portworx-volume",
            driver: "pxd.portworx.com",
            zone_label: None,
        },
    ),
    (
        InTreeKind::Vsphere,
        Migrated {
            plugin: "kubernetes.io/vsphere-volume",
            driver: "csi.vsphere.vmware.com",
            zone_label: None,
        },
    ),
];

/// The migration of a kind of volume.
pub(super) fn of_kind(kind: InTreeKind) -> Option<&'static Migrated> {
    MIGRATED.iter().find(|(k, _)| *k == kind).map(|(_, m)| m)
}

/// The migration of a provisioner.
pub(super) fn of_provisioner(provisioner: &str) -> Option<&'static Migrated> {
    MIGRATED
        .iter()
        .map(|(_, migrated)| migrated)
        .find(|migrated| migrated.plugin == provisioner)
}

impl Migrated {
    /// Whether volume limits count it on the node: the plugins whose migration cannot be turned
    /// off need a `CSINode` and no more. Source: `nodevolumelimits/utils.go`.
    pub(super) fn counts_on(&self, csi_node: Option<&CsiNode>) -> bool {
        let is_locked = matches!(
            self.plugin,
            "kubernetes.io/aws-ebs"
                | "kubernetes.io/gce-pd"
                | "kubernetes.io/azure-disk"
                | "kubernetes.io/cinder"
        );
        csi_node.is_some_and(|node| is_locked || self.is_listed_by(node))
    }

    fn is_listed_by(&self, csi_node: &CsiNode) -> bool {
        csi_node
            .annotations
            .get(MIGRATED_PLUGINS)
            .is_some_and(|plugins| plugins.split(',').any(|plugin| plugin == self.plugin))
    }
}

/// The CSI handle of an in-tree volume; `None` when the id cannot be translated.
pub(super) fn handle(volume: &InlineVolume) -> Option<SmolStr> {
    if volume.kind != InTreeKind::AwsElasticBlockStore {
        return Some(volume.handle.clone());
    }
    let Some(url) = volume.handle.strip_prefix("aws://") else {
        return Some(volume.handle.clone());
    };
    // A zone, or nothing, and the volume.
    let id = url.split_once('/')?.1.trim_matches('/');
    (id.starts_with("vol-") && !id.contains('/')).then(|| id.into())
}

/// The node affinity of a volume as the node's driver has it; `None` leaves it as it is.
pub(super) fn translated_affinity(
    volume: &PersistentVolume,
    csi_node: Option<&CsiNode>,
) -> Option<NodeSelector> {
    let migrated = of_kind(volume.in_tree.as_ref()?.kind)?;
    if !csi_node.is_some_and(|node| migrated.is_listed_by(node)) {
        return None;
    }
    let zone_label = migrated.zone_label?;
    let (old_zone, has_beta_region) = zone_label_of(volume);
    let mut affinity = volume.node_affinity.clone().unwrap_or_default();
    if values_of(&affinity, old_zone) {
        rename(&mut affinity, old_zone, zone_label);
    } else if let Some(zones) = volume.labels.get(old_zone) {
        add_zones(&mut affinity, zone_label, zones);
    } else if volume.node_affinity.is_none() {
        return None;
    }
    if has_beta_region {
        rename(&mut affinity, BETA_REGION, REGION);
    }
    Some(affinity)
}

fn zone_label_of(volume: &PersistentVolume) -> (&'static str, bool) {
    let names = |key: &str| {
        volume
            .node_affinity
            .iter()
            .flat_map(|affinity| &affinity.terms)
            .flat_map(|term| &term.match_expressions)
            .any(|requirement| requirement.key == key)
    };
    let is_beta = !names(ZONE)
        && (names(BETA_ZONE)
            || !volume.labels.contains_key(ZONE) && volume.labels.contains_key(BETA_ZONE));
    if is_beta {
        (BETA_ZONE, true)
    } else {
        (ZONE, false)
    }
}

fn values_of(affinity: &NodeSelector, key: &str) -> bool {
    affinity
        .terms
        .iter()
        .flat_map(|term| &term.match_expressions)
        .any(|requirement| requirement.key == key && !requirement.values.is_empty())
}

fn rename(affinity: &mut NodeSelector, from: &str, to: &'static str) {
    for term in &mut affinity.terms {
        for requirement in &mut term.match_expressions {
            if requirement.key == from {
                requirement.key = SmolStr::new_static(to);
            }
        }
    }
}

fn add_zones(affinity: &mut NodeSelector, key: &'static str, zones: &str) {
    let mut values: Vec<SmolStr> = zones
        .split("__")
        .map(str::trim)
        .filter(|zone| !zone.is_empty())
        .map(SmolStr::from)
        .collect();
    values.sort_unstable();
    values.dedup();
    if values.is_empty() {
        return;
    }
    if affinity.terms.is_empty() {
        affinity.terms.push(NodeSelectorTerm::default());
    }
    for term in &mut affinity.terms {
        term.match_expressions.push(Requirement {
            key: SmolStr::new_static(key),
            operator: RequirementOperator::In,
            values: values.clone(),
        });
    }
}
